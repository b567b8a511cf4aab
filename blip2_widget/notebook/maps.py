"""A gallery's map, as its pages know it: small state that is synced, places by message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blip2_widget.run import Board

Marks = NDArray[np.uint8]


class Maps:
    """What the views with an open map are told."""

    def __init__(
        self,
        board: Board,
        send: Callable[[dict[str, Any], list[bytes]], None],
        marks: Callable[[], Marks],
    ) -> None:
        """`marks` has a byte for each row, as protocol.ts has it."""
        self._board = board
        self._send = send
        self._marks = marks
        self._open: set[str] = set()
        self._asked: object = None  # the map that was told last, and its coordinates
        self._coordinates: object = None
        self._number = self._version = 0

    def told(self) -> dict[str, Any]:
        """The synced state, as protocol.ts has it; empty where there is no map."""
        if self._board.map is None:
            return {}
        measuring, projecting = self._board.map
        coordinates, note = projecting.coordinates, projecting.note
        if projecting is not self._asked:
            self._asked, self._number = projecting, self._number + 1
        if coordinates is not self._coordinates:
            self._coordinates, self._version = coordinates, self._version + 1
        if coordinates is None and not note and measuring.has_ended:
            note = "The map was not finished."
        return {
            "number": self._number,
            "version": 0 if coordinates is None else self._version,
            "method": projecting.method,
            "note": note,
        }

    def open(self, view: str) -> None:
        """Tell a view where the pictures lie, and from now on how they are marked."""
        self._open.add(view)
        coordinates = None if self._board.map is None else self._board.map[1].coordinates
        if coordinates is not None:
            self._send({"type": "map"}, [coordinates.tobytes()])
            self.send_marks()

    def close(self, view: str) -> None:
        self._open.discard(view)

    def send_marks(self) -> None:
        """Tell the views that are open which rows are shown and selected."""
        if self._open:
            self._send({"type": "map_marks"}, [self._marks().tobytes()])

"""The gallery's kernel side: small synced state, rows and thumbnails by message.

Messages, and what they hold, are described in js/src/protocol.ts. They may arrive on the main
thread or, where the front end uses subshells, on another one while a cell runs; nothing here
computes on the thread they arrive on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from blip2_widget.errors import Blip2Error
from blip2_widget.images import thumbnail
from blip2_widget.run import Run

_log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"

#: Seconds between two messages about changed rows.
_INTERVAL = 0.1
#: Rows in one message about changed rows, and thumbnails in one message.
_ROWS_A_MESSAGE = 500
_THUMBNAILS_A_MESSAGE = 8
#: The most rows a page may ask for at once, and the longest side of a thumbnail.
_MOST_ROWS = 1000
_MOST_PIXELS = 1024

_thumbnailers = ThreadPoolExecutor(2, thread_name_prefix="blip2-thumbnail")


class Gallery(anywidget.AnyWidget):
    """Shows a run: thumbnails, prompts that can be edited, answers as they come."""

    _esm = _STATIC / "gallery.js"
    _css = _STATIC / "gallery.css"

    row_count = traitlets.Int(0).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    prompts = traitlets.List(traitlets.Dict()).tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._changed: set[int] = set()
        self._timer: threading.Timer | None = None
        self._wishes: dict[str, tuple[list[int], int]] = {}
        self._thumbnailing = False
        super().__init__(
            row_count=len(run.cells),
            title=run.title,
            prompts=[{"name": prompt.name, "text": prompt.text} for prompt in run.prompts],
            progress=asdict(run.progress),
        )
        _answer_in_subshells(self.comm)
        self.on_msg(self._receive)
        run.subscribe(self._rows_changed)
        self._rows_changed(())  # what changed while this was being made

    # --- from the page ------------------------------------------------------------------------

    def _receive(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        try:
            self._act_on(content)
        except (AttributeError, KeyError, TypeError, ValueError):
            _log.debug("a message that makes no sense: %r", content, exc_info=True)

    def _act_on(self, content: dict[str, Any]) -> None:
        kind = content.get("type")
        if kind == "rows":
            start = max(int(content["start"]), 0)
            stop = min(int(content["stop"]), start + _MOST_ROWS, self.row_count)
            found = [self._row(row) for row in range(start, stop)]
            self.send({"type": "rows", "start": start, "rows": found})
        elif kind == "thumbs":
            rows = [int(row) for row in content["rows"] if 0 <= int(row) < self.row_count]
            pixels = min(max(int(content["pixels"]), 1), _MOST_PIXELS)
            self._wish(str(content["view"]), rows, pixels)
        elif kind == "close":
            self._wish(str(content["view"]), [], 0)
        elif kind == "ask":
            row, prompt = int(content["row"]), int(content["prompt_index"])
            if 0 <= row < self.row_count and 0 <= prompt < len(self._run.prompts):
                self._run.ask(row, prompt, str(content["prompt"]))
        elif kind == "retry":
            if 0 <= int(content["row"]) < self.row_count:
                self._run.retry([int(content["row"])])
        elif kind == "cancel":
            self._run.cancel()

    def _row(self, row: int) -> dict[str, Any]:
        error = self._run.pictures.errors.get(row)
        return {
            "label": self._run.column.labels[row],
            "error": None if error is None else str(error),
            "cells": [
                {
                    "prompt": cell.prompt,
                    "answer": cell.partial if cell.answer is None else cell.answer,
                    "state": cell.state,
                    "error": cell.error,
                    "cached": cell.cached,
                }
                for cell in self._run.cells[row]
            ],
        }

    # --- changes, gathered ----------------------------------------------------------------------

    def _rows_changed(self, rows: Iterable[int]) -> None:
        with self._lock:
            self._changed.update(rows)
            if self._timer is None:
                self._timer = threading.Timer(_INTERVAL, self._send_changes)
                self._timer.daemon = True
                self._timer.start()

    def _send_changes(self) -> None:
        with self._lock:
            rows, self._changed = sorted(self._changed), set()
            self._timer = None
        for at in range(0, len(rows), _ROWS_A_MESSAGE):
            piece = rows[at : at + _ROWS_A_MESSAGE]
            changed = [[row, self._row(row)] for row in piece]
            self._send_if_open({"type": "changed", "rows": changed})
        self.progress = asdict(self._run.progress)

    def _send_if_open(self, content: dict[str, Any], buffers: Any = None) -> None:
        """Send from a thread of our own, which must live on where the comm does not."""
        try:
            self.send(content, buffers)
        except Exception:
            _log.debug("a message could not be sent", exc_info=True)

    # --- thumbnails -----------------------------------------------------------------------------

    def _wish(self, view: str, rows: list[int], pixels: int) -> None:
        """What a view wants now, in place of what it wanted before."""
        with self._lock:
            self._wishes.pop(view, None)
            if rows:
                self._wishes[view] = (rows, pixels)
            if self._thumbnailing or not self._wishes:
                return
            self._thumbnailing = True
        _thumbnailers.submit(self._grant_wishes)

    def _grant_wishes(self) -> None:
        while True:
            with self._lock:
                if not self._wishes:
                    self._thumbnailing = False
                    return
                view, (rows, pixels) = next(iter(self._wishes.items()))
                now, later = rows[:_THUMBNAILS_A_MESSAGE], rows[_THUMBNAILS_A_MESSAGE:]
                del self._wishes[view]
                if later:
                    self._wishes[view] = (later, pixels)  # behind the other views' wishes
            made = [self._thumbnail(row, pixels) for row in now]
            self._send_if_open(
                {
                    "type": "thumbs",
                    "rows": now,
                    "pixels": pixels,
                    "mime": "image/webp",
                    "errors": [error for _, error in made],
                },
                buffers=[data for data, _ in made],
            )

    def _thumbnail(self, row: int, pixels: int) -> tuple[bytes, str | None]:
        try:
            return thumbnail(self._run.pictures.load(row), pixels), None
        except Blip2Error as error:
            return b"", str(error)
        except Exception as error:  # one picture must not end the thread that makes the others
            return b"", f"{type(error).__name__}: {error}"


def _answer_in_subshells(comm: Any) -> None:
    """Let the front end's choice of subshell stand.

    ipykernel sends a page's messages to the shell that last wrote to the comm. That is the main
    one here, so with it the gallery would stand still whenever a cell runs.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default

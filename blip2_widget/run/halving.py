"""Work on many items at a time that costs no good item where one of them is bad."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from blip2_widget.model import Cancelled, is_out_of_memory

_log = logging.getLogger(__name__)

Item = TypeVar("Item")


class Halving:
    """Does work on up to `most` items at a time, on halves of them where that fails.

    Where memory did not suffice, `most` falls to half of what was tried, for good.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    def run(
        self,
        items: Sequence[Item],
        work: Callable[[Sequence[Item]], None],
        is_left: Callable[[Item], bool],
        failed: Callable[[Item, Exception], None],
        make_room: Callable[[], None],
    ) -> None:
        """Call `work` with pieces of `items` until none `is_left`; `failed` hears of each item
        that fails alone, and `make_room` is called where memory was short. Cancelled goes
        through."""
        pieces = [items]
        tried_again: Item | None = None
        while pieces:
            piece = [each for each in pieces.pop(0) if is_left(each)]
            if not piece:
                continue
            if len(piece) > self.most:
                pieces[:0] = [piece[: self.most], piece[self.most :]]
                continue
            try:
                work(piece)
                continue
            except Cancelled:
                raise
            except Exception as raised:
                _log.debug("a batch of %d failed", len(piece), exc_info=True)
                error = raised.with_traceback(None)  # which holds what the batch has held
            if is_out_of_memory(error):
                self.most = min(self.most, max(len(piece) // 2, 1))
                make_room()
                if len(piece) == 1 and piece[0] != tried_again:
                    tried_again = piece[0]  # once, in the room that was made
                    pieces.insert(0, piece)
                    continue
            if len(piece) == 1:
                failed(piece[0], error)
            else:
                middle = len(piece) // 2
                pieces[:0] = [piece[:middle], piece[middle:]]

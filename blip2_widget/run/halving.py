"""Work on many items at a time that costs no good item where one of them is bad."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from blip2_widget.model import Cancelled, give_memory_back

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
    ) -> None:
        """Call `work` with pieces of `items` until none `is_left`; `failed` hears of each item
        that fails alone. Cancelled goes through."""
        pieces = [items[at : at + self.most] for at in range(0, len(items), self.most)]
        while pieces:
            piece = [each for each in pieces.pop(0) if is_left(each)]
            if not piece:
                continue
            try:
                work(piece)
            except Cancelled:
                raise
            except Exception as error:
                _log.debug("a batch of %d failed", len(piece), exc_info=True)
                if is_out_of_memory(error):
                    self.most = max(len(piece) // 2, 1)
                    give_memory_back()
                if len(piece) == 1:
                    failed(piece[0], error)
                else:
                    middle = len(piece) // 2
                    pieces[:0] = [piece[:middle], piece[middle:]]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short, as Python, torch on a GPU, or torch on a processor say it."""
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "bad_alloc")
    )

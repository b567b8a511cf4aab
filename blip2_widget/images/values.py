"""Values that are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload


class LazyValues(Sequence[Any]):
    """Some of what a holder has, by place: nothing of it is converted or decoded before its turn.

    `get` gives what the holder has under a number, `numbers` are those that are meant.
    """

    def __init__(self, get: Callable[[int], Any], numbers: Sequence[int]) -> None:
        self._get = get
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> LazyValues: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return LazyValues(self._get, self._numbers[at])
        return self._get(self._numbers[at])

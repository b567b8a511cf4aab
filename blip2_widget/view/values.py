"""The values of all rows under one key, as arrays that filter, sort and count at once.

Texts are numbered: each row holds the number of its text, and what is asked of a hundred thousand
rows is asked of a few texts. Both kinds are brought up to date row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from blip2_widget.view.columns import number_text

Mask = NDArray[np.bool_]
Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

#: Longer texts are cut, as they are shown.
LONGEST = 200

_DIGITS = re.compile("[0-9]+")


class Texts:
    """A text for each row. Number 0 is the missing one.

    `parts` says which of the values a filter takes a text has, where they are several.
    """

    def __init__(
        self,
        read: Callable[[int], str | None],
        count: int,
        *,
        missing: str = "",
        parts: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        self._read = read
        self._parts = parts
        self.values = [missing]
        self._numbers: dict[str | None, int] = {missing: 0, None: 0}
        self._sorted: list[int] = []
        self._natural: list[str] = [""]
        self._ranks: Ints | None = None
        self._totals: NDArray[np.intp] | None = None
        self.codes: Ints = np.fromiter(map(self._code, map(read, range(count))), np.int32, count)

    def update(self, rows: Sequence[int]) -> None:
        """Read these rows again."""
        self.codes[rows] = [self._code(self._read(row)) for row in rows]
        self._totals = None

    def _code(self, text: str | None) -> int:
        known = self._numbers.get(text)
        if known is not None:
            return known
        assert text is not None
        short = text[:LONGEST]
        code = self._numbers.setdefault(short, len(self.values))
        if code == len(self.values):
            self.values.append(short)
        return code

    def passing(self, values: Iterable[str]) -> Mask:
        """The rows whose text is one of these."""
        wanted = {value[:LONGEST] for value in values}
        if self._parts is not None:
            allowed = np.array([not wanted.isdisjoint(self._parts(each)) for each in self.values])
        else:
            allowed = np.zeros(len(self.values), dtype=np.bool_)
            allowed[[self._numbers[each] for each in wanted if each in self._numbers]] = True
        found: Mask = allowed[self.codes]
        return found

    def sorting(self, rows: Ints, descending: bool) -> Ints:
        """Numbers by which these rows sort, naturally; a missing text comes last either way."""
        if self._ranks is None or len(self._ranks) < len(self.values):
            self._rank()
        assert self._ranks is not None
        ranks = -self._ranks if descending else self._ranks.copy()
        ranks[0] = len(ranks)
        found: Ints = ranks[self.codes[rows]]
        return found

    def _rank(self) -> None:
        new = range(len(self._natural), len(self.values))
        self._natural += [_natural(self.values[code]) for code in new]
        # What was sorted before stays so, which makes sorting it again with a few more cheap.
        self._sorted += new
        self._sorted.sort(key=self._natural.__getitem__)
        ranks = np.zeros(len(self.values), dtype=np.int32)
        # Texts that differ in case alone are one to the sort: their rows stay in their order.
        names = [self._natural[code] for code in self._sorted]
        steps = [name != before for name, before in zip(names, ["", *names], strict=False)]
        ranks[self._sorted] = np.cumsum(steps, dtype=np.int32)
        self._ranks = ranks

    def counts(self, rows: Mask | None) -> dict[str, int]:
        """How many of the rows have each value; None counts all."""
        codes = self.codes if rows is None else self.codes[rows]
        counted = np.bincount(codes, minlength=len(self.values))
        codes_there = np.flatnonzero(counted).tolist()
        if self._parts is None:
            return {self.values[code]: int(counted[code]) for code in codes_there}
        found: dict[str, int] = {}
        for code in codes_there:
            for part in self._parts(self.values[code]):
                found[part] = found.get(part, 0) + int(counted[code])
        return found

    @property
    def totals(self) -> NDArray[np.intp]:
        """How many rows have each text, by the text's number."""
        if self._totals is None:
            self._totals = np.bincount(self.codes, minlength=len(self.values))
        return self._totals


class Numbers:
    """A number for each row; NaN where it is missing."""

    def __init__(self, array: Floats, read: Callable[[int], float] | None = None) -> None:
        """`read` reads a row again, where rows change."""
        self.array = array
        self._read = read

    def update(self, rows: Sequence[int]) -> None:
        """Read these rows again."""
        if self._read is not None:
            self.array[rows] = [self._read(row) for row in rows]

    def passing(self, values: Iterable[str]) -> Mask:
        """The rows whose number reads as one of these texts."""
        found = np.zeros(len(self.array), dtype=np.bool_)
        for value in set(values):
            if value == "":
                found |= np.isnan(self.array)
                continue
            try:
                number = float(value)
            except ValueError:
                continue
            near = np.flatnonzero(np.isclose(self.array, number, rtol=1e-5, atol=0.0))
            same = {
                float(each): number_text(float(each)) == value for each in set(self.array[near])
            }
            found[near] = [same[float(each)] for each in self.array[near]]
            found |= self.array == number
        return found

    def within(self, low: float | None, high: float | None) -> Mask:
        """The rows whose number is in [low, high]; None is no limit."""
        found = ~np.isnan(self.array)
        if low is not None:
            found &= self.array >= low
        if high is not None:
            found &= self.array <= high
        return found

    def sorting(self, rows: Ints, descending: bool) -> Floats:
        """Numbers by which these rows sort; a missing one comes last either way."""
        found: Floats = self.array[rows]
        return -found if descending else found


Values = Texts | Numbers


def _natural(text: str) -> str:
    """What texts sort by: without regard to case, and numbers in them by value."""
    folded = text.casefold()
    return _DIGITS.sub(_by_value, folded) if _DIGITS.search(folded) else folded


def _by_value(match: re.Match[str]) -> str:
    """Digits with their count before them: a longer number is a greater one."""
    digits = match.group().lstrip("0")
    return f"{len(digits):03}{digits}"

"""The values of all rows under one key, as arrays that filter, sort and count at once.

Texts are numbered: each row holds the number of its text, and what is asked of a hundred thousand
rows is asked of a few texts. Both kinds are brought up to date row by row.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from blip2_widget.view.columns import number_text

Mask = NDArray[np.bool_]
Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

#: Longer texts are cut, as they are shown.
LONGEST = 200
#: So many different whole numbers are values to choose from, and not a range.
_FEW = 20

_DIGITS = re.compile("[0-9]+")


class Texts:
    """A text for each row. Number 0 is the missing one.

    `read` reads a row again, where rows change. `parts` says which of the values a filter takes a
    text has, where they are several.
    """

    def __init__(
        self,
        texts: Iterable[str | None],
        count: int,
        read: Callable[[int], str | None] | None = None,
        *,
        missing: str = "",
        parts: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        self._read = read
        self._parts = parts
        self.values = [missing]
        self._numbers: dict[str | None, int] = {missing: 0, None: 0}
        self._sorted: list[str] = []  # what texts sort by, in order
        self._ranks: Ints = np.zeros(1, dtype=np.int32)  # each text's place there, by its number
        self._totals: NDArray[np.intp] | None = None
        self.codes: Ints = np.fromiter(map(self._code, texts), np.int32, count)

    def update(self, rows: Sequence[int]) -> None:
        """Read these rows again."""
        if self._read is not None:
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

    def firsts(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each of these rows, in order, the first of them that has the same text."""
        first = np.zeros(len(self.values), dtype=np.intp)
        first[self.codes[rows[::-1]]] = rows[::-1]  # the last one written stays
        return first[self.codes[rows]]

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
        self.rank()
        ranks = -self._ranks if descending else self._ranks.copy()
        ranks[0] = len(ranks)
        found: Ints = ranks[self.codes[rows]]
        return found

    def rank(self) -> None:
        """Find the places of new texts in their order; a few among many take little time.

        Texts that differ in case alone share one, so that their rows stay in their order.
        """
        if len(self._ranks) == len(self.values):
            return
        names = [_natural(text) for text in self.values[len(self._ranks) :]]
        known = self._sorted
        added = sorted(name for name in set(names) if not _holds(known, name))
        before = np.array([bisect_left(known, name) for name in added], dtype=np.intp)
        moved = np.cumsum(np.bincount(before, minlength=len(known) + 1), dtype=np.int32)
        self._sorted = sorted(known + added)  # two runs, which sorted() merges
        if len(names) * 20 < len(self._sorted):
            places = [bisect_left(self._sorted, name) for name in names]
        else:
            place_of = {name: place for place, name in enumerate(self._sorted)}
            places = [place_of[name] for name in names]
        ranks = self._ranks + moved[self._ranks]
        self._ranks = np.concatenate([ranks, np.array(places, dtype=np.int32)])
        self._ranks[0] = 0  # a missing text's is no place

    def frequent(self, rows: Mask | None, most: int) -> tuple[list[tuple[str, int]], int]:
        """The most frequent values of these rows with their counts, and how many values there are.

        Those of one count are in the order of their texts. None for the rows is all of them.
        """
        counted = self._counted(rows)
        if self._parts is not None:
            counts: dict[str, int] = {}
            for code in np.flatnonzero(counted).tolist():
                for part in self._parts(self.values[code]):
                    counts[part] = counts.get(part, 0) + int(counted[code])
            return sorted(counts.items(), key=_by_count)[:most], len(counts)
        there = np.flatnonzero(counted)
        distinct = len(there)
        if distinct > most:
            least = np.partition(counted[there], distinct - most)[distinct - most]
            # Often nearly all have one count: their texts are then compared, and nothing else.
            alike = [self.values[code] for code in there[counted[there] == least].tolist()]
            there = there[counted[there] > least]
            last = [(text, int(least)) for text in heapq.nsmallest(most - len(there), alike)]
        else:
            last = []
        first = [(self.values[code], int(counted[code])) for code in there.tolist()]
        return sorted(first, key=_by_count) + last, distinct

    def _counted(self, rows: Mask | None) -> NDArray[np.intp]:
        if rows is None:
            return self.totals
        return np.bincount(self.codes[rows], minlength=len(self.values))

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

    def frequent(self, rows: Mask | None, most: int) -> tuple[list[tuple[str, int]], int]:
        """As of texts."""
        found, counts = np.unique(self.among(rows), return_counts=True)
        names = ["" if np.isnan(each) else number_text(float(each)) for each in found]
        ordered = sorted(zip(names, counts.tolist(), strict=True), key=_by_count)
        return ordered[:most], len(ordered)

    def among(self, rows: Mask | None) -> Floats:
        """The numbers of these rows; None is all of them."""
        return self.array if rows is None else self.array[rows]

    def are_few_whole(self) -> bool:
        """Whether they are whole numbers, few enough to be told one by one."""
        there = self.array[~np.isnan(self.array)]
        if not np.isfinite(there).all() or not (there == np.floor(there)).all():
            return False
        # Most columns of many numbers show it at once.
        return len(np.unique(there[:1000])) <= _FEW and len(np.unique(there)) <= _FEW

    def sorting(self, rows: Ints, descending: bool) -> Floats:
        """Numbers by which these rows sort; a missing one comes last either way."""
        found: Floats = self.array[rows]
        return -found if descending else found


class Copies(Numbers):
    """How many rows hold a row's picture, itself too; NaN where that is not known.

    Sorted by it, equal pictures stand together.
    """

    def __init__(self, pictures: Texts) -> None:
        self._pictures = pictures
        super().__init__(self._counted())

    def update(self, rows: Sequence[int]) -> None:
        """Count again, once the pictures are brought up to date."""
        self.array = self._counted()

    def sorting(self, rows: Ints, descending: bool) -> Floats:
        """As of numbers; of one count, those of one picture behind its first row."""
        count = len(self.array)
        first = self._pictures.firsts(np.arange(count))
        found: Floats = super().sorting(rows, descending) * count + first[rows]
        return found

    def _counted(self) -> Floats:
        codes = self._pictures.codes
        return np.where(codes == 0, np.nan, self._pictures.totals[codes])


Values = Texts | Numbers


def _by_count(counted: tuple[str, int]) -> tuple[int, str]:
    """What values sort by: the most frequent first, then by their text."""
    return -counted[1], counted[0]


def _holds(ordered: Sequence[str], name: str) -> bool:
    at = bisect_left(ordered, name)
    return at < len(ordered) and ordered[at] == name


def _natural(text: str) -> str:
    """What texts sort by: without regard to case, and numbers in them by value."""
    folded = text.casefold()
    return _DIGITS.sub(_by_value, folded) if _DIGITS.search(folded) else folded


def _by_value(match: re.Match[str]) -> str:
    """Digits with their count before them: a longer number is a greater one."""
    digits = match.group().lstrip("0")
    return f"{len(digits):03}{digits}"

"""Answers that lie in the parts of a folder, as a run that a gallery shows: of the folder it reads
what is looked at."""

from __future__ import annotations

import bisect
import logging
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import repeat
from typing import Any, get_args

from blip2_widget.images import ErrorKind, ImageError
from blip2_widget.jobs.parts import Counts as PartCounts
from blip2_widget.jobs.parts import Parts, cell_of
from blip2_widget.run import Answerer, Cell, CellField, Counts, Progress, Run

_log = logging.getLogger(__name__)

#: Parts of which the ends are read at a time: elsewhere than on a disk that is mostly waiting.
_AT_A_TIME = 16
#: Where a part has what a cell has.
_COLUMN_OF: dict[CellField, str] = {
    "answer": "model_answer",
    "state": "state",
    "logprob": "logprob",
}


class Folder(Answerer):
    """What is there of a job's answers, whoever makes them. Who inherits of it says what is asked
    of what, and lets `_take` know of parts."""

    parts: Parts

    def _look(self, parts: Parts, are_ours: bool = True) -> None:
        """Take all parts that are there, if they are answers to what is asked."""
        self.parts = parts
        self._there: dict[int, PartCounts] = {}
        #: Of all parts together: how many answers, how many that failed, how many that were stored.
        self._sum: tuple[int, ...] = (0, 0, 0)
        #: The first row of each part, in order, and the part's number.
        self._firsts: list[tuple[int, int]] = []
        self._asked: dict[tuple[int, int], Run] = {}
        self.pictures.learns, self.pictures.told = True, self._key_of
        self._versions = parts.versions() if are_ours else {}
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            numbers = sorted(self._versions)
            for number, read in zip(numbers, threads.map(self._read, numbers), strict=True):
                if read is not None:
                    self._take(*read)
                else:
                    del self._versions[number]
                    _log.warning("part %d of %s cannot be read", number, parts.folder)

    # --- for the person -------------------------------------------------------------------------

    def count_stored(self) -> int:
        return self._sum[0]

    @property
    def progress(self) -> Progress:
        progress = super().progress
        # What was there already took the time of others.
        return progress if self._computing_since else replace(progress, seconds=None)

    def cell(self, row: int, prompt: int) -> Cell:
        asked = self._asked.get((row, prompt))
        if asked is not None:
            return asked.cell(row, 0)
        number = self._part_of(row)
        if number is None:
            return self._without(prompt)
        try:
            return cell_of(self._line(number, row, prompt))
        except Exception as error:  # whatever a damaged or removed file raises
            cell = self._without(prompt)
            message = f"part {number} of {self.parts.folder} cannot be read: {error}"
            cell.fail(message[:300], "unreadable")
            return cell

    def each(self, field: CellField, prompt: int) -> Iterator[Any]:
        at, nothing = 0, getattr(self._without(prompt), field)
        for first, number in list(self._firsts):
            yield from repeat(nothing, first - at)
            yield from self._values(number, field, prompt)
            at = first + self._there[number].rows
        yield from repeat(nothing, len(self.column.values) - at)

    def find(self, keys: Collection[str]) -> list[int]:
        found: dict[int, str] = {}
        for first, number in list(self._firsts):
            with suppress(Exception):  # as for `cell`
                column = self.parts.column(number, "image_key")[:: len(self.prompts)]
                found |= {row: key for row, key in enumerate(column, first) if key in keys}
        new = [row for row in found if row not in self.pictures.keys]
        self.pictures.keys.update(found)
        return new

    # --- parts ----------------------------------------------------------------------------------

    def _read(self, number: int) -> tuple[int, PartCounts, dict[int, ImageError]] | None:
        """What a part holds, and what is wrong with its rows' pictures; None of a damaged one,
        which is no part."""
        errors: dict[int, ImageError] = {}
        try:
            counts = self.parts.counts(number)
            names = ("error_kind", "error") if counts.failed_rows else ()
            kinds, messages = [self.parts.column(number, name) for name in names] or ([], [])
        except Exception:  # whatever a damaged or removed file raises
            _log.debug("part %d of %s", number, self.parts.folder, exc_info=True)
            return None
        for row in counts.failed_rows:
            at = (row - counts.first) * len(self.prompts)
            if kinds[at] in get_args(ErrorKind):
                errors[row] = ImageError(kinds[at], messages[at] or "")
        return number, counts, errors

    def _take(self, number: int, counts: PartCounts, errors: dict[int, ImageError]) -> None:
        """Show a part, in the place of the one that was there."""
        with self._lock:
            before = self._there.get(number)
            self._there[number] = counts
            if before is None:
                bisect.insort(self._firsts, (counts.first, number))
            self._sum = tuple(
                total + now - earlier
                for total, now, earlier in zip(
                    self._sum, _numbers(counts), _numbers(before), strict=True
                )
            )
            for row in range(counts.first, counts.first + counts.rows):
                self.pictures.errors.pop(row, None)
            self.pictures.errors.update(errors)

    def _arrived(self, number: int, counts: PartCounts, errors: dict[int, ImageError]) -> None:
        """The same of one that came just now."""
        with self._lock:
            before = self._there.get(number)
            self.parts.forget(number)
            self._take(number, counts, errors)
            if self._computing_since is None:
                # What the first piece took is no measure: a model was loaded in it.
                self._computing_since = time.monotonic()
            else:
                self._computed += counts.answered - (before.answered if before else 0)

    def _part_of(self, row: int) -> int | None:
        """The number of the part that has a row, None where it is not there yet."""
        at = bisect.bisect_right(self._firsts, (row, len(self.column.values))) - 1
        if at < 0:
            return None
        number = self._firsts[at][1]
        counts = self._there[number]
        return number if row < counts.first + counts.rows else None

    def _line(self, number: int, row: int, prompt: int = 0) -> dict[str, Any]:
        at = (row - self._there[number].first) * len(self.prompts)
        return self.parts.line(number, at + prompt)

    def _key_of(self, row: int) -> str | None:
        """A picture's key where its part has it."""
        number = self._part_of(row)
        try:
            return None if number is None else self._line(number, row)["image_key"]
        except Exception:  # as for `cell`, which tells
            return None

    def _without(self, prompt: int) -> Cell:
        """The cell of a row that no part has."""
        waits = self._state in ("waiting", "loading", "running")
        wanted = self.prompts[prompt]
        return Cell(wanted.text, wanted.kind, "waiting" if waits else "cancelled")

    def _values(self, number: int, field: CellField, prompt: int) -> Iterable[Any]:
        """A field of all of a part's rows, for which nothing is read that its counts say."""
        counts = self._there[number]
        if field == "state" and (not counts.failed or len(self.prompts) == 1):
            values: list[Any] = ["done"] * counts.rows
            for row in counts.failed_rows:
                values[row - counts.first] = "error"
        else:
            try:
                column = self.parts.column(number, _COLUMN_OF[field])
                values = column[prompt :: len(self.prompts)]
            except Exception:  # as for `cell`
                values = ["error" if field == "state" else None] * counts.rows
        for (row, at), run in list(self._asked.items()):
            if at == prompt and 0 <= row - counts.first < counts.rows:
                values[row - counts.first] = getattr(run.cell(row, 0), field)
        return values

    # --- state ----------------------------------------------------------------------------------

    def _counts(self) -> Counts:
        total = len(self.column.values) * len(self.prompts)
        answered, failed, cached = self._sum
        done = answered + failed
        return Counts(total, done, failed, cached, left=total - done)


def _numbers(counts: PartCounts | None) -> tuple[int, ...]:
    return (0, 0, 0) if counts is None else (counts.answered, counts.failed, counts.cached)

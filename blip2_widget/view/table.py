"""All rows by key: which of them a query lets through, and in which order."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from blip2_widget.errors import Blip2Error
from blip2_widget.view.columns import FrameColumns
from blip2_widget.view.errors import unknown
from blip2_widget.view.query import Filter, Query
from blip2_widget.view.rows import Rows
from blip2_widget.view.search import SearchIndex
from blip2_widget.view.values import Copies, Ints, Mask, Numbers, Texts, Values

#: Keys of a row, and of its answer to one prompt, as `name:NUMBER`.
_OF_ROWS = ("label", "row", "error", "copies", "agreement")
_OF_ANSWERS = ("answer", "state", "confidence", "review")
_OF_ANSWER = re.compile(f"({'|'.join(_OF_ANSWERS)}):([0-9]{{1,9}})")
_COLUMN = "column:"
#: Of the models' own answers to two prompts.
_OF_TWO = re.compile("agreement:([0-9]{1,9}),([0-9]{1,9})")

#: No key of queries, as its space tells: by what equal pictures are known.
_PICTURE = "equal pictures"

#: Longer values of a frame are searched up to here.
_SEARCHED = 2000

Order = range | Ints


class Table:
    """Rows as arrays, one for each key that was asked for, brought up to date before each use.

    What is asked of a table may be asked on any thread, one after the other; `changed` never waits.
    """

    def __init__(self, rows: Rows, columns: FrameColumns) -> None:
        self.rows = rows
        self.columns = columns
        self.count = rows.count
        self.lock = threading.RLock()
        self.search = SearchIndex(self._searched, rows.count)
        self._values: dict[str, Values] = {}
        self._changed_lock = threading.Lock()
        self._changed: set[int] = set()
        self._prompts = len(rows.prompts)

    # --- changes ----------------------------------------------------------------------------------

    def changed(self, rows: Iterable[int]) -> None:
        """These rows' answers, reviews or pictures may be others by now."""
        found = {row for row in rows if 0 <= row < self.count}
        with self._changed_lock:
            self._changed |= found
        self.search.changed(found)

    def catch_up(self) -> None:
        """Read what has changed."""
        with self.lock:
            with self._changed_lock:
                changed, self._changed = self._changed, set()
            if self._prompts != len(self.rows.prompts):
                self._prompts = len(self.rows.prompts)
                self._values.pop("agreement", None)
                self.search.changed(range(self.count))
            rows = sorted(changed)
            try:
                for values in self._values.values() if rows else ():
                    values.update(rows)
            except BaseException:  # an interrupt above all: they are still to be read
                with self._changed_lock:
                    self._changed |= changed
                raise

    # --- queries ----------------------------------------------------------------------------------

    def apply(self, query: Query) -> Order:
        """The rows that the query lets through, in its order. Raises Blip2Error."""
        with self.lock:
            self.catch_up()
            mask = self.mask(query)
            if query.sort is None and (mask is None or mask.all()):
                return range(self.count)
            rows: Ints = (
                np.arange(self.count, dtype=np.int32)
                if mask is None
                else np.flatnonzero(mask).astype(np.int32)
            )
            if query.sort is not None:
                values = self.values(query.sort.key)
                numbers = values.sorting(rows, query.sort.descending)
                rows = rows[np.argsort(numbers, kind="stable")]
            is_plain = len(rows) == self.count and bool((rows[1:] > rows[:-1]).all())
            return range(self.count) if is_plain else rows

    def mask(self, query: Query, without: str | None = None) -> Mask | None:
        """The rows that the query lets through, the filters by one key aside; None for all."""
        with self.lock:
            mask = self.search.find(query.search)
            for each in query.filters:
                if each.key != without:
                    passing = self._passing(each)
                    mask = passing if mask is None else mask & passing
            return self._first_of_equals(mask) if query.unique else mask

    def _passing(self, wanted: Filter) -> Mask:
        values = self.values(wanted.key)
        mask = np.zeros(self.count, dtype=np.bool_)
        if wanted.values is not None:
            mask |= values.passing(wanted.values)
        if wanted.has_range:
            if isinstance(values, Texts):
                raise Blip2Error(
                    f"{wanted.key!r} holds no numbers: filter it by values, not by min and max"
                )
            mask |= values.within(wanted.low, wanted.high)
        return mask

    def _first_of_equals(self, mask: Mask | None) -> Mask:
        """Of the rows that pass, the first of each picture, and all whose picture is not known."""
        pictures = self.pictures
        passing = np.arange(self.count) if mask is None else np.flatnonzero(mask)
        kept = passing[(pictures.codes[passing] == 0) | (pictures.firsts(passing) == passing)]
        found = np.zeros(self.count, dtype=np.bool_)
        found[kept] = True
        return found

    # --- keys -------------------------------------------------------------------------------------

    @property
    def keys(self) -> list[str]:
        """Every key that can be filtered and sorted by."""
        columns = [_COLUMN + name for name in self.columns.names]
        prompts = range(len(self.rows.prompts))
        return [*_OF_ROWS, *columns, *(f"{name}:{at}" for at in prompts for name in _OF_ANSWERS)]

    @property
    def pictures(self) -> Texts:
        """By what equal pictures are known, as far as they are."""
        with self.lock:
            if _PICTURE not in self._values:
                self.catch_up()
                self._values[_PICTURE] = self._texts(self.rows.picture_key)
            values = self._values[_PICTURE]
        assert isinstance(values, Texts)
        return values

    def values(self, key: str) -> Values:
        """The values under a key, read once and then kept up. Raises Blip2Error for no key."""
        with self.lock:
            if key == _PICTURE:
                raise unknown("key", key, self.keys)
            if key not in self._values:
                # Before the rows are read: what changes while they are is then read again.
                self.catch_up()
                self._values[key] = self._read(key)
            return self._values[key]

    def label(self, key: str) -> str:
        """What a person calls a key. Raises Blip2Error for no key."""
        answers = _OF_ANSWER.fullmatch(key)
        if answers is None:
            names = {"label": "picture", "error": "broken picture", "copies": "equal pictures"}
            return key.removeprefix(_COLUMN) if key.startswith(_COLUMN) else names.get(key, key)
        kind, prompts = answers[1], self.rows.prompts
        if not int(answers[2]) < len(prompts):
            raise unknown("key", key, self.keys)
        name = prompts[int(answers[2])].name
        if kind == "answer":
            return name
        return kind if len(prompts) == 1 else f"{kind} of {name}"

    def _read(self, key: str) -> Values:
        if key.startswith(_COLUMN):
            return self._column(key.removeprefix(_COLUMN))
        answers = _OF_ANSWER.fullmatch(key)
        if answers is not None and int(answers[2]) < len(self.rows.prompts):
            return self._of_answers(answers[1], int(answers[2]))
        rows, count = self.rows, self.count
        if key == "row":
            return Numbers(np.arange(count, dtype=np.float64))
        if key == "label":
            return self._texts(rows.labels.__getitem__)
        if key == "copies":
            return Copies(self.pictures)
        if key == "error":
            return self._texts(lambda row: _truth(rows.picture_error(row) is not None))
        if key == "agreement":
            return self._texts(self._agreement)
        two = _OF_TWO.fullmatch(key)
        if two is not None and max(map(int, two.groups())) < len(self.rows.prompts):
            return self._texts(partial(self._agreement_of, *map(int, two.groups())))
        raise unknown("key", key, self.keys)

    def _column(self, name: str) -> Values:
        if self.columns.is_computed(name):
            return Numbers(self.columns.numbers(name), self.columns.number(name))
        if self.columns.kind(name) == "number":
            return Numbers(self.columns.numbers(name))
        return Texts(self.columns.texts(name), self.count)

    def _of_answers(self, kind: str, prompt: int) -> Values:
        rows, count = self.rows, self.count
        if kind == "review":
            return self._texts(partial(_review, rows, prompt), missing="none", parts=str.split)
        if kind == "confidence":
            numbers = map(_probability, rows.each("logprob", prompt))
            read = partial(_confidence, rows, prompt)
            return Numbers(np.fromiter(numbers, np.float64, count), read)
        if kind == "state":
            return Texts(
                rows.each("state", prompt), count, lambda row: rows.cell(row, prompt).state
            )
        answers = map(partial(_said, rows, prompt), range(count), rows.each("answer", prompt))
        return Texts(answers, count, partial(_answer, rows, prompt))

    def _agreement(self, row: int) -> str | None:
        """Whether all answers of a row are the same, but for case and spaces at their ends; None
        where there are not several, or one is still to come."""
        answers = [_answer(self.rows, at, row) for at in range(len(self.rows.prompts))]
        return _sameness(answers) if len(answers) > 1 else None

    def _agreement_of(self, one: int, other: int, row: int) -> str | None:
        """The same of the models' own answers to two prompts, which corrections do not change."""
        return _sameness([self.rows.cell(row, at).answer for at in (one, other)])

    # --- texts ------------------------------------------------------------------------------------

    def _texts(self, read: Callable[[int], str | None], **options: Any) -> Texts:
        return Texts(map(read, range(self.count)), self.count, read, **options)

    def _searched(self, rows: Sequence[int]) -> Iterator[Iterator[str]]:
        """All that each of the rows says."""
        for row, texts in zip(rows, self.columns.texts_of(rows), strict=True):
            yield self._of_row(row, texts)

    def _of_row(self, row: int, texts: Iterable[str | None]) -> Iterator[str]:
        rows = self.rows
        yield rows.labels[row]
        for text in texts:
            if text:
                yield text[:_SEARCHED]
        error = rows.picture_error(row)
        if error:
            yield error
        for prompt in range(len(rows.prompts)):
            cell, review = rows.cell(row, prompt), rows.review(row, prompt)
            if cell.prompt:
                yield cell.prompt
            if cell.answer:
                yield cell.answer
            if cell.error:
                yield cell.error
            if review is not None and review.text:
                yield review.text


def _sameness(answers: Sequence[str | None]) -> str | None:
    if None in answers:
        return None
    texts = {each.strip().casefold() for each in answers if each is not None}
    return "same" if len(texts) == 1 else "different"


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _answer(rows: Rows, prompt: int, row: int) -> str | None:
    return _said(rows, prompt, row, rows.cell(row, prompt).answer)


def _said(rows: Rows, prompt: int, row: int, answer: str | None) -> str | None:
    """The answer that counts: the person's text where there is one."""
    review = rows.review(row, prompt)
    return answer if review is None or review.text is None else review.text


def _confidence(rows: Rows, prompt: int, row: int) -> float:
    return _probability(rows.cell(row, prompt).logprob)


def _probability(logprob: float | None) -> float:
    return math.nan if logprob is None else math.exp(min(logprob, 0.0))


def _review(rows: Rows, prompt: int, row: int) -> str | None:
    """What a person said of an answer, in words that a filter takes one by one."""
    review = rows.review(row, prompt)
    if review is None:
        return None
    said = [review.status] if review.status else []
    return " ".join(said + ["flagged"] * review.flagged) or None

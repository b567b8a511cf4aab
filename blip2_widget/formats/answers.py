"""What is written: a board's answers, row by row, in plain values that every format can hold."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Encoded, Limits, encoded, file_identity, size_of
from blip2_widget.run import Board, Record, ReviewOf, records_of

Kind = Literal["place", "text", "number", "truth", "time", "bytes"]

#: The columns of every format and what stands in them. A place is what the caller's index has.
COLUMNS: dict[str, Kind] = {
    "row": "place",
    "picture": "text",
    "name": "text",
    "prompt": "text",
    "kind": "text",
    "answer": "text",
    "model_answer": "text",
    "corrected": "text",
    "review": "text",
    "flagged": "truth",
    "reviewer": "text",
    "reviewed_at": "time",
    "state": "text",
    "error": "text",
    "confidence": "number",
    "logprob": "number",
    "source": "text",
    "model": "text",
    "revision": "text",
    "variant": "text",
    "answered_at": "time",
    "checkpoint": "text",
}

#: What UTF-8, XML and half of all readers cannot hold: halves of characters, and NUL.
_UNWRITABLE = re.compile("[\ud800-\udfff\0]")


def clean(text: str) -> str:
    """A text that every format can hold: what none can is the replacement character."""
    return _UNWRITABLE.sub("\ufffd", text)


@dataclass(frozen=True)
class Row:
    """A row of the board: its number, and its records as plain values, one for each answer."""

    number: int
    records: list[dict[str, Any]]


class Answers:
    """A board's answers in the columns at `places`; nothing is made before its turn."""

    def __init__(
        self,
        board: Board,
        review_of: ReviewOf | None,
        names: str | Sequence[str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`names` are the columns of answers that are meant, all of them where it is None.

        Raises Blip2Error for a name that is none.
        """
        named = [names] if isinstance(names, str) else names
        self.places = None if named is None else [board.place(name) for name in named]
        self._board = board
        self._review_of = review_of
        self._limits = limits
        index = board.column.index
        dtype = getattr(index, "dtype", None)
        #: Whether the caller's index counts; else a row's place is a text.
        self.counts = isinstance(index, range) or getattr(dtype, "kind", "") in ("i", "u")

    def __len__(self) -> int:
        return len(self._board)

    @property
    def names(self) -> list[str]:
        """The columns of answers."""
        names = [prompt.name for prompt in self._board.prompts]
        return names if self.places is None else [names[at] for at in self.places]

    def rows(self) -> Iterator[Row]:
        """All rows, those too that have no answer."""
        for number in range(len(self._board)):
            records = records_of(self._board, number, self._review_of, self.places)
            yield Row(number, [self._plain(record) for record in records])

    def records(self) -> Iterator[dict[str, Any]]:
        """All records."""
        for row in self.rows():
            yield from row.records

    def address(self, number: int) -> str:
        """A row's picture as `picture` says it."""
        return clean(self._board.column.address(number))

    def label(self, number: int) -> str:
        """What a row's picture is called, in short."""
        return clean(self._board.column.labels[number])

    def is_named_in_utf8(self, number: int) -> bool:
        """Whether a row's picture has a path or URL that every format can hold as it is."""
        address = self._board.column.address(number)
        return clean(address) == address

    def local_file(self, number: int) -> Path | None:
        """A row's picture as an absolute path, None where it is no local file."""
        try:
            identity = file_identity(self._board.column.head(number))
        except Exception:  # whatever a data set raises
            return None
        return Path(identity[0]) if identity is not None else None

    def picture(self, number: int) -> Encoded | None:
        """A row's picture as a file, None where it cannot be read."""
        try:
            return encoded(self._board.column.values[number], self._limits)
        except Exception:  # a bad row costs its own picture; what is wrong stands in its record
            return None

    def size(self, number: int) -> tuple[int, int] | None:
        """A picture's width and height, None where it cannot be read."""
        try:
            return size_of(self._board.column.values[number], self._limits)
        except Exception:  # as for `picture`
            return None

    def _plain(self, record: Record) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for name, kind in COLUMNS.items():
            value = getattr(record, name)
            if value is None:
                plain[name] = None
            elif kind == "text":
                plain[name] = clean(value)
            elif kind == "place":
                plain[name] = int(value) if self.counts else clean(str(value))
            elif kind == "time":
                plain[name] = _time(value)
            elif kind == "number" and not math.isfinite(value):
                plain[name] = None
            else:
                plain[name] = value
        return plain


def _time(seconds: float) -> datetime.datetime | None:
    """None where it is no time that a calendar has."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def texts(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose times are texts (ISO 8601 in UTC), for formats that have none."""
    return {
        name: value.isoformat() if isinstance(value, datetime.datetime) else value
        for name, value in record.items()
    }


def answered(records: Iterable[dict[str, Any]]) -> int:
    """How many of the records have an answer; of a row that failed there is none."""
    return sum(record["answer"] is not None for record in records)


def no_package(name: str, what: str) -> Blip2Error:
    """The error for a format whose package is not installed."""
    return Blip2Error(f"for {what} pip install {name}, or pip install 'blip2-widget[formats]'")

"""What is written: a board's answers and what was measured of its pictures, row by row and in plain
values that every format can hold."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blip2_widget.errors import Blip2Error
from blip2_widget.formats.names import UNDERSTOOD
from blip2_widget.images import Encoded, Limits, encoded, file_identity, size_of
from blip2_widget.run import Board, Measuring, Record, ReviewOf, records_of
from blip2_widget.texts import whole

Kind = Literal["place", "text", "number", "truth", "time", "bytes"]

#: The columns of every format and what stands in them; behind them stand the numbers that were
#: computed of the rows. A place is what the caller's index has.
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

#: What else formats have columns for: a number that is called so has another name in files.
_TAKEN = {*UNDERSTOOD, "id", "image_id"}


def clean(text: str) -> str:
    """A text that every format can hold: halves of characters, and NUL, which UTF-8, XML and half
    of all readers cannot, are U+FFFD."""
    return whole(text).replace("\0", "\ufffd")


@dataclass(frozen=True)
class Row:
    """A row of the board: its number, and its records as plain values: one for each answer, or one
    in all where its picture was only measured."""

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
        self._numbers = _named(board)
        #: The columns, each with what stands in it.
        self.columns: dict[str, Kind] = COLUMNS | dict.fromkeys(self._numbers, "number")
        self._measured = next((run for run in board.runs if isinstance(run, Measuring)), None)
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

    def need_texts(self, what: str) -> None:
        """Raise Blip2Error for a format that holds texts where nothing was said of the pictures."""
        if self._measured is not None and not self.names:
            raise Blip2Error(
                f"{what} holds texts, and the pictures were only measured; write a table, such as "
                ".parquet"
            )

    def rows(self) -> Iterator[Row]:
        """All rows, those too that have no answer."""
        for number in range(len(self._board)):
            records = records_of(self._board, number, self._review_of, self.places)
            plain = [self._plain(record) for record in records]
            numbers = {name: _finite(of_row(number)) for name, of_row in self._numbers.items()}
            if not plain and self._measured is not None:
                plain = [self._of_measured(self._measured, number, numbers)]
            yield Row(number, [record | numbers for record in plain])

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
                plain[name] = self._place(value)
            elif kind == "time":
                plain[name] = _time(value)
            elif kind == "number":
                plain[name] = _finite(value)
            else:
                plain[name] = value
        return plain

    def _place(self, value: Any) -> int | str:
        return int(value) if self.counts else clean(str(value))

    def _of_measured(
        self, measured: Measuring, number: int, numbers: dict[str, float | None]
    ) -> dict[str, Any]:
        """The record of a picture that nothing was asked about."""
        error = self._board.pictures.errors.get(number)
        state = "cancelled" if measured.has_ended else "waiting"
        if error is not None:
            state = "error"
        elif measured.progress.state == "done" or any(n is not None for n in numbers.values()):
            state = "done"
        return dict.fromkeys(COLUMNS) | {
            "row": self._place(self._board.column.index[number]),
            "picture": self.address(number),
            "flagged": False,
            "state": state,
            "error": None if error is None else clean(str(error)),
            "model": measured.located.checkpoint.name,
            "revision": measured.located.commit,
            "variant": measured.variant.name,
            "checkpoint": measured.located.checkpoint.known_as,
        }


def _named(board: Board) -> dict[str, Callable[[int], float | None]]:
    """The numbers of the rows, by names that are no other column's, in small letters neither."""
    taken = {*COLUMNS, *_TAKEN}
    named: dict[str, Callable[[int], float | None]] = {}
    for name, number in board.numbers.items():
        free, more = clean(name), 2
        while free.strip().lower() in taken:
            free, more = f"{clean(name)}_{more}", more + 1
        taken.add(free.strip().lower())
        named[free] = number
    return named


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


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
    """How many of the records have an answer, or are of a picture that was measured; those that
    failed are none."""
    return sum(
        record["answer"] is not None or (record["name"] is None and record["state"] == "done")
        for record in records
    )


def no_package(name: str, what: str) -> Blip2Error:
    """The error for a format whose package is not installed."""
    return Blip2Error(f"for {what} pip install {name}, or pip install 'blip2-widget[formats]'")

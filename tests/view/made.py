"""Rows made up for tests, which can change, and a query done the slow and plain way."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from blip2_widget.view import FrameColumns, Query, Rows, View


@dataclass
class Cell:
    prompt: str = "what is it?"
    answer: str | None = None
    state: str = "waiting"
    error: str | None = None
    logprob: float | None = None


@dataclass
class Review:
    status: str | None = None
    flagged: bool = False
    text: str | None = None


@dataclass(frozen=True)
class Prompt:
    name: str
    text: str


@dataclass
class MadeRows:
    """Rows as a gallery has them; everything may be set from outside."""

    labels: list[str]
    prompts: list[Prompt]
    cells: list[list[Cell]]
    reviews: dict[tuple[int, int], Review] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.labels)

    def cell(self, row: int, prompt: int) -> Cell:
        return self.cells[row][prompt]

    def each(self, field: str, prompt: int) -> Iterator[Any]:
        return (getattr(row[prompt], field) for row in self.cells)

    def review(self, row: int, prompt: int) -> Review | None:
        return self.reviews.get((row, prompt))

    def picture_error(self, row: int) -> str | None:
        return self.errors.get(row)

    def picture_key(self, row: int) -> str | None:
        return self.keys.get(row)


def rows_of(answers: list[Any]) -> MadeRows:
    """Rows with these answers: a text or None each, or a tuple of them where there are several."""
    several = [each if isinstance(each, tuple) else (each,) for each in answers]
    prompts = [Prompt(f"answer{at}", "what is it?") for at in range(len(several[0]))]
    cells = [
        [Cell(answer=each, state="waiting" if each is None else "done") for each in row]
        for row in several
    ]
    return MadeRows([f"{row}.png" for row in range(len(answers))], prompts, cells)


def shown(rows: Rows, query: dict[str, Any], frame: Any = None) -> list[int]:
    """The rows that a new view shows."""
    view = View(rows, FrameColumns(frame))
    view.set(query)
    return list(view.order)


# --- chance -------------------------------------------------------------------------------------

_ANSWERS = ["red dog", "Red Dog", "2 cats", "10 cats", "a tree", "", None, "C++ #1", "寿司 bar"]


def some_rows(seed: int, count: int = 60) -> tuple[MadeRows, dict[str, list[Any]]]:
    """Rows of every sort, and the columns of their frame."""
    chance = random.Random(seed)
    rows = rows_of([(None, None)] * count)
    for row in range(count):
        change(rows, row, chance)
    frame: dict[str, list[Any]] = {
        "place": [chance.choice(["Rome", "Paris", "rome 2", None]) for _ in range(count)],
        "size": [chance.choice([1, 2, 3.5, math.nan, 1e9]) for _ in range(count)],
        "stars": [chance.choice([1.0, 2.0, 3.0, math.nan]) for _ in range(count)],
    }
    return rows, frame


def change(rows: MadeRows, row: int, chance: random.Random) -> None:
    """Let anything about a row become something else."""
    for prompt in range(len(rows.prompts)):
        rows.cells[row][prompt] = Cell(
            chance.choice(["what is it?", "how many?"]),
            chance.choice(_ANSWERS),
            chance.choice(["waiting", "done", "error"]),
            chance.choice([None, None, "out of memory"]),
            chance.choice([None, -0.1, -2.5, -0.7]),
        )
        rows.reviews[row, prompt] = Review(
            chance.choice([None, "accepted", "rejected"]), chance.random() < 0.3
        )
        if chance.random() < 0.2:
            rows.reviews[row, prompt] = Review("corrected", False, "a black dog")
    for known, value in ((rows.errors, "not a picture"), (rows.keys, f"key{chance.randrange(20)}")):
        known.pop(row, None)
        if chance.random() < 0.5:
            known[row] = value


# --- the slow and plain way -----------------------------------------------------------------------


class Plain:
    """What a view does, row by row and with nothing kept."""

    def __init__(self, rows: MadeRows, frame: dict[str, list[Any]]) -> None:
        self.rows = rows
        self.frame = frame

    def value(self, key: str, row: int) -> Any:
        """A text, a number, or the set of values of a review; "" or None where it is missing."""
        rows = self.rows
        name, _, rest = key.partition(":")
        if name == "label":
            return rows.labels[row]
        if name == "row":
            return float(row)
        if name == "error":
            return "true" if row in rows.errors else "false"
        if name == "column":
            value = self.frame[rest][row]
            if isinstance(value, float | int):
                return None if math.isnan(value) else float(value)
            return value or ""
        if name == "agreement":
            answers = [self.answer(row, at) for at in range(len(rows.prompts))]
            if len(answers) < 2 or any(each is None for each in answers):
                return ""
            return "same" if len({str(each).lower() for each in answers}) == 1 else "different"
        cell, review = rows.cell(row, int(rest)), rows.review(row, int(rest))
        if name == "answer":
            return self.answer(row, int(rest)) or ""
        if name == "state":
            return cell.state
        if name == "confidence":
            return None if cell.logprob is None else math.exp(cell.logprob)
        assert name == "review"
        if review is None:
            return {"none"}
        said = {review.status} if review.status else set()
        return said | ({"flagged"} if review.flagged else set()) or {"none"}

    def answer(self, row: int, prompt: int) -> str | None:
        review = self.rows.review(row, prompt)
        if review and review.text is not None:
            return review.text
        return self.rows.cell(row, prompt).answer

    def texts(self, row: int) -> list[str]:
        rows = self.rows
        found: list[str | None] = [rows.labels[row], rows.errors.get(row), self.frame["place"][row]]
        for cell, at in zip(rows.cells[row], range(len(rows.prompts)), strict=True):
            review = rows.review(row, at)
            found += [cell.prompt, cell.answer, cell.error, review.text if review else None]
        return [each.casefold() for each in found if each]

    def passes(self, query: Query, row: int, without: str | None = None) -> bool:
        words = {word for text in self.texts(row) for word in re.findall(r"\w+", text)}
        for term in query.search.casefold().split():
            if not any(word.startswith(term) for word in words):
                return False
        for each in query.filters:
            value = self.value(each.key, row)
            values = value if isinstance(value, set) else {value}
            named = {text(each) for each in values}
            ok = each.values is not None and not named.isdisjoint(each.values)
            if each.has_range and isinstance(value, float):
                low = -math.inf if each.low is None else each.low
                ok = ok or low <= value <= (math.inf if each.high is None else each.high)
            if each.key != without and not ok:
                return False
        return True

    def passing(self, query: Query, without: str | None = None) -> list[int]:
        rows = [row for row in range(self.rows.count) if self.passes(query, row, without)]
        if query.unique:
            seen: set[str] = set()
            kept = []
            for row in rows:
                key = self.rows.picture_key(row)
                if key is None or key not in seen:
                    kept.append(row)
                if key is not None:
                    seen.add(key)
            return kept
        return rows

    def order(self, query: Query) -> list[int]:
        rows = self.passing(query)
        if query.sort is None:
            return rows
        key = query.sort.key
        there = [row for row in rows if self.value(key, row) not in ("", None, {"none"})]
        missing = [row for row in rows if row not in there]
        keyed = {row: natural(self.value(key, row)) for row in there}
        if query.sort.descending:
            there = sorted(there, key=keyed.__getitem__, reverse=True)
        else:
            there = sorted(there, key=keyed.__getitem__)
        return there + missing


def text(value: Any) -> str:
    """A value as a filter names it."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.6g}"
    return "" if value is None else str(value)


def natural(value: Any) -> Any:
    if isinstance(value, set):
        value = " ".join(sorted(value, key=lambda each: each == "flagged"))
    if isinstance(value, str):
        parts = re.split("([0-9]+)", value.casefold())
        return [(0, int(each), "") if each.isdigit() else (1, 0, each) for each in parts if each]
    return value

"""What a benchmark gives back: figures, each with where it came from, for tables and for JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.report import table

#: "×" and "%" are ratios as a person reads them (7 × is 7, 85 % is 85); "" is a bare number.
Unit = Literal["s", "bytes", "TFLOP/s", "GB/s", "×", "%", "points", ""]

#: Part of the JSON. Change it when a key is renamed or means something else.
SCHEMA: Final = 1
SPEEDUP: Final = "times the card's loop"


@dataclass(frozen=True)
class Record:
    """One figure. In the table of its benchmark `subject` is the row and `figure` the column.

    `value` is the median of `rounds` where there are several; None is not measured, and `note`
    says why.
    """

    benchmark: str
    subject: str
    figure: str
    value: float | None
    unit: Unit
    rounds: tuple[float, ...] = ()
    note: str = ""

    @property
    def spread(self) -> float | None:
        """Largest less smallest round, as a share of the median."""
        if len(self.rounds) < 2 or not self.value:
            return None
        return (max(self.rounds) - min(self.rounds)) / self.value


def median_of(
    benchmark: str, subject: str, figure: str, unit: Unit, rounds: Sequence[float]
) -> Record:
    """The figure of several rounds."""
    return Record(benchmark, subject, figure, statistics.median(rounds), unit, tuple(rounds))


def not_measured(benchmark: str, subject: str, figure: str, unit: Unit, why: str) -> Record:
    """The figure that could not be had."""
    return Record(benchmark, subject, figure, None, unit, note=why)


class Figures:
    """Records by what they are called."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = list(records)

    def value(self, benchmark: str, subject: str, figure: str) -> float | None:
        """One figure, None where it was not measured."""
        for each in self.records:
            if (each.benchmark, each.subject, each.figure) == (benchmark, subject, figure):
                return each.value
        return None

    def values(self, benchmark: str, figure: str, starting: str = "") -> dict[str, float]:
        """A figure of every measured subject whose name starts so."""
        return {
            each.subject: each.value
            for each in self.records
            if (each.benchmark, each.figure) == (benchmark, figure)
            and each.value is not None
            and each.subject.startswith(starting)
        }


def as_table(records: Sequence[Record]) -> str:
    """One benchmark's figures, and below them why any of them is missing."""
    subjects = list(dict.fromkeys(each.subject for each in records))
    figures = list(dict.fromkeys(each.figure for each in records))
    cells = {(each.subject, each.figure): cell(each) for each in records}
    rows = [[each, *(cells.get((each, figure), "") for figure in figures)] for each in subjects]
    notes: dict[str, list[str]] = {}
    for each in records:
        if each.note:
            notes.setdefault(each.note, []).append(each.subject)
    lines = [f"\n{note}: {'; '.join(dict.fromkeys(who))}" for note, who in notes.items()]
    return "\n".join([table(["", *figures], rows), *lines])


def cell(record: Record) -> str:
    """A figure as it stands in a table, with its spread where there were several rounds."""
    if record.value is None:
        return "not measured"
    text = quantity(record.value, record.unit)
    return text if record.spread is None else f"{text} (± {record.spread / 2:.0%})"


def quantity(value: float, unit: Unit) -> str:
    """A number with its unit, in the size that reads best."""
    if unit == "s":
        for factor, name in ((1.0, "s"), (1e3, "ms")):
            if abs(value) * factor >= 1:
                return f"{value * factor:.3g} {name}"
        return f"{value * 1e6:.3g} µs"
    if unit == "bytes":
        if abs(value) < 1e3:
            return f"{value:.0f} B"
        if abs(value) < 1e6:
            return f"{value / 1e3:.1f} kB"
        return f"{value / 1e9:.2f} GB" if abs(value) >= 1e8 else f"{value / 1e6:.0f} MB"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}" if unit else f"{value:g}"
    return f"{number} {unit}".strip()


def write_json(
    file: Path, machine: str, checkpoint: str, records: Sequence[Record], bars: Sequence[Any]
) -> None:
    """Everything that was measured, as the README describes it."""
    content = {
        "schema": SCHEMA,
        "machine": machine,
        "checkpoint": checkpoint,
        "figures": [
            {
                "benchmark": each.benchmark,
                "subject": each.subject,
                "figure": each.figure,
                "value": each.value,
                "unit": each.unit,
                "rounds": list(each.rounds),
                "spread": each.spread,
                "note": each.note,
            }
            for each in records
        ],
        "bars": list(bars),
    }
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

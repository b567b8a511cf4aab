"""What the project promises, each promise a ratio of figures measured in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks import (
    agreement,
    captions,
    follow_up,
    load,
    overhead,
    repeat,
    start,
    ten_questions,
)
from benchmarks.record import SPEEDUP, Figures, Unit, quantity
from benchmarks.report import table
from benchmarks.ways import OURS

Measured = Callable[[Figures], float | None]


@dataclass(frozen=True)
class Bar:
    """One promise: a figure that is at least, or at most, so much. Without a measured figure it
    is neither met nor missed. `benchmark` is the one whose speed-ups it is about, if any."""

    text: str
    at_least: bool
    wanted: float
    unit: Unit
    measured: Measured
    benchmark: str = ""
    device: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """What came of a bar; `met` is None where it was not measured."""

    bar: str
    wanted: str
    measured: float | None
    unit: Unit
    met: bool | None


def _best_speedup(benchmark: str, starting: str) -> Measured:
    """The package's best way of those whose name starts so."""
    return lambda figures: max(figures.values(benchmark, SPEEDUP, starting).values(), default=None)


def _plain(figure: str, device: str) -> Measured:
    """The best of the unquantised variants on a device."""

    def measured(figures: Figures) -> float | None:
        found = figures.values(captions.NAME, figure, f"{OURS}, {device}-")
        return max((v for name, v in found.items() if "-int" not in name), default=None)

    return measured


def _repeated(figures: Figures) -> float | None:
    found = figures.values(repeat.NAME, SPEEDUP)
    # The demo's loop is a hundred times faster than any real checkpoint's; its row is no promise.
    return next(
        (
            value
            for name, value in found.items()
            if name.endswith(repeat.AGAIN) and not name.startswith("demo:")
        ),
        None,
    )


def _int4_again(figures: Figures) -> float | None:
    first, again = (
        figures.value(load.NAME, f"cpu-int4, {each}", load.SECONDS)
        for each in (load.FIRST, load.AGAIN)
    )
    return None if first is None or again is None else again / first


def _worst_plan(figures: Figures) -> float | None:
    """How far in per cent the worst variant's memory is from what was planned."""
    planned = figures.values(load.NAME, load.PLANNED)
    in_use = figures.values(load.NAME, load.IN_USE)
    off = [abs(100 * in_use[name] / planned[name] - 100) for name in in_use]
    return max(off, default=None)


def _lost(figures: Figures) -> float | None:
    return max(figures.values(agreement.NAME, agreement.LOST).values(), default=None)


def _overhead(figures: Figures) -> float | None:
    ratio = figures.value(overhead.NAME, overhead.OURS, overhead.RATIO)
    return None if ratio is None else ratio - 100


BARS: Final = (
    Bar(
        "captions in batches, against the card's fp32 loop (unquantised)",
        True,
        7,
        "×",
        _plain(SPEEDUP, "cpu"),
        captions.NAME,
    ),
    Bar(
        "captions in batches, of the roofline (unquantised)",
        True,
        85,
        "%",
        _plain(captions.ROOFLINE, "cpu"),
    ),
    Bar(
        "a follow-up question, against the card's fp32 loop (best variant)",
        True,
        14,
        "×",
        _best_speedup(follow_up.NAME, f"{OURS}, cpu-"),
        follow_up.NAME,
    ),
    Bar(
        "ten questions a picture, by answer, against the card's fp32 loop",
        True,
        25,
        "×",
        _best_speedup(ten_questions.NAME, f"{OURS}, cpu-"),
        ten_questions.NAME,
    ),
    Bar(
        "captions from the store, against the card's fp32 loop",
        True,
        1000,
        "×",
        _repeated,
        repeat.NAME,
    ),
    Bar("second load of int4, of the first", False, 0.125, "", _int4_again),
    Bar("overhead on the demo over bare transformers in batches", False, 5, "%", _overhead),
    Bar(
        "%load_ext blip2_widget",
        False,
        0.5,
        "s",
        lambda figures: figures.value(start.NAME, start.SUBJECT, start.SECONDS),
    ),
    Bar(
        "%load_ext imports torch (1 if it does)",
        False,
        0,
        "",
        lambda figures: figures.value(start.NAME, start.SUBJECT, start.TORCH),
    ),
    Bar("memory in use, off what was planned, worst variant", False, 10, "%", _worst_plan),
    Bar("right answers lost against fp32, worst variant and test set", False, 0.5, "points", _lost),
    Bar(
        "captions in batches on a GPU, against the card's fp16 loop there",
        True,
        15,
        "×",
        _plain(SPEEDUP, "cuda"),
        captions.NAME,
        "cuda",
    ),
    Bar(
        "captions in batches on a GPU, of the roofline",
        True,
        60,
        "%",
        _plain(captions.CEILING, "cuda"),
        device="cuda",
    ),
)


def check(records: Figures) -> list[Outcome]:
    """Every bar against what was measured."""
    outcomes = []
    for bar in BARS:
        measured = bar.measured(records)
        met = None
        if measured is not None:
            met = measured >= bar.wanted if bar.at_least else measured <= bar.wanted
        wanted = f"{'≥' if bar.at_least else '≤'} {bar.wanted:,g} {bar.unit}".strip()
        outcomes.append(Outcome(bar.text, wanted, measured, bar.unit, met))
    return outcomes


def bars_table(outcomes: Sequence[Outcome]) -> str:
    """The bars as a Markdown table."""
    met = {True: "yes", False: "no", None: "not measured"}
    rows = [
        [
            each.bar,
            each.wanted,
            "not measured" if each.measured is None else quantity(each.measured, each.unit),
            met[each.met],
        ]
        for each in outcomes
    ]
    return table(["bar", "wanted", "measured", "met"], rows)


def bars_json(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """The bars as they stand in the JSON."""
    return [asdict(each) for each in outcomes]

"""What the project promises, each promise a ratio of figures measured in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks import (
    agreement,
    captions,
    filtering,
    follow_up,
    gallery,
    index,
    jobs,
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
class Speed:
    """Which speed-ups over the card's loop a bar is about: of a benchmark, by subject."""

    benchmark: str
    about: Callable[[str], bool]

    def best(self, figures: Figures) -> str | None:
        """The subject that is fastest of them."""
        found = figures.values(self.benchmark, SPEEDUP)
        return max(
            (name for name in found if self.about(name)), key=found.__getitem__, default=None
        )

    def __call__(self, figures: Figures) -> float | None:
        return self.figure(figures, SPEEDUP)

    def figure(self, figures: Figures, figure: str) -> float | None:
        """A figure of the fastest: a share of the roofline counts where the speed is."""
        best = self.best(figures)
        return None if best is None else figures.value(self.benchmark, best, figure)


@dataclass(frozen=True)
class Bar:
    """One promise: a figure that is at least, or at most, so much. Without a measured figure it
    is neither met nor missed."""

    text: str
    at_least: bool
    wanted: float
    unit: Unit
    measured: Measured


@dataclass(frozen=True)
class Outcome:
    """What came of a bar; `met` is None where it was not measured."""

    bar: str
    wanted: str
    measured: float | None
    unit: Unit
    met: bool | None


def _ours(device: str) -> Callable[[str], bool]:
    return lambda subject: subject.startswith(f"{OURS}, {device}-")


def _in_batches(device: str) -> Callable[[str], bool]:
    """Unquantised, so that it is the same work as the roofline's."""
    return lambda name: _ours(device)(name) and "-int" not in name and not name.endswith(" 1")


def _from_the_store(subject: str) -> bool:
    # The demo's loop is hundreds of times faster than any real checkpoint's: no promise is made.
    return subject.endswith(repeat.AGAIN) and not subject.startswith("demo:")


_CAPTIONS: Final = Speed(captions.NAME, _in_batches("cpu"))
_CAPTIONS_ON_GPU: Final = Speed(captions.NAME, _in_batches("cuda"))


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


def _of_gallery(figure: str) -> Measured:
    """At 100,000 rows: a quick run has none."""
    return lambda figures: figures.value(gallery.NAME, gallery.AT_SIZE, figure)


def _filtering(figures: Figures) -> float | None:
    """The slowest of what the kernel does at 100,000 rows for a search, a filter and a sort."""
    found = [
        figures.value(filtering.NAME, filtering.AT_SIZE, each)
        for each in (filtering.SEARCH, filtering.FILTER, filtering.SORT)
    ]
    return max((each for each in found if each is not None), default=None)


BARS: Final = (
    Bar("captions in batches, against the card's fp32 loop", True, 7, "×", _CAPTIONS),
    Bar(
        # Which is often one whole batch of a size that was given, and not the default.
        "the fastest row of these, of the roofline at its batch",
        True,
        85,
        "%",
        lambda figures: _CAPTIONS.figure(figures, captions.ROOFLINE),
    ),
    Bar(
        "a follow-up question, against the card's fp32 loop (best variant)",
        True,
        14,
        "×",
        Speed(follow_up.NAME, _ours("cpu")),
    ),
    Bar(
        "ten questions a picture, by answer, against the card's fp32 loop",
        True,
        25,
        "×",
        Speed(ten_questions.NAME, _ours("cpu")),
    ),
    Bar(
        "captions from the store, against the card's fp32 loop",
        True,
        1000,
        "×",
        Speed(repeat.NAME, _from_the_store),
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
    Bar("captions on a GPU, against the card's fp16 loop there", True, 15, "×", _CAPTIONS_ON_GPU),
    Bar(
        "the fastest row of these, of the roofline, all pictures in one batch",
        True,
        60,
        "%",
        lambda figures: _CAPTIONS_ON_GPU.figure(figures, captions.CEILING),
    ),
    Bar("gallery of 100,000 rows: first picture", False, 1, "s", _of_gallery(gallery.FIRST)),
    Bar("the same: longest task, scrolling", False, 0.05, "s", _of_gallery(gallery.TASK)),
    Bar("the same: longest a tile is blank", False, 0.2, "s", _of_gallery(gallery.BLANK)),
    Bar(
        "the same: kernel memory, searched",
        False,
        5e7,
        "bytes",
        _of_gallery(gallery.MEMORY_SEARCHED),
    ),
    Bar("the same: from a key to the filtered view", False, 0.15, "s", _of_gallery(gallery.SEARCH)),
    Bar("the same: synced state", False, 20e3, "bytes", _of_gallery(gallery.STATE)),
    Bar("a search, filter or sort of 100,000 rows in the kernel", False, 0.15, "s", _filtering),
    Bar(
        "the 20 nearest of 1,000,000 vectors",
        False,
        0.2,
        "s",
        lambda figures: figures.value(index.NAME, index.AT_SIZE, index.SECONDS),
    ),
    Bar(
        "the 20 nearest of 1,000,000 pictures by 32 vectors each, made to fall off like a model's",
        False,
        0.2,
        "s",
        lambda figures: figures.value(index.NAME, index.OF_32, index.SECONDS),
    ),
    Bar(
        "a job over 1,000,000 rows of Parquet: what the kernel holds of a further row",
        False,
        100,
        "bytes",
        lambda figures: figures.value(jobs.NAME, jobs.AT_SIZE, jobs.GROWTH),
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


def promised(benchmark: str, subject: str) -> float | None:
    """The speed-up that was promised of a subject, None where none was."""
    for bar in BARS:
        speed = bar.measured
        if isinstance(speed, Speed) and speed.benchmark == benchmark and speed.about(subject):
            return bar.wanted
    return None

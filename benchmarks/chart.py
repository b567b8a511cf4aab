"""Speeds as multiples of the model card's loop: horizontal bars on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import repeat
from benchmarks.bars import promised
from benchmarks.record import SPEEDUP, Record
from benchmarks.ways import OURS

#: Readable on white and on dark alike; the ground is transparent.
_INK, _OURS, _PEER, _WANTED = "#7a7f87", "#2f81c7", "#8f949b", "#d9622b"


@dataclass(frozen=True)
class Row:
    """One horizontal bar; `wanted` is the promised value where there is one."""

    label: str
    ratio: float
    ours: bool
    wanted: float | None


def rows_of(records: Sequence[Record]) -> list[Row]:
    """A row for every speed-up that was measured, in their order."""
    return [
        Row(
            f"{each.benchmark.replace('_', ' ')}: {each.subject}",
            each.value,
            OURS in each.subject or each.benchmark == repeat.NAME,
            promised(each.benchmark, each.subject),
        )
        for each in records
        if each.figure == SPEEDUP and each.value is not None
    ]


def draw(rows: Sequence[Row], file: Path, machine: str) -> None:
    """Write the plot; the file's ending says whether as SVG or PNG."""
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    figure, axes = pyplot.subplots(figsize=(9, 1.4 + 0.32 * len(rows)), layout="constrained")
    places = range(len(rows))
    colours = [_OURS if row.ours else _PEER for row in rows]
    axes.barh(places, [row.ratio for row in rows], color=colours, height=0.62)
    for place, row in zip(places, rows, strict=True):
        axes.annotate(
            f"{row.ratio:,.3g} ×" if row.ratio < 1000 else f"{row.ratio:,.0f} ×",
            (row.ratio, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_INK,
        )
        if row.wanted is not None:
            axes.plot([row.wanted] * 2, [place - 0.42, place + 0.42], color=_WANTED, linewidth=2)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.axvline(1, color=_INK, linewidth=0.8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g} ×"))
    axes.set_yticks(list(places), [row.label for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_title(
        "times as fast as the model card's loop (fp32; on a GPU fp16); orange: promised",
        fontsize=9,
        color=_INK,
        loc="left",
    )
    axes.set_xlabel(machine, fontsize=7, color=_INK)
    axes.tick_params(colors=_INK, which="both")
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(_INK)
    figure.savefig(file, transparent=True)
    pyplot.close(figure)

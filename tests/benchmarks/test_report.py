"""Tables, JSON, bars and the plot, from figures that are made up here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import captions, follow_up, repeat, start
from benchmarks.bars import bars_json, bars_table, check, promised
from benchmarks.chart import draw, rows_of
from benchmarks.record import (
    SPEEDUP,
    Figures,
    Record,
    as_table,
    median_of,
    not_measured,
    quantity,
    write_json,
)

CARD = "the model card's loop, cpu-fp32"
BATCHED, SINGLE = "blip2_widget, cpu-bf16, default batch", "blip2_widget, cpu-bf16, batch 1"
AGAIN = f"opt: {repeat.AGAIN}"


@pytest.fixture
def records() -> list[Record]:
    return [
        median_of(captions.NAME, CARD, captions.FIGURE, "s", [9.0, 8.0, 10.0]),
        median_of(captions.NAME, BATCHED, captions.FIGURE, "s", [1.0]),
        Record(captions.NAME, CARD, SPEEDUP, 1.0, "×"),
        Record(captions.NAME, BATCHED, SPEEDUP, 9.0, "×"),
        Record(captions.NAME, BATCHED, captions.ROOFLINE, 80.0, "%"),
        Record(captions.NAME, SINGLE, SPEEDUP, 3.0, "×"),
        Record(captions.NAME, SINGLE, captions.ROOFLINE, 95.0, "%"),
        not_measured(captions.NAME, "blip2_widget, cuda-bf16", captions.FIGURE, "s", "no GPU"),
        Record(repeat.NAME, AGAIN, SPEEDUP, 3000.0, "×"),
        Record(repeat.NAME, f"demo: {repeat.AGAIN}", SPEEDUP, 30.0, "×"),
        Record(start.NAME, start.SUBJECT, start.TORCH, 0.0, ""),
    ]


def test_a_figure_is_its_median_with_its_spread(records: list[Record]) -> None:
    assert records[0].value == 9.0
    assert records[0].spread == pytest.approx(2 / 9)
    assert records[1].spread is None


def test_a_table_has_a_row_a_subject_and_says_what_is_missing(records: list[Record]) -> None:
    lines = as_table([each for each in records if each.benchmark == captions.NAME]).splitlines()
    assert lines[0].startswith(f"|  | {captions.FIGURE} | {SPEEDUP} |")
    assert lines[2].startswith(f"| {CARD} | 9 s (± 11%) | 1.00 × |")
    assert "| blip2_widget, cuda-bf16 | not measured |" in "\n".join(lines)
    assert lines[-1] == "no GPU: blip2_widget, cuda-bf16"


def test_quantities_are_in_the_size_that_reads_best() -> None:
    assert quantity(0.0123, "s") == "12.3 ms"
    assert quantity(0.0000123, "s") == "12.3 µs"
    assert quantity(7.5e9, "bytes") == "7.50 GB"
    assert quantity(12e6, "bytes") == "12 MB"
    assert quantity(138.4, "bytes") == "138 B"
    assert quantity(3000, "×") == "3,000 ×"


def test_bars_are_checked_where_they_were_measured(records: list[Record]) -> None:
    outcomes = check(Figures(records))
    by_text = {outcome.bar: outcome for outcome in outcomes}
    assert by_text["captions in batches, against the card's fp32 loop"].met is True
    store = by_text["captions from the store, against the card's fp32 loop"]
    assert (store.measured, store.met) == (3000.0, True)  # not the demo's
    assert by_text["%load_ext imports torch (1 if it does)"].met is True
    assert by_text["second load of int4, of the first"].met is None
    assert "| ≥ 7 × | 9.00 × | yes |" in bars_table(outcomes)


def test_the_roofline_counts_where_the_speed_is(records: list[Record]) -> None:
    # A single picture comes nearer to its own, lower roofline; no promise is kept by that.
    shares = [each for each in check(Figures(records)) if each.wanted == "≥ 85 %"]
    assert (shares[0].measured, shares[0].met) == (80.0, False)


def test_the_json_holds_figures_rounds_and_bars(records: list[Record], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    write_json(file, "a machine", "opt", records, bars_json(check(Figures(records))))
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["schema"] == 1
    assert (content["machine"], content["checkpoint"]) == ("a machine", "opt")
    assert content["figures"][0]["rounds"] == [9.0, 8.0, 10.0]
    assert content["figures"][7]["value"] is None and content["figures"][7]["note"] == "no GPU"
    assert {bar["met"] for bar in content["bars"]} == {True, False, None}


def test_the_plot_has_a_row_a_speed_up_with_what_was_promised(
    records: list[Record], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="of the benchmark extra")
    rows = rows_of(records)
    assert [row.wanted for row in rows] == [None, 7, None, 1000, None]
    draw(rows, tmp_path / "speed.svg", "a machine")
    assert "<svg" in (tmp_path / "speed.svg").read_text(encoding="utf-8")
    draw(rows, tmp_path / "speed.png", "a machine")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_only_what_a_bar_is_about_is_promised() -> None:
    assert promised(follow_up.NAME, "blip2_widget, cpu-int4") == 14
    assert promised(follow_up.NAME, CARD) is None
    assert promised(captions.NAME, "blip2_widget, cpu-int8, default batch") is None
    assert promised(captions.NAME, "blip2_widget, cuda-bf16, batch 256") == 15

"""The paper plan: its arithmetic, and that the page holds what it gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import plan
from benchmarks.plan import (
    Pictures,
    assumed_rates,
    cost_table,
    loss_table,
    roofline_rate,
    size_table,
)

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def test_the_page_holds_the_tables_as_they_are_computed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["plan"])
    plan.main()
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert len(tables) == 4
    page = PAGE.read_text(encoding="utf-8")
    for each in tables:
        assert each in page, f"docs/scale.md is older than this:\n\n{each}"


def test_a_rate_is_the_sum_of_its_phases() -> None:
    # By hand: 521 + 13 + 167 GFLOP at 989.5 TFLOP/s, then nine steps that read 5.3 GB for 64
    # answers, and each one's keys and values, at 4.8 TB/s.
    computed = (521e9 + 13e9 + 167e9) / 989.5e12
    read = 9 * (5.3e9 / 64 + 2 * 2 * 37 * 2560 * 32) / 4.8e12
    assert 1 / roofline_rate() == pytest.approx(computed + read, rel=0.01)


def test_a_job_costs_its_pictures_by_the_rate() -> None:
    line = cost_table({"measured": 100.0}, [3.6e5, 3.6e8], {"mine": Pictures(0.02, 1e5)})
    assert line.splitlines()[-1] == "| measured | 100 | 1 | 1,000 | 2 cores, 10 MB/s |"


def test_sizes_go_by_the_pictures_and_parts() -> None:
    lines = size_table([4096.0, 4096e3], 100.0, Pictures(0.02, 1e6)).splitlines()
    cells = {line.split(" | ")[0]: line.split(" | ")[1:] for line in lines}
    assert cells["| the pictures' files"] == ["4.1 GB", "4.1 TB |"]
    assert cells["| features in 16 bit"] == ["201 MB", "201 GB |"]
    assert cells["| parts of 512 rows (as it is by itself)"] == ["8", "8,000 |"]


def test_a_lost_machine_costs_its_pieces_in_chunks() -> None:
    disk, store = (
        float(line.split(" | ")[1].split()[0]) * 60 for line in loss_table(gpus=1).splitlines()[2:4]
    )
    # 512 rows, in batches too small for the rate of 64, and a note for each of 23 chunks.
    rate = 0.6 * roofline_rate()
    assert 512 / rate < disk < 1.5 * 512 / rate
    assert store - disk == pytest.approx(23 * 0.1, abs=0.3)


def test_what_was_measured_takes_the_place_of_what_is_assumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["plan", "--pictures", "7.2e6", "--rate", "200", "--opening", "0.05", "--bytes", "1e6"]
    monkeypatch.setattr(sys, "argv", asked)
    plan.main()
    told = capsys.readouterr().out
    assert "| measured | 200 | 10 | 10 cores, 0.20 GB/s |" in told
    assert "| the pictures' files | 7.2 TB |" in told and "roofline" not in told


def test_no_assumed_rate_passes_the_roofline() -> None:
    rates = list(assumed_rates().values())
    assert rates == sorted(rates, reverse=True) and rates[0] == roofline_rate()

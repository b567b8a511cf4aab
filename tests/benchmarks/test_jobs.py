"""What is measured of jobs: their rates, and that every part of it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import jobs
from benchmarks.bars import check
from benchmarks.pictures import small_files
from benchmarks.process import ProcessFailed, call
from benchmarks.record import Figures
from benchmarks.setting import Setting

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_rate_begins_when_all_are_at_work_and_ends_while_they_are() -> None:
    # Ten rows at a time: one actor for two pieces, two for four, and one for the last.
    moments = [(0.0, 0), (10.0, 10), (10.5, 10), (20.0, 20), (24.0, 30), (28.0, 40), (45.0, 50)]
    assert jobs.steady(moments, since=20.0, actors=2) == pytest.approx(8 / 20)
    assert jobs.steady(moments, since=0.0, actors=1) == pytest.approx(35 / 40)
    with pytest.raises(ValueError, match="more rows"):
        jobs.steady(moments, since=28.0, actors=2)


def test_each_way_is_held_against_the_local_engine_of_its_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(tmp_path, tmp_path, rounds=2, quick=False, devices=("cpu",))
    seconds = {0: iter([1.0, 3.0]), 1: iter([2.0, 4.0])}

    def made_up(function: Any, cache: Path, **asked: Any) -> Any:
        if function is jobs.load:
            return None
        if asked["actors"] == 2:
            raise ProcessFailed("no room")
        return {jobs.FIGURE: next(seconds[asked["actors"]])}

    monkeypatch.setattr(jobs, "call", made_up)
    how = {"variant": "cpu-fp32", "batch": 4, "part": 4}
    found = Figures(jobs._rates(setting, "x", "pictures", **how))
    way = "x, cpu-fp32, {}".format
    assert found.value(jobs.NAME, way("1 actor"), jobs.FIGURE) == 3.0
    assert found.value(jobs.NAME, way("1 actor"), jobs.RATIO) == (1 / 2 + 3 / 4) / 2
    assert found.value(jobs.NAME, way("local engine"), jobs.RATIO) is None
    (missing,) = (each for each in found.records if each.subject == way("2 actors"))
    assert missing.value is None and missing.note == "no room"

    seconds |= {0: iter([1.0, 3.0]), 1: iter([2.0, 4.0])}
    found = Figures(jobs._rates(setting, "x", "pictures", instant=True, **how))
    assert found.value(jobs.NAME, way("1 actor"), jobs.OVERHEAD) == 1.0


def test_memory_a_further_row_is_counted_from_the_first_tenth_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(tmp_path, tmp_path, rounds=1, quick=False, devices=("cpu",))
    told = {jobs.FIGURE: 1e-4, jobs.AGAIN: 1e-3, jobs.BYTES: 150.0}
    held = {jobs.DRIVER: [600_000_000, 610_000_000, 645_000_000]}
    monkeypatch.setattr(jobs, "call", lambda *_, **__: told | {"held": held})
    found = Figures(jobs._memory(setting, jobs.PARQUET, 1_000_000, tmp_path))
    assert found.value(jobs.NAME, jobs.AT_SIZE, jobs.GROWTH) == pytest.approx(50)
    assert found.value(jobs.NAME, jobs.AT_SIZE, "after half") == 610_000_000
    (bar,) = (each for each in check(found) if each.met is not None)
    assert bar.met is True and "1,000,000 rows of Parquet" in bar.bar


def test_the_local_engine_is_timed_without_ray(tmp_path: Path) -> None:
    small_files(24, tmp_path / "small")
    found = call(
        jobs.time_captions,
        tmp_path / "cache",
        folder=str(tmp_path / "small"),
        model="demo",
        variant="cpu-fp32",
        batch=4,
        part=4,
        actors=0,
    )
    assert set(found) == {jobs.FIGURE, jobs.STARTUP}
    assert 0 < found[jobs.FIGURE] < found[jobs.STARTUP]


@pytest.mark.cluster
def test_actors_are_timed_with_a_model_that_answers_at_once(tmp_path: Path) -> None:
    small_files(60, tmp_path / "small")
    found = call(
        jobs.time_captions,
        tmp_path / "cache",
        folder=str(tmp_path / "small"),
        model="demo",
        variant="cpu-fp32",
        batch=4,
        part=10,
        actors=1,
        instant=True,
    )
    assert found[jobs.ACTORS] == 1
    assert 0 < found[jobs.FIGURE] < found[jobs.STARTUP] and 100 < found[jobs.BYTES] < 5000


@pytest.mark.cluster
def test_memory_is_told_of_everybody_at_every_moment(tmp_path: Path) -> None:
    found = call(
        jobs.hold,
        tmp_path / "cache",
        rows=1500,
        kind=jobs.PARQUET,
        folder=str(tmp_path),
        quick=True,
    )
    held = found["held"]
    assert set(held) == {jobs.DRIVER, jobs.ACTOR, jobs.OPENER, jobs.RAY}
    assert all(len(sizes) == 3 and min(sizes) > 10e6 for sizes in held.values())
    assert found[jobs.AGAIN] > 0

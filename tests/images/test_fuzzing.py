"""Mutated image files, a few hundred of each format; `python -m benchmarks fuzzing` takes more."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import fuzzing
from benchmarks.process import ProcessFailed
from blip2_widget.images import load_image

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", fuzzing.ORIGINALS)
def test_no_mutant_crashes_hangs_fills_the_memory_or_moves_a_row(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found: dict[str, float] = {}
    deadly: list[int] = []
    fuzzing.tally(tmp_path, kind, 0, 300, found, deadly)
    assert deadly == []
    assert found[fuzzing.MUTANTS] == found[fuzzing.READ] + found[fuzzing.REFUSED] == 300
    assert found[fuzzing.OTHER] == found[fuzzing.MOVED] == 0
    assert found[fuzzing.SLOWEST] < fuzzing.SECONDS
    assert found.get(fuzzing.MEMORY, 0) < fuzzing.MEMORY_LIMIT


@pytest.mark.parametrize("kind", fuzzing.ORIGINALS)
def test_mutants_are_made_of_pictures_and_are_the_same_every_time(kind: str) -> None:
    originals = fuzzing.ORIGINALS[kind]()
    assert all(load_image(each).mode == "RGB" for each in originals)
    made = list(fuzzing.mutants(kind, 0, 50))
    assert made[20:] == list(fuzzing.mutants(kind, 20, 30))
    assert len(set(made)) > 40 and sum(each in originals for each in made) < 5


def test_the_mutant_that_a_process_dies_of_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(_: object, __: Path, *, kind: str, first: int, count: int) -> dict[str, float]:
        if first <= 13 < first + count or first <= 40 < first + count:
            raise ProcessFailed("killed by signal 11")
        return {fuzzing.MUTANTS: count, fuzzing.SLOWEST: first}

    monkeypatch.setattr(fuzzing, "call", call)
    found: dict[str, float] = {}
    deadly: list[int] = []
    fuzzing.tally(tmp_path, "PNG", 0, 64, found, deadly)
    assert deadly == [13, 40] and found == {fuzzing.MUTANTS: 62, fuzzing.SLOWEST: 48}

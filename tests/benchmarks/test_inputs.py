"""What the paper plan is computed from, measured on next to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import inputs
from benchmarks.inputs import BYTES, FILE, OPENING, SECONDS
from benchmarks.pictures import photo


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BLIP2_WIDGET_CACHE", str(tmp_path))


def test_opening_is_timed_on_files_as_large_as_photographs() -> None:
    found = inputs.opening(500, 375, 2)
    assert found[OPENING] > 0 and 20e3 < found[FILE] < 200e3
    assert photo(500, 375, "a") != photo(500, 375, "b")


def test_parts_and_the_store_are_told_by_row() -> None:
    found = inputs.parts(3) | inputs.stored(6400)
    # A key alone is 64 characters, of which 32 bytes cannot be packed; an answer has three.
    assert 32 < found["a row in a part"][BYTES] < 1000
    assert found["going on with a part"][SECONDS] > found["a row in a part"][SECONDS] > 0
    assert 3 * 64 < found["an answer in the store"][BYTES] < 2000
    assert found["an answer in memory, without the store"][BYTES] < 2000


def test_pieces_are_told_by_row() -> None:
    found = inputs.held(2048)
    assert set(found) == {"a row of a list, in the kernel", "a sample of WebDataset, in the kernel"}
    assert all(each[SECONDS] > 0 for each in found.values())

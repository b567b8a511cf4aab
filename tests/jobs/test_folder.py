"""Of a job's folder a gallery reads what it shows, and of all rows no more than one column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import blip2_widget
from blip2_widget.jobs import Parts
from tests.jobs.conftest import CAPTION
from tests.jobs.made import COLOUR, Maker, until


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """What is read of parts from now on: the part and the columns."""
    found: list[tuple[int, Any]] = []
    plain = Parts._read

    def noted(parts: Parts, place: str, columns: Any = None) -> Any:
        found.append((int(place[-16:-8]), columns))
        return plain(parts, place, columns)

    monkeypatch.setattr(Parts, "_read", noted)
    return found


def test_a_page_reads_its_parts_once_and_no_thumbnail(
    drawn: list[str], out: Path, read: list[tuple[int, Any]]
) -> None:
    Maker(str(out), drawn[:12]).make_all()
    result = blip2_widget.explore(out)
    read.clear()
    for _ in range(2):
        assert all(result.board.cell(row, 0).answer for row in range(3, 9))
    assert [number for number, _ in read] == [1, 2]
    assert all("thumbnail" not in columns for _, columns in read)


def test_what_counts_say_is_not_read(
    drawn: list[str], out: Path, read: list[tuple[int, Any]]
) -> None:
    pictures = [*drawn[:4], "/nowhere.png", *drawn[5:12]]
    Maker(str(out), pictures, CAPTION, COLOUR).make_all()
    result = blip2_widget.explore(out)
    gallery = result.gallery
    read.clear()
    for at in range(2):
        gallery.show(filters=[{"key": f"state:{at}", "values": ["error"]}])
        assert list(gallery.filtered) == [4]
    # Of the two prompts one has failed in part 1.
    assert {number for number, _ in read} <= {1}
    gallery.show(filters=[{"key": "error", "values": ["true"]}])
    assert list(gallery.filtered) == [4]
    answer = result.board.cell(7, 1).answer
    read.clear()
    gallery.show(sort="confidence:1")
    gallery.show(filters=[{"key": "answer:1", "values": [answer]}])
    assert 7 in list(gallery.filtered)
    assert read == [(at, [name]) for name in ("logprob", "model_answer") for at in range(4)]


def test_reviews_are_found_of_rows_that_nobody_looked_at(drawn: list[str], out: Path) -> None:
    Maker(str(out), drawn[:9]).make_all()
    blip2_widget.explore(out).review(5, "accept")
    result = blip2_widget.explore(out)
    gallery = result.gallery
    until(lambda: 5 in result.board.pictures.keys)
    gallery.catch_up()
    gallery.show(filters=[{"key": "review:0", "values": ["accepted"]}])
    assert list(gallery.filtered) == [5] and set(result.board.pictures.keys) == {5}


def test_each_is_what_the_cells_say(drawn: list[str], out: Path) -> None:
    maker = Maker(str(out), [*drawn[:4], "/nowhere.png", *drawn[5:12]], CAPTION, COLOUR)
    maker.make(1, 3)
    result = blip2_widget.explore(out)
    result.cancel()
    run = result.board.run_of(0)
    for prompt in range(2):
        for field in ("answer", "state", "logprob"):
            each = [getattr(run.cell(row, prompt), field) for row in range(12)]
            assert list(run.each(field, prompt)) == each

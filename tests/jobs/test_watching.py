"""A job's folder is explored without the line that made it, while it fills and afterwards."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.jobs import turn
from tests.jobs.conftest import CAPTION
from tests.jobs.made import COLOUR, Maker, until


def states(result: Any) -> list[str]:
    return [result.board.cell(row, 0).state for row in range(len(result.board))]


def test_it_shows_what_was_asked_and_answered(drawn: list[str], out: Path) -> None:
    pictures = [*drawn[:4], "/nowhere.png", *drawn[5:8]]
    Maker(str(out), pictures, CAPTION, COLOUR).make_all()
    result = blip2_widget.explore(out)
    assert result.progress.state == "done" and result.progress.total == 16
    assert result.progress.seconds is None  # it took others' time
    assert result.progress.model == "demo" and result.progress.variant == "cpu-fp32"
    assert result.board.prompts == [CAPTION, COLOUR]
    frame = result.wait().df
    assert list(frame.photo) == pictures
    asked = {"caption": "", "colour": COLOUR.text}
    here = blip2_widget.ask(pictures, {"colour": asked["colour"]}, variant="cpu-fp32")
    assert list(frame.colour) == list(here.wait().df.colour)
    assert list(result.errors.row) == [4, 4] and set(result.errors.kind) == {"not-found"}
    assert set(result.board.pictures.errors) == {4}
    assert result.board.pictures.load(0).size == (64, 64)


def test_new_parts_appear_by_themselves(
    drawn: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blip2_widget.jobs.watching._EVERY", 0.02)
    maker = Maker(str(out), drawn[:9])
    maker.make(1)
    result = blip2_widget.explore(str(out))
    assert states(result) == ["waiting"] * 3 + ["done"] * 3 + ["waiting"] * 3
    assert result.progress.state == "running" and "looked for every" in result.progress.note
    told: list[int] = []
    result.board.subscribe(told.extend)
    with pytest.raises(Blip2Error, match="not there yet"):
        result.board.pictures.look(0)
    maker.make(2)
    until(lambda: result.progress.done == 6)
    assert told == [6, 7, 8]
    assert "nobody" in result.progress.note
    turn.take(maker.parts)
    until(lambda: "nobody" not in result.progress.note)
    maker.make(0)
    result.wait(60)
    until(lambda: result.progress.state == "done")
    assert states(result) == ["done"] * 9 and not result.board.pictures.errors
    assert result.progress.rate is not None
    assert result.board.pictures.look(0)[0].size == (64, 64)


def test_it_stops_looking_and_goes_on(
    drawn: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blip2_widget.jobs.watching._EVERY", 0.02)
    maker = Maker(str(out), drawn[:6])
    result = blip2_widget.explore(str(out))
    result.cancel()
    assert result.progress.state == "cancelled" and set(states(result)) == {"cancelled"}
    maker.make_all()
    result.retry().wait(60)
    assert set(states(result)) == {"done"}


def test_what_is_answered_again_is_read_again(
    drawn: list[str], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blip2_widget.jobs.watching._EVERY", 0.02)
    late = tmp_path / "late.png"
    maker = Maker(str(out), [*drawn[:2], str(late), *drawn[3:6]])
    maker.make(0)
    result = blip2_widget.explore(str(out))
    assert states(result)[2] == "error" and result.progress.failed == 1
    late.write_bytes(Path(drawn[2]).read_bytes())
    maker.make(0)
    until(lambda: states(result)[2] == "done")
    assert not result.board.pictures.errors and result.progress.failed == 0
    result.cancel()


def test_another_job_in_the_folder_ends_it(
    drawn: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blip2_widget.jobs.watching._EVERY", 0.02)
    Maker(str(out), drawn[:6])
    result = blip2_widget.explore(str(out))
    told = json.loads((out / "_job.json").read_text())
    (out / "_job.json").write_text(json.dumps(told | {"fingerprint": "x"}))
    with pytest.raises(Blip2Error, match="another job"):
        result.wait(60)


def test_pictures_that_nobody_can_open_again_are_those_in_the_parts(
    drawn: list[str], out: Path
) -> None:
    data = Path(drawn[0]).read_bytes()
    Maker(str(out), [data, Image.open(drawn[1]), drawn[2]]).make_all()
    result = blip2_widget.explore(out).wait()
    pictures = result.board.pictures
    assert [pictures.load(row).size for row in range(3)] == [(64, 64)] * 3
    assert list(result.df.photo) == ["0", "1", drawn[2]]
    # What is known of the picture is what was answered, and not what is kept of it.
    pictures.look(0)
    here = blip2_widget.caption([io.BytesIO(data)], variant="cpu-fp32").wait()
    assert pictures.keys[0] == here.board.pictures.keys[0]


def test_a_folder_lies_wherever_fsspec_reaches(drawn: list[str]) -> None:
    Maker("memory://watched/answers", drawn[:5]).make_all()
    result = blip2_widget.explore("memory://watched/answers").wait()
    assert states(result) == ["done"] * 5
    assert repr(result) == "caption · 5 pictures · demo"


def test_reviews_are_kept_and_exported(drawn: list[str], out: Path, tmp_path: Path) -> None:
    Maker(str(out), drawn[:6]).make_all()
    result = blip2_widget.explore(out)
    result.review(1, "correct", "a brick").review(2, "accept")
    again = blip2_widget.explore(out)
    assert again.df.caption[1] == "a brick"
    path = again.export(tmp_path / "all.parquet")
    frame = pd.read_parquet(path)
    assert list(frame.picture) == drawn[:6] and frame.corrected[1] == "a brick"
    assert frame.review[2] == "accepted" and set(frame.variant) == {"cpu-fp32"}


def test_what_needs_the_line_that_made_it_is_said(drawn: list[str], out: Path) -> None:
    Maker(str(out), [*drawn[:2], "/nowhere.png"]).make_all()
    result = blip2_widget.explore(out)
    with pytest.raises(Blip2Error, match="the line that made them"):
        result.retry()
    assert set(result.board.pictures.errors) == {2}
    with pytest.raises(Blip2Error, match="the line that made them"):
        result.ask(0, "what colour is it?")
    for options in ({"n": 2}, {"sample": 2}, {"frame": pd.DataFrame({"a": [1]})}):
        with pytest.raises(Blip2Error, match="leave"):
            blip2_widget.explore(out, **options)


def test_more_can_be_asked_as_a_new_column(drawn: list[str], out: Path) -> None:
    Maker(str(out), drawn[:4]).make_all()
    result = blip2_widget.explore(out, variant="cpu-fp32")
    result.gallery._ask_many(COLOUR.text, None)
    here = blip2_widget.ask(drawn[:4], COLOUR.text, variant="cpu-fp32").wait()
    assert list(result.wait(60).df[COLOUR.text]) == list(here.df.answer)


def test_a_part_that_is_damaged_costs_its_own_rows_until_it_is_whole(
    drawn: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blip2_widget.jobs.watching._EVERY", 0.02)
    maker = Maker(str(out), drawn[:9])
    maker.make_all()
    (out / "part-00000001.parquet").write_bytes(b"PAR1 no more")
    result = blip2_widget.explore(out)
    assert states(result) == ["done"] * 3 + ["waiting"] * 3 + ["done"] * 3
    until(lambda: "1 parts cannot be read" in result.progress.note)
    maker.make(1)
    assert states(result.wait(60)) == ["done"] * 9


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"prompts": 3}'])
def test_a_damaged_description_is_told_in_one_line(text: str, drawn: list[str], out: Path) -> None:
    Maker(str(out), drawn[:3]).make_all()
    (out / "_job.json").write_text(text)
    with pytest.raises(Blip2Error, match=r"_job\.json") as told:
        blip2_widget.explore(out)
    assert "\n" not in str(told.value)


def test_any_other_folder_is_one_of_pictures(drawn: list[str]) -> None:
    result = blip2_widget.explore(Path(drawn[0]).parent)
    assert len(result.board) == 96 and not result.board.prompts

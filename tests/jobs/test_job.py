"""A job whose parts are all there, which needs no cluster, is asked as a run here is asked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.jobs.on_ray import Plan, Resources
from blip2_widget.jobs.parts import Counts
from tests.jobs.conftest import demo_spec
from tests.jobs.made import Maker

pytest.importorskip("ray")


def answered(pictures: list[str], out: Path) -> Any:
    """What the same line as the maker's gives, which has nothing to do."""
    return blip2_widget.caption(
        pictures, model="demo", max_new_tokens=10, engine="ray", out=out, rows_per_part=3
    )


def test_one_picture_is_asked_as_a_run_here_asks_it(drawn: list[str], out: Path) -> None:
    Maker(str(out), drawn[:6]).make_all()
    result = answered(drawn[:6], out)
    here = blip2_widget.caption(drawn[:6], model="demo", max_new_tokens=10)
    assert list(result.wait(60).df.caption) == list(here.wait(60).df.caption)
    for text in (" what colour is it? ", "a {big}", ""):
        for each in (result, here):
            each.ask(1, text).wait(60)
        asked, same = result.board.cell(1, 0), here.board.cell(1, 0)
        assert (asked.prompt, asked.kind) == (same.prompt, same.kind)
        assert (asked.state, asked.answer) == ("done", same.answer)
    result.ask(1, "what colour is it?").wait(60)
    assert result.board.cell(1, 0).answer == "blue"
    assert list(result.board.run_of(0).each("answer", 0))[1] == "blue"
    assert result.progress.state == "done" and result.df.caption[2] == here.df.caption[2]


def test_what_was_asked_and_failed_is_asked_again(
    drawn: list[str], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late.png"
    pictures = [*drawn[:2], str(late)]
    Maker(str(out), pictures).make_all()
    result = answered(pictures, out)
    result.ask(2, "what colour is it?").wait(60)
    assert result.board.cell(2, 0).error_kind == "not-found"
    late.write_bytes(Path(drawn[1]).read_bytes())
    begun: list[Any] = []
    monkeypatch.setattr(
        "blip2_widget.jobs.job.Job._begin", lambda _, numbers: begun.append(numbers)
    )
    result.retry().wait(60)
    assert result.board.cell(2, 0).answer == "blue" and begun == [[0]]


def test_what_is_to_be_replaced_is_there_until_it_begins(
    drawn: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Maker(str(out), drawn[:6]).make_all()
    there = {path.name: path.read_bytes() for path in out.iterdir()}
    result = blip2_widget.ask(
        drawn[:6], "what colour is it?", engine="ray", out=out, overwrite=True, start=False
    )
    assert result.progress.done == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == there
    monkeypatch.setattr("blip2_widget.jobs.job.Job._begin", lambda *_: None)
    result.board.run_of(0).start()
    assert [path.name for path in out.iterdir()] == ["_job.json"]


def test_what_cannot_be_is_said_in_one_line(drawn: list[str], out: Path) -> None:
    Maker(str(out), drawn[:4]).make_all()
    with pytest.raises(Blip2Error, match="another job"):
        blip2_widget.caption(drawn[:4], engine="ray", out=out, max_new_tokens=5)
    files = str(out / "part-*.parquet")
    with pytest.raises(Blip2Error, match="n and sample"):
        blip2_widget.caption(files, engine="ray", out=out / "x", column="picture", n=3)
    with pytest.raises(Blip2Error, match="actors"):
        blip2_widget.caption(drawn, actors=2)
    frame = pd.DataFrame({"image": drawn[:2], "options": ["red,blue"] * 2})
    with pytest.raises(Blip2Error, match="own choices"):
        blip2_widget.ask(
            frame.image, "which?", engine="ray", out=out / "x", frame=frame, choices="{options}"
        )
    with pytest.raises(Blip2Error, match="'local' or 'ray'"):
        blip2_widget.caption(drawn, engine="spark")


def test_a_folder_in_which_another_process_answers_is_left_alone(
    drawn: list[str], out: Path
) -> None:
    Maker(str(out), drawn[:4]).make(0)
    note = {"job": "theirs", "host": "another", "process": 1, "at": time.time()}
    (out / "_turn.json").write_text(json.dumps(note))
    with pytest.raises(Blip2Error, match="process 1 on another is answering into"):
        answered(drawn[:4], out)


def test_a_variant_of_other_machines_is_asked_for_by_its_name(
    drawn: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = blip2_widget.caption(
        drawn[:2], engine="ray", out=out, variant="cuda-int4", start=False
    )
    assert result.progress.variant == "cuda-int4"
    with pytest.raises(Blip2Error, match="fast"):
        blip2_widget.caption(drawn[:2], engine="ray", out=out, variant="fast", start=False)


def test_a_part_that_is_not_seen_here_ends_the_job(
    drawn: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Counts(first=0, rows=3, answered=3, failed=0, cached=0)
    spread = Plan(demo_spec().variant, Resources(1, 0, 0), 1)
    monkeypatch.setattr("blip2_widget.jobs.on_ray.plan", lambda *_: spread)
    monkeypatch.setattr("blip2_widget.jobs.on_ray.run", lambda *_: iter([(0, written)]))
    result = blip2_widget.caption(drawn[:3], engine="ray", out=out)
    with pytest.raises(Blip2Error, match="a folder that all machines share"):
        result.wait(60)
    assert result.progress.state == "failed" and result.progress.done == 0

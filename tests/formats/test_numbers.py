"""What was measured, scored and ranked leaves in files with the answers, or without any."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow.parquet as pq
import pytest
import webdataset

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import COLUMNS
from blip2_widget.notebook.result import Result
from blip2_widget.session import Session
from tests.formats.made import FORMATS, answered, pictures


def read(result: Result, folder: Path, name: str) -> list[dict[str, Any]]:
    """An export's lines, as the format's own reader gives them; empty fields of CSV are None."""
    path = result.export(folder / FORMATS[name], name)
    if name == "parquet":
        return list(pq.read_table(path).to_pylist())
    if name == "csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {key: value or None for key, value in line.items()} for line in csv.DictReader(file)
            ]
    if name == "jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if name == "webdataset":
        members = webdataset.WebDataset(str(path), shardshuffle=False)
        return [each for one in members for each in json.loads(one["json"])["answers"]]
    return list(datasets.load_from_disk(str(path)).remove_columns("image"))


@pytest.fixture
def frame(own_session: Session) -> pd.DataFrame:
    """Three samples and what is no picture, under an index of its own."""
    own_session.defaults.model = "demo"
    frame = pd.concat([demo.samples().head(3), pd.DataFrame({"image": ["gone.png"]})])
    return frame.set_index(pd.Index(list("abcd")))


@pytest.mark.parametrize("name", ["parquet", "csv", "jsonl", "dataset", "webdataset"])
@pytest.mark.parametrize("sub", ["match", "search"])
def test_what_was_measured_is_written_with_its_numbers(
    frame: pd.DataFrame, tmp_path: Path, name: str, sub: str
) -> None:
    options: dict[str, Any] = {"n": 2} if sub == "search" else {}
    call = getattr(blip2_widget, sub)
    result = call(frame.image, "a red circle", frame=frame, **options).wait(60)
    columns = [f"{kind}: a red circle" for kind in ("match", "similarity")]
    columns = ["rank: a red circle", *columns[::-1]] if options else columns
    lines = read(result, tmp_path, name)
    assert [line["row"] for line in lines] == list("abcd")
    assert [line["state"] for line in lines] == ["done"] * 3 + ["error"]
    assert list(lines[0]) == [*COLUMNS, *columns]
    for column in columns:
        known = [None if math.isnan(each) else each for each in result.df[column]]
        found = [None if line[column] is None else float(line[column]) for line in lines]
        assert found == known and known[3] is None and known[:3] != [None] * 3
    assert "gone.png" in str(lines[3]["error"]) and lines[0]["model"] == "demo-retrieval"
    assert all(line["answer"] is None and line["prompt"] is None for line in lines)


@pytest.mark.parametrize("name", ["parquet", "csv", "jsonl", "dataset"])
def test_scores_and_choices_stand_beside_their_answers(
    frame: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    options: dict[str, Any] = {"frame": frame, "choices": ["red", "blue", "green"]}
    result = blip2_widget.ask(frame.image, "what is the color of the shape?", **options).wait(60)
    result.score(["red", "blue", "green", "red"])
    lines = read(result, tmp_path, name)
    for column in ("red", "blue", "green", "VQA accuracy"):
        found = [math.nan if line[column] is None else float(line[column]) for line in lines]
        pd.testing.assert_series_equal(
            pd.Series(found, index=list("abcd"), name=column), result.df[column]
        )


def test_what_is_asked_of_some_measured_pictures_leaves_the_others_in(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    result = blip2_widget.match(frame.image, "a circle", frame=frame).wait(60)
    result.gallery._ask_many("how many shapes are there?", [1])
    lines = read(result.wait(60), tmp_path, "jsonl")
    assert [(line["row"], line["prompt"] is not None) for line in lines] == [
        *(("a", False), ("b", True), ("c", False), ("d", False))
    ]
    assert all(line["match: a circle"] is not None for line in lines[:3])


def test_formats_that_hold_texts_say_that_there_are_none(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    result = blip2_widget.match(frame.image, "a circle", frame=frame).wait(60)
    for path, format, what in (
        (tmp_path / "a.json", None, "a COCO file holds texts"),
        (tmp_path, "sidecar", "a sidecar holds texts"),
    ):
        with pytest.raises(Blip2Error, match=what):
            result.export(path, format)
    assert not list(tmp_path.glob("*.*"))
    # A file of numbers has nothing for a run to take in.
    path = result.export(tmp_path / "a.csv")
    assert blip2_widget.import_answers(path, frame.image).texts == 0


def test_a_number_s_name_is_no_other_column_s(tmp_path: Path) -> None:
    result = answered(pictures(tmp_path / "in", ["0.png"]), ["a dog"])
    names = ["state", "Photo", "photo", "=1+1", "State", "half \ud800"]
    for at, name in enumerate(names):
        result.board.put(name, lambda _row, at=at: at / 8)  # type: ignore[misc]
    columns = ["state_2", "Photo_2", "photo_3", "=1+1", "State_3", "half \ufffd"]
    (line,) = read(result, tmp_path, "parquet")
    assert list(line) == [*COLUMNS, *columns] and line["state"] == "done"
    assert [line[column] for column in columns] == [at / 8 for at in range(6)]
    (line,) = read(result, tmp_path, "csv")
    assert "'=1+1" in line and "=1+1" not in line  # no formula in a head either
    imported = blip2_widget.import_answers(tmp_path / "a.csv")
    assert (imported.texts, len(imported.errors)) == (1, 0)

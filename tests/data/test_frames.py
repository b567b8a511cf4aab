"""Answers leave in a frame that is the caller's own with columns beside it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.session import Session


@pytest.fixture(autouse=True)
def tiny(own_session: Session, tiny_opt: Path) -> None:
    own_session.defaults.model = str(tiny_opt)
    own_session.defaults.max_new_tokens = 3


INDEXES: dict[str, pd.Index[Any]] = {
    "range": pd.RangeIndex(3),
    "texts": pd.Index(["x", "y", "z"]),
    "duplicates": pd.Index([7, 7, 7]),
    "two levels": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
    "dates": pd.date_range("2026-01-01", periods=3),
}


@pytest.mark.parametrize("index", INDEXES)
def test_the_frame_keeps_its_index_and_columns(index: str, noise: list[Image.Image]) -> None:
    frame = pd.DataFrame({"image": noise[:3], "kind": [1, 2, 3]}, index=INDEXES[index])
    before = frame.copy()
    result = blip2_widget.caption(frame.image, frame=frame).wait(60)
    assert list(result.df.columns) == ["image", "kind", "caption"]
    assert result.df.index.equals(frame.index)
    assert list(result.df.caption) == [
        result.run.cell(row, 0).answer for row in range(len(result.board))
    ]
    pd.testing.assert_frame_equal(frame, before)


def test_a_column_in_another_order_than_its_frame_is_refused(noise: list[Image.Image]) -> None:
    frame = pd.DataFrame({"image": noise[:3]})
    with pytest.raises(Blip2Error, match=r"give the frame in that order"):
        blip2_widget.caption(frame.image[::-1], frame=frame)
    turned = frame[::-1]
    result = blip2_widget.caption(turned.image, frame=turned, n=2).wait(60)
    assert list(result.df.index) == [2, 1] and list(result.df.image) == [noise[2], noise[1]]


def test_the_indexs_name_is_kept_without_a_frame(noise: list[Image.Image]) -> None:
    series = pd.Series(noise[:3], index=pd.Index(["a", "b", "c"], name="kind"))
    assert blip2_widget.caption(series, n=2).wait(60).df.index.name == "kind"


def test_a_name_that_is_taken_gets_a_number(noise: list[Image.Image]) -> None:
    frame = pd.DataFrame({"image": noise[:2], "caption": ["mine"] * 2, "caption_2": ["too"] * 2})
    result = blip2_widget.caption(frame.image, frame=frame).wait(60)
    assert list(result.df.columns) == ["image", "caption", "caption_2", "caption_3"]
    assert list(result.df.caption) == ["mine", "mine"]


@pytest.mark.parametrize(
    "values",
    [
        [np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.uint8)],
        [Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4))],
        np.zeros((2, 4, 4, 3), np.uint8),
        [b"", None],
        [{"bytes": b"x", "path": None}, {"bytes": None, "path": "gone.png"}],
    ],
)
def test_pictures_without_a_frame_stand_in_a_column_of_their_own(values: Any) -> None:
    frame = blip2_widget.ask(values, {"n": "how many?"}).wait(60).df
    assert list(frame.columns) == ["image", "n"] and len(frame) == 2
    assert type(frame.image[0]) is type(values[0])


def test_a_frame_before_the_answers_has_none_where_they_will_be(noise: list[Image.Image]) -> None:
    result = blip2_widget.caption(noise[:2], start=False)
    assert list(result.df.caption) == [None, None]
    assert list(result.answers.state) == ["waiting", "waiting"]


def test_every_answer_has_a_line(noise: list[Image.Image]) -> None:
    asked = {"a": "what is it?", "b": "how many?"}
    result = blip2_widget.ask([noise[0], b"broken"], asked, variant="cpu-fp32").wait(60)
    lines = result.answers
    assert list(zip(lines.row, lines.name, strict=True)) == [
        (0, "a"),
        (0, "b"),
        (1, "a"),
        (1, "b"),
    ]
    assert list(lines.prompt) == ["what is it?", "how many?"] * 2
    assert list(lines.state) == ["done", "done", "error", "error"]
    assert set(lines.variant) == {"cpu-fp32"} and not lines.cached.any()
    errors = result.errors
    assert list(errors.columns) == ["row", "picture", "name", "prompt", "kind", "error"]
    assert list(errors.name) == ["a", "b"] and list(errors.index) == [0, 1]
    assert errors.error.str.contains("is not a picture").all()


def test_without_errors_the_frame_of_them_is_empty(noise: list[Image.Image]) -> None:
    errors = blip2_widget.caption(noise[:1]).wait(60).errors
    assert len(errors) == 0 and "error" in errors.columns


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "dataset"])
def test_computed_numbers_stand_behind_the_answers(kind: str, noise: list[Image.Image]) -> None:
    def png(image: Image.Image) -> bytes:
        data = io.BytesIO()
        image.save(data, "PNG")
        return data.getvalue()

    columns: dict[str, Any] = {"image": [png(each) for each in noise[:2]], "score": ["a", "b"]}
    makers: dict[str, Any] = {
        "pandas": pd.DataFrame,
        "polars": pl.DataFrame,
        "pyarrow": pa.table,
        "dataset": datasets.Dataset.from_dict,
    }
    frame = makers[kind](columns)
    result = blip2_widget.caption(frame["image"], frame=frame, start=False)
    assert result.board.put("score", [0.25, None].__getitem__) == "score_2"
    found = result.df
    assert type(found) is type(frame)
    values = list(found["score_2"]) if kind != "pyarrow" else found["score_2"].to_pylist()
    assert values[0] == 0.25 and (values[1] is None or values[1] != values[1])
    names = getattr(found, "column_names", None) or list(found.columns)
    assert names == ["image", "score", "caption", "score_2"]

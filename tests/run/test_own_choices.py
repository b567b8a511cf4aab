"""Each row's own choices, out of a column of the frame."""

from __future__ import annotations

import math
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.notebook.code import answer_line
from blip2_widget.run import row_choices
from blip2_widget.session import Session
from tests.notebook.test_gallery import until
from tests.run.made import rank_only_six

QUESTION = "what colour is the shape?"
OPTIONS = [["red", "blue"], ["green", "yellow", "red"], ["blue", "red"], ["teal", "gray"]]


@pytest.fixture(autouse=True)
def model(own_session: Session) -> None:
    own_session.defaults.model = "demo"


def frame_of(options: list[Any]) -> pd.DataFrame:
    samples = demo.samples().iloc[: len(options)]
    index = list("abcdefgh")[: len(options)]
    return pd.DataFrame({"image": list(samples.image), "options": options}, index=index)


def test_each_row_ranks_its_own() -> None:
    frame = frame_of(OPTIONS)
    result = blip2_widget.ask(frame.image, QUESTION, frame=frame, choices="{options}").wait(60)
    assert list(result.answers.state) == ["done"] * 4
    for row, (options, found) in enumerate(zip(OPTIONS, result.answers.choices, strict=True)):
        assert list(found) == options and math.fsum(found.values()) == pytest.approx(1)
        assert result.df.answer.iloc[row] == max(found, key=found.get)
        # The same choices given to all rows are the same ranking, and stored as it.
        (alone,) = (
            blip2_widget.ask(frame.image.iloc[[row]], QUESTION, choices=options)
            .wait(60)
            .answers[["cached", "choices"]]
            .to_dict("records")
        )
        assert alone == {"cached": True, "choices": found}
    assert list(result.df.columns) == [*frame.columns, "answer"]
    probabilities = result.probabilities()
    assert list(probabilities.index) == list("aabbbccdd")
    assert list(probabilities.choice) == [each for options in OPTIONS for each in options]
    by_row = probabilities.groupby(level=0).probability.sum()
    assert list(by_row) == pytest.approx([1] * 4)


@pytest.mark.parametrize("wrong", [None, "", [], [None, ""], math.nan, 3, ["red"], "red", '["red'])
def test_a_row_without_choices_costs_itself_alone(wrong: Any) -> None:
    frame = frame_of([OPTIONS[0], wrong, "blue, red"])
    result = blip2_widget.ask(frame.image, QUESTION, frame=frame, choices="{options}").wait(60)
    assert list(result.answers.state) == ["done", "error", "done"]
    (error,) = result.errors.to_dict("records")
    assert error["kind"] == "choices" and error["row"] == "b" and "\n" not in error["error"]
    single = wrong in ("red", ["red"])
    assert ("there is one choice, 'red', and nothing to rank" in error["error"]) == single
    assert list(result.probabilities().index) == list("aacc")
    result.gallery.catch_up()
    assert result.gallery._row(1)["cells"][0]["error"] == error["error"]


@pytest.mark.parametrize(
    "make",
    [
        lambda data: pl.DataFrame(data),
        lambda data: pa.table(data),
        lambda data: datasets.Dataset.from_dict(data),
        lambda data: pd.DataFrame(data | {"options": [np.array(each) for each in OPTIONS]}),
        lambda data: pd.DataFrame(data | {"options": [tuple(each) for each in OPTIONS]}),
        lambda data: pd.DataFrame(data | {"options": [" , ".join(each) for each in OPTIONS]}),
        lambda data: pd.DataFrame(data | {"options": [str(each) for each in OPTIONS]}),
    ],
    ids=["polars", "pyarrow", "datasets", "arrays", "tuples", "commas", "printed lists"],
)
def test_choices_are_read_of_every_frame(make: Any) -> None:
    frame = make({"image": list(frame_of(OPTIONS).image), "options": OPTIONS})
    result = blip2_widget.ask(frame["image"], QUESTION, frame=frame, choices=["{options}"])
    assert [list(each) for each in result.wait(60).answers.choices] == OPTIONS


def test_a_choice_is_there_once_as_a_text() -> None:
    assert row_choices(["2", 2, " two  words", "two words", None, " "], "x") == ("2", "two words")


def test_a_column_that_is_none_is_refused() -> None:
    frame = frame_of(OPTIONS)
    with pytest.raises(Blip2Error, match="there is no column 'option'; did you mean 'options'"):
        blip2_widget.ask(frame.image, QUESTION, frame=frame, choices="{option}")
    with pytest.raises(Blip2Error, match="options} as choices needs the data frame"):
        blip2_widget.ask(list(frame.image), QUESTION, choices="{options}")
    with pytest.raises(Blip2Error, match="so k has no effect"):
        blip2_widget.ask(frame.image, QUESTION, frame=frame, choices="{options}", k=2)


def test_the_line_is_copied_with_the_column_and_the_gallery_asks_freely() -> None:
    frame = frame_of(OPTIONS)
    options = {"frame": frame, "choices": "{options}", "length_normalised": True}
    result = blip2_widget.ask(frame.image, QUESTION, expression="df.image", **options)
    (prompt,) = result.wait(60).board.prompts
    line = answer_line(result._asking, prompt, result.board.cell(0, 0), 0)
    assert line == f'%blip2 ask df.image "{QUESTION}" --choices "{{options}}" --length-normalised'
    assert "probability" not in {each["kind"] for each in result.gallery.columns}
    result.gallery._ask_many("how many shapes are there?", None)
    until(lambda: len(result.board.prompts) == 2)
    assert set(result.wait(60).answers.choices.iloc[1::2]) == {None}


def test_a_row_s_many_choices_are_ranked_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"{number} {colour}s" for number in range(9) for colour in ("red", "blue")]
    frame = frame_of([many, *OPTIONS[1:]])
    sizes = rank_only_six(monkeypatch)
    result = blip2_widget.ask(frame.image, QUESTION, frame=frame, choices="{options}").wait(60)
    assert [len(each) for each in result.answers.choices] == [18, 3, 2, 2] and sum(sizes) == 25

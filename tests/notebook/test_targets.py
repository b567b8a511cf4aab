"""What words mean in the notebook's namespace."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.notebook.targets import target, texts, with_variables

FRAME = pd.DataFrame({"image": ["a.png", "b.png"], "my image": ["c.png", "d.png"], "n": [1, 2]})
NAMES = {"df": FRAME, "pf": pl.DataFrame({"image": ["a.png"]}), "paths": ["x.png"], "q": "why?"}


def test_a_column_comes_with_its_frame() -> None:
    for expression in ("df.image", 'df["image"]'):
        column, frame = target(expression, NAMES)
        assert list(column) == ["a.png", "b.png"]
        assert frame is FRAME


def test_a_column_of_a_filtered_frame_comes_with_the_filtered_frame() -> None:
    column, frame = target("df[df.n > 1].image", NAMES)
    assert list(column) == ["b.png"]
    assert list(frame.n) == [2]


def test_a_frame_without_attributes_is_asked_by_name() -> None:
    column, frame = target("pf.image", NAMES)
    assert list(column) == ["a.png"]
    assert frame is NAMES["pf"]


def test_other_expressions_have_no_frame() -> None:
    assert target("paths", NAMES) == (["x.png"], None)
    assert target('"photos/*.jpg"', NAMES) == ("photos/*.jpg", None)
    assert target("q.strip", NAMES)[1] is None


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("df.imgae", "did you mean 'image'"),
        ("pf.imag", "did you mean 'image'"),
        ('df["zzz"]', "the columns are image, my image, n"),
        ("dff.image", "name 'dff' is not defined"),
        ("photos/*.jpg", "no Python expression"),
        ("df.iloc[99]", "IndexError"),
    ],
)
def test_mistakes_are_one_line(expression: str, part: str) -> None:
    with pytest.raises(Blip2Error, match=part) as caught:
        target(expression, NAMES)
    assert "\n" not in str(caught.value)


def test_texts_are_quoted_or_named() -> None:
    assert texts(['"a"', "q"], NAMES) == ["a", "why?"]
    assert texts(["paths"], NAMES) == ["x.png"]


def test_a_question_without_quotes_is_shown_with_them() -> None:
    with pytest.raises(Blip2Error, match='write "how many dogs"'):
        texts(["how", "many", "dogs"], NAMES)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(Blip2Error, match="df is a DataFrame; give a str"):
        texts(["df"], NAMES)


def test_variables_are_filled_in_and_columns_left() -> None:
    names = {"animal": "d{o}g", "n": 3}
    assert with_variables("{@animal} {column} {{x}} {@n + 1}", names) == "d{{o}}g {column} {{x}} 4"

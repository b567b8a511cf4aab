"""The caller's frame: which columns are shown, and their values as texts and numbers."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.view import FrameColumns

COLUMNS: dict[str, list[Any]] = {
    "name": ["a", None, "c"],
    "count": [1, 2, 3],
    "share": [0.5, None, 1 / 3],
    "good": [True, False, True],
    "raw": [b"1", b"2", b"3"],
    "boxes": [[1], [2, 3], []],
    "day": [datetime.datetime(2020, 1, 2), None, datetime.datetime(2020, 1, 2, 3, 4)],
}


def _arrow(columns: dict[str, list[Any]]) -> Any:
    return pytest.importorskip("pyarrow").table(columns)


MAKERS = [pd.DataFrame, pl.DataFrame, _arrow]


@pytest.mark.parametrize("make", MAKERS)
def test_columns_of_texts_numbers_and_bools_are_shown(make: Callable[..., Any]) -> None:
    columns = FrameColumns(make(COLUMNS))
    assert columns.shown == [
        {"name": "name", "kind": "text"},
        {"name": "count", "kind": "number"},
        {"name": "share", "kind": "number"},
        {"name": "good", "kind": "bool"},
        {"name": "day", "kind": "text"},
    ]
    assert columns.values(0) == ["a", "1", "0.5", "true", "2020-01-02"]
    assert columns.values(1) == [None, "2", None, "false", None]
    assert columns.values(2) == ["c", "3", "0.333333", "true", "2020-01-02 03:04:00"]


@pytest.mark.parametrize("make", MAKERS)
def test_whole_columns_are_as_the_rows_are(make: Callable[..., Any]) -> None:
    columns = FrameColumns(make(COLUMNS))
    for at, name in enumerate(columns.names):
        assert list(columns.texts(name)) == [columns.values(row)[at] for row in range(3)]
    np.testing.assert_array_equal(columns.numbers("count"), [1, 2, 3])
    np.testing.assert_allclose(columns.numbers("share"), [0.5, math.nan, 1 / 3])
    assert columns.numbers("share") is columns.numbers("share")


def test_no_frame_has_no_columns() -> None:
    assert FrameColumns(None).shown == [] and FrameColumns(None).values(3) == []


def test_what_is_no_frame_has_no_columns() -> None:
    assert FrameColumns(object()).shown == []


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        (pd.array([1, None], dtype="Int64"), "number", ["1", None]),
        (pd.array([True, None], dtype="boolean"), "bool", ["true", None]),
        (pd.Series([True, None], dtype=object), "bool", ["true", None]),
        (pd.Series(["x", pd.NA], dtype=object), "text", ["x", None]),
        (pd.Series(["x", math.nan], dtype=object), "text", ["x", None]),
        (pd.Categorical(["x", None]), "text", ["x", None]),
        (pd.Series([2, 2.5], dtype=object), "number", ["2", "2.5"]),
        ([1e20, -0.00001], "number", ["1e+20", "-1e-05"]),
        ([math.inf, 123456.75], "number", ["inf", "123457"]),
        ([2**60 + 1, 7], "number", [str(2**60 + 1), "7"]),
    ],
)
def test_pandas_ways_to_hold_values(values: Any, kind: str, texts: list[str | None]) -> None:
    columns = FrameColumns(pd.DataFrame({"it": values}))
    assert columns.shown == [{"name": "it", "kind": kind}]
    assert [columns.values(row)[0] for row in range(2)] == texts == list(columns.texts("it"))


@pytest.mark.parametrize(
    "values", [["a", 1], [np.zeros(2), None], [{"a": 1}, {}], [object(), object()]]
)
def test_objects_that_are_no_texts_are_left_out(values: list[Any]) -> None:
    frame = pd.DataFrame({"it": pd.Series(values, dtype=object)})
    assert FrameColumns(frame).shown == []


def test_the_pictures_are_shown_only_where_they_are_texts() -> None:
    paths, numbers = pd.DataFrame({"image": ["a.png"]}), pd.DataFrame({"image": [1]})
    assert FrameColumns(paths, "image").names == ["image"]
    assert FrameColumns(numbers, "image").names == []


def test_long_texts_are_cut_where_they_are_shown_and_nowhere_else() -> None:
    columns = FrameColumns(pd.DataFrame({"it": ["x" * 1000]}))
    assert columns.values(0) == ["x" * 200]
    assert list(columns.texts("it")) == ["x" * 1000]


def test_at_most_fifty_columns_are_shown() -> None:
    frame = pd.DataFrame({f"c{at}": [at] for at in range(80)})
    assert FrameColumns(frame).names == [f"c{at}" for at in range(50)]


def test_names_of_pandas_may_be_numbers_and_may_be_alike() -> None:
    frame = pd.DataFrame([["a", "b", "c"]], columns=pd.Index([7, "x", "x"], dtype=object))
    columns = FrameColumns(frame)
    assert columns.names == ["7", "x"] and columns.values(0) == ["a", "b"]


def test_rows_go_by_place_whatever_the_index_says() -> None:
    frame = pd.DataFrame({"it": ["a", "b"]}, index=[1, 0])
    assert FrameColumns(frame).values(0) == ["a"]


def test_an_unknown_column_is_refused_with_a_close_name() -> None:
    with pytest.raises(Blip2Error, match="did you mean 'place'"):
        FrameColumns(pd.DataFrame({"place": ["a"]})).texts("plaec")


def test_a_row_is_read_without_reading_the_column() -> None:
    """A value that cannot be read at all does not disturb the others."""

    class Dataset:
        column_names = ("image", "text", "class")

        def __init__(self, names: tuple[str, ...] = column_names) -> None:
            self.names = names
            self.features = {"image": object(), "text": Value("string"), "class": ClassLabel()}

        def select_columns(self, names: list[str]) -> Dataset:
            return Dataset(tuple(names))

        def __getitem__(self, row: int) -> dict[str, Any]:
            assert isinstance(row, int) and "image" not in self.names
            return {name: {"text": f"text {row}", "class": row % 3}[name] for name in self.names}

    class Value:
        def __init__(self, dtype: str) -> None:
            self.dtype = dtype

    class ClassLabel:
        names = ("cat", "dog")

    columns = FrameColumns(Dataset())
    assert columns.shown == [{"name": "text", "kind": "text"}, {"name": "class", "kind": "text"}]
    assert columns.values(1) == ["text 1", "dog"] and columns.values(2) == ["text 2", None]


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.000773912, "0.000774"), (1.54834, "1.55"), (1234.0, "1234"), (math.nan, None)],
)
def test_what_was_computed_is_shown_in_three_digits(number: float, shown: str | None) -> None:
    columns = FrameColumns(pd.DataFrame({"weight": [1.54834]}))
    columns.put("score", 1, lambda _row: number)
    assert columns.values(0) == ["1.54834", shown]

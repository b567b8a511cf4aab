"""References, in whatever a column may hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from blip2_widget.scores import read_references

VQA = [{"answer": "yes", "answer_id": 1, "answer_confidence": "maybe"}, {"answer": "no"}]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["yes", None, "", "  ", float("nan")], [["yes"], [], [], [], []]),
        ([["yes", "no"], ("a",), [], [None, "b"]], [["yes", "no"], ["a"], [], ["b"]]),
        ([VQA, [], None], [["yes", "no"], [], []]),
        ([[{"caption": "a dog", "id": 3}], {"answer": "one"}], [["a dog"], ["one"]]),
        ([2, 2.0, 2.5, True], [["2"], ["2"], ["2.5"], ["True"]]),
        ([np.int64(3), np.str_("x")], [["3"], ["x"]]),
        ([object(), {"other": "x"}, pd.NA, pd.NaT], [[], [], [], []]),
        (["half \ud800"], [["half \ufffd"]]),
        (pd.Series(["yes", None], index=[5, 3]), [["yes"], []]),
        (pd.Series([1, None]), [["1"], []]),
        (pd.Series([["a", "b"], np.array(["c"])]), [["a", "b"], ["c"]]),
        (np.array([["a", "b"], ["c", "d"]]), [["a", "b"], ["c", "d"]]),
        (pa.array([["a", None], None]), [["a"], []]),
        (pa.chunked_array([pa.array([VQA])]), [["yes", "no"]]),
        ([pa.scalar("a"), pa.array(["b", "c"])], [["a"], ["b", "c"]]),
        (pl.Series([["a", "b"], None]), [["a", "b"], []]),
        (pl.Series("x", [pl.Series(["a"])]), [["a"]]),
    ],
)  # fmt: skip
def test_references_are_read(values: Any, read: list[list[str]]) -> None:
    assert read_references(values) == read

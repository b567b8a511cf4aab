"""What rows are coloured by: one byte a row, and what the bytes stand for."""

from __future__ import annotations

import pandas as pd
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.view import FrameColumns, View
from tests.view.made import Review, rows_of


def test_values_have_places_by_how_many_rows_have_them() -> None:
    answers = ["cat", "dog", "dog", None, *[f"rare {at}" for at in range(9)], "dog", "cat"]
    rows = rows_of(answers)
    view = View(rows)
    legend, codes = view.colours("answer:0")
    assert legend["values"][:2] == ["dog", "cat"] and len(legend["values"]) == 8
    named = dict(enumerate(legend["values"])) | {255: None}
    assert [named.get(code, "another") for code in codes[:4]] == ["cat", "dog", "dog", None]
    assert legend["others"] == 3 == (codes == 254).sum() and legend["min"] is None
    # They stay where something else is shown, and follow what changes.
    view.set({"filters": [{"key": "answer:0", "values": ["cat"]}]})
    assert (view.colours("answer:0")[1] == codes).all()
    rows.cells[3][0].answer = "cat"
    view.changed([3])
    codes = view.colours("answer:0")[1]
    assert codes[3] == codes[0] < 8


def test_numbers_are_shares_of_their_range() -> None:
    frame = pd.DataFrame(
        {
            "size": [0.0, 5.0, 10.0, float("nan"), float("inf")],
            "vast": [-1.7e308, 0.5, 1.7e308, 0.0, 0.0],
            "same": [0.5] * 5,
            "few": [3, 1, 3, 2, 3],
            "none": [float("nan")] * 5,
        }
    )
    view = View(rows_of(["a"] * 5), FrameColumns(frame))
    legend, codes = view.colours("column:size")
    assert (legend["min"], legend["max"], legend["values"]) == (0.0, 10.0, [])
    assert codes.tolist() == [0, 126, 253, 255, 255]
    assert view.colours("column:vast")[1].tolist() == [0, 126, 253, 126, 126]
    assert view.colours("column:same")[1].tolist() == [0] * 5
    # A few whole numbers are values.
    legend, codes = view.colours("column:few")
    assert legend["values"] == ["3", "1", "2"] and codes.tolist() == [0, 1, 0, 2, 0]
    legend, codes = view.colours("column:none")
    assert set(codes.tolist()) == {255} and legend["label"] == "none"


def test_a_row_of_several_values_has_the_colour_of_one() -> None:
    rows = rows_of(["a", "b", "c", "d"])
    rows.reviews = {
        (0, 0): Review("accepted", True),
        (1, 0): Review("accepted"),
        (2, 0): Review(None, True),
    }
    legend, codes = View(rows).colours("review:0")
    names = [legend["values"][code] for code in codes]
    assert names[0] in ("accepted", "flagged") and names[1:] == ["accepted", "flagged", "none"]


def test_no_key_is_said() -> None:
    with pytest.raises(Blip2Error, match="answer:0"):
        View(rows_of(["a"])).colours("answer:7")

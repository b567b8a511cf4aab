"""A score: what it says, of which rows, worst first."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.scores import Score, score_answers

ANSWERS = ["yes", "two", "red", None, "blue", "no"]
REFERENCES = [["yes"] * 10, "2", ["blue", "blue", "red"], "x", "red", None]


@pytest.fixture
def score() -> Score:
    return score_answers(
        ANSWERS, REFERENCES, confidence=[0.9, 0.8, None, 0.1, math.nan, 0.5], index=list("abcdef")
    )


def test_the_summary_has_each_metric_with_its_interval(score: Score) -> None:
    summary = score.summary
    assert list(summary.columns) == ["metric", "value", "low", "high", "n"]
    assert list(summary.metric) == ["VQA accuracy", "exact match"]
    # yes 1; 2 is 1; red is one of three, and needs two of the two others: 2/3 of 1/2; blue 0.
    assert list(summary.value) == pytest.approx([(1 + 1 + 1 / 3) / 4, 3 / 4])
    assert (summary.low <= summary.value).all() and (summary.value <= summary.high).all()
    assert list(summary.n) == [4, 4]


def test_rows_come_worst_first_with_the_names_they_have(score: Score) -> None:
    rows = score.rows
    assert list(rows.row) == ["e", "c", "a", "b"] and list(rows.answer[:2]) == ["blue", "red"]
    assert rows.references[1] == ["blue", "blue", "red"]
    assert list(rows["VQA accuracy"]) == pytest.approx([0, 1 / 3, 1, 1])
    assert score.places == (0, 1, 2, 4)


def test_what_is_left_out_and_what_does_not_compare_is_said(score: Score) -> None:
    assert score.notes[:2] == (
        "1 row without an answer left out",
        "1 row without a reference left out",
    )
    assert "3 rows of fewer than ten references" in score.notes[2] and not score.comparable
    ten = score_answers(["yes"], [["yes"] * 10])
    assert ten.comparable and ten.notes == ()
    unlike = score_answers(["2"], [["Two"] * 10])
    assert "1 row of ten references with capitals, articles or number words" in unlike.notes[0]
    assert list(unlike.summary.value) == [0, 1]
    assert score_answers(["t shirt"], [["t-shirt"] * 9 + ["shirt"]]).notes == ()


def test_an_empty_answer_is_a_wrong_one() -> None:
    score = score_answers(["", "yes"], [["yes"] * 10, ["yes"] * 10])
    assert len(score) == 2 and list(score.summary.value) == [0.5, 0.5] and score.notes == ()


def test_confusions_are_counted_the_frequent_first() -> None:
    answers = ["Cat", "cat", "dog", *map(str, range(30))]
    table = score_answers(answers, ["cat", "the dog", "dog", *["number"] * 30]).confusion
    assert table.index[0] == "number" and table.columns[0] == "cat"
    assert table.loc["cat", "cat"] == 1 and table.loc["dog", "cat"] == 1
    assert table.columns[-1] == "(others)" and len(table.columns) == 21
    assert table.to_numpy().sum() == 33


def test_calibration_is_of_the_rows_with_a_confidence(score: Score) -> None:
    assert score.reliability.count.sum() == 2
    assert score.reliability.brier == pytest.approx((0.1**2 + 0.2**2) / 2)
    with pytest.raises(Blip2Error, match="give confidence=…"):
        _ = score_answers(["a"], ["a"]).reliability


def test_variants_are_compared_on_the_rows_both_have(score: Score) -> None:
    other = score_answers(["yes", "2", "blue", "x", None, "x"], REFERENCES)
    lines = score.against(other).set_index("metric")
    # Rows a, b and c: of these only c differs, by 1 - 1/3 (blue is two of three).
    line = lines.loc["VQA accuracy"]
    assert line.n == 3 and line.one == pytest.approx((2 + 1 / 3) / 3)
    assert line.difference == pytest.approx(line.other - line.one)
    assert line.low <= line.difference <= line.high
    assert lines.loc["exact match", "difference"] == 0
    with pytest.raises(Blip2Error, match="share no row"):
        score.against(score_answers([None] * 3 + ["x"], [None] * 3 + ["x"]))


def test_it_is_told_in_few_lines_that_are_the_same_every_time(score: Score) -> None:
    assert repr(score) == repr(score_answers(ANSWERS, REFERENCES))
    assert repr(score).splitlines()[0] == "scores of 4 answers"
    assert repr(score).splitlines()[1].startswith("  VQA accuracy  0.583  [")


def test_all_right_is_no_more_sure_than_wilson_says() -> None:
    """The bootstrap of rows that are all alike draws nothing else."""
    right = score_answers(["yes"] * 8, [["yes"] * 10] * 8)
    wrong = score_answers(["no"] * 8, [["yes"] * 10] * 8)
    for score, value, low, high in ((right, 1, 0.676, 1), (wrong, 0, 0, 0.324)):
        for interval in score.intervals:
            assert (interval.value, interval.low, interval.high) == pytest.approx(
                (value, low, high), abs=1e-3
            )


def test_scores_against_other_references_are_not_compared() -> None:
    with pytest.raises(Blip2Error, match="different references"):
        score_answers(["a"], ["a"]).against(score_answers(["a"], ["b"]))


def test_texts_are_shown_as_texts() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    score = score_answers([hostile], [[hostile, "x"]], index=[hostile])
    page = score._repr_html_()
    assert "<img" not in page and page.count("&lt;img") == 3


def test_gqa_has_its_own_rule() -> None:
    score = score_answers(["The table", "two"], ["table", "two"], rule="gqa")
    assert list(score.summary.metric) == ["GQA accuracy", "exact match"]
    assert list(score.summary.value) == [0.5, 1] and score.notes == () and score.comparable


def test_columns_of_pandas_and_numpy_are_read() -> None:
    answers = pd.Series(["1", pd.NA, "3"], dtype="string")
    score = score_answers(answers, np.array([1, 2, 3]), confidence=pd.Series([1, None, 0.5]))
    assert list(score.summary.value) == [1, 1] and score.confidence is not None
    assert list(score.confidence) == [1, 0.5]


@pytest.mark.parametrize(
    ("answers", "references", "said"),
    [
        (["a"], ["a", "b"], "1 answers, 2 references and 1 names do not go together"),
        ([None, "a"], ["a", None], "no row has both an answer and a reference"),
        ([], [], "no row has both"),
    ],
)
def test_what_cannot_be_scored_is_told(
    answers: list[object], references: list[object], said: str
) -> None:
    with pytest.raises(Blip2Error, match=said):
        score_answers(answers, references)

"""VQA's accuracy is the published one, quirks and all.

The expected values are what the challenge's own evaluation gives (GT-Vision-Lab/VQA at c4e6a0e,
`vqaEval.py`, run on these answers).
"""

from __future__ import annotations

import pytest

from blip2_widget.scores import exact_match, gqa_accuracy, normalise, vqa_accuracy

TEN = ["red"] * 4 + ["blue"] * 3 + ["dark red", "navy", "orange"]


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("Yes.", "yes"),
        ("  the Dogs\n", "dogs"),
        ("A man and an apple", "man and apple"),
        ("two", "2"),
        ("None", "0"),  # quirk
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("couldn'tve", "couldn't've"),
        ("somebody'd", "somebodyd"),  # quirk
        ("Im", "im"),  # quirk: the table's capitals match nothing
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("half-full", "half full"),
        ("well -done half-full", "well done halffull"),  # quirk: decided once for all hyphens
        ("1,000", "1000"),
        ("1,000 red/blue", "1000 redblue"),  # quirk: a thousands separator drops every mark
        ("5:30", "5:30"),
        ("dog's", "dog's"),
        ("U.S.", "us"),
        ("3.5", "3.5"),
        ("a.5", "a.5"),  # quirk: the full stop before a digit stays
        ("." * 40, "." * 8),  # quirk: 32 full stops at most
        ("???", ""),
    ],
)
def test_answers_are_normalised_as_published(text: str, normalised: str) -> None:
    assert normalise(text) == normalised


@pytest.mark.parametrize(
    ("answer", "references", "accuracy"),
    [
        ("red", TEN, 1.0),
        ("Blue.", TEN, 0.9),
        ("navy", TEN, 0.3),
        ("dark  red", TEN, 0.3),
        ("green", TEN, 0.0),
        ("2", ["2"] * 2 + ["3"] * 8, 0.6),
        ("two", ["two"] * 10, 0.0),  # quirk: references keep their number words
        ("2", ["2"] * 10, 1.0),
        ("t shirt", ["t-shirt"] * 10, 0.0),  # quirk: and punctuation, where all are the same
        ("t shirt", ["t-shirt"] * 9 + ["shirt"], 1.0),
        ("yes", ["Yes"] * 9 + ["yes"], 0.3),  # quirk: and capitals
    ],
)
def test_ten_annotators_are_counted_as_published(
    answer: str, references: list[str], accuracy: float
) -> None:
    assert vqa_accuracy(answer, references) == pytest.approx(accuracy, abs=1e-9)


def test_fewer_references_need_fewer_matches_and_are_normalised() -> None:
    assert vqa_accuracy("2 dogs", ["Two dogs."]) == 1 and vqa_accuracy("2 cats", ["2 dogs"]) == 0
    assert vqa_accuracy("red", ["red", "Red"]) == 1
    assert vqa_accuracy("red", ["red", "blue"]) == pytest.approx(1 / 2)
    # Left out is the one that matches (nothing is left of it), or one of three others.
    assert vqa_accuracy("red", ["red", "blue", "green", "grey"]) == pytest.approx(3 / 4 * 1 / 3)


def test_an_exact_match_is_with_any_reference_both_normalised() -> None:
    assert exact_match("two.", ["Three", "The 2"]) == 1
    assert exact_match("two dogs", ["2"]) == 0


def test_gqa_compares_with_its_answer_as_published() -> None:
    assert gqa_accuracy("The table.", ["table"]) == 1
    assert gqa_accuracy("two", ["two"]) == 0  # quirk: the answer becomes 2, the reference stays
    assert gqa_accuracy("left", ["right", "left"]) == 0

"""What is stored is found again by the same things, and by nothing less."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blip2_widget.store import answer_key, features_key

FEATURES: dict[str, Any] = {
    "image_key": "ab" * 32,
    "checkpoint": "Salesforce/blip2-opt-2.7b@59a1ef6c",
    "vision": "bfloat16",
    "preprocessing": "blip-pil-1",
}
ANSWER: dict[str, Any] = {
    "features_key": "cd" * 32,
    "language": "int4-bfloat16",
    "prompt": "Question: what is it? Answer:",
    "settings": {"max_new_tokens": 30, "num_beams": 1},
    "seed": None,
}


def test_the_keys_are_pinned() -> None:
    """Should these change, nobody's stored answers would be found again."""
    assert (
        features_key(**FEATURES)
        == "1825c3be058258dc435573aeef2b6fe24177fd17a48deaa4c6b7c0a5d9cbcaa5"
    )
    assert (
        answer_key(**ANSWER) == "6bf9918279fa4ae5da0b039c51b1ef23abbb23056d2532a7ed8d5d7c9e4eddc6"
    )


@pytest.mark.parametrize("part", FEATURES)
def test_every_part_makes_other_features(part: str) -> None:
    assert features_key(**FEATURES | {part: "other"}) != features_key(**FEATURES)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("features_key", "other"),
        ("language", "plain-bfloat16"),
        ("prompt", "Question: what is it ? Answer:"),
        ("settings", {"max_new_tokens": 31, "num_beams": 1}),
        ("settings", {"max_new_tokens": 30}),
        ("seed", 0),
    ],
)
def test_every_part_makes_another_answer(part: str, other: Any) -> None:
    assert answer_key(**ANSWER | {part: other}) != answer_key(**ANSWER)


def test_the_order_of_settings_does_not_matter() -> None:
    turned = dict(reversed(ANSWER["settings"].items()))
    assert answer_key(**ANSWER | {"settings": turned}) == answer_key(**ANSWER)


def test_parts_do_not_run_together() -> None:
    one = features_key("a", checkpoint="bc", vision="d", preprocessing="e")
    two = features_key("ab", checkpoint="c", vision="d", preprocessing="e")
    assert one != two


_TEXT = st.text(max_size=6)
_FEATURES = st.fixed_dictionaries(dict.fromkeys(FEATURES, _TEXT))
_VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT
_ANSWERS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("features_key", "language", "prompt"), _TEXT),
        "settings": st.dictionaries(_TEXT, _VALUE, max_size=3),
        "seed": st.none() | st.integers(),
    }
)


@given(_FEATURES, _FEATURES)
def test_features_have_one_key_if_and_only_if_they_are_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (features_key(**one) == features_key(**other)) is (one == other)
    assert features_key(**one) == features_key(**dict(one))


@given(_ANSWERS, _ANSWERS)
def test_so_have_answers(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (answer_key(**one) == answer_key(**other)) is (repr_of(one) == repr_of(other))


@given(_ANSWERS, st.sampled_from(["features_key", "language", "prompt"]), _TEXT)
def test_any_other_text_makes_another_answer(answer: dict[str, Any], part: str, text: str) -> None:
    assert (answer_key(**answer | {part: text}) == answer_key(**answer)) is (answer[part] == text)


def repr_of(answer: dict[str, Any]) -> str:
    """An answer as text: 1, 1.0 and True are equal to Python, but not the same settings."""
    return repr(answer | {"settings": sorted(answer["settings"].items())})

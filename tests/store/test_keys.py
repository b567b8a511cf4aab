"""What is stored is found again by the same things, and by nothing less."""

from __future__ import annotations

from typing import Any

import pytest

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

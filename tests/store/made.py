"""Rows to put into a store."""

from __future__ import annotations

from blip2_widget.store import Features, Review, StoredAnswer

REVIEW = Review(
    image_key="picture",
    prompt="how many dogs?",
    kind="question",
    model="opt-2.7b",
    variant="cpu-int4",
    status="corrected",
    flagged=True,
    text="naïve 😀\ntwo",
    model_text="three",
    who="ada",
    when=1.5,
)


def features(size: int = 100) -> Features:
    return Features(bytes(size), "bfloat16", (1, size // 2))


def answer(key: str = "k", text: str = "two dogs") -> StoredAnswer:
    return StoredAnswer(
        key=key,
        features_key="f",
        image_key="i",
        model="opt-2.7b",
        revision="59a1ef6c",
        variant="cpu-bf16",
        prompt="Question: how many? Answer:",
        settings={"max_new_tokens": 30},
        text=text,
        seconds=0.5,
    )

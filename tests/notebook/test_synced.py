"""What is synced is cut to what it may take, and whole where it takes less."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from blip2_widget.notebook.synced import shortened, synced

lengths = st.integers(0, 400)
letters = st.sampled_from(["a", "ü", "\\", "\N{DOG FACE}"])


@given(st.text(max_size=200), st.integers(20, 300))
def test_a_text_is_cut_to_what_it_may_take(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(json.dumps(short)) <= most
    if short != text:
        assert short[-1] == "…" and text.startswith(short[:-1])
        assert len(json.dumps(text)) > most
        assert len(json.dumps(text[: len(short)] + "…")) > most  # no more would do


@given(letters, lengths, lengths, lengths)
def test_whatever_there_is_takes_little(letter: str, title: int, count: int, length: int) -> None:
    text = letter * length
    whole = {
        "title": letter * title,
        "prompts": [{"name": text, "text": text}] * count,
        "columns": [{"name": text, "kind": "number"}] * min(count, 50),
        "query": {"search": text, "filters": [{"key": "label", "values": [text] * count}]},
    }
    short = synced(whole)
    assert len(json.dumps(short)) < 15_500
    most = {"title": 300, "prompts": 6_000, "columns": 5_000, "query": 4_000}
    for name, value in whole.items():
        assert (short[name] == value) == (len(json.dumps(value)) <= most[name])

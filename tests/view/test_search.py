"""Searching all that rows say, whatever is typed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blip2_widget.view import View
from blip2_widget.view.search import SearchIndex
from tests.view.made import Prompt, Review, rows_of, shown

TEXTS = [
    "a red dog on the grass",
    "Dogs and a car",
    "red car, dog",
    "C++ #1",
    "Straße nach Zürich",
    "東京の寿司",
    "why?",
    "İstanbul",
    'say "so"',
    "",
]


def found(search: str, texts: list[str] = TEXTS) -> list[int] | None:
    index = SearchIndex(lambda rows: [[texts[row]] for row in rows], len(texts))
    mask = index.find(search)
    return None if mask is None else [int(row) for row in mask.nonzero()[0]]


@pytest.mark.parametrize(
    ("search", "rows"),
    [
        ("do", [0, 1, 2]),
        ("DOG", [0, 1, 2]),
        ("dog red", [0, 2]),
        ("og", []),
        ('"red dog"', [0]),
        ('"red do', [0]),
        ('"red do"', []),
        ('"dog"', [0, 2]),
        ("dog OR cat", []),
        ("NOT dog", []),
        ("dog*", [0, 1, 2]),
        ("^red", [0, 2]),
        ("#", [3]),
        ("++", [3]),
        ("c ++", [3]),
        ("?", [6]),
        ('"', None),
        ('""', None),
        ("  ", None),
        ("strasse", [4]),
        ("zurich", [4]),
        ("寿司", [5]),
        ("istan", [7]),
        ("text:dog", []),
        ("dog -", []),
        ("\0", None),
        ("\ue000", None),
    ],
)
def test_what_is_found(search: str, rows: list[int] | None) -> None:
    assert found(search) == rows


@given(st.text() | st.text(alphabet="ab\"*()-+^:{}#\0'\\ ANDORNT\ue000\ud800é寿\u0301"))
@settings(max_examples=300, deadline=None)
def test_any_text_can_be_looked_for(search: str) -> None:
    _hostile.find(search)


_hostile = SearchIndex(lambda rows: [[TEXTS[row]] for row in rows], len(TEXTS))


@given(st.lists(st.text(), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_text_can_be_indexed_and_its_words_are_found(texts: list[str]) -> None:
    index = SearchIndex(lambda rows: [[texts[row]] for row in rows], len(texts))
    for row, text in enumerate(texts):
        for word in text.split():
            mask = index.find(word.replace('"', " "))
            assert mask is None or mask[row], word


def test_very_many_words_can_be_looked_for() -> None:
    words = [f"w{at}" for at in range(200)]
    assert found(" ".join(words), [" ".join(words), " ".join(words[1:])]) == [0]


def test_everything_a_row_says_is_searched() -> None:
    rows = rows_of(["answer"] * 8)
    rows.labels[0] = "needle.png"
    rows.cells[1][0].prompt = "where is the needle?"
    rows.cells[2][0].answer = "a needle"
    rows.cells[3][0].error = "needle too long"
    rows.reviews[4, 0] = Review("corrected", text="no needle")
    rows.errors[5] = "the needle is broken"
    frame = pd.DataFrame({"x": [""] * 6 + ["needles", ""], "n": range(8)})
    assert shown(rows, {"search": "needle"}, frame) == [0, 1, 2, 3, 4, 5, 6]


def test_a_phrase_is_not_found_across_two_texts_but_words_are() -> None:
    rows = rows_of([("red", "dog")])
    assert shown(rows, {"search": '"red dog"'}) == []
    assert shown(rows, {"search": '"dog red"'}) == []
    assert shown(rows, {"search": "red dog"}) == [0]


def test_changes_are_found_and_what_was_before_is_not() -> None:
    rows = rows_of(["old"] * 5000)
    view = View(rows)
    view.set({"search": "new"})
    assert view.count == 0
    for row in range(0, 5000, 2):
        rows.cells[row][0].answer = "new"
    view.changed(range(0, 5000, 2))
    assert view.refresh() and list(view.order) == list(range(0, 5000, 2))
    view.set({"search": "old"})
    assert list(view.order) == list(range(1, 5000, 2))


@pytest.mark.parametrize("seed", range(5))
def test_an_index_that_was_changed_is_as_a_fresh_one(seed: int) -> None:
    chance, words = random.Random(seed), ["red", "Dog", "dogs", "#1", "寿司", ""]
    texts = [" ".join(chance.choices(words, k=3)) for _ in range(50)]
    index = SearchIndex(lambda rows: [[texts[row]] for row in rows], len(texts))
    for _ in range(20):
        changed = chance.sample(range(50), 5)
        for row in changed:
            texts[row] = " ".join(chance.choices(words, k=chance.randrange(4)))
        index.changed(changed)
        for search in ("do", "red", "#", "寿", "1 dog"):
            mask: Any = index.find(search)
            assert mask.nonzero()[0].tolist() == found(search, texts)


def test_rows_are_not_read_again_unless_they_changed() -> None:
    read: list[int] = []

    def texts(rows: Sequence[int]) -> list[list[str]]:
        read.extend(rows)
        return [["dog"] for _ in rows]

    index = SearchIndex(texts, 10)
    assert not index.built
    index.find("dog")
    assert index.built and sorted(read) == list(range(10))
    index.changed([3])
    index.find("cat")
    assert read[10:] == [3]


def test_what_an_interrupt_left_out_is_indexed_later() -> None:
    texts = ["a", "b"]
    index = SearchIndex(lambda rows: [[texts[row]] for row in rows], 2)
    index.build()

    def interrupted(rows: Sequence[int]) -> list[list[str]]:
        raise KeyboardInterrupt

    texts[1] = "dog"
    index.changed([1])
    whole, index._read = index._read, interrupted
    with pytest.raises(KeyboardInterrupt):
        index.find("dog")
    index._read = whole
    mask = index.find("dog")
    assert mask is not None and mask.tolist() == [False, True]


def test_building_stops_when_told() -> None:
    rows = rows_of(["dog"] * 5000)
    rows.prompts = [Prompt("answer", "")]
    view = View(rows)
    view.warm(lambda: True)
    view.set({"search": "dog"})
    assert view.count == 5000 and view.plain


def test_an_index_that_the_disk_has_no_room_for_is_kept_in_memory() -> None:
    texts = ["dog"] * 5000
    index = SearchIndex(lambda rows: [[texts[row]] for row in rows], 5000)
    index.build()
    assert index._database is not None
    index._database.close()  # every write fails from here on
    texts[4000] = "cat"
    index.changed([4000])
    for word, count in (("dog", 4999), ("cat", 1)):
        mask = index.find(word)
        assert mask is not None and mask.sum() == count

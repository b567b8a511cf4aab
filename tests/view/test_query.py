"""Queries of messages, and which rows they let through in which order."""

from __future__ import annotations

import math
import random
from typing import Any

import pandas as pd
import polars as pl
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.view import FrameColumns, Query, View
from tests.view.made import Plain, Prompt, Review, change, rows_of, shown, some_rows

PLAIN: dict[str, Any] = {"search": "", "filters": [], "sort": None, "unique": False}
KEYS = [
    "label",
    "row",
    "error",
    "agreement",
    "column:place",
    "column:size",
    "column:stars",
    *(f"{name}:{at}" for at in (0, 1) for name in ("answer", "state", "confidence", "review")),
]


def only(key: str, *values: str, **limits: float) -> dict[str, Any]:
    return {"filters": [{"key": key, **({"values": list(values)} if values else {}), **limits}]}


def by(key: str, descending: bool = False) -> dict[str, Any]:
    return {"sort": {"key": key, "descending": descending}}


def test_a_query_comes_back_as_it_was_sent() -> None:
    sent = {
        "search": "dog",
        "filters": [{"key": "row", "min": 1.0}, {"key": "answer:0", "values": ["a", ""]}],
        "sort": {"key": "label", "descending": True},
        "unique": True,
    }
    assert Query.parse(sent).message() == sent
    assert Query.parse({}).message() == PLAIN


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"serach": "x"}, "did you mean 'search'"),
        ({"search": 1}, "the search is a text, not 1"),
        ({"search": "x" * 5000}, "longer than"),
        ({"filters": {}}, "filters is a list"),
        ({"filters": [3]}, "a filter is a dict, not a int"),
        ({"filters": [{"values": ["a"]}]}, "a filter's key is a text"),
        ({"filters": [{"key": "row"}]}, "neither values nor min or max"),
        ({"filters": [{"key": "row", "min": "1"}]}, "min is a number"),
        ({"filters": [{"key": "row", "min": True}]}, "min is a number"),
        ({"filters": [{"key": "row", "max": math.nan}]}, "max is a number"),
        ({"filters": [{"key": "row", "max": 10**400}]}, "max is too large"),
        ({"filters": [{"key": "label", "values": [1]}]}, "a filter's value is a text"),
        ({"filters": [{"key": "label", "values": "ab"}]}, "values is a list"),
        ({"sort": {"key": "row", "descending": 1}}, "descending is true or false"),
        ({"unique": "yes"}, "unique is true or false"),
        ("dog", "a query is a dict"),
        (by("anwser:0"), "did you mean 'answer:0'"),
        (by("answer:1"), "did you mean 'answer:0'"),
        (by("picture"), "there is no key 'picture'"),
        (only("column:plaec", "x"), "did you mean 'place'"),
        (only("answer:0", min=1), "holds no numbers"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(sent: Any, said: str) -> None:
    view = View(rows_of(["a", "b"]), FrameColumns(pd.DataFrame({"place": ["x", "y"]})))
    view.set(only("answer:0", "b"))
    with pytest.raises(Blip2Error, match=said) as caught:
        view.set(sent)
    assert "\n" not in str(caught.value)
    assert view.shown()["error"] == str(caught.value)
    assert list(view.order) == [1] and view.shown()["query"]["filters"][0]["key"] == "answer:0"
    view.set({})
    assert view.shown()["error"] is None


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("seed", range(3))
def test_every_key_filters_and_sorts_as_rows_one_by_one_do(key: str, seed: int) -> None:
    rows, frame = some_rows(seed)
    plain, chance = Plain(rows, frame), random.Random(seed)
    view = View(rows, FrameColumns(pd.DataFrame(frame)))
    counted = [each["value"] for each in view.facets([key])[0]["values"]]
    queries = [by(key), by(key, True)]
    queries += [only(key, *chance.sample(counted, min(2, len(counted))), "nowhere")]
    queries += [only(key, "")]
    if key.startswith(("row", "conf", "column:s")):
        queries += [only(key, min=0.5), only(key, max=2.0), only(key, "", min=0.2, max=3.0)]
    for query in queries:
        for unique in (False, True):
            asked = Query.parse(query | {"unique": unique})
            view.set(asked)
            assert list(view.order) == plain.order(asked), asked


def test_texts_sort_by_the_numbers_in_them_and_without_regard_to_case() -> None:
    rows = rows_of(["b10", None, "B2", "a", "b2", "", "A"])
    assert shown(rows, by("answer:0")) == [3, 6, 2, 4, 0, 1, 5]
    assert shown(rows, by("answer:0", True)) == [0, 2, 4, 3, 6, 1, 5]


def test_texts_that_come_later_find_their_place_in_the_order() -> None:
    rows = rows_of([f"w{at}" for at in range(0, 4000, 2)])
    view = View(rows)
    view.set(by("answer:0"))
    rows.cells[0][0].answer, rows.cells[1][0].answer = "w3001", "W7"
    view.changed([0, 1])
    view.refresh()
    assert list(view.order) == shown(rows, by("answer:0"))
    assert view.position_of(1) == 2 and view.position_of(0) == 1500


def test_missing_numbers_come_last_either_way() -> None:
    frame = pl.DataFrame({"n": [2.0, None, 1.0, float("nan")]})
    rows = rows_of(["a"] * 4)
    assert shown(rows, by("column:n"), frame) == [2, 0, 1, 3]
    assert shown(rows, by("column:n", True), frame) == [0, 2, 1, 3]


def test_numbers_are_filtered_by_what_they_read_as() -> None:
    frame = pd.DataFrame({"n": [1 / 3, 0.333334, 7, 1e9]})
    rows = rows_of(["a"] * 4)
    assert shown(rows, only("column:n", "0.333333"), frame) == [0]
    assert shown(rows, only("column:n", "7", "1000000000", "x"), frame) == [2, 3]


def test_a_persons_text_is_the_answer() -> None:
    rows = rows_of(["dog", "cat", "cat"])
    rows.reviews[1, 0] = Review("corrected", text="dog")
    assert shown(rows, only("answer:0", "dog")) == [0, 1]


def test_a_flagged_answer_may_be_accepted_too() -> None:
    rows = rows_of(["a"] * 4)
    rows.reviews = {(0, 0): Review("accepted", True), (1, 0): Review("accepted"), (2, 0): Review()}
    assert shown(rows, only("review:0", "flagged")) == [0]
    assert shown(rows, only("review:0", "accepted")) == [0, 1]
    assert shown(rows, only("review:0", "none")) == [2, 3]


def test_long_texts_are_filtered_by_the_part_that_is_told() -> None:
    rows = rows_of(["x" * 500, "y"])
    value = View(rows).facets(["answer:0"])[0]["values"][0]["value"]
    assert len(value) == 200
    assert shown(rows, only("answer:0", value)) == [0] == shown(rows, only("answer:0", "x" * 500))


def test_of_equal_pictures_the_first_that_passes_is_shown() -> None:
    rows = rows_of(["a", "b", "a", "b"])
    rows.keys = {0: "k", 1: "k", 3: "k"}
    assert shown(rows, {"unique": True}) == [0, 2]
    assert shown(rows, {"unique": True} | only("answer:0", "b")) == [1]


def test_equal_pictures_are_brought_together_the_most_copied_first() -> None:
    rows = rows_of(["a", "b", "c", "d", "e", "f", "g"])
    rows.keys = {0: "alone", 1: "x", 2: "y", 3: "x", 5: "y", 6: "y"}
    assert shown(rows, by("copies", descending=True)) == [2, 5, 6, 1, 3, 0, 4]
    assert shown(rows, by("copies")) == [0, 1, 3, 2, 5, 6, 4]
    assert shown(rows, only("copies", min=2)) == [1, 2, 3, 5, 6]
    view = View(rows)
    view.set(by("copies", descending=True))
    assert [(each["value"], each["count"]) for each in view.facets(["copies"])[0]["values"]] == [
        ("3", 3),
        ("2", 2),
        ("", 1),
        ("1", 1),
    ]
    rows.keys[4] = "alone"
    view.changed([4])
    assert view.refresh() and list(view.order) == [2, 5, 6, 0, 4, 1, 3]


@pytest.mark.parametrize("seed", range(25))
def test_any_query_after_any_changes_is_as_a_fresh_view_and_rows_one_by_one(seed: int) -> None:
    rows, frame = some_rows(seed, 40)
    chance, columns = random.Random(seed), FrameColumns(pd.DataFrame(frame))
    view = View(rows, columns)
    for _ in range(12):
        changed = chance.sample(range(rows.count), chance.randrange(8))
        for row in changed:
            change(rows, row, chance)
        view.changed(changed)
        filters = [
            each
            for key, values in (("answer:1", ["2 cats", ""]), ("state:0", ["done", "error"]))
            for each in only(key, *values)["filters"] * chance.randrange(2)
        ]
        query = Query.parse(
            {
                "search": chance.choice(["", "", "do", "ca memory", "rome", "not pict", "1"]),
                "filters": filters,
                "unique": chance.random() < 0.3,
                "sort": chance.choice([None, *(by(key)["sort"] for key in KEYS)]),
            }
        )
        view.set(query)
        fresh = View(rows, columns)
        fresh.set(query)
        assert list(view.order) == list(fresh.order) == Plain(rows, frame).order(query), query
        assert view.facets(KEYS) == fresh.facets(KEYS)


def test_a_prompt_that_is_added_has_keys_and_is_found() -> None:
    rows = rows_of(["a", "b"])
    view = View(rows)
    view.set({"search": "zebra"})
    assert view.count == 0
    rows.prompts.append(Prompt("second", "a zebra?"))
    for cells in rows.cells:
        cells.append(type(cells[0])(answer="b", state="done"))
    rows.cells[1][1].answer = "zebra"
    view.refresh()
    assert list(view.order) == [1]
    view.set(only("agreement", "different"))
    assert list(view.order) == [0, 1]
    view.set(only("answer:1", "zebra"))
    assert list(view.order) == [1]


def test_a_hundred_thousand_rows() -> None:
    count = 100_000
    rows = rows_of([f"answer {row % 1000}" for row in range(count)])
    view = View(rows, FrameColumns(pd.DataFrame({"n": range(count)})))
    view.set(only("answer:0", "answer 7") | by("column:n", True))
    assert list(view.order) == list(range(count - 993, 0, -1000))
    view.set({"search": "answer 99"} | only("column:n", max=50_000))
    assert list(view.order) == [
        row
        for row in range(50_001)
        if f"{row % 1000}".startswith("99") or f"{row}".startswith("99")
    ]

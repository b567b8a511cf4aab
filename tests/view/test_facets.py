"""Counts of values, against counting rows one by one."""

from __future__ import annotations

import math
from collections import Counter

import pandas as pd
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.view import FrameColumns, Query, View
from tests.view.made import Plain, Review, rows_of, some_rows, text
from tests.view.test_query import KEYS, only

QUERIES = [
    {},
    only("answer:0", "2 cats", "a tree"),
    only("answer:0", "2 cats", "") | {"search": "do"},
    only("confidence:1", min=0.2) | {"unique": True},
    {"filters": only("column:place", "Rome")["filters"] + only("state:0", "done")["filters"]},
    only("review:0", "flagged"),
    only("label", "no such picture"),
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("seed", range(3))
def test_every_key_is_counted_without_its_own_filter(seed: int, query: dict[str, object]) -> None:
    rows, frame = some_rows(seed, 200)
    plain = Plain(rows, frame)
    view = View(rows, FrameColumns(pd.DataFrame(frame)))
    view.set(query)
    for facet in view.facets(KEYS):
        key = facet["key"]
        values = [plain.value(key, row) for row in plain.passing(Query.parse(query), key)]
        if facet["kind"] == "histogram":
            numbers = [each for each in values if each is not None]
            assert facet["values"] == [] and facet["distinct"] == len(set(numbers))
            assert sum(each["count"] for each in facet["bins"]) == len(numbers)
            for at, each in enumerate(facet["bins"]):
                last = at == len(facet["bins"]) - 1
                within = [n for n in numbers if each["min"] <= n and (n < each["max"] or last)]
                assert each["count"] == len(within)
        else:
            counts = Counter(
                text(each)
                for value in values
                for each in (value if isinstance(value, set) else [value])
            )
            ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:50]
            assert [(each["value"], each["count"]) for each in facet["values"]] == ordered
            assert facet["distinct"] == len(counts) and facet["bins"] == []


def test_a_facet_has_what_the_page_expects() -> None:
    facet = View(rows_of(["a", None])).facets(["answer:0"])[0]
    assert facet == {
        "key": "answer:0",
        "label": "answer0",
        "kind": "values",
        "values": [{"value": "", "count": 1}, {"value": "a", "count": 1}],
        "distinct": 2,
        "bins": [],
    }


def test_labels_are_for_people() -> None:
    view = View(rows_of([("a", "b")]), FrameColumns(pd.DataFrame({"place": ["x"]})))
    keys = ["answer:1", "state:0", "column:place", "label", "error", "agreement"]
    assert [each["label"] for each in view.facets(keys)] == [
        "answer1",
        "state of answer0",
        "place",
        "picture",
        "broken picture",
        "agreement",
    ]
    assert View(rows_of(["a"])).facets(["state:0"])[0]["label"] == "state"


def test_numbers_are_told_one_by_one_where_they_are_few_and_whole() -> None:
    frame = pd.DataFrame(
        {
            "few": [1, 2, 2, math.nan] * 10,
            "many": range(40),
            "parts": [0.5, 1.5] * 20,
            "same": [7.5] * 40,
            "endless": [math.inf, 1.0] * 20,
            "huge": [-1.7e308, 1.7e308] * 20,
        }
    )
    view = View(rows_of(["a"] * 40), FrameColumns(frame))
    found = {each["key"][7:]: each for each in view.facets([f"column:{name}" for name in frame])}
    assert found["few"]["values"] == [
        {"value": "2", "count": 20},
        {"value": "", "count": 10},
        {"value": "1", "count": 10},
    ]
    bins = found["many"]["bins"]
    assert len(bins) == 20 and (bins[0]["min"], bins[-1]["max"]) == (0, 39)
    assert [each["count"] for each in bins] == [2] * 20
    assert found["parts"]["kind"] == "histogram" and found["parts"]["distinct"] == 2
    assert found["same"]["bins"] == [{"min": 7.5, "max": 7.5, "count": 40}]
    assert found["endless"]["bins"] == [{"min": 1.0, "max": 1.0, "count": 20}]
    assert [found["huge"]["values"], sum(b["count"] for b in found["huge"]["bins"])] in (
        [[], 40],
        [found["huge"]["values"], 0],
    )


def test_at_most_fifty_values_are_told_of_all_that_there_are() -> None:
    answers = [f"answer {at:03}" for at in range(120)] + ["b", "b", "a", "a", "c"]
    facet = View(rows_of(answers)).facets(["answer:0"])[0]
    assert facet["distinct"] == 123 and len(facet["values"]) == 50
    assert [each["value"] for each in facet["values"][:4]] == ["a", "b", "answer 000", "answer 001"]


def test_a_review_counts_under_each_of_its_values() -> None:
    rows = rows_of(["a"] * 3)
    rows.reviews = {(0, 0): Review("accepted", True), (1, 0): Review("accepted")}
    facet = View(rows).facets(["review:0"])[0]
    assert [(each["value"], each["count"]) for each in facet["values"]] == [
        ("accepted", 2),
        ("flagged", 1),
        ("none", 1),
    ]


def test_agreement_is_told_in_words_and_by_what_people_said() -> None:
    rows = rows_of([("a", "A "), ("a", "b"), ("a", "b"), ("a", None)])
    rows.reviews = {(1, 1): Review("corrected", text="a")}
    (facet,) = View(rows).facets(["agreement"])
    assert {each["value"]: each["count"] for each in facet["values"]} == {
        "same": 2,
        "different": 1,
        "": 1,
    }
    view = View(rows)
    view.set({"sort": {"key": "agreement", "descending": False}})
    assert list(view.order) == [2, 0, 1, 3]  # those that differ first, as the page's menu says


def test_the_agreement_of_two_is_the_models_own() -> None:
    rows = rows_of([("a", "A ", "a"), ("a", "b", "a"), ("b", "b", "a"), ("a", "b", None)])
    rows.reviews = {(1, 1): Review("corrected", text="a")}
    view = View(rows)
    view.set({"filters": [{"key": "agreement:0,1", "values": ["different"]}]})
    assert list(view.order) == [1, 3]
    view.set({"filters": [{"key": "agreement:0,2", "values": ["different"]}]})
    assert list(view.order) == [2]
    with pytest.raises(Blip2Error, match="agreement:0,3"):
        view.set({"filters": [{"key": "agreement:0,3", "values": ["different"]}]})


def test_no_key_is_refused_with_a_close_one() -> None:
    with pytest.raises(Blip2Error, match="did you mean 'state:0'"):
        View(rows_of(["a"])).facets(["stat:0"])

"""What is shown, by position, as it changes."""

from __future__ import annotations

import threading
from typing import Any

import pandas as pd
import pytest

from blip2_widget.view import FrameColumns, View
from tests.view.made import rows_of
from tests.view.test_query import PLAIN, by, only


def test_a_new_view_shows_all_rows_in_their_order() -> None:
    view = View(rows_of(["a", "b"]))
    assert view.shown() == {
        "version": 0,
        "count": 2,
        "plain": True,
        "query": PLAIN,
        "error": None,
    }
    assert list(view.order) == [0, 1] == view.rows_at(0, 9) and view.position_of(1) == 1


def test_no_rows_at_all() -> None:
    rows = rows_of(["a"])
    rows.labels, rows.cells = [], []
    view = View(rows, FrameColumns(pd.DataFrame({"n": []})))
    view.warm()
    for query in ({"search": "a"}, by("column:n"), only("answer:0", "a"), {"unique": True}):
        view.set(query)
        assert view.count == 0 and view.plain
    facets = view.facets(["answer:0", "confidence:0", "column:n"])
    assert [each["distinct"] for each in facets] == [0, 0, 0]


def test_positions_and_rows_are_each_others_inverse() -> None:
    view = View(rows_of(["c", "a", "b", "a"]))
    view.set(by("answer:0"))
    assert view.rows_at(0, 4) == [1, 3, 2, 0] and view.rows_at(1, 3) == [3, 2]
    assert [view.position_of(row) for row in view.rows_at(0, 4)] == [0, 1, 2, 3]
    view.set(only("answer:0", "a"))
    assert view.rows_at(0, 4) == [1, 3] and view.rows_at(-5, 1) == [1] and view.rows_at(7, 9) == []
    assert [view.position_of(row) for row in (0, 1, 3, -1, 4)] == [None, 0, 1, None, None]
    assert all(type(row) is int for row in view.rows_at(0, 4))


def test_the_version_goes_up_only_when_other_rows_are_shown() -> None:
    rows = rows_of(["a", "b", "a"])
    view = View(rows)
    view.set({"search": "png"})
    assert view.version == 0 and view.plain
    view.set(only("answer:0", "a"))
    assert view.version == 1 and not view.plain
    view.set(only("answer:0", "a", "x"))
    assert view.version == 1 and view.shown()["query"]["filters"][0]["values"] == ["a", "x"]
    rows.cells[1][0].answer = "c"
    view.changed([1])
    assert not view.refresh() and view.version == 1
    rows.cells[1][0].answer = "x"
    view.changed([1])
    assert view.version == 1 and view.count == 2  # until it is told to
    assert view.refresh() and view.version == 2 and view.count == 3 and view.plain


def test_changes_of_rows_that_are_not_there_do_no_harm() -> None:
    view = View(rows_of(["a"]))
    view.changed([-1, 5])
    view.set({"search": "a"} | only("answer:0", "a"))
    assert view.count == 1


def test_duplicates_are_counted_as_pictures_become_known() -> None:
    rows = rows_of(["a"] * 4)
    view = View(rows)
    assert [view.duplicates(row) for row in range(4)] == [0, 0, 0, 0]
    rows.keys |= {0: "k", 2: "k", 3: "other"}
    view.changed([0, 2, 3])
    assert [view.duplicates(row) for row in range(4)] == [1, 0, 1, 0]
    rows.keys[3] = "k"
    del rows.keys[0]
    view.changed([0, 3])
    assert [view.duplicates(row) for row in range(4)] == [0, 0, 1, 1]


def test_an_interrupt_loses_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(["a", "b"])
    view = View(rows)
    view.set(only("answer:0", "x"))
    rows.cells[1][0].answer = "x"
    view.changed([1])
    with monkeypatch.context() as patch:
        patch.setattr(type(rows), "review", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            view.refresh()
    assert view.refresh() and list(view.order) == [1]


def _interrupted(*_: object) -> Any:
    raise KeyboardInterrupt


def test_queries_while_another_thread_changes_rows() -> None:
    rows = rows_of(["old"] * 3000)
    view = View(rows)
    queries = [{"search": "new"}, only("answer:0", "new"), by("answer:0", True), {"unique": True}]
    warming = threading.Thread(target=view.warm)

    def run() -> None:
        for row in range(rows.count):
            rows.cells[row][0].answer = "new"
            view.changed([row])

    running = threading.Thread(target=run)
    for each in (warming, running):
        each.start()
    while running.is_alive():
        for query in queries:
            view.set(query)
            version, found = view.version_and_rows_at(0, 5000)
            assert version <= view.version and len(found) == view.count
            view.facets(["answer:0", "state:0"])
    for each in (warming, running):
        each.join()
    for query in queries[:2]:
        view.set(query)
        assert view.plain


def test_a_computed_number_is_shown_sorted_by_and_read_again_when_its_row_changes() -> None:
    found: list[float | None] = [0.5, None, 0.25]
    columns = FrameColumns(pd.DataFrame({"n": [1, 2, 3]}))
    columns.put("score", 3, lambda row: found[row])
    assert columns.shown[1] == {"name": "score", "kind": "computed"} and columns.is_computed(
        "score"
    )
    assert columns.values(0) == ["1", "0.5"] and columns.values(1) == ["2", None]
    view = View(rows_of(["a", "b", "c"]), columns)
    view.set(by("column:score"))
    assert view.rows_at(0, 3) == [2, 0, 1]
    found[1] = 0.1
    view.changed([1])
    assert view.refresh() and view.rows_at(0, 3) == [1, 2, 0]
    view.set({"filters": [{"key": "column:score", "max": 0.3}]})
    assert view.rows_at(0, 3) == [1, 2]

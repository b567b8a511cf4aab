"""Seconds from a query to the rows it lets through, as galleries grow; and pandas, told the same.

The rows are made up: no picture is opened and no model loaded.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.process import call
from benchmarks.record import Record
from benchmarks.setting import Setting

NAME = "filtering"
FIRST, FIRST_WARM = "the first search", "the first search, index made ready"
SEARCH, COMMON = "a later search", "a search that finds every row"
FILTER, SORT, FACETS = "a filter", "a sort", "facets of 4 keys"
DURING = "any of them during a run"
MEMORY = "memory once made ready"
PANDAS = "df[df.answer.str.contains(…)]"
PANDAS_SORT = "df.sort_values(…)"
#: The row that the bars are about.
AT_SIZE = "100,000 rows"

_FILTERS: list[dict[str, Any]] = [
    {"filters": [{"key": "confidence:0", "min": 0.4, "max": 0.6}]},
    {"filters": [{"key": "column:place", "values": ["place 1", "place 7"]}]},
    {"filters": [{"key": "state:0", "values": ["done"]}], "unique": True},
]
_SORTS: list[dict[str, Any]] = [
    {"sort": {"key": key, "descending": descending}}
    for key in ("confidence:0", "column:place", "column:size", "answer:0")
    for descending in (True, False)
]
_FACETS = ["answer:0", "state:0", "confidence:0", "column:place"]

_WORDS = "red blue green small large round square dog cat house tree car street sky water person"


def measure(setting: Setting) -> list[Record]:
    """Seconds for each, at each size, each size in a process of its own."""
    sizes = (1_000, 100_000) if setting.quick else (1_000, 100_000, 1_000_000)
    records = []
    for rows in sizes:
        figures = call(seconds, setting.cache, rows=rows, rounds=max(setting.rounds, 3))
        records += [
            Record(NAME, f"{rows:,} rows", figure, value, "bytes" if figure == MEMORY else "s")
            for figure, value in figures.items()
        ]
    return records


# --- in a process of its own ------------------------------------------------------------------


@dataclass(slots=True)
class _Cell:
    prompt: str
    answer: str | None
    state: str
    logprob: float | None
    error: str | None = None


@dataclass(frozen=True)
class _Prompt:
    name: str
    text: str


class _Rows:
    """Rows with one answer of some words each."""

    prompts = (_Prompt("answer", "what is there?"),)

    def __init__(self, count: int) -> None:
        chance, words = (
            random.Random(1),
            [f"{each}{at}" for each in _WORDS.split() for at in range(99)],
        )
        self.count = count
        self.labels = [f"{row:07}.jpg" for row in range(count)]
        self._chance, self._words = chance, words
        self.cells = [self._answered() for _ in range(count)]

    def _answered(self) -> _Cell:
        answer = "a " + " ".join(self._chance.choices(self._words, k=6))
        return _Cell(self.prompts[0].text, answer, "done", -self._chance.random())

    def answer_again(self, row: int) -> None:
        self.cells[row] = self._answered()

    def cell(self, row: int, prompt: int) -> _Cell:
        return self.cells[row]

    def each(self, field: str, prompt: int) -> Iterator[Any]:
        return (getattr(cell, field) for cell in self.cells)

    def review(self, row: int, prompt: int) -> None:
        return None

    def picture_error(self, row: int) -> None:
        return None

    def picture_key(self, row: int) -> str:
        return self.labels[row - row % 2]


def seconds(rows: int, rounds: int) -> dict[str, float]:
    """The median seconds of each figure."""
    import pandas as pd
    import psutil

    from blip2_widget.view import FrameColumns, View

    made = _Rows(rows)
    places = [f"place {row % 100}" for row in range(rows)]
    frame = pd.DataFrame({"place": places, "size": range(rows)})
    process = psutil.Process()
    before = process.memory_info().rss
    view = View(made, FrameColumns(frame))
    view.warm()
    memory = process.memory_info().rss - before

    def ask(query: dict[str, Any]) -> Callable[[], object]:
        return lambda: view.set(query)

    # Every round looks for other words: what was just looked for is known.
    searches = [
        [_search(text.format(at)) for text in ("dog{}", "ca{}", "red{} cat", '"a red{}"')]
        for at in range(rounds)
    ]
    common = [[_search("what is there"[: 3 + at])] for at in range(rounds)]
    found = {
        FIRST: _seconds(lambda: View(made, FrameColumns(frame)).set(_search("dog1"))),
        FIRST_WARM: _seconds(ask(_search("person5"))),
        SEARCH: _worst([[ask(each) for each in one] for one in searches]),
    }
    for figure, queries in ((FILTER, _FILTERS), (SORT, _SORTS)):
        for query in queries:
            view.set(query)  # reads the columns, once
        found[figure] = _worst([[ask(query) for query in queries]] * rounds)
    view.set(_FILTERS[0])
    found[FACETS] = _worst([[lambda: view.facets(_FACETS)]] * rounds)
    found[MEMORY] = memory
    during = [*searches[0], *_FILTERS, *_SORTS]
    found[DURING] = _during_a_run(made, view, [[ask(each) for each in during]] * rounds)
    found[COMMON] = _worst([[ask(each) for each in one] for one in common])
    answered = frame.assign(answer=[str(cell.answer) for cell in made.cells])
    found[PANDAS] = _worst([[lambda: answered[answered.answer.str.contains("dog2")]]] * rounds)
    found[PANDAS_SORT] = _worst([[lambda: answered.sort_values("answer")]] * rounds)
    return found


def _during_a_run(
    made: _Rows, view: Any, rounds: Sequence[Sequence[Callable[[], object]]]
) -> float:
    """The same while another thread answers 1,000 rows a second and says so ten times a second."""
    over = threading.Event()

    def run() -> None:
        row = 0
        while not over.wait(0.1):
            changed = [(row + at) % made.count for at in range(100)]
            for each in changed:
                made.answer_again(each)
            view.changed(changed)
            row += 100

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        time.sleep(0.5)
        return _worst(rounds)
    finally:
        over.set()
        thread.join()


def _search(text: str) -> dict[str, Any]:
    return {"search": text}


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _worst(rounds: Sequence[Sequence[Callable[[], object]]]) -> float:
    """Of several actions, each done in every round, the slowest one's median."""
    taken = [[_seconds(action) for action in actions] for actions in rounds]
    medians: list[float] = [statistics.median(each) for each in zip(*taken, strict=True)]
    return max(medians)

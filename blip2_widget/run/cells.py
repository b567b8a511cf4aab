"""What a run is asked and what came of it: prompts, cells, and counts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from blip2_widget.model import Kind, kind_of
from blip2_widget.texts import whole

#: `unasked` is a cell that its run leaves alone until a person asks it.
State = Literal["waiting", "running", "done", "error", "cancelled", "unasked"]
RunState = Literal["idle", "waiting", "loading", "running", "done", "cancelled", "failed"]
#: What of a cell is read of all rows at once.
CellField = Literal["answer", "state", "logprob"]
Counted = Literal["answers", "pictures", "answers and pictures"]


@dataclass(frozen=True)
class Prompt:
    """One question or caption for every row; `name` names its column of answers."""

    name: str
    text: str
    kind: Kind


@dataclass(slots=True)
class Cell:
    """One prompt on one picture, and its answer.

    `partial` is the beginning of an answer that is being generated. `logprob` is the natural
    logarithm of the answer's probability under the model, None where it is not known. Where
    choices were ranked it is that within the choices, and `choices` has each with its probability.
    Where several answers were asked for `alternatives` has them, each with its logarithm.
    `answered_at` is when the answer was computed, in Unix seconds. `source` is the file that an
    imported answer came from, and `model`, with its `revision` and `variant`, what made it there,
    where that is known.
    `error_kind` tells reasons apart: an ImageError's kind, "memory", "model", "choices" or
    "prompt".
    `edition` goes up whenever the cell is asked anew, so that an answer to an earlier prompt
    that comes late is not taken for the answer to this one.
    """

    prompt: str
    kind: Kind
    state: State = "waiting"
    answer: str | None = None
    partial: str | None = None
    logprob: float | None = None
    error: str | None = None
    error_kind: str | None = None
    cached: bool = False
    answered_at: float | None = None
    source: str | None = None
    model: str | None = None
    revision: str | None = None
    variant: str | None = None
    edition: int = 0
    choices: tuple[tuple[str, float], ...] = ()
    alternatives: tuple[tuple[str, float], ...] = ()

    def settle(
        self,
        text: str,
        logprob: float | None,
        *,
        cached: bool,
        at: float | None = None,
        source: str | None = None,
        model: str | None = None,
        revision: str | None = None,
        variant: str | None = None,
        choices: tuple[tuple[str, float], ...] = (),
        alternatives: tuple[tuple[str, float], ...] = (),
    ) -> None:
        """Take the answer, which was computed `at` that time."""
        self.state, self.answer, self.logprob, self.cached = "done", text, logprob, cached
        self.answered_at, self.source, self.model = at, source, model
        self.revision, self.variant = revision, variant
        self.choices, self.alternatives = choices, alternatives

    def fail(self, message: str, kind: str) -> None:
        """Take the reason why there is no answer, in one line."""
        self.state, self.error, self.error_kind = "error", " ".join(message.split()), kind


@dataclass(frozen=True, slots=True)
class Task:
    """One cell to be answered, as it stood when it was queued."""

    row: int
    prompt: int
    edition: int


class CellGrid:
    """All cells of a run, rows by prompts, and how many are in which state.

    A cell takes room only from its first change on, so that a million rows of which few are asked
    cost what these few do. Every change is made under `lock`. One to a task is dropped where its
    cell was asked anew since, or has its answer.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[str | Sequence[str]],
        rows: int,
        asked: Collection[int] | None = None,
    ) -> None:
        """`texts` has each prompt's text, or its text on each row; `asked` are the rows that are to
        be answered, all of them where it is None."""
        self.lock = threading.RLock()
        self.asked: Sequence[int] = range(rows) if asked is None else sorted(set(asked))
        self._asked: Collection[int] = self.asked if asked is None else frozenset(asked)
        self._kinds: list[Kind] = [prompt.kind for prompt in prompts]
        self._texts = texts
        self._touched: list[dict[int, Cell]] = [{} for _ in prompts]
        #: How many of the asked cells were never changed, and what they all are.
        self._untouched = len(self.asked) * len(prompts)
        self._state: State = "waiting"
        self.counts: Counter[State] = Counter()
        self.counts["waiting"] = self._untouched
        self.counts["unasked"] = rows * len(prompts) - self._untouched
        self.cached = 0

    @property
    def open(self) -> int:
        """How many cells are still to be settled."""
        return self.counts["waiting"] + self.counts["running"]

    def cell(self, row: int, prompt: int) -> Cell:
        """A cell as it is now. It is not to be changed, and may be one of its own."""
        return self._touched[prompt].get(row) or self._new(row, prompt)

    def tasks(self, rows: Iterable[int] | None, *states: State) -> list[Task]:
        """A task for every cell of the rows that is in one of the states; for no rows given, for
        every cell that was ever changed."""
        if rows is None:
            rows = sorted(set().union(*self._touched))
        return [
            Task(row, prompt, cell.edition)
            for row in rows
            for prompt in range(len(self._kinds))
            for cell in [self.cell(row, prompt)]
            if cell.state in states
        ]

    def is_open(self, task: Task) -> bool:
        """Whether the task's cell still waits for the task's answer."""
        cell = self.cell(task.row, task.prompt)
        return cell.state in ("waiting", "running") and cell.edition == task.edition

    def set(self, tasks: Iterable[Task], state: State) -> None:
        with self.lock:
            for task in tasks:
                if self.is_open(task):
                    self._move(self._own(task), state)

    def set_untouched(self, state: State) -> bool:
        """Put all cells that were asked and never changed into a state; whether that is another."""
        with self.lock:
            before, self._state = self._state, state
            self.counts[before] -= self._untouched
            self.counts[state] += self._untouched
            return self._untouched > 0 and before != state

    def hear(self, task: Task, text: str) -> None:
        """Take the beginning of an answer."""
        with self.lock:
            if self.is_open(task):
                self._own(task).partial = text

    def answer(
        self, task: Task, text: str, logprob: float | None, *, cached: bool, **more: Any
    ) -> None:
        """Take an answer, with what `Cell.settle` knows of it."""
        with self.lock:
            if self.is_open(task):
                cell = self._own(task)
                self._move(cell, "done")
                cell.settle(text, logprob, cached=cached, **more)
                self.cached += cached

    def fail(self, task: Task, message: str, kind: str) -> None:
        with self.lock:
            if self.is_open(task):
                cell = self._own(task)
                self._move(cell, "error")
                cell.fail(message, kind)

    def reopen(self, task: Task, text: str | None = None) -> Task:
        """Make a task's cell wait again, whatever stood there, for another text where one is
        given."""
        with self.lock:
            cell = self._own(task)
            if text is not None:
                cell.prompt, cell.kind = (
                    whole(text).strip(),
                    kind_of(text, self._kinds[task.prompt]),
                )
            self.cached -= cell.cached
            self._move(cell, "waiting")
            cell.answer, cell.logprob, cell.cached = None, None, False
            cell.error, cell.error_kind = None, None
            cell.answered_at, cell.source, cell.model = None, None, None
            cell.revision, cell.variant = None, None
            cell.choices, cell.alternatives = (), ()
            cell.edition += 1
            return Task(task.row, task.prompt, cell.edition)

    def _new(self, row: int, prompt: int) -> Cell:
        text = self._texts[prompt]
        state = self._state if row in self._asked else "unasked"
        return Cell(text if isinstance(text, str) else text[row], self._kinds[prompt], state)

    def _own(self, task: Task) -> Cell:
        """A task's cell, to be changed."""
        touched = self._touched[task.prompt]
        if task.row not in touched:
            touched[task.row] = self._new(task.row, task.prompt)
            self._untouched -= task.row in self._asked
        return touched[task.row]

    def _move(self, cell: Cell, state: State) -> None:
        self.counts[cell.state] -= 1
        self.counts[state] += 1
        cell.state, cell.partial = state, None


@dataclass(frozen=True)
class Progress:
    """How far a run is. Counts are of `counted`: answers (rows times prompts), or pictures where
    they are measured. `done` includes those that `failed` and those that came `cached` from the
    store. `rate` is computed ones a second."""

    state: RunState
    note: str
    done: int
    total: int
    failed: int
    cached: int
    rate: float | None
    seconds_left: float | None
    seconds: float | None
    model: str
    variant: str
    counted: Counted = "answers"

"""What a run is asked and what came of it: prompts, cells, and counts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from blip2_widget.model import Kind

#: `unasked` is a cell that its run leaves alone until a person asks it.
State = Literal["waiting", "running", "done", "error", "cancelled", "unasked"]
RunState = Literal["idle", "waiting", "loading", "running", "done", "cancelled", "failed"]


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
    logarithm of the answer's probability under the model, None where it is not known.
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
    cached: bool = False
    edition: int = 0


@dataclass(frozen=True)
class Task:
    """One cell to be answered, as it stood when it was queued."""

    row: int
    prompt: int
    edition: int


class CellGrid:
    """All cells of a run, rows by prompts, and how many are in which state.

    Every change is made under `lock`. One to a task is dropped where its cell was asked anew
    since, or has its answer.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[Sequence[str]],
        rows: int,
        asked: Collection[int] | None = None,
    ) -> None:
        """`texts[prompt][row]` is each prompt's text on each row; `asked` are the rows that are to
        be answered, all of them where it is None."""
        self.lock = threading.RLock()
        self.rows = [
            [Cell(texts[at][row], prompt.kind) for at, prompt in enumerate(prompts)]
            for row in range(rows)
        ]
        self.counts: Counter[State] = Counter()
        self.counts["waiting"] = rows * len(prompts)
        if asked is not None:
            for row in set(range(rows)).difference(asked):
                for cell in self.rows[row]:
                    self._move(cell, "unasked")
        self.cached = 0

    @property
    def open(self) -> int:
        """How many cells are still to be settled."""
        return self.counts["waiting"] + self.counts["running"]

    def cell(self, task: Task) -> Cell:
        return self.rows[task.row][task.prompt]

    def tasks(self, rows: Iterable[int], *states: State) -> list[Task]:
        """A task for every cell of the rows that is in one of the states."""
        return [
            Task(row, at, cell.edition)
            for row in rows
            for at, cell in enumerate(self.rows[row])
            if cell.state in states
        ]

    def is_open(self, task: Task) -> bool:
        """Whether the task's cell still waits for the task's answer."""
        cell = self.cell(task)
        return cell.state in ("waiting", "running") and cell.edition == task.edition

    def set(self, tasks: Iterable[Task], state: State) -> None:
        with self.lock:
            for task in tasks:
                if self.is_open(task):
                    self._move(self.cell(task), state)

    def hear(self, task: Task, text: str) -> None:
        """Take the beginning of an answer."""
        with self.lock:
            if self.is_open(task):
                self.cell(task).partial = text

    def answer(self, task: Task, text: str, logprob: float | None, *, cached: bool) -> None:
        with self.lock:
            if self.is_open(task):
                cell = self.cell(task)
                self._move(cell, "done")
                cell.answer, cell.logprob, cell.cached = text, logprob, cached
                self.cached += cached

    def fail(self, task: Task, message: str) -> None:
        with self.lock:
            if self.is_open(task):
                cell = self.cell(task)
                self._move(cell, "error")
                cell.error = " ".join(message.split())

    def reopen(self, row: int, prompt: int) -> Task:
        """Make a cell wait again, whatever stood there."""
        with self.lock:
            cell = self.rows[row][prompt]
            self.cached -= cell.cached
            self._move(cell, "waiting")
            cell.answer, cell.logprob, cell.error, cell.cached = None, None, None, False
            cell.edition += 1
            return Task(row, prompt, cell.edition)

    def _move(self, cell: Cell, state: State) -> None:
        self.counts[cell.state] -= 1
        self.counts[state] += 1
        cell.state, cell.partial = state, None


@dataclass(frozen=True)
class Progress:
    """How far a run is. Counts are of answers (rows times prompts); `done` includes those that
    `failed` and those that came `cached` from the store. `rate` is computed answers a second."""

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

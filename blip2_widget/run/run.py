"""A run: prompts over the rows of a column, from pictures to answers.

Rows are known by their number throughout, never by their place in a batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Unpack

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column
from blip2_widget.model import Answer, Cancelled, Engine, GenerationSettings, Variant
from blip2_widget.run.answers import Answers, Reports, Wanted, suitable_sizes
from blip2_widget.run.cells import Cell, CellGrid, Prompt, Task
from blip2_widget.run.life import Answerer, Counts
from blip2_widget.run.outcomes import failure, several
from blip2_widget.run.pictures import Picture
from blip2_widget.run.queue import Queue
from blip2_widget.run.work import LOOK_UP_ROWS, Means, Work
from blip2_widget.store import StoredAnswer

#: Seconds between two looks at what is being written.
_HEAR_INTERVAL = 0.1


@dataclass
class Chunk:
    """Tasks that are computed together, and the cancel event they were taken under.

    Once it `is_open`, `wanted` holds those that the store has no answer to.
    """

    tasks: list[Task]
    cancel: threading.Event
    urgent: bool = False
    is_open: bool = False
    pictures: dict[int, Picture] = field(default_factory=dict)
    wanted: dict[Task, Wanted] = field(default_factory=dict)


class Run(Work, Answerer):
    """Prompts over a column's rows. `start` queues it; then the cells fill in."""

    def __init__(
        self,
        column: Column,
        prompts: Sequence[Prompt],
        texts: Sequence[str | Sequence[str]],
        *,
        settings: GenerationSettings,
        better: Sequence[Variant] = (),
        refresh: bool = False,
        imports: bool = True,
        rows: Collection[int] | None = None,
        question_form: str | None = None,
        choices_of: Callable[[int], tuple[str, ...]] | None = None,
        **means: Unpack[Means],
    ) -> None:
        """`texts` has each prompt's text, or its text on each row. Only `rows` are answered, where
        they are given. Questions are put in the `question_form`, with {} for the question, or in
        the family's own. With `refresh` stored answers are computed again; where `imports`, those
        that came from elsewhere are taken before them. What the `better` variants answered is taken
        too.
        `choices_of` gives a row's own choices, or raises the Blip2Error that its answers fail with.
        `batch_size` counts answers; None takes one that suits the device and its memory."""
        self._grid = CellGrid(prompts, texts, len(column.values), rows)
        super().__init__(column, self._grid.asked, means)
        self._lock = self._grid.lock  # one for both, since each change is of both
        self.prompts = list(prompts)
        self.settings = settings
        self._answers = Answers(
            self.located, self.variant, settings, means["store"], refresh, better, question_form
        )
        self._choices_of = choices_of
        self._refresh = refresh
        self._imports = imports and not refresh
        self._supersedes = imports and refresh
        self._pending = Queue(len(self.prompts))
        self._urgent = Queue(len(self.prompts))
        self._parked: dict[bool, Chunk] = {}
        self._stopping: set[Task] = set()
        self._heard_at = 0.0

    # --- for the person ---------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop after the decoding step under way; answers that are there stay."""
        with self._lock:
            self._cancel.set()
            self._cancel = threading.Event()
            left = self._pending.clear() + self._urgent.clear()
            left += [task for chunk in self._parked.values() for task in chunk.tasks]
            self._parked.clear()
            self._looked_up = len(self._rows)
            self._stopping = set(self._grid.tasks(None, "running"))
            self.pictures.leave()
            self._grid.set(left, "cancelled")
            all_left = self._grid.set_untouched("cancelled")
            self._finish_if_idle()
        self._announce(self._rows if all_left else {task.row for task in left})

    def ask(self, row: int, prompt: int, text: str) -> None:
        """Ask one picture anew, ahead of everything that is queued."""
        with self._lock:
            self._requeue([self._grid.reopen(Task(row, prompt, 0), text)], urgent=True)

    def retry(self, rows: Iterable[int] | None = None) -> None:
        """Ask again what failed or was cancelled: given rows ahead of what is queued, or all."""
        with self._lock:
            failed = self._grid.tasks(rows, "error", "cancelled")
            failed += [t for t in self._grid.tasks(rows, "running") if t in self._stopping]
            for task in failed:
                self.pictures.forget(task.row)
            tasks = [self._grid.reopen(task) for task in failed]
            untouched = rows is None and self._grid.set_untouched("waiting")
            if untouched:
                self._pending.set_rows(self._rows)
            self._requeue(tasks, urgent=rows is not None, anyway=untouched)

    def cell(self, row: int, prompt: int) -> Cell:
        """What was asked of a row under a prompt, and what came of it, now."""
        return self._grid.cell(row, prompt)

    # --- on the worker's thread ---------------------------------------------------------------

    def _queue_all(self) -> None:
        self._grid.set_untouched("waiting")
        self._pending.set_rows(self._rows)
        if not self._refresh:
            self._looked_up = 0

    def _step(self, urgent: bool) -> bool:
        if self._is_looking_up and not (urgent and self._has_typed()):
            self._look_up()
            return True
        chunk = self._take(urgent)
        if chunk is None:
            with self._lock:
                self._finish_if_idle()
            self._announce(())
            return False
        try:
            self._look_at(chunk)
        except Cancelled:
            self._cancel_tasks(chunk.tasks)
            return True
        if chunk.wanted:
            engine = self._loaded_engine(urgent)
            if engine is None:
                self._park(chunk, urgent)
                return self._is_looking_up
            self._compute(engine, chunk)
        self._end_chunk(chunk)
        return True

    def _has_typed(self) -> bool:
        """Whether there is something that a person typed, and that does not wait for the model."""
        if True in self._parked:
            return self._resident is not None and self._resident.future.done()
        return bool(self._urgent)

    def _take(self, urgent: bool) -> Chunk | None:
        """The next chunk; it ends with a picture's last prompt."""
        with self._lock:
            parked = self._parked.pop(urgent, None)
            if parked is not None:
                return parked
            queue = self._urgent if urgent else self._pending
            tasks: list[Task] = []
            while len(tasks) < self._chunk_size and (of_row := queue.pop()):
                tasks += filter(self._grid.is_open, of_row)
            if not tasks:
                return None
            self._grid.set(tasks, "running")
            if self._state == "waiting":
                self._state = "running"
        self._announce({task.row for task in tasks})
        return Chunk(tasks, self._cancel, urgent)

    def _look_at(self, chunk: Chunk) -> None:
        """Open a chunk's pictures, unless that was done before it waited for the model, and give
        out its stored answers. Raises Cancelled."""
        if chunk.is_open:
            return
        rows = dict.fromkeys(task.row for task in chunk.tasks)
        chunk.pictures = self.pictures.open(
            rows, chunk.urgent, partial(self._between, chunk.cancel, chunk.urgent)
        )
        for task in chunk.tasks:
            picture = chunk.pictures.get(task.row)
            if picture is not None and picture.error is not None:
                self._grid.fail(task, str(picture.error), picture.error.kind)
        self._announce({row for row, picture in chunk.pictures.items() if picture.error})
        with self._lock:
            queue = self._urgent if chunk.urgent else self._pending
            upcoming = queue.ahead(self._chunk_size)
        self.pictures.open_ahead(upcoming)
        chunk.wanted = self._give_stored(chunk.tasks)
        chunk.is_open = True

    def _look_up(self) -> None:
        self._give_stored(self._grid.tasks(self._next_known(LOOK_UP_ROWS), "waiting"))

    def _give_stored(self, tasks: Iterable[Task]) -> dict[Task, Wanted]:
        """Answer from the store what is there; returns what is not and whose picture is known."""
        wanted: dict[Task, Wanted] = {}
        wrong: set[int] = set()
        with self._lock:  # no prompt may change between a task's check and the reading of it
            for task in tasks:
                # Read once: another run beside this one may forget it meanwhile.
                key, cell = self.pictures.keys.get(task.row), self._grid.cell(task.row, task.prompt)
                if key is None or not self._grid.is_open(task):
                    continue
                try:
                    own = None if self._choices_of is None else self._choices_of(task.row)
                    wanted[task] = self._answers.want(key, cell.prompt, cell.kind, own)
                except Blip2Error as error:  # what cannot be ranked
                    self._grid.fail(task, str(error), "choices")
                    wrong.add(task.row)
        stored = self._answers.stored(wanted.values())
        self._give_imported(wanted, stored)
        given = {task for task, want in wanted.items() if want in stored}
        for task in given:
            answer = stored[wanted[task]]
            self._answer(task, answer, wanted[task].choices, cached=True, at=answer.created_at)
        self._announce({task.row for task in given} | wrong)
        return {
            task: want
            for task, want in wanted.items()
            if task not in given and self._grid.is_open(task)
        }

    def _give_imported(
        self, wanted: Mapping[Task, Wanted], stored: Mapping[Wanted, StoredAnswer]
    ) -> None:
        """Answer what somebody else has answered. What the model itself has stored is left for the
        text that is its own come back, since more is known of it."""
        keys = [want.image_key for want in wanted.values()] if self._imports else []
        texts = self._answers.imported(keys)
        given = set()
        for task, want in wanted.items() if texts else ():
            with self._lock:  # no prompt may change between the reading of it and the answer
                cell = self._grid.cell(task.row, task.prompt)
                text = texts.get((want.image_key, cell.prompt, cell.kind))
                if text is None or not self._grid.is_open(task):
                    continue
                own = stored.get(want)
                if own is not None and (
                    text.model == self.located.checkpoint.name or text.text == own.text.strip()
                ):
                    continue
                self._grid.answer(
                    task,
                    text.text,
                    text.logprob,
                    cached=True,
                    at=text.created_at,
                    source=text.source,
                    model=text.model,
                    revision=text.revision,
                    variant=text.variant,
                )
                given.add(task)
        self._announce({task.row for task in given})

    def _set_batch_sizes(self, engine: Engine) -> None:
        """What fits the device and its memory, or what was asked for."""
        self._answers.set_batch_sizes(
            suitable_sizes(engine, self.variant, self.settings, self._batch_size)
        )

    def _park(self, chunk: Chunk, urgent: bool) -> None:
        """Keep a chunk until the model is there, unless it was cancelled meanwhile."""
        with self._lock:
            if chunk.cancel.is_set():
                self._grid.set(chunk.tasks, "cancelled")
                self._finish_if_idle()
            else:
                self._parked[urgent] = chunk
        self._announce({task.row for task in chunk.tasks})

    def _compute(self, engine: Engine, chunk: Chunk) -> None:
        """Compute what a chunk wants; what was done by then stays, whatever comes between."""
        rows: dict[str, list[int]] = {}
        tasks_of: dict[Wanted, list[Task]] = {}
        for task, want in chunk.wanted.items():
            rows.setdefault(want.image_key, []).append(task.row)
            tasks_of.setdefault(want, []).append(task)

        reports = Reports(
            lambda answers: self._settle(tasks_of, answers),
            lambda wanted, error: self._fail_rows(tasks_of, wanted, error),
            lambda running: self._hear_tokens(engine, chunk, tasks_of, running),
        )
        try:
            self._answers.compute(
                engine,
                chunk.wanted.values(),
                lambda key: self.pictures.image(rows[key], key, chunk.pictures, chunk.urgent),
                reports,
                partial(self._between, chunk.cancel, chunk.urgent),
                remember=chunk.urgent,
            )
        except Cancelled:
            self._cancel_tasks(chunk.wanted)

    def _end_chunk(self, chunk: Chunk) -> None:
        """Whatever may have gone wrong, nobody waits for what does not come."""
        left = [task for task in chunk.tasks if self._grid.is_open(task)]
        for task in left:
            self._grid.fail(task, "no answer came; try again", "model")
        self._announce({task.row for task in left})
        if not chunk.urgent:
            self._grow(self._answers.at_a_time)

    def _settle(
        self, tasks_of: Mapping[Wanted, Sequence[Task]], answers: Mapping[Wanted, Answer]
    ) -> None:
        tasks = [
            (task, answer, want.choices)
            for want, answer in answers.items()
            for task in tasks_of[want]
        ]
        if self._supersedes:  # before it is shown, as it is stored before that
            self._supersede({want: tasks_of[want] for want in answers})
        with self._lock:
            self._computed += len(tasks)
            now = time.time()
            for task, answer, ranked in tasks:
                self._answer(task, answer, ranked, cached=False, at=now)
        self._announce({task.row for task, *_ in tasks})

    def _supersede(self, tasks_of: Mapping[Wanted, Sequence[Task]]) -> None:
        """What was computed anew is given from now on, and no imported text in its place."""
        with self._lock:
            asked = [
                (want.image_key, cell.prompt, cell.kind)
                for want, tasks in tasks_of.items()
                for task in tasks
                for cell in [self._grid.cell(task.row, task.prompt)]
                if self._grid.is_open(task)
            ]
        self._answers.supersede(asked)

    def _answer(
        self,
        task: Task,
        answer: Answer | StoredAnswer,
        ranked: tuple[str, ...],
        *,
        cached: bool,
        at: float,
    ) -> None:
        choices, others = several(answer, ranked)
        self._grid.answer(
            task,
            answer.text,
            answer.logprob,
            cached=cached,
            at=at,
            choices=choices,
            alternatives=others,
        )

    def _fail_rows(
        self, tasks_of: Mapping[Wanted, Sequence[Task]], wanted: Iterable[Wanted], error: Exception
    ) -> None:
        message, kind = failure(error)
        tasks = [task for want in wanted for task in tasks_of[want]]
        for task in tasks:
            self._grid.fail(task, message, kind)
        self._announce({task.row for task in tasks})

    def _hear_tokens(
        self,
        engine: Engine,
        chunk: Chunk,
        tasks_of: Mapping[Wanted, Sequence[Task]],
        running: Mapping[Wanted, Sequence[int]],
    ) -> None:
        """Show the beginnings of answers: now and then, or at once where a person waits."""
        if not chunk.urgent and time.monotonic() - self._heard_at < _HEAR_INTERVAL:
            return
        self._heard_at = time.monotonic()
        for want, tokens in running.items():
            text = engine.text(tokens)
            for task in tasks_of[want]:
                self._grid.hear(task, text)
        self._announce({task.row for want in running for task in tasks_of[want]})

    # --- state --------------------------------------------------------------------------------

    def _requeue(self, tasks: Sequence[Task], urgent: bool, anyway: bool = False) -> None:
        """Go on with these; `anyway`, where others were queued already."""
        if not tasks and not anyway:
            return
        for task in tasks:
            self.pictures.errors.pop(task.row, None)
        (self._urgent if urgent else self._pending).extend(tasks)
        if self._state in ("done", "cancelled", "failed"):
            self._go_on()
        self._announce({task.row for task in tasks})
        self._worker.submit(self, urgent=urgent)

    def _drop_what_is_left(self) -> None:
        self.cancel()
        self._grid.set(self._grid.tasks(None, "waiting", "running"), "cancelled")

    def _finish_if_idle(self) -> None:
        if not self._grid.open and not self._finished.is_set():
            self._end("cancelled" if self._grid.counts["cancelled"] else "done")

    def _cancel_tasks(self, tasks: Iterable[Task]) -> None:
        """What was under way has ended."""
        rows = {task.row for task in tasks}
        self._grid.set(tasks, "cancelled")
        self._announce(rows)

    def _counts(self) -> Counts:
        counts = self._grid.counts
        return Counts(
            total=counts.total() - counts["unasked"],
            done=counts["done"] + counts["error"],
            failed=counts["error"],
            cached=self._grid.cached,
            left=self._grid.open,
        )

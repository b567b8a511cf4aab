"""A run: prompts over the rows of a column, from pictures to answers.

Rows are known by their number throughout, never by their place in a batch. All computing is
done in `step`, on the worker's thread; everything else may be called from any thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, Limits
from blip2_widget.model import (
    Answer,
    Cancelled,
    Engine,
    GenerationSettings,
    Located,
    ModelManager,
    Resident,
    Variant,
)
from blip2_widget.run.answers import Answers, Reports, Wanted, suitable_sizes
from blip2_widget.run.cells import Cell, CellGrid, Progress, Prompt, RunState, Task
from blip2_widget.run.outcomes import failure, several
from blip2_widget.run.pictures import Picture, Pictures
from blip2_widget.run.queue import Queue
from blip2_widget.run.worker import Worker
from blip2_widget.store import Store, StoredAnswer

#: Rows looked up in the store in one step before any picture is opened.
LOOK_UP_ROWS = 2000
#: Tasks in a run's first chunk. Each later one has twice as many, up to two batches of answers, so
#: that the first answers come soon and the many come fast.
FIRST_CHUNK = 4
#: The most while there is no model to say how many it takes, since all were stored.
UNMEASURED_CHUNK = 64
#: Seconds between two looks at what is being written.
_HEAR_INTERVAL = 0.1

#: Called with the numbers of the rows that changed, from whichever thread changed them.
Listener = Callable[[Iterable[int]], None]

_log = logging.getLogger(__name__)


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


class Run:
    """Prompts over a column's rows. `start` queues it; then the cells fill in."""

    def __init__(
        self,
        column: Column,
        prompts: Sequence[Prompt],
        texts: Sequence[str | Sequence[str]],
        *,
        title: str,
        located: Located,
        variant: Variant,
        settings: GenerationSettings,
        manager: ModelManager,
        store: Store,
        worker: Worker,
        better: Sequence[Variant] = (),
        batch_size: int | None = None,
        refresh: bool = False,
        imports: bool = True,
        limits: Limits | None = None,
        rows: Collection[int] | None = None,
        beside: Pictures | None = None,
        question_form: str | None = None,
    ) -> None:
        """`texts` has each prompt's text, or its text on each row. Only `rows` are answered, where
        they are given. Questions are put in the `question_form`, with {} for the question, or in
        the family's own. `beside` are the pictures of another run over this column. With `refresh`
        stored answers are computed again; where `imports`, those that came from elsewhere are
        taken before them. What the `better` variants answered is taken too.
        `batch_size` counts answers; None takes one that suits the device and its memory."""
        self.column = column
        self.prompts = list(prompts)
        self.title = title
        self.located = located
        self.variant = variant
        self.settings = settings
        self._grid = CellGrid(self.prompts, texts, len(column.values), rows)
        self.pictures = Pictures(column, store, limits, beside)
        self._manager = manager
        self._store = store
        self._answers = Answers(located, variant, settings, store, refresh, better, question_form)
        self._worker = worker
        self._batch_size = batch_size
        self._chunk_size = batch_size or FIRST_CHUNK
        self._refresh = refresh
        self._imports = imports and not refresh
        self._supersedes = imports and refresh
        self._lock = self._grid.lock
        self._finished = threading.Event()
        self._cancel = threading.Event()
        self._pending = Queue(len(self.prompts))
        self._urgent = Queue(len(self.prompts))
        self._parked: dict[bool, Chunk] = {}
        #: How many of the asked rows were looked up before any picture is opened.
        self._looked_up = len(self._grid.asked)
        self._stopping: set[Task] = set()
        self._resident: Resident | None = None
        self._engine: Engine | None = None
        self._heard_at = 0.0
        self._listeners: list[Listener] = []
        self._computed = 0
        self._state: RunState = "waiting"
        self._note = ""
        self._failure: Blip2Error | None = None
        self._started = time.monotonic()
        self._computing_since: float | None = None
        self._took: float | None = None

    # --- for the person ---------------------------------------------------------------------

    def start(self) -> Run:
        """Queue every cell."""
        with self._lock:
            self._grid.set_untouched("waiting")
            self._pending.set_rows(self._grid.asked)
            if not self._refresh:
                self._looked_up = 0
            self._started = time.monotonic()
        # Looking up is quick and goes first: what is stored waits for no other run.
        self._worker.submit(self, urgent=True)
        self._worker.submit(self)
        return self

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is left to do; False after `timeout` seconds.

        Raises the Blip2Error that stopped the run, if one did.
        """
        finished = self._finished.wait(timeout)
        if self._failure is not None:
            raise self._failure
        return finished

    def cancel(self) -> None:
        """Stop after the decoding step under way; answers that are there stay."""
        with self._lock:
            self._cancel.set()
            self._cancel = threading.Event()
            left = self._pending.clear() + self._urgent.clear()
            left += [task for chunk in self._parked.values() for task in chunk.tasks]
            self._parked.clear()
            self._looked_up = len(self._grid.asked)
            self._stopping = set(self._grid.tasks(None, "running"))
            self.pictures.leave()
            self._grid.set(left, "cancelled")
            all_left = self._grid.set_untouched("cancelled")
            self._finish_if_idle()
        self._announce(self._grid.asked if all_left else {task.row for task in left})

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
                self._pending.set_rows(self._grid.asked)
            self._requeue(tasks, urgent=rows is not None, anyway=untouched)

    def count_stored(self) -> int:
        """How many answers the store has for files that were seen before; opens no picture."""
        with self._lock:
            self._looked_up = 0
        while self._is_looking_up:
            self._look_up_known_files()
        return self._grid.counts["done"]

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` whenever rows change, or with no rows when only the progress does."""
        self._listeners.append(listener)

    def cell(self, row: int, prompt: int) -> Cell:
        """What was asked of a row under a prompt, and what came of it, now."""
        return self._grid.cell(row, prompt)

    @property
    def progress(self) -> Progress:
        """How far the run is, now."""
        with self._lock:
            counts, left = self._grid.counts, self._grid.open
            total = counts.total() - counts["unasked"]
            seconds = time.monotonic() - self._started if self._took is None else self._took
            rate = None
            if self._computing_since is not None and self._computed:
                rate = self._computed / max(self._started + seconds - self._computing_since, 1e-6)
            return Progress(
                state=self._state,
                note=self._note,
                done=counts["done"] + counts["error"],
                total=total,
                failed=counts["error"],
                cached=self._grid.cached,
                rate=rate,
                seconds_left=left / rate if rate and self._state == "running" else None,
                seconds=seconds,
                model=self.located.checkpoint.label,
                variant=self.variant.name,
            )

    # --- on the worker's thread ---------------------------------------------------------------

    def step(self, urgent: bool) -> bool:
        """One look-up, or one chunk; True if the worker should come back."""
        try:
            return self._step(urgent)
        except Exception as error:  # a defect must not end the thread that serves every run
            _log.exception("a run failed")
            self._fail(Blip2Error(f"the run stopped: {type(error).__name__}: {error}"))
            return False

    def _step(self, urgent: bool) -> bool:
        if self._is_looking_up and not (urgent and self._has_typed()):
            self._look_up_known_files()
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
        chunk.pictures = self.pictures.open(rows, chunk.urgent, partial(self._between, chunk))
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

    def _between(self, chunk: Chunk) -> None:
        """What happens in the middle of a chunk's work: it ends, or gives way."""
        if chunk.cancel.is_set() or self._worker.is_closing:
            raise Cancelled
        if not chunk.urgent:
            self._worker.give_way()

    @property
    def _is_looking_up(self) -> bool:
        return self._looked_up < len(self._grid.asked)

    def _look_up_known_files(self) -> None:
        """Give out stored answers of files that were seen before, opening none of them."""
        with self._lock:
            rows = self._grid.asked[self._looked_up : self._looked_up + LOOK_UP_ROWS]
            self._looked_up += len(rows)
        self.pictures.look_up(rows)
        self._give_stored(self._grid.tasks(rows, "waiting"))

    def _give_stored(self, tasks: Iterable[Task]) -> dict[Task, Wanted]:
        """Answer from the store what is there; returns what is not and whose picture is known."""
        with self._lock:  # no prompt may change between a task's check and the reading of it
            wanted = {
                task: self._answers.want(key, cell.prompt, cell.kind)
                for task in tasks
                # Read once: another run beside this one may forget it meanwhile.
                for key, cell in [
                    (self.pictures.keys.get(task.row), self._grid.cell(task.row, task.prompt))
                ]
                if key is not None and self._grid.is_open(task)
            }
        stored = self._answers.stored(wanted.values())
        self._give_imported(wanted, stored)
        given = {task for task, want in wanted.items() if want in stored}
        for task in given:
            answer = stored[wanted[task]]
            self._answer(task, answer, cached=True, at=answer.created_at)
        self._announce({task.row for task in given})
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

    def _loaded_engine(self, urgent: bool) -> Engine | None:
        """The engine if it is loaded; else None, and this run is queued again once it is."""
        resident = self._resident or self._manager.hold(self.located, self.variant, self._hear)
        self._resident, future = resident, resident.future
        if not future.done():
            with self._lock:
                self._state = "loading"
            future.add_done_callback(lambda _: self._worker.submit(self, urgent=urgent))
            return None
        try:
            engine = future.result()
        except Blip2Error as error:
            self._fail(error)
            return None
        with self._lock:
            self._state, self._note = "running", ""
            self._computing_since = self._computing_since or time.monotonic()
        if engine is not self._engine:
            self._engine, self.pictures.prepare = engine, engine.prepare
            self._answers.set_batch_sizes(
                suitable_sizes(engine, self.variant, self.settings, self._batch_size)
            )
        return engine

    def _park(self, chunk: Chunk, urgent: bool) -> None:
        """Keep a chunk until the model is there, unless it was cancelled meanwhile."""
        with self._lock:
            if chunk.cancel.is_set():
                self._grid.set(chunk.tasks, "cancelled")
                self._finish_if_idle()
            else:
                self._parked[urgent] = chunk
        self._announce({task.row for task in chunk.tasks})

    def _hear(self, line: str) -> None:
        self._note = line
        self._announce(())

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
                partial(self._between, chunk),
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
        if not chunk.urgent and self._batch_size is None:
            most = UNMEASURED_CHUNK if self._engine is None else 2 * self._answers.at_a_time
            self._chunk_size = min(2 * self._chunk_size, most)

    def _settle(
        self, tasks_of: Mapping[Wanted, Sequence[Task]], answers: Mapping[Wanted, Answer]
    ) -> None:
        tasks = [(task, answer) for want, answer in answers.items() for task in tasks_of[want]]
        if self._supersedes:  # before it is shown, as it is stored before that
            self._supersede({want: tasks_of[want] for want in answers})
        with self._lock:
            self._computed += len(tasks)
            now = time.time()
            for task, answer in tasks:
                self._answer(task, answer, cached=False, at=now)
        self._announce({task.row for task, _ in tasks})

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
        self, task: Task, answer: Answer | StoredAnswer, *, cached: bool, at: float
    ) -> None:
        choices, others = several(answer, self.settings)
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
            self._state, self._note, self._failure = "waiting", "", None
            # The clock goes on from where it stood: what lay between was no work.
            self._started, self._took = time.monotonic() - (self._took or 0.0), None
            self._computing_since, self._computed = None, 0
            self._finished.clear()
        self._announce({task.row for task in tasks})
        self._worker.submit(self, urgent=urgent)

    def _fail(self, error: Blip2Error) -> None:
        """Stop the whole run: nothing of it can be computed."""
        with self._lock:
            self._failure = error  # before anything can tell a waiting thread that this has ended
            self.cancel()
            self._grid.set(self._grid.tasks(None, "waiting", "running"), "cancelled")
            self._release()
            self._end("failed", str(error))
        self._announce(range(len(self.column.values)))

    def _finish_if_idle(self) -> None:
        if self._grid.open:
            return
        self.pictures.leave()
        self._release()
        if not self._finished.is_set():
            self._end("cancelled" if self._grid.counts["cancelled"] else "done")

    def _cancel_tasks(self, tasks: Iterable[Task]) -> None:
        """What was under way has ended."""
        rows = {task.row for task in tasks}
        self._grid.set(tasks, "cancelled")
        self._announce(rows)

    def _end(self, state: RunState, note: str = "") -> None:
        self._state, self._note = state, note
        self._took = time.monotonic() - self._started
        self._finished.set()

    def _release(self) -> None:
        # A result that is kept must not keep a model that is unloaded.
        resident, self._resident, self._engine = self._resident, None, None
        self.pictures.prepare = None
        if resident is not None:
            self._manager.release(resident)

    def _announce(self, rows: Iterable[int]) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(rows)
            except Exception:  # one that shows the run must not end the thread that computes it
                _log.exception("a listener failed")

"""A run: prompts over the rows of a column, from pictures to answers.

Rows are known by their number throughout, never by their place in a batch. All computing is
done in `step`, on the worker's thread; everything else may be called from any thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, ImageError, file_identity, image_key, load_image
from blip2_widget.model import (
    Cancelled,
    Engine,
    GenerationSettings,
    Located,
    ModelManager,
    Variant,
    kind_of,
)
from blip2_widget.run.answers import Answers, Wanted
from blip2_widget.run.cells import Cell, CellGrid, Progress, Prompt, RunState, Task
from blip2_widget.run.worker import Worker
from blip2_widget.store import Store

if TYPE_CHECKING:
    from PIL.Image import Image

#: Rows looked up in the store in one step before any picture is opened.
_LOOK_UP_ROWS = 2000

#: Called with the numbers of the rows that changed, from whichever thread changed them.
Listener = Callable[[Iterable[int]], None]

_log = logging.getLogger(__name__)
_decoders = ThreadPoolExecutor(4, thread_name_prefix="blip2-decode")


@dataclass
class Picture:
    """What a chunk knows of one row's picture. `image` stays None until pixels are needed."""

    key: str | None = None
    image: Image | None = None
    identity: tuple[str, int, int] | None = None
    error: str | None = None


@dataclass
class Chunk:
    """Tasks that are computed together, and the cancel event they were taken under.

    `wanted` holds those that the store has no answer to.
    """

    tasks: list[Task]
    cancel: threading.Event
    pictures: dict[int, Picture] = field(default_factory=dict)
    wanted: dict[Task, Wanted] = field(default_factory=dict)


class Run:
    """Prompts over a column's rows. `start` queues it; `cells[row][prompt]` fill in."""

    def __init__(
        self,
        column: Column,
        prompts: Sequence[Prompt],
        texts: Sequence[Sequence[str]],
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
        max_pixels: int | None = None,
    ) -> None:
        """`texts[prompt][row]` is each prompt's text on each row. With `refresh` stored answers
        are computed again. What the `better` variants answered is taken too. `batch_size` counts
        answers; None takes one that suits the device."""
        self.column = column
        self.prompts = list(prompts)
        self.title = title
        self.located = located
        self.variant = variant
        self.settings = settings
        self._grid = CellGrid(self.prompts, texts, len(column.values))
        self.picture_errors: dict[int, ImageError] = {}
        self._manager = manager
        self._store = store
        self._answers = Answers(located, variant, settings, store, refresh, better)
        self._worker = worker
        self._batch_size = batch_size or (32 if variant.is_cuda else 8)
        self._refresh = refresh
        self._max_pixels = max_pixels
        self._lock = self._grid.lock
        self._finished = threading.Event()
        self._cancel = threading.Event()
        self._pending: deque[Task] = deque()
        self._urgent: deque[Task] = deque()
        self._parked: dict[bool, Chunk] = {}
        self._to_look_up: deque[int] = deque()
        self._keys: dict[int, str] = {}
        self._ahead: dict[int, Future[Picture]] = {}
        self._loading: Future[Engine] | None = None
        self._holding = False
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
            self._pending.extend(self._grid.tasks(range(len(self.cells)), "waiting"))
            if not self._refresh:
                self._to_look_up.extend(range(len(self.cells)))
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
            left = [*self._pending, *self._urgent]
            left += [task for chunk in self._parked.values() for task in chunk.tasks]
            self._pending.clear()
            self._urgent.clear()
            self._parked.clear()
            self._to_look_up.clear()
            self._grid.set(left, "cancelled")
            self._finish_if_idle()
        self._announce({task.row for task in left})

    def ask(self, row: int, prompt: int, text: str) -> None:
        """Ask one picture anew, ahead of everything that is queued."""
        with self._lock:
            cell = self.cells[row][prompt]
            cell.kind = kind_of(text, self.prompts[prompt].kind)
            cell.prompt = text.strip()
            self._requeue([self._grid.reopen(row, prompt)])

    def retry(self, rows: Iterable[int] | None = None) -> None:
        """Ask again what failed or was cancelled, on the given rows or on all."""
        with self._lock:
            chosen = range(len(self.cells)) if rows is None else rows
            failed = self._grid.tasks(chosen, "error", "cancelled")
            for task in failed:
                self._keys.pop(task.row, None)  # the file may be another one by now
            self._requeue([self._grid.reopen(task.row, task.prompt) for task in failed])

    def count_stored(self) -> int:
        """How many answers the store has for files that were seen before; opens no picture."""
        with self._lock:
            self._to_look_up.extend(range(len(self.cells)))
        while self._to_look_up:
            self._look_up_known_files()
        return self._grid.counts["done"]

    def load_image(self, row: int) -> Image:
        """A row's picture in RGB; raises ImageError where it has none that can be read."""
        limits = {} if self._max_pixels is None else {"max_pixels": self._max_pixels}
        return load_image(self.column.values[row], **limits)

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` whenever rows change, or with no rows when only the progress does."""
        self._listeners.append(listener)

    @property
    def cells(self) -> list[list[Cell]]:
        """`cells[row][prompt]`: what was asked and what came of it."""
        return self._grid.rows

    @property
    def progress(self) -> Progress:
        """How far the run is, now."""
        with self._lock:
            counts, left = self._grid.counts, self._grid.open
            total = counts.total()
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
        if self._to_look_up:
            self._look_up_known_files()
            return True
        chunk = self._take(urgent)
        if chunk is None:
            with self._lock:
                self._finish_if_idle()
            self._announce(())
            return False
        if chunk.wanted:
            engine = self._engine(urgent)
            if engine is None:
                self._park(chunk, urgent)
                return False
            self._compute(engine, chunk, list(chunk.wanted))
        return True

    def _take(self, urgent: bool) -> Chunk | None:
        """The next chunk with its pictures opened and its stored answers given out."""
        with self._lock:
            parked = self._parked.pop(urgent, None)
            if parked is not None:
                return parked
            queue = self._urgent if urgent else self._pending
            tasks: list[Task] = []
            while queue and len(tasks) < self._batch_size:
                task = queue.popleft()
                if self._grid.is_open(task):
                    tasks.append(task)
            if not tasks:
                return None
            self._grid.set(tasks, "running")
            if self._state == "waiting":
                self._state = "running"
            chunk = Chunk(tasks, self._cancel)
            upcoming = [task.row for task in list(queue)[: self._batch_size]]
        self._announce({task.row for task in tasks})
        self._open_pictures(chunk)
        for row in upcoming:
            if row not in self._keys and row not in self._ahead:
                self._ahead[row] = _decoders.submit(self._open, row)
        chunk.wanted = self._give_stored(chunk.tasks)
        return chunk

    def _open(self, row: int) -> Picture:
        """Decode one row's picture; an error is kept, not raised."""
        # Before the file is read: a change after that must not go by the pixels from before it.
        identity = file_identity(self.column.values[row])
        try:
            image = self.load_image(row)
        except ImageError as error:
            with self._lock:
                self.picture_errors[row] = error
            return Picture(error=str(error))
        return Picture(image_key(image), image, identity)

    def _open_pictures(self, chunk: Chunk) -> None:
        """Find every picture's key, by alias where the file is known and else by its pixels."""
        rows = list(dict.fromkeys(task.row for task in chunk.tasks))
        opening = {
            row: self._ahead.pop(row) if row in self._ahead else _decoders.submit(self._open, row)
            for row in rows
            if row not in self._keys
        }
        chunk.pictures = {row: future.result() for row, future in opening.items()}
        aliases = {}
        for row, picture in chunk.pictures.items():
            if picture.key is not None:
                self._keys[row] = picture.key
                if picture.identity is not None:
                    aliases[picture.identity] = picture.key
        if aliases:
            with suppress(Blip2Error):  # a store that cannot be written costs time, no answers
                self._store.put_aliases(aliases)
        for task in chunk.tasks:
            picture = chunk.pictures.get(task.row, Picture())
            if picture.error is not None:
                self._grid.fail(task, picture.error)
        self._announce({row for row, picture in chunk.pictures.items() if picture.error})

    def _look_up_known_files(self) -> None:
        """Give out stored answers of files that were seen before, opening none of them."""
        with self._lock:
            rows = [
                self._to_look_up.popleft() for _ in range(min(_LOOK_UP_ROWS, len(self._to_look_up)))
            ]
        identities = {row: file_identity(self.column.values[row]) for row in rows}
        known = self._store.aliases([each for each in identities.values() if each is not None])
        for row, identity in identities.items():
            if identity in known:
                self._keys[row] = known[identity]
        self._give_stored(self._grid.tasks(rows, "waiting"))

    def _give_stored(self, tasks: Iterable[Task]) -> dict[Task, Wanted]:
        """Answer from the store what is there; returns what is not and whose picture is known."""
        with self._lock:  # no prompt may change between a task's check and the reading of it
            wanted = {
                task: self._answers.want(self._keys[task.row], cell.prompt, cell.kind)
                for task in tasks
                if task.row in self._keys and self._grid.is_open(task)
                for cell in [self._grid.cell(task)]
            }
        stored = self._answers.stored(wanted.values())
        given = {task for task, want in wanted.items() if want in stored}
        for task in given:
            self._grid.answer(task, stored[wanted[task]], cached=True)
        self._announce({task.row for task in given})
        return {task: want for task, want in wanted.items() if task not in given}

    def _engine(self, urgent: bool) -> Engine | None:
        """The engine if it is loaded; else None, and this run is queued again once it is."""
        future = self._loading or self._manager.load(self.located, self.variant, self._hear)
        self._loading = None if future.done() else future
        if not self._holding:
            self._manager.hold(self.located, self.variant)
            self._holding = True
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

    def _compute(self, engine: Engine, chunk: Chunk, tasks: list[Task]) -> None:
        """Compute tasks; a chunk that fails is halved, so that one bad row costs no other."""
        rows = {chunk.wanted[task].image_key: task.row for task in tasks}
        try:
            answers = self._answers.compute(
                engine,
                [chunk.wanted[task] for task in tasks],
                lambda key: self._pixels(chunk, rows[key], key),
                chunk.cancel,
            )
        except Cancelled:
            self._grid.set(tasks, "cancelled")
        except Exception as error:
            if len(tasks) > 1:
                middle = len(tasks) // 2
                self._compute(engine, chunk, tasks[:middle])
                self._compute(engine, chunk, tasks[middle:])
                return
            _log.debug("a row failed", exc_info=True)
            kind = "" if isinstance(error, Blip2Error) else f"{type(error).__name__}: "
            self._grid.fail(tasks[0], f"{kind}{error}")
        else:
            with self._lock:
                self._computed += len(tasks)
            for task in tasks:
                self._grid.answer(task, answers[chunk.wanted[task]], cached=False)
        self._announce({task.row for task in tasks})

    def _pixels(self, chunk: Chunk, row: int, key: str) -> Image:
        """A row's picture; it was not opened yet where its file was known by an earlier look."""
        picture = chunk.pictures.get(row)
        if picture is not None and picture.image is not None:
            return picture.image
        image = self.load_image(row)
        if image_key(image) != key:
            raise Blip2Error(f"{self.column.labels[row]} was changed while it was read; try again")
        return image

    # --- state --------------------------------------------------------------------------------

    def _requeue(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        for task in tasks:
            self.picture_errors.pop(task.row, None)
        self._urgent.extend(tasks)
        if self._state in ("done", "cancelled", "failed"):
            self._state, self._note, self._failure = "waiting", "", None
            # The clock goes on from where it stood: what lay between was no work.
            self._started, self._took = time.monotonic() - (self._took or 0.0), None
            self._computing_since, self._computed = None, 0
            self._finished.clear()
        self._announce({task.row for task in tasks})
        self._worker.submit(self, urgent=True)

    def _fail(self, error: Blip2Error) -> None:
        """Stop the whole run: nothing of it can be computed."""
        rows = range(len(self.cells))
        with self._lock:
            self._failure = error  # before anything can tell a waiting thread that this has ended
            self.cancel()
            self._grid.set(self._grid.tasks(rows, "waiting", "running"), "cancelled")
            self._release()
            self._end("failed", str(error))
        self._announce(rows)

    def _finish_if_idle(self) -> None:
        if self._grid.open:
            return
        self._ahead.clear()
        self._release()
        if not self._finished.is_set():
            self._end("cancelled" if self._grid.counts["cancelled"] else "done")

    def _end(self, state: RunState, note: str = "") -> None:
        self._state, self._note = state, note
        self._took = time.monotonic() - self._started
        self._finished.set()

    def _release(self) -> None:
        if self._holding:
            self._manager.release(self.located, self.variant)
            self._holding = False

    def _announce(self, rows: Iterable[int]) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(rows)
            except Exception:  # one that shows the run must not end the thread that computes it
                _log.exception("a listener failed")

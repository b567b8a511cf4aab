"""A run: prompts over the rows of a column, from pictures to answers.

Rows are known by their number throughout, never by their place in a batch. All computing is
done in `step`, on the worker's thread; everything else may be called from any thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    prompt_text,
)
from blip2_widget.run.cells import Cell, Progress, Prompt, RunState, State
from blip2_widget.run.worker import Worker
from blip2_widget.store import Store, StoredAnswer, answer_key, features_key

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

#: Part of the features' key: how pixels are made ready. Change it when that changes.
PREPROCESSING = "blip-pil-1"

#: Rows looked up in the store in one step before any picture is opened.
_LOOK_UP_ROWS = 2000

#: Called with the numbers of the rows that changed, from whichever thread changed them.
Listener = Callable[[Iterable[int]], None]

_log = logging.getLogger(__name__)
_decoders = ThreadPoolExecutor(4, thread_name_prefix="blip2-decode")


@dataclass(frozen=True)
class Task:
    """One cell to be answered, as it stood when it was queued."""

    row: int
    prompt: int
    edition: int


@dataclass
class Picture:
    """What a chunk knows of one row's picture. `image` stays None until pixels are needed."""

    key: str | None = None
    image: Image | None = None
    error: str | None = None


@dataclass
class Chunk:
    """Tasks that are computed together, and the cancel event they were taken under."""

    tasks: list[Task]
    pictures: dict[int, Picture]
    cancel: threading.Event
    keys: dict[Task, tuple[str, str]] = field(default_factory=dict)


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
        batch_size: int | None = None,
        refresh: bool = False,
        max_pixels: int | None = None,
    ) -> None:
        """`texts[prompt][row]` is each prompt's text on each row. With `refresh` stored answers
        are computed again. `batch_size` counts answers; None takes one that suits the device."""
        self.column = column
        self.prompts = list(prompts)
        self.title = title
        self.located = located
        self.variant = variant
        self.settings = settings
        self.cells = [
            [Cell(texts[at][row], prompt.kind) for at, prompt in enumerate(self.prompts)]
            for row in range(len(column.values))
        ]
        self.picture_errors: dict[int, ImageError] = {}
        self._manager = manager
        self._store = store
        self._worker = worker
        self._batch_size = batch_size or (32 if variant.is_cuda else 8)
        self._refresh = refresh
        self._max_pixels = max_pixels
        self._lock = threading.RLock()
        self._finished = threading.Event()
        self._cancel = threading.Event()
        self._pending: deque[Task] = deque()
        self._urgent: deque[Task] = deque()
        self._parked: dict[bool, Chunk] = {}
        self._to_look_up: deque[int] = deque()
        self._keys: dict[int, str] = {}
        self._ahead: dict[int, Future[Picture]] = {}
        self._holding = False
        self._listeners: list[Listener] = []
        self._counts: Counter[State] = Counter()
        self._counts["waiting"] = sum(len(row) for row in self.cells)
        self._cached = 0
        self._computed = 0
        self._state: RunState = "waiting"
        self._note = ""
        self._failure: Blip2Error | None = None
        self._started = time.monotonic()
        self._computing_since: float | None = None
        self._ended: float | None = None

    # --- for the person ---------------------------------------------------------------------

    def start(self) -> Run:
        """Queue every cell."""
        with self._lock:
            self._pending.extend(
                Task(row, at, cell.edition)
                for row, cells in enumerate(self.cells)
                for at, cell in enumerate(cells)
            )
            if not self._refresh:
                self._to_look_up.extend(range(len(self.cells)))
            self._started = time.monotonic()
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
            self._set(left, "cancelled")
            self._finish_if_idle()
        self._announce({task.row for task in left})

    def ask(self, row: int, prompt: int, text: str) -> None:
        """Ask one picture anew, ahead of everything that is queued."""
        with self._lock:
            cell = self.cells[row][prompt]
            cell.kind = kind_of(text, self.prompts[prompt].kind)
            cell.prompt = text.strip()
            self._requeue([(row, prompt)])

    def retry(self, rows: Iterable[int] | None = None) -> None:
        """Ask again what failed or was cancelled, on the given rows or on all."""
        with self._lock:
            chosen = range(len(self.cells)) if rows is None else rows
            again = [
                (row, at)
                for row in chosen
                for at, cell in enumerate(self.cells[row])
                if cell.state in ("error", "cancelled")
            ]
            self._requeue(again)

    def count_stored(self) -> int:
        """How many answers the store has for files that were seen before; opens no picture."""
        with self._lock:
            self._to_look_up.extend(range(len(self.cells)))
        while self._to_look_up:
            self._look_up_known_files()
        return self._counts["done"]

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` whenever rows change, or with no rows when only the progress does."""
        self._listeners.append(listener)

    @property
    def is_finished(self) -> bool:
        return self._finished.is_set()

    @property
    def progress(self) -> Progress:
        """How far the run is, now."""
        with self._lock:
            total = sum(self._counts.values())
            left = self._counts["waiting"] + self._counts["running"]
            now = self._ended or time.monotonic()
            rate = None
            if self._computing_since is not None and self._computed:
                rate = self._computed / max(now - self._computing_since, 1e-6)
            return Progress(
                state=self._state,
                note=self._note,
                done=total - left,
                total=total,
                failed=self._counts["error"],
                cached=self._cached,
                rate=rate,
                seconds_left=left / rate if rate and self._state == "running" else None,
                seconds=now - self._started,
                model=self.located.checkpoint.name,
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
        if not urgent and self._to_look_up:
            self._look_up_known_files()
            return True
        chunk = self._take(urgent)
        if chunk is None:
            with self._lock:
                self._finish_if_idle()
            self._announce(())
            return False
        misses = [task for task in chunk.tasks if task in chunk.keys]
        if misses:
            engine = self._engine(urgent)
            if engine is None:
                self._park(chunk, urgent)
                return False
            self._compute(engine, chunk, misses)
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
                cell = self.cells[task.row][task.prompt]
                if cell.state == "waiting" and cell.edition == task.edition:
                    tasks.append(task)
            if not tasks:
                return None
            self._set(tasks, "running")
            if self._state == "waiting":
                self._state = "running"
            chunk = Chunk(tasks, {}, self._cancel)
            upcoming = [task.row for task in list(queue)[: self._batch_size]]
        self._announce({task.row for task in tasks})
        self._open_pictures(chunk)
        for row in upcoming:
            if row not in self._keys and row not in self._ahead:
                self._ahead[row] = _decoders.submit(self._open, row)
        self._give_stored(chunk)
        return chunk

    def _open(self, row: int) -> Picture:
        """Decode one row's picture; an error is kept, not raised."""
        try:
            limits = {} if self._max_pixels is None else {"max_pixels": self._max_pixels}
            image = load_image(self.column.values[row], **limits)
        except ImageError as error:
            with self._lock:
                self.picture_errors[row] = error
            return Picture(error=str(error))
        return Picture(image_key(image), image)

    def _open_pictures(self, chunk: Chunk) -> None:
        """Find every picture's key, by alias where the file is known and else by its pixels."""
        rows = list(dict.fromkeys(task.row for task in chunk.tasks))
        opening = {
            row: self._ahead.pop(row) if row in self._ahead else _decoders.submit(self._open, row)
            for row in rows
            if row not in self._keys
        }
        chunk.pictures = {
            row: opening[row].result() if row in opening else Picture(self._keys[row])
            for row in rows
        }
        aliases = {}
        for row in opening:
            key = chunk.pictures[row].key
            identity = file_identity(self.column.values[row])
            if key is not None:
                self._keys[row] = key
                if identity is not None:
                    aliases[identity] = key
        if aliases:
            self._store.put_aliases(aliases)
        for task in chunk.tasks:
            error = chunk.pictures[task.row].error
            if error is not None:
                self._fail_cell(task, error)
        self._announce({row for row in rows if chunk.pictures[row].error})

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
        tasks = [
            Task(row, at, cell.edition)
            for row in rows
            if row in self._keys
            for at, cell in enumerate(self.cells[row])
        ]
        self._give_stored(
            Chunk(tasks, {task.row: Picture(self._keys[task.row]) for task in tasks}, self._cancel)
        )

    def _give_stored(self, chunk: Chunk) -> None:
        """Answer from the store what is there; `chunk.keys` keeps what is not."""
        keys: dict[Task, tuple[str, str]] = {}
        for task in chunk.tasks:
            image = chunk.pictures[task.row].key
            if image is not None:
                cell = self.cells[task.row][task.prompt]
                features = features_key(
                    image,
                    checkpoint=self.located.identity,
                    vision=self.variant.dtype,
                    preprocessing=PREPROCESSING,
                )
                answer = answer_key(
                    features,
                    language=self.variant.language,
                    prompt=prompt_text(cell.prompt, cell.kind, self.located.family),
                    settings=self.settings.stored_as(),
                    seed=self.settings.seed if self.settings.samples else None,
                )
                keys[task] = (features, answer)
        stored: Mapping[str, StoredAnswer] = {}
        if self.settings.repeatable and not self._refresh:
            stored = self._store.answers(list({answer for _, answer in keys.values()}))
        given = {task for task, (_, answer) in keys.items() if answer in stored}
        for task in given:
            self._answer(task, stored[keys[task][1]].text, cached=True)
        chunk.keys = {task: pair for task, pair in keys.items() if task not in given}
        self._announce({task.row for task in given})

    def _engine(self, urgent: bool) -> Engine | None:
        """The engine if it is loaded; else None, and this run is queued again once it is."""
        future = self._manager.load(self.located, self.variant, self._hear)
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
                self._set(chunk.tasks, "cancelled")
                self._finish_if_idle()
            else:
                self._parked[urgent] = chunk

    def _hear(self, line: str) -> None:
        self._note = line
        self._announce(())

    def _compute(self, engine: Engine, chunk: Chunk, tasks: list[Task]) -> None:
        """Compute tasks; a chunk that fails is halved, so that one bad row costs no other."""
        try:
            answers = self._answers(engine, chunk, tasks)
        except Cancelled:
            with self._lock:
                self._set(tasks, "cancelled")
            self._announce({task.row for task in tasks})
            return
        except Exception as error:
            if len(tasks) > 1:
                middle = len(tasks) // 2
                self._compute(engine, chunk, tasks[:middle])
                self._compute(engine, chunk, tasks[middle:])
                return
            _log.debug("a row failed", exc_info=True)
            self._fail_cell(tasks[0], f"{type(error).__name__}: {error}")
        else:
            with self._lock:
                self._computed += len(answers)
            for task, text in answers.items():
                self._answer(task, text, cached=False)
        self._announce({task.row for task in tasks})

    def _answers(self, engine: Engine, chunk: Chunk, tasks: list[Task]) -> dict[Task, str]:
        """Encode what has no stored features, generate each distinct answer once, store both."""
        import torch

        features = self._features(engine, chunk, tasks)
        first = {chunk.keys[task][1]: task for task in reversed(tasks) if task in chunk.keys}
        first = {key: task for key, task in first.items() if chunk.keys[task][0] in features}
        if not first:
            return {}
        cells = [self.cells[task.row][task.prompt] for task in first.values()]
        prompts = [prompt_text(cell.prompt, cell.kind, self.located.family) for cell in cells]
        began = time.monotonic()
        batch = torch.stack([features[chunk.keys[task][0]] for task in first.values()])
        generated = engine.generate(batch, prompts, self.settings, chunk.cancel)
        seconds = (time.monotonic() - began) / len(first)
        texts = {key: answer.text for key, answer in zip(first, generated, strict=True)}
        if self.settings.repeatable:
            self._store.put_answers(
                StoredAnswer(
                    key=key,
                    features_key=chunk.keys[task][0],
                    image_key=chunk.pictures[task.row].key or "",
                    model=self.located.checkpoint.name,
                    revision=self.located.commit,
                    variant=self.variant.name,
                    prompt=prompt,
                    settings=dict(self.settings.stored_as()),
                    text=texts[key],
                    seconds=seconds,
                )
                for (key, task), prompt in zip(first.items(), prompts, strict=True)
            )
        return {task: texts[chunk.keys[task][1]] for task in tasks if chunk.keys[task][1] in texts}

    def _features(self, engine: Engine, chunk: Chunk, tasks: list[Task]) -> dict[str, torch.Tensor]:
        """Features by key, each (query tokens, width): from the store, or encoded and stored."""
        from blip2_widget.run.features import pack, unpack

        rows = {chunk.keys[task][0]: task.row for task in tasks}
        stored = self._store.features(list(rows))
        found = {key: unpack(packed) for key, packed in stored.items()}
        missing = {key: row for key, row in rows.items() if key not in found}
        opened: dict[str, Image] = {}
        for key, row in missing.items():
            picture = chunk.pictures[row]
            if picture.image is None:
                picture.image = self._open(row).image
            if picture.image is None:
                for task in tasks:
                    if task.row == row:
                        self._fail_cell(task, str(self.picture_errors[row]))
            else:
                opened[key] = picture.image
        if opened:
            encoded = dict(zip(opened, engine.encode(list(opened.values())), strict=True))
            found |= encoded
            self._store.put_features(
                (key, chunk.pictures[rows[key]].key or "", pack(tensor))
                for key, tensor in encoded.items()
            )
        return found

    # --- state --------------------------------------------------------------------------------

    def _requeue(self, places: Sequence[tuple[int, int]]) -> None:
        for row, at in places:
            cell = self.cells[row][at]
            cell.edition += 1
            if cell.cached:
                self._cached -= 1
            self._counts[cell.state] -= 1
            self._counts["waiting"] += 1
            cell.state, cell.answer, cell.error, cell.cached = "waiting", None, None, False
            self.picture_errors.pop(row, None)
            self._urgent.append(Task(row, at, cell.edition))
        if not places:
            return
        self._failure, self._ended = None, None
        self._finished.clear()
        if self._state in ("done", "cancelled", "failed"):
            self._state, self._note = "waiting", ""
        self._announce({row for row, _ in places})
        self._worker.submit(self, urgent=True)

    def _current(self, task: Task) -> Cell | None:
        """The task's cell, unless it was asked anew since or is answered already."""
        cell = self.cells[task.row][task.prompt]
        is_open = cell.state in ("waiting", "running")
        return cell if is_open and cell.edition == task.edition else None

    def _set(self, tasks: Iterable[Task], state: State) -> None:
        for task in tasks:
            cell = self._current(task)
            if cell is not None:
                self._counts[cell.state] -= 1
                self._counts[state] += 1
                cell.state = state

    def _answer(self, task: Task, text: str, *, cached: bool) -> None:
        with self._lock:
            cell = self._current(task)
            if cell is not None:
                self._set([task], "done")
                cell.answer, cell.cached = text, cached
                self._cached += cached

    def _fail_cell(self, task: Task, message: str) -> None:
        with self._lock:
            cell = self._current(task)
            if cell is not None:
                self._set([task], "error")
                cell.error = " ".join(message.split())

    def _fail(self, error: Blip2Error) -> None:
        """Stop the whole run: nothing of it can be computed."""
        self.cancel()
        with self._lock:
            for cells in self.cells:
                for cell in cells:
                    if cell.state in ("waiting", "running"):
                        self._counts[cell.state] -= 1
                        self._counts["cancelled"] += 1
                        cell.state = "cancelled"
            self._failure = error
            self._state, self._note = "failed", str(error)
            self._release()
            self._finished.set()
        self._announce(range(len(self.cells)))

    def _finish_if_idle(self) -> None:
        if self._pending or self._urgent or self._parked or self._to_look_up:
            return
        if self._counts["running"] or self._counts["waiting"]:
            return  # a step is under way and will come here again
        self._ahead.clear()
        self._release()
        if not self._finished.is_set():
            self._state = "cancelled" if self._counts["cancelled"] else "done"
            self._note = ""
            self._ended = time.monotonic()
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

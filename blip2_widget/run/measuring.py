"""A pass over a column's pictures that measures them, beside the runs that ask about them.

It has no prompts: what comes of it are numbers, which its measure holds. As with a run, all
computing is done in `step`, on the worker's thread; everything else may be called from any thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, ImageError, Limits
from blip2_widget.model import (
    Cancelled,
    Engine,
    Located,
    ModelManager,
    Resident,
    Variant,
    batch_sizes,
    free_bytes,
    is_out_of_memory,
    read_machine,
)
from blip2_widget.run.cells import Progress, RunState
from blip2_widget.run.measures import Aid, Measure
from blip2_widget.run.pictures import Picture, Pictures
from blip2_widget.run.run import FIRST_CHUNK, LOOK_UP_ROWS, UNMEASURED_CHUNK, Listener
from blip2_widget.run.worker import Worker
from blip2_widget.store import Store

_log = logging.getLogger(__name__)


class Measuring:
    """One measure over a column's rows. `start` queues it; then the numbers come in."""

    def __init__(
        self,
        column: Column,
        measure: Measure,
        *,
        title: str,
        located: Located,
        variant: Variant,
        manager: ModelManager,
        store: Store,
        worker: Worker,
        batch_size: int | None = None,
        limits: Limits | None = None,
        beside: Pictures | None = None,
    ) -> None:
        """`batch_size` counts pictures; None takes one that suits the device and its memory.
        `beside` are the pictures of a run over this column."""
        self.column = column
        self.measure = measure
        self.title = title
        self.located = located
        self.variant = variant
        self.pictures = Pictures(column, store, limits, beside)
        self._manager = manager
        self._worker = worker
        self._batch_size = batch_size
        self._chunk_size = batch_size or FIRST_CHUNK
        self._rows = range(len(column.values))
        self._lock = threading.RLock()
        self._finished = threading.Event()
        self._cancel = threading.Event()
        self._pending: deque[int] = deque()
        #: Taken, and not settled yet; the pictures of those that are open.
        self._taken: list[int] = []
        self._opened: dict[int, Picture] = {}
        self._is_busy = False
        self._looked_up = len(self._rows)
        self._settled: set[int] = set()
        self._failed: set[int] = set()
        self._cached = self._computed = 0
        self._resident: Resident | None = None
        self._engine: Engine | None = None
        self._listeners: list[Listener] = []
        self._state: RunState = "waiting"
        self._note = ""
        self._failure: Blip2Error | None = None
        self._started = time.monotonic()
        self._computing_since: float | None = None
        self._took: float | None = None

    # --- for the person ---------------------------------------------------------------------

    def start(self) -> Measuring:
        """Queue every row."""
        with self._lock:
            self._looked_up = 0
            self._pending.clear()
            self._started = time.monotonic()
        # Looking up is quick and goes first: what is stored waits for no run.
        self._worker.submit(self, urgent=True)
        self._worker.submit(self)
        return self

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is left to do; False after `timeout` seconds.

        Raises the Blip2Error that stopped it, if one did.
        """
        finished = self._finished.wait(timeout)
        if self._failure is not None:
            raise self._failure
        return finished

    def cancel(self) -> None:
        """Stop between two layers of the model; what was measured stays, and is stored."""
        with self._lock:
            if self._finished.is_set():
                return
            self._cancel.set()
            self._drop_what_is_left()
            if not self._is_busy:
                self._end("cancelled")
        self._announce(())

    def retry(self, rows: Collection[int] | None = None) -> None:
        """Measure again what failed, on the given rows or on all; where the pass was stopped, also
        what it never came to."""
        with self._lock:
            failed = self._failed if rows is None else self._failed & set(rows)
            stopped = self._state in ("cancelled", "failed")
            if not failed and not stopped:
                return
            for row in failed:
                self.pictures.forget(row)
                self.pictures.errors.pop(row, None)
            self._failed = self._failed - failed
            if self._finished.is_set():
                self._pending.clear()
                self._queue_the_rest()
                # The clock goes on from where it stood: what lay between was no work.
                self._started, self._took = time.monotonic() - (self._took or 0.0), None
                self._computing_since, self._computed = None, 0
                self._state, self._note, self._failure = "waiting", "", None
                self._cancel = threading.Event()
                self._finished.clear()
            else:
                self._pending.extend(sorted(failed))
        self._announce(failed)
        self._worker.submit(self)

    def count_stored(self) -> int:
        """How many rows the store has all of, of files that were seen before; opens none."""
        with self._lock:
            self._looked_up = 0
        while self._is_looking_up:
            self._look_up()
        return len(self._settled)

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` whenever rows change, or with no rows when only the progress does."""
        self._listeners.append(listener)

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do, or it was stopped."""
        return self._finished.is_set()

    @property
    def progress(self) -> Progress:
        """How far it is, now; counts are of rows."""
        with self._lock:
            done = len(self._settled) + len(self._failed)
            seconds = time.monotonic() - self._started if self._took is None else self._took
            rate = None
            if self._computing_since is not None and self._computed:
                rate = self._computed / max(self._started + seconds - self._computing_since, 1e-6)
            left = len(self._rows) - done
            return Progress(
                state=self._state,
                note=self._note,
                done=done,
                total=len(self._rows),
                failed=len(self._failed),
                cached=self._cached,
                rate=rate,
                seconds_left=left / rate if rate and self._state == "running" else None,
                seconds=seconds,
                model=self.located.checkpoint.label,
                variant=self.variant.name,
            )

    # --- on the worker's thread ---------------------------------------------------------------

    def step(self, urgent: bool) -> bool:
        """One look-up, or one chunk; True if the worker should come back."""
        with self._lock:
            if self._finished.is_set() or (urgent and not self._is_looking_up):
                return False
            self._is_busy, cancel = True, self._cancel
        try:
            return self._step_of_look_up() if self._is_looking_up else self._step(cancel)
        except Cancelled:
            return False
        except Blip2Error as error:
            self._fail(error)
        except Exception as error:  # a defect must not end the thread that serves every run
            _log.exception("measuring failed")
            self._fail(Blip2Error(f"the run stopped: {type(error).__name__}: {error}"))
        finally:
            with self._lock:
                self._is_busy = False
                if cancel.is_set() and not self._finished.is_set():
                    self._end("cancelled")
            self._announce(())
        return False

    def _step_of_look_up(self) -> bool:
        self._look_up()
        with self._lock:
            if not self._is_looking_up and not self._pending and self.measure.is_finished:
                self._end("done")
        return not self._finished.is_set()

    def _step(self, cancel: threading.Event) -> bool:
        self._take()
        if not self._taken and self.measure.is_finished:
            with self._lock:
                if not self._pending:  # to which a retry may have added just now
                    self._end("done")
            return not self._finished.is_set()
        self._open(cancel)
        self._settle(self.measure.stored(self._known(self._taken)), cached=True)
        if not self._taken and not self._is_at_the_end:
            self._grow()
            return True
        if self._is_at_the_end:
            aside = self.measure.finish_aside(lambda: self._worker.submit(self))
            if aside:
                self._hear(aside)
                return False
        engine = self._loaded_engine()
        if engine is None:
            return False
        if self._taken:
            self._compute(engine, cancel)
            self._grow()
        else:
            self.measure.finish(engine, dict(self.pictures.keys), self._aid(cancel, {}))
            self._announce(self._rows)
        return True

    @property
    def _is_looking_up(self) -> bool:
        return self._looked_up < len(self._rows)

    @property
    def _is_at_the_end(self) -> bool:
        return not self._taken and not self._pending and not self.measure.is_finished

    def _look_up(self) -> None:
        """Settle what is stored of files that were seen before, opening none of them."""
        with self._lock:
            rows = self._rows[self._looked_up : self._looked_up + LOOK_UP_ROWS]
            self._looked_up += len(rows)
        self.pictures.look_up(rows)
        self._settle(self.measure.stored(self._known(rows)), cached=True)
        if not self._is_looking_up:
            self._settle(self.measure.remembered(self._known(self._rows)), cached=True)
            with self._lock:
                if not self._cancel.is_set():
                    self._queue_the_rest()

    def _queue_the_rest(self) -> None:
        self._pending.extend(
            row for row in self._rows if row not in self._settled and row not in self._failed
        )

    def _known(self, rows: Sequence[int]) -> dict[int, str]:
        keys = self.pictures.keys
        return {row: keys[row] for row in rows if row in keys}

    def _take(self) -> None:
        """Take the next rows, where those taken before are settled."""
        with self._lock:
            while self._pending and len(self._taken) < self._chunk_size:
                self._taken.append(self._pending.popleft())
            if self._state == "waiting":
                self._state = "running"

    def _open(self, cancel: threading.Event) -> None:
        """Open the pictures that were taken, those that are known aside, and some ahead."""
        self._opened |= self.pictures.open(self._taken, False, lambda: self._between(cancel))
        wrong = {row: self._opened[row].error for row in self._taken if row in self._opened}
        for row, error in wrong.items():
            if error is not None:
                self._fail_row(row, error)
        with self._lock:
            ahead = list(islice(self._pending, self._chunk_size))
        self.pictures.open_ahead(ahead)

    def _compute(self, engine: Engine, cancel: threading.Event) -> None:
        # Another run over these pictures may have forgotten a row: it stays, and is opened again.
        keys = self._known(self._taken)
        rows_of: dict[str, list[int]] = {}
        for row, key in keys.items():
            rows_of.setdefault(key, []).append(row)
        wrong = self.measure.compute(engine, keys, self._aid(cancel, rows_of))
        for row, message in wrong.items():
            self._fail_row(row, ImageError("unexpected", message))
        with self._lock:
            self._computed += len(keys)
        self._settle(keys, cached=False)

    def _aid(self, cancel: threading.Event, rows_of: Mapping[str, Sequence[int]]) -> Aid:
        def failed(key: str, error: Exception) -> None:
            for row in rows_of.get(key, ()):
                self._fail_row(row, error)

        def rows(key: str) -> Sequence[int]:
            known = self.pictures.keys
            return rows_of.get(key) or [row for row in self._rows if known.get(row) == key]

        return Aid(
            lambda key: self.pictures.image(rows(key), key, self._opened, False),
            failed,
            lambda: self._between(cancel),
        )

    def _between(self, cancel: threading.Event) -> None:
        """What happens in the middle of a chunk's work: it ends, or gives way."""
        if cancel.is_set() or self._worker.is_closing:
            raise Cancelled
        self._worker.give_way()

    def _loaded_engine(self) -> Engine | None:
        """The engine if it is loaded; else None, and this is queued again once it is."""
        with self._lock:
            if self._cancel.is_set():
                raise Cancelled
            resident = self._resident or self._manager.hold(self.located, self.variant, self._hear)
            self._resident, future = resident, resident.future
            if not future.done():
                self._state = "loading"
        if not future.done():
            future.add_done_callback(lambda _: self._worker.submit(self))
            return None
        engine = future.result()
        with self._lock:
            self._state, self._note = "running", ""
            self._computing_since = self._computing_since or time.monotonic()
        if engine is not self._engine:
            self._engine, self.pictures.prepare = engine, engine.prepare
            self.measure.set_batch_size(self._batch_size or self._suitable_size(engine))
        return engine

    def _suitable_size(self, engine: Engine) -> int:
        free = max(free_bytes(self.variant, read_machine()) - engine.mapped, 0)
        return batch_sizes(engine.model.config, self.variant, free, 1).pictures

    def _grow(self) -> None:
        if self._batch_size is None:
            most = UNMEASURED_CHUNK if self._engine is None else 2 * self.measure.at_a_time
            self._chunk_size = min(2 * self._chunk_size, most)

    def _hear(self, line: str) -> None:
        self._note = line
        self._announce(())

    # --- state --------------------------------------------------------------------------------

    def _settle(self, rows: Collection[int], *, cached: bool) -> None:
        if not rows:
            return
        with self._lock:
            new = {row for row in rows if row not in self._settled and row not in self._failed}
            self._settled |= new
            self._cached += len(new) if cached else 0
            self._let_go(set(rows))
        self._announce(rows)

    def _fail_row(self, row: int, error: Exception) -> None:
        if is_out_of_memory(error):
            message = "memory does not suffice for this picture; close something and try again"
            error = ImageError("unexpected", message)
        elif not isinstance(error, ImageError):
            said = (
                str(error) if isinstance(error, Blip2Error) else f"{type(error).__name__}: {error}"
            )
            error = ImageError("unexpected", said)
        with self._lock:
            self.pictures.errors[row] = error
            self._failed.add(row)
            self._let_go({row})
        self._announce([row])

    def _let_go(self, rows: Collection[int]) -> None:
        self._taken = [row for row in self._taken if row not in rows]
        for row in rows:
            self._opened.pop(row, None)

    def _fail(self, error: Blip2Error) -> None:
        """Stop the whole pass: nothing more of it can be computed."""
        with self._lock:
            self._failure = error  # before anything can tell a waiting thread that this has ended
            self._drop_what_is_left()
            self._end("failed", str(error))
        self._announce(self._rows)

    def _drop_what_is_left(self) -> None:
        self._pending.clear()
        self._taken, self._opened = [], {}
        self._looked_up = len(self._rows)
        self.pictures.leave()

    def _end(self, state: RunState, note: str = "") -> None:
        # A result that is kept must not keep a model that is unloaded.
        resident, self._resident, self._engine = self._resident, None, None
        self.pictures.prepare = None
        self.pictures.leave()
        if resident is not None:
            self._manager.release(resident)
        self._state, self._note = state, note
        self._took = time.monotonic() - self._started
        self._finished.set()

    def _announce(self, rows: Iterable[int]) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(rows)
            except Exception:  # one that shows it must not end the thread that computes
                _log.exception("a listener failed")

"""What all work on a column's pictures has in common: its life from start to end, its model, its
progress, and who hears of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, Limits, reason_of
from blip2_widget.model import (
    BatchSizes,
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
from blip2_widget.run.pictures import Pictures
from blip2_widget.run.worker import Worker
from blip2_widget.store import Store

#: Rows looked up in the store in one step before any picture is opened.
LOOK_UP_ROWS = 2000
#: How many are taken in the first chunk. Each later one has twice as many, up to two batches, so
#: that the first answers come soon and the many come fast.
_FIRST_CHUNK = 4
#: The most while there is no model to say how many it takes, since all were stored.
_UNMEASURED_CHUNK = 64

#: Called with the numbers of the rows that changed, from whichever thread changed them.
Listener = Callable[[Iterable[int]], None]

_log = logging.getLogger(__name__)


class Counts(NamedTuple):
    """How many are asked for, and what came of them; `left` are those that are still to come."""

    total: int
    done: int
    failed: int
    cached: int
    left: int


class Work:
    """Something that is done with the pictures of a column by one model variant.

    All computing is done in `step`, on the worker's thread; everything else may be called from any
    thread.
    """

    def __init__(
        self,
        column: Column,
        rows: Sequence[int],
        *,
        title: str,
        located: Located,
        variant: Variant,
        manager: ModelManager,
        store: Store,
        worker: Worker,
        batch_size: int | None,
        limits: Limits | None,
        beside: Pictures | None = None,
    ) -> None:
        """It is about these `rows`; `beside` are the pictures of other work on this column."""
        self.column = column
        self.title = title
        self.located = located
        self.variant = variant
        self.pictures = Pictures(column, store, limits, beside)
        self._rows = rows
        self._manager = manager
        self._worker = worker
        self._batch_size = batch_size
        self._chunk_size = batch_size or _FIRST_CHUNK
        self._lock = threading.RLock()
        self._finished = threading.Event()
        self._cancel = threading.Event()
        #: How many of the rows were looked up before any picture is opened.
        self._looked_up = len(rows)
        self._resident: Resident | None = None
        self._engine: Engine | None = None
        self._listeners: list[Listener] = []
        self._computed = 0
        self._state: RunState = "waiting"
        self._note = ""
        self._failure: Blip2Error | None = None
        self._started = time.monotonic()
        self._computing_since: float | None = None
        self._took: float | None = None

    # --- for the person ---------------------------------------------------------------------

    def start(self) -> Self:
        """Queue everything."""
        with self._lock:
            self._queue_all()
            self._started = time.monotonic()
        # Looking up is quick and goes first: what is stored waits for no other work.
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

    def count_stored(self) -> int:
        """How much of it the store has for files that were seen before; opens no picture."""
        with self._lock:
            self._looked_up = 0
        while self._is_looking_up:
            self._look_up()
        counts = self._counts()
        return counts.done - counts.failed

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` whenever rows change, or with no rows when only the progress does."""
        self._listeners.append(listener)

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do, or it was stopped."""
        return self._finished.is_set()

    @property
    def progress(self) -> Progress:
        """How far it is, now."""
        with self._lock:
            counts = self._counts()
            seconds = time.monotonic() - self._started if self._took is None else self._took
            rate = None
            if self._computing_since is not None and self._computed:
                rate = self._computed / max(self._started + seconds - self._computing_since, 1e-6)
            return Progress(
                state=self._state,
                note=self._note,
                done=counts.done,
                total=counts.total,
                failed=counts.failed,
                cached=counts.cached,
                rate=rate,
                seconds_left=counts.left / rate if rate and self._state == "running" else None,
                seconds=seconds,
                model=self.located.checkpoint.label,
                variant=self.variant.name,
            )

    # --- what each kind of work says for itself ---------------------------------------------

    def _queue_all(self) -> None:
        """Make everything wait for its turn; under the lock."""
        raise NotImplementedError

    def _drop_what_is_left(self) -> None:
        """Let nothing wait any more; under the lock."""
        raise NotImplementedError

    def _look_up(self) -> None:
        """Give out what is stored of the next files that were seen before, opening none."""
        raise NotImplementedError

    def _step(self, urgent: bool) -> bool:
        """One look-up, or one chunk; True if the worker should come back. Raises Blip2Error where
        nothing can be computed."""
        raise NotImplementedError

    def _counts(self) -> Counts:
        raise NotImplementedError

    def _set_batch_sizes(self, engine: Engine) -> None:
        """Compute as many at a time as suits an engine, from now on."""
        raise NotImplementedError

    # --- on the worker's thread ---------------------------------------------------------------

    def step(self, urgent: bool) -> bool:
        """One look-up, or one chunk; True if the worker should come back."""
        try:
            return self._step(urgent)
        except Cancelled:
            return False
        except Blip2Error as error:
            self._fail(error)
        except Exception as error:  # a defect must not end the thread that serves all work
            _log.exception("a run failed")
            self._fail(Blip2Error(f"the run stopped: {reason_of(error)}"))
        return False

    @property
    def _is_looking_up(self) -> bool:
        return self._looked_up < len(self._rows)

    def _next_known(self, count: int) -> Sequence[int]:
        """The next rows to be looked up; the keys of files that were seen before are known then."""
        with self._lock:
            rows = self._rows[self._looked_up : self._looked_up + count]
            self._looked_up += len(rows)
        self.pictures.look_up(rows)
        return rows

    def _between(self, cancel: threading.Event, urgent: bool = False) -> None:
        """What happens in the middle of a chunk's work: it ends, or gives way."""
        if cancel.is_set() or self._worker.is_closing:
            raise Cancelled
        if not urgent:
            self._worker.give_way()

    def _loaded_engine(self, urgent: bool = False) -> Engine | None:
        """The engine if it is loaded; else None, and this is queued again once it is. Raises
        Blip2Error where it cannot be."""
        resident = self._resident or self._manager.hold(self.located, self.variant, self._hear)
        self._resident, future = resident, resident.future
        if not future.done():
            with self._lock:
                self._state = "loading"
            future.add_done_callback(lambda _: self._worker.submit(self, urgent=urgent))
            return None
        engine = future.result()
        with self._lock:
            self._state, self._note = "running", ""
            self._computing_since = self._computing_since or time.monotonic()
        if engine is not self._engine:
            self._engine, self.pictures.prepare = engine, engine.prepare
            self._set_batch_sizes(engine)
        return engine

    def _grow(self, at_a_time: int) -> None:
        """Take more in the next chunk, where so many are computed at a time."""
        if self._batch_size is None:
            most = _UNMEASURED_CHUNK if self._engine is None else 2 * at_a_time
            self._chunk_size = min(2 * self._chunk_size, most)

    def _hear(self, line: str) -> None:
        self._note = line
        self._announce(())

    # --- state --------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Wait again after an end; under the lock."""
        # The clock goes on from where it stood: what lay between was no work.
        self._started, self._took = time.monotonic() - (self._took or 0.0), None
        self._computing_since, self._computed = None, 0
        self._state, self._note, self._failure = "waiting", "", None
        self._finished.clear()

    def _fail(self, error: Blip2Error) -> None:
        """Stop all of it: nothing more can be computed."""
        with self._lock:
            self._failure = error  # before anything can tell a waiting thread that this has ended
            self._drop_what_is_left()
            self._end("failed", str(error))
        self._announce(range(len(self.column.values)))

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


def fitting(engine: Engine, variant: Variant, tokens: int, rows: int = 1) -> BatchSizes:
    """How many fit the device and its memory, for answers of so many tokens."""
    free = max(free_bytes(variant, read_machine()) - engine.mapped, 0)
    return batch_sizes(engine.model.config, variant, free, tokens, rows)


def why(error: Exception, what: str) -> str:
    """Why a row has not got `what` is computed of it, in one line."""
    if is_out_of_memory(error):
        return f"memory does not suffice for this {what}; close something and try again"
    return str(error) if isinstance(error, Blip2Error) else reason_of(error)

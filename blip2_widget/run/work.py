"""What all work has in common that a model does in this process, a step at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import NotRequired, Self, TypedDict

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
from blip2_widget.run.cells import RunState
from blip2_widget.run.life import Life
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

_log = logging.getLogger(__name__)


class Means(TypedDict):
    """Who does work, with what. `beside` are the pictures of other work on the column."""

    title: str
    located: Located
    variant: Variant
    manager: ModelManager
    store: Store
    worker: Worker
    batch_size: NotRequired[int | None]
    limits: NotRequired[Limits | None]
    beside: NotRequired[Pictures | None]


class Work(Life):
    """Something that a model does here with the pictures of a column.

    All computing is done in `step`, on the worker's thread; everything else may be called from any
    thread.
    """

    def __init__(self, column: Column, rows: Sequence[int], means: Means) -> None:
        """It is about these `rows`."""
        pictures = Pictures(column, means["store"], means.get("limits"), means.get("beside"))
        super().__init__(column, means["title"], means["located"], means["variant"], pictures)
        self._rows = rows
        self._manager = means["manager"]
        self._worker = means["worker"]
        self._batch_size = means.get("batch_size")
        self._chunk_size = self._batch_size or _FIRST_CHUNK
        self._cancel = threading.Event()
        #: How many of the rows were looked up before any picture is opened.
        self._looked_up = len(rows)
        self._resident: Resident | None = None
        self._engine: Engine | None = None

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

    def count_stored(self) -> int:
        """How much of it the store has for files that were seen before; opens no picture."""
        with self._lock:
            self._looked_up = 0
        while self._is_looking_up:
            self._look_up()
        counts = self._counts()
        return counts.done - counts.failed

    # --- what each kind of work says for itself ---------------------------------------------

    def _queue_all(self) -> None:
        """Make everything wait for its turn; under the lock."""
        raise NotImplementedError

    def _look_up(self) -> None:
        """Give out what is stored of the next files that were seen before, opening none."""
        raise NotImplementedError

    def _step(self, urgent: bool) -> bool:
        """One look-up, or one chunk; True if the worker should come back. Raises Blip2Error where
        nothing can be computed."""
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

    def _end(self, state: RunState, note: str = "") -> None:
        # A result that is kept must not keep a model that is unloaded.
        resident, self._resident, self._engine = self._resident, None, None
        self.pictures.prepare = None
        self.pictures.leave()
        if resident is not None:
            self._manager.release(resident)
        super()._end(state, note)


def fitting(engine: Engine, variant: Variant, tokens: int, rows: int = 1) -> BatchSizes:
    """How many fit the device and its memory, for answers of so many tokens."""
    free = max(free_bytes(variant, read_machine()) - engine.mapped, 0)
    return batch_sizes(engine.model.config, variant, free, tokens, rows)


def why(error: Exception, what: str) -> str:
    """Why a row has not got `what` is computed of it, in one line."""
    if is_out_of_memory(error):
        return f"memory does not suffice for this {what}; close something and try again"
    return str(error) if isinstance(error, Blip2Error) else reason_of(error)

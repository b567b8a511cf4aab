"""A pass over a column's pictures that measures them, beside the runs that ask about them.

It has no prompts: what comes of it are numbers, which its measure holds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Unpack

from blip2_widget.images import Column, ImageError
from blip2_widget.model import Engine
from blip2_widget.run.life import Counts
from blip2_widget.run.measures import Aid, Measure
from blip2_widget.run.pictures import Picture
from blip2_widget.run.work import LOOK_UP_ROWS, Means, Work, fitting, why


class Measuring(Work):
    """One measure over a column's rows. `start` queues it; then the numbers come in."""

    def __init__(self, column: Column, measure: Measure, **means: Unpack[Means]) -> None:
        """`batch_size` counts pictures; None takes one that suits the device and its memory."""
        super().__init__(column, range(len(column.values)), means)
        self.measure = measure
        self._pending: deque[int] = deque()
        #: Taken, and not settled yet; the pictures of those that are open.
        self._taken: list[int] = []
        self._opened: dict[int, Picture] = {}
        self._is_busy = False
        self._settled: set[int] = set()
        self._failed: set[int] = set()
        self._cached = 0

    # --- for the person ---------------------------------------------------------------------

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
                self._cancel = threading.Event()
                self._go_on()
            else:
                self._pending.extend(sorted(failed))
        self._announce(failed)
        self._worker.submit(self)

    def count_prepared(self) -> int:
        """How many of those that `count_stored` has left are as good as done; opens none."""
        left = [row for row in self._rows if row not in self._settled]
        return len(self.measure.prepared(self._known(left)))

    # --- on the worker's thread ---------------------------------------------------------------

    def step(self, urgent: bool) -> bool:
        with self._lock:
            if self._finished.is_set() or (urgent and not self._is_looking_up):
                return False
            self._is_busy = True
        try:
            return super().step(urgent)
        finally:
            with self._lock:
                self._is_busy = False
                if self._cancel.is_set() and not self._finished.is_set():
                    self._end("cancelled")
            self._announce(())

    def _step(self, _urgent: bool) -> bool:
        return self._step_of_look_up() if self._is_looking_up else self._step_of_chunk()

    def _queue_all(self) -> None:
        self._looked_up = 0
        self._pending.clear()

    def _step_of_look_up(self) -> bool:
        self._look_up()
        with self._lock:
            if not self._is_looking_up and not self._pending and self.measure.is_finished:
                self._end("done")
        return not self._finished.is_set()

    def _step_of_chunk(self) -> bool:
        self._take()
        if not self._taken and self.measure.is_finished:
            with self._lock:
                if not self._pending:  # to which a retry may have added just now
                    self._end("done")
            return not self._finished.is_set()
        self._open()
        self._settle(self.measure.stored(self._known(self._taken)), cached=True)
        if not self._taken and not self._is_at_the_end:
            self._grow(self.measure.at_a_time)
            return True
        self._between(self._cancel)  # no model is loaded for what was stopped
        if self._is_at_the_end:
            aside = self.measure.finish_aside(lambda: self._worker.submit(self))
            if aside:
                self._hear(aside)
                return False
        engine = self._loaded_engine()
        if engine is None:
            return False
        if self._taken:
            self._compute(engine)
            self._grow(self.measure.at_a_time)
        else:
            self.measure.finish(engine, dict(self.pictures.keys), self._aid({}))
            self._announce(self._rows)
        return True

    @property
    def _is_at_the_end(self) -> bool:
        return not self._taken and not self._pending and not self.measure.is_finished

    def _look_up(self) -> None:
        rows = self._next_known(LOOK_UP_ROWS)
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

    def _open(self) -> None:
        """Open the pictures that were taken, those that are known aside, and some ahead."""
        self._opened |= self.pictures.open(self._taken, False, partial(self._between, self._cancel))
        wrong = {row: self._opened[row].error for row in self._taken if row in self._opened}
        for row, error in wrong.items():
            if error is not None:
                self._fail_row(row, error)
        with self._lock:
            ahead = list(islice(self._pending, self._chunk_size))
        self.pictures.open_ahead(ahead)

    def _compute(self, engine: Engine) -> None:
        # Another run over these pictures may have forgotten a row: it stays, and is opened again.
        keys = self._known(self._taken)
        rows_of: dict[str, list[int]] = {}
        for row, key in keys.items():
            rows_of.setdefault(key, []).append(row)
        wrong = self.measure.compute(engine, keys, self._aid(rows_of))
        for row, message in wrong.items():
            self._fail_row(row, ImageError("unexpected", message))
        with self._lock:
            self._computed += len(keys)
        self._settle(keys, cached=False)

    def _aid(self, rows_of: Mapping[str, Sequence[int]]) -> Aid:
        def failed(key: str, error: Exception) -> None:
            for row in rows_of.get(key, ()):
                self._fail_row(row, error)

        def rows(key: str) -> Sequence[int]:
            known = self.pictures.keys
            return rows_of.get(key) or [row for row in self._rows if known.get(row) == key]

        return Aid(
            lambda key: self.pictures.image(rows(key), key, self._opened, False),
            failed,
            partial(self._between, self._cancel),
        )

    def _set_batch_sizes(self, engine: Engine) -> None:
        fits = fitting(engine, self.variant, tokens=1).pictures
        self.measure.set_batch_size(self._batch_size or fits)

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
        if not isinstance(error, ImageError):
            error = ImageError("unexpected", why(error, "picture"))
        with self._lock:
            self.pictures.errors[row] = error
            self._failed.add(row)
            self._let_go({row})
        self._announce([row])

    def _let_go(self, rows: Collection[int]) -> None:
        self._taken = [row for row in self._taken if row not in rows]
        for row in rows:
            self._opened.pop(row, None)

    def _drop_what_is_left(self) -> None:
        self._pending.clear()
        self._taken, self._opened = [], {}
        self._looked_up = len(self._rows)
        self.pictures.leave()

    def _counts(self) -> Counts:
        total, done = len(self._rows), len(self._settled) + len(self._failed)
        return Counts(total, done, len(self._failed), self._cached, left=total - done)

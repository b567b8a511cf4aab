"""What all work on a column's pictures has in common, whoever does it: its life from start to end,
its progress, and who hears of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple, Self

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column
from blip2_widget.model import GenerationSettings, Located, Variant
from blip2_widget.run.cells import Cell, CellField, Progress, Prompt, RunState
from blip2_widget.run.pictures import Pictures

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


class Life:
    """Something that is done with the pictures of a column by one model variant. May be used from
    any thread."""

    def __init__(
        self, column: Column, title: str, located: Located, variant: Variant, pictures: Pictures
    ) -> None:
        self.column = column
        self.title = title
        self.located = located
        self.variant = variant
        self.pictures = pictures
        self._lock = threading.RLock()
        self._finished = threading.Event()
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
        """Begin with everything that is not there yet."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is left to do; False after `timeout` seconds.

        Raises the Blip2Error that stopped it, if one did.
        """
        finished = self._finished.wait(timeout)
        if self._failure is not None:
            raise self._failure
        return finished

    def cancel(self) -> None:
        """Stop; what is there stays."""
        raise NotImplementedError

    def retry(self, rows: Collection[int] | None = None) -> None:
        """Do again what failed or was cancelled, on the given rows or on all."""
        raise NotImplementedError

    def count_stored(self) -> int:
        """How much of it is there before anything is computed."""
        raise NotImplementedError

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

    # --- state --------------------------------------------------------------------------------

    def _counts(self) -> Counts:
        raise NotImplementedError

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

    def _drop_what_is_left(self) -> None:
        """Let nothing wait any more; under the lock."""
        raise NotImplementedError

    def _end(self, state: RunState, note: str = "") -> None:
        self._state, self._note = state, note
        self._took = time.monotonic() - self._started
        self._finished.set()

    def _announce(self, rows: Iterable[int]) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(rows)
            except Exception:  # one that shows it must not end the thread that computes
                _log.exception("a listener failed")


class Answerer(Life):
    """What answers prompts over a column's rows, in this process or elsewhere."""

    prompts: list[Prompt]
    settings: GenerationSettings

    def cell(self, row: int, prompt: int) -> Cell:
        """What was asked of a row under a prompt, and what came of it, now."""
        raise NotImplementedError

    def each(self, field: CellField, prompt: int) -> Iterator[Any]:
        """That field of every row's cell under a prompt, in order."""
        return (getattr(self.cell(row, prompt), field) for row in range(len(self.column.values)))

    def ask(self, row: int, prompt: int, text: str) -> None:
        """Ask one picture anew, ahead of everything that is queued."""
        raise NotImplementedError

    def find(self, keys: Collection[str]) -> list[int]:
        """Learn which rows hold these pictures, where their keys lie with the answers; returns
        those that were not known before."""
        return []

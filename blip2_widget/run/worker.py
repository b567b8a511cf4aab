"""The one thread that computes: one run after another, and what a person just typed first."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Protocol, TypeVar

Value = TypeVar("Value")

#: Seconds between two looks at what may have come while something is waited for.
_TICK = 0.02


def wait_for(future: Future[Value], between: Callable[[], None]) -> Value:
    """A future's result; `between` is called, at least once, while it is waited for."""
    between()
    while not future.done():
        wait([future], timeout=_TICK)
        between()
    return future.result()


class Steps(Protocol):
    """Work that is done one short step at a time."""

    def step(self, urgent: bool) -> bool:
        """Do one step; True if more of the same urgency is left."""


class Worker:
    """Runs submitted work, one step at a time, on a thread that starts when first needed.

    After each step urgent work is looked at first, and a step that takes long lets it go ahead by
    calling `give_way`.
    """

    def __init__(self) -> None:
        self._queues: tuple[deque[Steps], deque[Steps]] = (deque(), deque())
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._urgent_now = False
        self.is_closing = False

    def submit(self, work: Steps, *, urgent: bool = False) -> None:
        """Queue work behind what is queued; work that is queued already stays where it is."""
        with self._changed:
            queue = self._queues[0 if urgent else 1]
            if work not in queue:
                queue.append(work)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name="blip2-worker", daemon=True)
                self._thread.start()
                # Python must not end under a product that is being computed.
                atexit.register(self.close)
            self._changed.notify()

    def give_way(self) -> None:
        """Do the urgent work that has come, in the middle of a step that is not urgent.

        For the thread that computes, which then is in two steps at a time.
        """
        if self._urgent_now or not self._queues[0]:
            return
        while self._queues[0]:
            self._do_next()

    def close(self, timeout: float = 10.0) -> None:
        """End the thread, for which a step that takes long looks at `is_closing`; waits for that
        so many seconds at most."""
        self.is_closing = True
        with self._changed:
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not any(self._queues) and not self.is_closing:
                    self._changed.wait()
            if self.is_closing:
                return
            self._do_next()

    def _do_next(self) -> None:
        with self._changed:
            urgent = bool(self._queues[0])
            queue = self._queues[0 if urgent else 1]
            work = queue.popleft()
        outer, self._urgent_now = self._urgent_now, urgent
        more = work.step(urgent)
        self._urgent_now = outer
        if more:
            with self._changed:
                if work not in queue:
                    # Urgent work takes turns: what was just typed waits for no whole look-up.
                    (queue.append if urgent else queue.appendleft)(work)

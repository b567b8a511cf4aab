"""The worker: what is urgent goes first, and takes turns."""

from __future__ import annotations

import threading

from blip2_widget.run.worker import Worker


class Noting:
    """Work of so many steps, which waits in its first one until it may go on."""

    def __init__(self, name: str, steps: int, seen: list[str]) -> None:
        self.name, self.left, self.seen = name, steps, seen
        self.reached, self.go_on, self.ended = (threading.Event() for _ in range(3))

    def step(self, urgent: bool) -> bool:
        self.seen.append(self.name)
        self.reached.set()
        assert self.go_on.wait(10)
        self.left -= 1
        if not self.left:
            self.ended.set()
        return self.left > 0


def order(urgent: bool) -> list[str]:
    """In which order two works of that urgency are done, the second of which comes later."""
    seen: list[str] = []
    worker, long, short = Worker(), Noting("long", 3, seen), Noting("short", 1, seen)
    short.go_on.set()
    worker.submit(long, urgent=urgent)
    assert long.reached.wait(10)
    worker.submit(short, urgent=urgent)
    long.go_on.set()
    assert long.ended.wait(10) and short.ended.wait(10)
    worker.close()
    return seen


def test_urgent_work_takes_turns_and_runs_do_not() -> None:
    assert order(urgent=True) == ["long", "short", "long", "long"]
    assert order(urgent=False) == ["long", "long", "long", "short"]

"""Ray's processes below this one: when each actor had its model, and the memory of each kind."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from benchmarks.memory import Watch, process_held


class Workers(Watch):
    """Looks at the processes while a block runs. `ready` says when the model of each actor that was
    there had been loaded, by `time.monotonic`."""

    def __init__(self) -> None:
        super().__init__(every=0.1)
        self.ready: list[float] = []
        self._seen: dict[int, str] = {}

    def held(self) -> dict[str, int]:
        """Bytes of each process now, by its kind and number: an "actor" answers, an "opener" opens
        pictures, or did when it was last busy, and the rest are "Ray's own"."""
        found = {}
        for pid, _ in _processes():
            try:
                kind = self._seen.get(pid, "Ray's own").removesuffix(", loading")
                found[f"{kind} {pid}"] = process_held(pid)
            except OSError:  # it has ended
                continue
        return found

    def _look(self) -> None:
        for pid, title in _processes():
            if title.startswith("ray::MapBatches(_open)"):
                self._seen[pid] = "opener"
            elif title.startswith("ray::MapWorker") and title.endswith("__init__"):
                self._seen[pid] = "actor, loading"
            elif title.startswith("ray::MapWorker") and self._seen.get(pid) != "actor":
                self._seen[pid] = "actor"
                self.ready.append(time.monotonic())


def _processes() -> Iterator[tuple[int, str]]:
    """The number and title of every process that this one has begun, and of those below."""
    for process in psutil.Process().children(recursive=True):
        try:
            yield process.pid, " ".join(process.cmdline()).strip()
        except psutil.Error:  # it has ended
            continue

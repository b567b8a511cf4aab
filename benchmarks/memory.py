"""How much memory this process takes: what is its own, what it maps, and what it works with.

On a processor, weights in 16 bit are mapped from the file and take room as the file's pages, which
the system drops and reads again where it must; what is held is the rest. On a GPU, held is what
the driver says is in use. Sources: Linux's documentation of /proc/PID/status, smaps_rollup and
clear_refs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

_PROCESS = Path("/proc/self")


def process_held(pid: int | None = None) -> int:
    """Bytes of memory that are a process's own, this one's or another's, and no file's."""
    return _kilobytes("status", "RssAnon", _PROCESS if pid is None else Path(f"/proc/{pid}"))


def process_mapped() -> int:
    """Bytes of files that this process has in memory."""
    return _kilobytes("status", "RssFile")


def most_held(device: str) -> int | None:
    """The most bytes this process ever had in memory, files' and its own, or on the GPU.

    None where the system cannot tell.
    """
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_reserved())
    try:
        return _kilobytes("status", "VmHWM")
    except OSError:
        return None


def forget_most() -> int | None:
    """Count what `most_held` tells on a processor from here on: the bytes there are by now.

    None where the system cannot do it.
    """
    try:
        (_PROCESS / "clear_refs").write_text("5")
        return _kilobytes("status", "VmRSS")
    except OSError:
        return None


def gpu_held() -> int:
    """Bytes in use on the GPU."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return int(total - free)


def worked_with(work: Callable[[], object]) -> int | None:
    """Bytes of memory that were touched while `work` ran, its own and files' alike.

    Weights that are mapped but no longer in use do not count. None where the system cannot tell.
    """
    try:
        (_PROCESS / "clear_refs").write_text("1")
        work()
        return _kilobytes("smaps_rollup", "Referenced")
    except OSError:
        return None


def _kilobytes(file: str, field: str, process: Path = _PROCESS) -> int:
    for line in (process / file).read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


class Watch:
    """Looks at something every so many seconds while a block runs."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self._look()

    def _look(self) -> None:
        raise NotImplementedError


class Peak(Watch):
    """The largest of readings taken twenty times a second while a block runs."""

    def __init__(self, read: Callable[[], int]) -> None:
        super().__init__(every=0.05)
        self.bytes = read()
        self._read = read

    def _look(self) -> None:
        self.bytes = max(self.bytes, self._read())

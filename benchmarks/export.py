"""Seconds to write answers to a file, and the memory that it takes, as their number grows.

The answers are made up: no model is loaded. Their pictures are the demo's samples.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.process import call
from benchmarks.record import Record
from benchmarks.setting import Setting

NAME = "export"
SECONDS, MEMORY, SIZE = "seconds", "memory above what the answers take", "the file"

_FILES = {"parquet": "a.parquet", "csv": "a.csv", "jsonl": "a.jsonl", "coco": "a.json"}


def measure(setting: Setting) -> list[Record]:
    """Each format at each size, in a process of its own."""
    sizes = (1_000,) if setting.quick else (10_000, 100_000)
    records = []
    for rows in sizes:
        for name in _FILES:
            found = call(figures, setting.cache, rows=rows, name=name)
            what = f"{rows:,} rows to {name}"
            records += [
                Record(NAME, what, figure, value, "s" if figure == SECONDS else "bytes")
                for figure, value in found.items()
            ]
    return records


# --- in a process of its own ------------------------------------------------------------------


def figures(rows: int, name: str) -> dict[str, float]:
    """What writing that many answers once takes."""
    import blip2_widget
    from blip2_widget import demo
    from blip2_widget.run.cells import Task

    samples = [str(path) for path in demo.samples().image]
    paths = [samples[row % len(samples)] for row in range(rows)]
    result = blip2_widget.caption(paths, model="demo", start=False)
    grid = result.run._grid
    for row in range(rows):
        text = f"{row} red circles above a blue rectangle"
        grid.answer(Task(row, 0, 0), text, -0.5, cached=False, at=1.7e9)
    with tempfile.TemporaryDirectory() as folder:
        # What is imported once is no part of what answers take.
        blip2_widget.caption(samples, model="demo", start=False).export(
            Path(folder) / f"first{_FILES[name]}"
        )
        before = _forget_the_peak()
        began = time.perf_counter()
        path = result.export(Path(folder) / _FILES[name])
        took = time.perf_counter() - began
        return {SECONDS: took, MEMORY: _peak() - before, SIZE: path.stat().st_size}


def _forget_the_peak() -> int:
    """Begin to look for the largest memory anew, from what is in use now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The most memory that the process has had, by the kernel's own count (VmHWM), in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])

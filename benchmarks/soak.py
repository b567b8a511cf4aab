"""A hundred thousand pictures captioned in one run, with a gallery over it: what a long run keeps.

The pictures are small files of noise, no two alike, and the checkpoint is the demo's, so that the
model is next to nothing and what the package itself keeps shows. After the first 5,000 rows, where
pools and buffers have their size, memory may grow by what a result holds: each row's answer and
its picture's key. What the language model read of the latest pictures is kept up to 1 GB; so that
this bound is met before counting begins, it is 50 MB here.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.memory import process_held
from benchmarks.pictures import small_files
from benchmarks.process import call
from benchmarks.record import Record, Unit
from benchmarks.setting import Setting

NAME = "soak"
SETTLED = 5_000
RATE, FIRST, LAST = "seconds a picture", "memory after 5,000 rows", "memory at the end"
GROWTH = "memory a further row"
FILES, THREADS = "file handles more", "threads more"
MESSAGES_FIRST = "messages a second, first half"
MESSAGES_LAST = "messages a second, second half"
MISSING = "rows without an answer"
_UNITS: dict[str, Unit] = {RATE: "s", FIRST: "bytes", LAST: "bytes", GROWTH: "bytes"}
_SEEN = range(40)


def measure(setting: Setting) -> list[Record]:
    """The figures of one run in a process of its own."""
    rows = setting.count(100_000, 7_000)
    figures = call(soak, setting.cache, rows=rows, folder=str(setting.cache / "soak"))
    subject = f"{rows:,} rows"
    return [
        Record(NAME, subject, figure, value, _UNITS.get(figure, ""))
        for figure, value in figures.items()
    ]


# --- in a process of its own ------------------------------------------------------------------


def soak(rows: int, folder: str) -> dict[str, float]:
    """Caption so many pictures as a page looks on, and say what that took and what it left."""
    import psutil

    import blip2_widget
    from blip2_widget.model import engine

    engine._PREFIX_BYTES = 50_000_000
    paths = small_files(rows, Path(folder))
    process = psutil.Process()
    result = blip2_widget.caption(paths, model="demo", max_new_tokens=8, start=False)
    gallery: Any = result.gallery
    sent: list[str] = []
    gallery.send = lambda content, buffers=None: sent.append(content["type"])
    gallery._handle_custom_msg({"type": "rows", "view": "v", "start": 0, "stop": len(_SEEN)}, [])
    result.run.start()
    began = time.monotonic()

    def at(done: int) -> tuple[float, float, int, int, int]:
        while result.progress.done < done and not result.board.wait(0.05):
            # The page looks elsewhere now and then, so that rows go out all along.
            start = max(0, result.progress.done - len(_SEEN))
            look = {"type": "rows", "view": "v", "start": start, "stop": start + len(_SEEN)}
            gallery._handle_custom_msg(look, [])
            thumbs = {"type": "thumbs", "view": "v", "rows": list(range(start, start + 8))}
            gallery._handle_custom_msg(thumbs | {"pixels": 128}, [])
        return (
            time.monotonic() - began,
            process_held(),
            process.num_fds(),
            process.num_threads(),
            len(sent),
        )

    settled, half, end = at(SETTLED), at(rows // 2), at(rows)
    result.wait()
    return {
        RATE: (end[0] - settled[0]) / (rows - SETTLED),
        FIRST: settled[1],
        LAST: end[1],
        GROWTH: (end[1] - settled[1]) / (rows - SETTLED),
        FILES: end[2] - settled[2],
        THREADS: end[3] - settled[3],
        MESSAGES_FIRST: half[4] / half[0],
        MESSAGES_LAST: (end[4] - half[4]) / (end[0] - half[0]),
        MISSING: sum(result.board.cell(row, 0).answer is None for row in range(rows)),
    }

"""A column captioned for the first time, and again in a new process, beside the card's loop.

Every way runs in a process of its own, as after a restarted kernel. For both of ours the clock
starts once the package is imported and stops when every caption is there, loading included. The
loop's pictures are timed with its model loaded: that is kind to it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from PIL.Image import Image

from benchmarks.pictures import NEW_TOKENS, noise, scenes
from benchmarks.process import ProcessFailed, call
from benchmarks.record import SPEEDUP, Record, median_of, not_measured
from benchmarks.setting import Setting
from benchmarks.ways import alternate, card, unquantised
from blip2_widget.demo import CHECKPOINT

NAME = "repeat"
FIGURE = "seconds a picture"
FIRST, AGAIN = "first time", "again, in a new process"


def measure(setting: Setting) -> list[Record]:
    """The given checkpoint on pictures of noise, and the demo on drawn ones."""
    records = []
    if setting.checkpoint != CHECKPOINT:
        records += _repeat(setting, setting.checkpoint.name, setting.count(32, 2))
    demo = replace(setting, checkpoint=CHECKPOINT)
    return records + _repeat(demo, "demo", setting.count(500, 4))


def _repeat(setting: Setting, label: str, count: int) -> list[Record]:
    loop = alternate(setting, [card(setting)], NEW_TOKENS)[card(setting)]
    if isinstance(loop, str):
        return [not_measured(NAME, f"{label}: {card(setting).title}", FIGURE, "s", loop)]
    records = [median_of(NAME, f"{label}: {card(setting).title}", FIGURE, "s", loop.rounds)]
    with tempfile.TemporaryDirectory() as name:
        pictures, cache = Path(name) / "pictures", Path(name) / "cache"
        pictures.mkdir()
        for number, picture in enumerate(_pictures(label, count)):
            picture.save(pictures / f"{number:05}.png")
        for when, stored, times in ((FIRST, False, 1), (AGAIN, True, max(setting.rounds, 3))):
            subject = f"{label}: {when}"
            arguments = {
                "folder": str(pictures),
                "model": str(setting.checkpoint),
                "variant": unquantised(),
                "stored": stored,
            }
            try:
                rounds = [call(caption_folder, cache, **arguments) / count for _ in range(times)]
            except ProcessFailed as error:
                return [*records, not_measured(NAME, subject, FIGURE, "s", str(error))]
            records.append(median_of(NAME, subject, FIGURE, "s", rounds))
            ratio = loop.seconds / statistics.median(rounds)
            records.append(Record(NAME, subject, SPEEDUP, ratio, "×"))
    return records


def _pictures(label: str, count: int) -> list[Image]:
    return scenes(count, NAME) if label == "demo" else noise(count, NAME)


# --- in a process of its own ------------------------------------------------------------------


def caption_folder(folder: str, model: str, variant: str, stored: bool) -> float:
    """Seconds until every picture of the folder has its caption."""
    import blip2_widget

    began = time.perf_counter()
    result = blip2_widget.caption(folder, model=model, variant=variant, max_new_tokens=NEW_TOKENS)
    progress = result.wait().progress
    seconds = time.perf_counter() - began
    if progress.failed:
        raise RuntimeError(f"{progress.failed} captions failed")
    if stored and (progress.cached < progress.total or "torch" in sys.modules):
        raise RuntimeError("not everything came from the store")
    return seconds

"""Time a row as columns grow: looking answers up, and runs that find everything stored.

No model is loaded: the answers are put into a store beforehand, through the store's own door.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process import call
from benchmarks.record import Record
from benchmarks.setting import Setting

if TYPE_CHECKING:
    from blip2_widget.run.answers import Wanted

NAME = "scaling"
LOOK_UP = "looking up, a row"
FILES = "a run over files, a row"
PICTURES = "a run over decoded pictures, a row"
GROWTH = "growth"
_VARIANT = "cpu-fp32"


def measure(setting: Setting) -> list[Record]:
    """Seconds a row at each size, and the largest's as a multiple of the smallest's."""
    sizes = (100, 1_000) if setting.quick else (1_000, 10_000, 100_000)
    found = []
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            found.append(call(seconds_a_row, Path(name) / "cache", rows=rows, folder=name))
    records = [
        Record(NAME, f"{rows:,} rows", figure, seconds, "s")
        for rows, figures in zip(sizes, found, strict=True)
        for figure, seconds in figures.items()
    ]
    growth = f"{GROWTH} from {sizes[0]:,} to {sizes[-1]:,} rows"
    return records + [
        Record(NAME, growth, figure, found[-1][figure] / found[0][figure], "×")
        for figure in (LOOK_UP, FILES, PICTURES)
    ]


# --- in a process of its own ------------------------------------------------------------------


def seconds_a_row(rows: int, folder: str) -> dict[str, float]:
    """Fill a store with answers to so many rows and time what finds them again."""
    import blip2_widget
    from blip2_widget.session import current

    store = current().store
    files = _files(Path(folder) / "pictures", rows)
    wanted = _fill(files)
    began = time.perf_counter()
    found = store.answers([each.key for each in wanted])
    looking_up = time.perf_counter() - began
    if len(found) != rows:
        raise RuntimeError(f"{len(found)} of {rows} answers were found")

    def run(images: Sequence[object]) -> float:
        started = time.perf_counter()
        progress = blip2_widget.caption(images, model="demo", variant=_VARIANT).wait().progress
        seconds = time.perf_counter() - started
        if progress.cached < progress.total or "torch" in sys.modules:
            raise RuntimeError(f"{progress.cached} of {progress.total} answers came from the store")
        return seconds

    decoded, paths = _decoded(rows), [str(file) for file in files]
    run(paths[:1])  # imports what any run needs
    return {
        LOOK_UP: looking_up / rows,
        FILES: run(paths) / rows,
        PICTURES: run(decoded) / rows,
    }


def _files(folder: Path, rows: int) -> list[Path]:
    """Files that the store is told it has seen: nobody opens them."""
    folder.mkdir()
    files = [folder / f"{number:06}.png" for number in range(rows)]
    for file in files:
        file.touch()
    return files


def _fill(files: Sequence[Path]) -> list[Wanted]:
    """Put an alias and an answer into the store for every file."""
    import hashlib

    from blip2_widget.images import file_identity
    from blip2_widget.session import current

    keys = [hashlib.sha256(os.fsencode(file)).hexdigest() for file in files]
    identities = [file_identity(str(file)) for file in files]
    known = {
        identity: key
        for identity, key in zip(identities, keys, strict=True)
        if identity is not None
    }
    current().store.put_aliases(known)
    return _answered(keys)


def _answered(keys: Sequence[str]) -> list[Wanted]:
    """Put an answer into the store for every picture's key."""
    from blip2_widget.model import GenerationSettings, locate, parse
    from blip2_widget.run.answers import Answers
    from blip2_widget.session import current
    from blip2_widget.store import StoredAnswer

    session, located = current(), locate(parse("demo"))
    variant = session.manager.plan(located, _VARIANT).variant
    defaults = session.defaults
    settings = GenerationSettings(defaults.max_new_tokens, defaults.num_beams)
    answers = Answers(located, variant, settings, session.store, refresh=False)
    wanted = [answers.want(key, "", "caption") for key in keys]
    session.store.put_answers(
        StoredAnswer(
            key=each.key,
            features_key=each.features_key,
            image_key=each.image_key,
            model="demo",
            revision=located.commit,
            variant=variant.name,
            prompt=each.prompt,
            settings=dict(settings.stored_as()),
            text="a red circle",
        )
        for each in wanted
    )
    return wanted


def _decoded(rows: int) -> list[object]:
    """Small pictures, no two alike, whose answers are stored."""
    from PIL import Image

    from blip2_widget.images import image_key

    pictures = [
        Image.new("RGB", (8, 8), (number >> 16, number >> 8 & 255, number & 255))
        for number in range(rows)
    ]
    _answered([image_key(picture) for picture in pictures])
    return list(pictures)

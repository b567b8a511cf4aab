"""What the paper plan of docs/scale.md is computed from: bytes and a processor's seconds of what a
job does beside the model, by picture, row and part.

Seconds are those that the process had a core, so that other work on the machine counts little.
Photographs are soft shapes with grain, as JPEGs of quality 90. Rows are made up: paths in a bucket,
captions of nine words. No model is loaded.
"""

from __future__ import annotations

import hashlib
import io
import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.memory import process_held
from benchmarks.pictures import photo
from benchmarks.process import call
from benchmarks.record import Record, Unit
from benchmarks.setting import Setting

NAME: Final = "inputs"
OPENING, FILE = "opening it takes a core", "its file"
SECONDS, BYTES = "takes a core", "takes"
_SIZES: Final = ((500, 375), (1024, 768), (4000, 3000))
_UNITS: Final[dict[str, Unit]] = {OPENING: "s", SECONDS: "s"}
_ROWS = 512
_WORDS: Final = (
    "a",
    "man",
    "dog",
    "riding",
    "wave",
    "on",
    "top",
    "of",
    "red",
    "surfboard",
    "house",
)


def measure(setting: Setting) -> list[Record]:
    """Opening at each size, and what is written and held, each in a process of its own."""
    found: dict[str, dict[str, float]] = {}
    for width, height in _SIZES:
        count = setting.count(max(40_000_000 // (width * height), 10), 2)
        told = call(opening, setting.cache, width=width, height=height, count=count)
        found[f"a JPEG of {width} × {height}"] = told
    for function, full, few in ((parts, 500, 4), (stored, 50_000, 640), (held, 100_000, 1_024)):
        found |= call(function, setting.cache, count=setting.count(full, few))
    return [
        Record(NAME, subject, figure, value, _UNITS.get(figure, "bytes"))
        for subject, figures in found.items()
        for figure, value in figures.items()
    ]


# --- in a process of its own ------------------------------------------------------------------


def opening(width: int, height: int, count: int) -> dict[str, float]:
    """From a file to what the published checkpoints' encoder is sent, the median of five passes."""
    from blip2_widget.jobs import Row, open_pictures

    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{number}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            photo(width, height, f"{NAME}-{number}").save(path, quality=90)
        rows = [Row(number, str(path), str(path), ()) for number, path in enumerate(paths)]
        spec, seconds = _spec(), []
        for _ in range(5):
            began = time.process_time()
            opened = open_pictures(rows, spec)
            seconds.append((time.process_time() - began) / count)
            if any(each.error for each in opened):
                raise RuntimeError("a picture was not opened")
        size = sum(path.stat().st_size for path in paths) / count
        return {OPENING: statistics.median(seconds), FILE: size}


def parts(count: int) -> dict[str, dict[str, float]]:
    """So many parts of 512 rows on a local disk: writing them, and going on with them."""
    from blip2_widget.jobs.answering import Answered
    from blip2_widget.jobs.parts import Parts
    from blip2_widget.run import Cell

    chance, spec = random.Random(0), _spec()

    def row(number: int) -> Answered:
        text = " ".join(chance.choices(_WORDS, k=9))
        cell = Cell("", "caption", "done", text, logprob=chance.uniform(-9, -1))
        cell.answered_at = 1.7e9 + number / 100
        return Answered(number, _address(number), _key(number), None, (cell,))

    rows = [row(number) for number in range(_ROWS)]
    with tempfile.TemporaryDirectory() as name:
        there = Parts(Path(name) / "out")
        there.describe({"fingerprint": NAME, "asking": NAME}, [])
        there.write(0, rows, spec)  # imports what writing needs
        writing = _seconds(lambda: [there.write(each, rows, spec) for each in range(count)])
        again = Parts(there.folder)
        reading = _seconds(lambda: [again.counts(each) for each in again.numbers()])
        size = sum(each.stat().st_size for each in Path(there.folder).glob("part-*"))
    return {
        "a row in a part": {SECONDS: writing / count / _ROWS, BYTES: size / count / _ROWS},
        "going on with a part": {SECONDS: reading / count},
    }


def stored(count: int) -> dict[str, dict[str, float]]:
    """So many answers in a store's file, and in the memory of a job without one."""
    from blip2_widget.store import Store

    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "store.sqlite3")
        seconds = _seconds(lambda: _fill(store, count))
        size = sum(each.stat().st_size for each in Path(name).iterdir())
    before, store = process_held(), Store.in_memory()
    _fill(store, count)
    return {
        "an answer in the store": {SECONDS: seconds / count, BYTES: size / count},
        "an answer in memory, without the store": {BYTES: (process_held() - before) / count},
    }


def _fill(store: Any, count: int) -> None:
    from blip2_widget.store import StoredAnswer

    settings = dict(_spec().settings.stored_as())
    for first in range(0, count, 64):
        store.put_answers(
            [
                StoredAnswer(
                    key=_key(3 * number),
                    features_key=_key(3 * number + 1),
                    image_key=_key(3 * number + 2),
                    model="opt-2.7b",
                    revision="0" * 40,
                    variant="cuda-bf16",
                    prompt="",
                    settings=settings,
                    text=" ".join(_WORDS[:9]),
                    logprob=-5.0,
                    seconds=0.001,
                )
                for number in range(first, first + 64)
            ]
        )


def held(count: int) -> dict[str, dict[str, float]]:
    """The pieces of so many rows of a list, and of as many samples of a shard with two members."""
    from blip2_widget.images import read_column
    from blip2_widget.jobs.sources import of_column, of_tars

    def told(read: Callable[[], Any]) -> dict[str, float]:
        before, began = process_held(), time.process_time()
        source = read()
        seconds, size = time.process_time() - began, process_held() - before
        assert len(source) == count
        return {SECONDS: seconds / count, BYTES: size / count}

    column = read_column([_address(number) for number in range(count)])
    of_column(read_column([_address(0)]), [""], _ROWS)  # imports what reading needs
    found = {"a row of a list, in the kernel": told(lambda: of_column(column, [""], _ROWS))}
    with tempfile.TemporaryDirectory() as name:
        shard = Path(name) / "shard.tar"
        with tarfile.open(shard, "w") as tar:
            for number in range(count):
                for suffix in ("jpg", "txt"):
                    member = tarfile.TarInfo(f"{number:09}.{suffix}")
                    member.size = 10
                    tar.addfile(member, io.BytesIO(b"x" * 10))
                tar.getmembers().clear()  # what it leaves behind would be taken for free memory
        found["a sample of WebDataset, in the kernel"] = told(
            lambda: of_tars([str(shard)], [], _ROWS)
        )
    return found


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _address(number: int) -> str:
    return f"s3://bucket/pictures/{number // 1000:05}/{number:09}.jpg"


def _key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _spec() -> Any:
    from blip2_widget.jobs import Spec
    from blip2_widget.model import GenerationSettings, PictureSize, locate, parse, read_machine
    from blip2_widget.model.variants import variant
    from blip2_widget.run import Prompt

    located = locate(parse("demo"))
    return Spec(
        prompts=(Prompt("caption", "", "caption"),),
        checkpoint=located.checkpoint,
        commit=located.commit,
        variant=variant("cpu-fp32", read_machine(), located.family),
        settings=GenerationSettings(max_new_tokens=10),
        size=PictureSize(224, 224, 3),  # bicubic, as the published checkpoints
    )

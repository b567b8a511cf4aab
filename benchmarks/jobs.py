"""Answers in pieces by Ray against the local engine: rates, what a row costs beside the model, and
memory over a million rows.

The same files are captioned by the local engine and by one and two actors, in turn, each in a
process of its own with a Ray of its own, in one variant and batch size and without the store. Each
reads its files anew. A rate is that of when all is under way: from the first answers, or once every
actor has its model, to the last moment at which all had work. What comes before stands beside it.

Actors share the machine's cores, so the best that any number of them can do against the local
engine, which uses all cores, is 1.00 ×. An actor has the threads of the cores that it declares.

What the machinery costs is measured with a model that answers at once: pictures are opened, sent,
batched, kept and written down, and nothing is computed. The million rows are paths to a thousand
small pictures on the demo, so that almost all answers are stored: in Parquet, which Ray's workers
read, and in a list, which they are given. What an actor keeps of pictures that are all different
shows with the model that answers at once.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.memory import process_held
from benchmarks.pictures import CAPTION_PROMPT, NEW_TOKENS, noise, scenes, small_files
from benchmarks.process import ProcessFailed, call
from benchmarks.record import Record, Unit, median_of, not_measured
from benchmarks.setting import Setting
from benchmarks.ways import unquantised
from benchmarks.workers import Workers
from blip2_widget.demo import CHECKPOINT

if TYPE_CHECKING:
    import torch

NAME: Final = "jobs"
FIGURE, STARTUP = "seconds a picture", "until the first answers"
RATIO, OVERHEAD = "of the local engine's rate", "a picture, above the local engine's"
ACTORS, BYTES = "actors at work", "a part, a row"
AGAIN = "going on, a part"
GROWTH = "a further row"
#: When memory is looked at, in rows of all.
_MOMENTS: Final = {"after a tenth": 0.1, "after half": 0.5, "at the end": 1.0}
DRIVER, ACTOR, OPENER, RAY = "the kernel", "an actor", "an opener", "Ray's own"
PARQUET, LIST = "paths in Parquet", "paths in a list"
DIFFERENT: Final = "different pictures, without the store"
#: The row that the bar is about.
AT_SIZE: Final = f"1,000,000 {PARQUET}, {DRIVER}"
INSTANT: Final = "nothing to compute"
_UNITS: Final[dict[str, Unit]] = {ACTORS: "", FIGURE: "s", STARTUP: "s", AGAIN: "s"}


def measure(setting: Setting) -> list[Record]:
    """The demo, the given checkpoint, a model that answers at once, and a million rows."""
    demo = replace(setting, checkpoint=CHECKPOINT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = _saved(folder / "scenes", "demo", setting.count(10_000, 32))
        records = _rates(demo, "demo", few, variant=unquantised(), batch=64, part=256)
        if setting.checkpoint != CHECKPOINT:
            few = _saved(folder / "noise", "noise", setting.count(64, 16))
            variant = "cpu-int8" if setting.refusal("cpu-int8") is None else unquantised()
            records += _rates(
                setting, setting.checkpoint.name, few, variant=variant, batch=8, part=8
            )
        small_files(setting.count(30_000, 64), folder / "small")
        small = {"variant": unquantised(), "batch": 64, "part": 512, "instant": True}
        records += _rates(demo, INSTANT, str(folder / "small"), **small)
        for kind, rows in ((PARQUET, 1_000_000), (LIST, 1_000_000), (DIFFERENT, 100_000)):
            records += _memory(setting, kind, setting.count(rows, 600), folder)
    return records


def _saved(folder: Path, kind: str, count: int) -> str:
    folder.mkdir()
    for number, picture in enumerate((scenes if kind == "demo" else noise)(count, NAME)):
        picture.save(folder / f"{number:05}.png")
    return str(folder)


def _rates(setting: Setting, label: str, folder: str, **how: Any) -> list[Record]:
    """The local engine and one and two actors, in turn, round after round."""
    if setting.quick:
        how |= {"batch": 4, "part": 4}
    how |= {"folder": folder, "model": str(setting.checkpoint)}
    ways = {f"{label}, {how['variant']}, {_way(actors)}": actors for actors in (0, 1, 2)}
    local = next(iter(ways))
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    failed: dict[str, str] = {}
    # What a first load converts is kept by then, and no way has to do it.
    call(load, setting.cache, model=how["model"], variant=how["variant"])
    for _ in range(setting.rounds):
        for way, actors in ways.items():
            try:
                rounds[way].append(call(time_captions, setting.cache, actors=actors, **how))
            except ProcessFailed as error:
                failed[way] = str(error)
    records = []
    for way, found in rounds.items():
        if way in failed or local in failed:
            why = failed.get(way) or failed[local]
            records.append(not_measured(NAME, way, FIGURE, "s", why))
            continue
        for figure in found[0]:
            values = [each[figure] for each in found]
            records.append(median_of(NAME, way, figure, _UNITS.get(figure, "bytes"), values))
        # Round by round, so that what slows the machine for a while slows both sides.
        pairs = [
            (each[FIGURE], base[FIGURE]) for each, base in zip(found, rounds[local], strict=True)
        ]
        if way != local and how.get("instant"):
            above = [each - base for each, base in pairs]
            records.append(median_of(NAME, way, OVERHEAD, "s", above))
        elif way != local:
            records.append(median_of(NAME, way, RATIO, "×", [base / each for each, base in pairs]))
    return records


def _way(actors: int) -> str:
    return "local engine" if not actors else f"{actors} actor{'s' if actors > 1 else ''}"


def _memory(setting: Setting, kind: str, rows: int, folder: Path) -> list[Record]:
    what = f"{rows:,} {kind}"
    place = str(folder / kind)
    try:
        found = call(hold, setting.cache, rows=rows, kind=kind, folder=place, quick=setting.quick)
    except ProcessFailed as error:
        return [not_measured(NAME, what, FIGURE, "s", str(error))]
    records = [Record(NAME, what, figure, found[figure], "s") for figure in (FIGURE, AGAIN)]
    records.append(Record(NAME, what, BYTES, found[BYTES], "bytes"))
    for who, held in found["held"].items():
        figures = dict(zip(_MOMENTS, held, strict=True))
        figures[GROWTH] = (held[-1] - held[0]) / (rows * (1 - _MOMENTS["after a tenth"]))
        records += [
            Record(NAME, f"{what}, {who}", figure, value, "bytes")
            for figure, value in figures.items()
        ]
    return records


def steady(moments: Sequence[tuple[float, int]], since: float, actors: int) -> float:
    """Seconds a row, of moments with how many rows were done by then: from the first one at or
    after `since` to the last one before `actors` ran out of pieces.

    Raises ValueError where there are not two such moments.
    """
    news = [(at, done) for at, done in moments if done]
    news = [
        each for each, before in zip(news, [(0.0, 0), *news], strict=False) if each[1] > before[1]
    ]
    under_way = [each for each in news[: len(news) - max(actors - 1, 0)] if each[0] >= since]
    if len(under_way) < 2:
        raise ValueError("the job ended before all actors were at work; give it more rows")
    (began, first), (ended, last) = under_way[0], under_way[-1]
    return (ended - began) / (last - first)


# --- in a process of its own ------------------------------------------------------------------


def load(model: str, variant: str) -> None:
    """Answer one picture."""
    import blip2_widget

    options: dict[str, Any] = {"model": model, "variant": variant, "max_new_tokens": 1}
    blip2_widget.caption(noise(1, NAME), CAPTION_PROMPT, cache=False, **options).wait()


def time_captions(
    folder: str,
    model: str,
    variant: str,
    batch: int,
    part: int,
    actors: int,
    instant: bool = False,
) -> dict[str, float]:
    """Caption a folder's pictures by so many actors, or by the local engine where they are 0."""
    import blip2_widget

    paths = sorted(str(path) for path in Path(folder).rglob("*.png"))
    options: dict[str, Any] = {"model": model, "variant": variant, "batch_size": batch}
    options |= {"max_new_tokens": NEW_TOKENS, "cache": False, "start": False}
    moments: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        if instant:
            answer_at_once()
        if actors:
            _connect(instant)
            options |= {"engine": "ray", "actors": actors, "rows_per_part": part, "out": out}
        result = blip2_widget.caption(paths, CAPTION_PROMPT, **options)
        run = result.board.run_of(0)
        run.subscribe(lambda _rows: moments.append((time.monotonic(), run.progress.done)))
        with Workers() as workers:
            run.start()
            run.wait()
        if run.progress.failed or run.progress.done < len(paths):
            raise RuntimeError(str(result.errors.error.iloc[0]))
        first = next(at for at, done in moments if done)
        found = {STARTUP: first - began}
        if actors:
            found[ACTORS] = at_work = len(workers.ready)
            first = max(first, *workers.ready) if at_work == actors else first
            found[BYTES] = sum(file.stat().st_size for file in _parts(out)) / len(paths)
        return {FIGURE: steady(moments, first, actors), **found}


def answer_at_once() -> None:
    """Let every model in this process answer without computing anything."""
    from blip2_widget.model.engine import Answer, Engine, Step

    def encode(engine: Engine, images: Sequence[Any], between: Any = None) -> torch.Tensor:
        import torch  # where a model is: it takes seconds, and every worker of Ray comes by here

        config = engine.model.config
        return torch.zeros(len(images), config.num_query_tokens, config.qformer_config.hidden_size)

    def stream(_: Engine, features: torch.Tensor, *args: Any, **options: Any) -> Any:
        yield Step({row: Answer("a picture", (), -1.0) for row in range(len(features))}, {})

    Engine.encode, Engine.stream = encode, stream  # type: ignore[method-assign,assignment]


def _connect(instant: bool) -> None:
    """A Ray of this process's own, whatever else runs on the machine; its workers' models answer at
    once where those are wanted."""
    os.environ["RAY_ADDRESS"] = "local"
    if not instant:
        return  # the package starts it, as anywhere
    import logging

    import ray

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    ray.init(
        runtime_env={"worker_process_setup_hook": f"{__name__}.answer_at_once"},
        log_to_driver=False,
        logging_level=logging.ERROR,
        include_dashboard=False,
    )


def hold(rows: int, kind: str, folder: str, quick: bool) -> dict[str, Any]:
    """Caption so many rows by an actor, and say who held what meanwhile: `held` has bytes by
    process, at each of the moments."""
    import blip2_widget

    options: dict[str, Any] = {"model": "demo", "variant": unquantised(), "engine": "ray"}
    options |= {"actors": 1, "rows_per_part": 100 if quick else 512, "out": f"{folder}/out"}
    images: Any
    if kind == DIFFERENT:
        images = small_files(rows, Path(folder))
        options["cache"] = False
    else:
        paths = _paths(rows, Path(folder))
        images = list(paths) if kind == LIST else _table(paths, rows, Path(folder))
    _connect(instant=kind == DIFFERENT)
    held: dict[str, list[int]] = {}
    moments: list[tuple[float, int]] = []
    with Workers() as workers:
        result = blip2_widget.caption(images, **options)
        now: dict[str, int] = {}
        for share in _MOMENTS.values():
            while result.progress.done < share * rows and not result.board.wait(
                0.1 if quick else 1
            ):
                moments.append((time.monotonic(), result.progress.done))
                found = {DRIVER: process_held(), **_by_kind(workers.held())}
                if found[ACTOR] or not now:  # at the end of a job its actors end, too
                    now = found
            for who, size in now.items():
                held.setdefault(who, []).append(size)
        result.wait()
        moments.append((time.monotonic(), result.progress.done))
        if result.progress.failed:
            raise RuntimeError(str(result.errors.error.iloc[0]))
    began = time.monotonic()
    blip2_widget.caption(images, **options)
    parts = _parts(f"{folder}/out")
    return {
        FIGURE: steady(moments, 0, 1),
        AGAIN: (time.monotonic() - began) / len(parts),
        BYTES: sum(file.stat().st_size for file in parts) / rows,
        "held": held,
    }


def _by_kind(held: dict[str, int]) -> dict[str, int]:
    """The largest actor and the largest opener, and all else together."""
    sizes = {
        who: [size for name, size in held.items() if name.startswith(who.removeprefix("an "))]
        for who in (ACTOR, OPENER, RAY)
    }
    return {who: (sum if who == RAY else max)(each) if each else 0 for who, each in sizes.items()}


def _paths(rows: int, folder: Path) -> Any:
    """So many different paths, by folders that are links to one with a thousand pictures."""
    small = min(rows, 1_000)
    names = [Path(path).name for path in small_files(small, folder / "pictures")]
    for number in range(-(-rows // small)):
        (folder / f"{number:04}").symlink_to(folder / "pictures" / "0")
    return (f"{folder}/{row // small:04}/{names[row % small]}" for row in range(rows))


def _table(paths: Any, rows: int, folder: Path) -> str:
    """A Parquet file of them, written so that this process never holds them all."""
    import itertools

    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / "rows.parquet"
    with pq.ParquetWriter(file, pa.schema({"image": pa.string()})) as writer:
        while some := list(itertools.islice(paths, 10_240)):
            writer.write_table(pa.table({"image": some}))
    return str(file)


def _parts(out: str) -> list[Path]:
    return sorted(Path(out).glob("part-*.parquet"))

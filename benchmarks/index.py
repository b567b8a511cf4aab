"""Seconds to find the 20 nearest of a million rows, and the least that reading them takes.

The vectors have length 1 and 256 numbers, and none comes from a model. Scattered ones are random:
no search can do with fewer numbers of them. Those that fall off are made to be like a model's: what
they share is 0.48 of their length, a row's have a cosine of about 0.6 with each other, as with the
demo checkpoint, and the k-th of their own directions holds 1/k as much as the first, which is far
less uneven than the demo's, of which 16 hold 98 %. What is asked for is then as a text is: not like
any of them, with a cosine of about 0.5 to the nearest. Peers search the same ones in fp32: numpy,
and faiss where it is installed (`pip install faiss-cpu`); all answer the same questions in turn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.limits import bandwidth
from benchmarks.process import call
from benchmarks.record import Record, median_of, not_measured
from benchmarks.setting import Setting

NAME = "index"
SECONDS, RATIO = "a search", "times numpy"
READING, ROOFLINE = "reading its bytes takes", "of the roofline"
HELD, MAKING, SAME = "held", "making it", "finds what numpy finds"
INDEX, NUMPY, FAISS = "VectorIndex", "vectors @ asked, argpartition", "faiss.IndexFlatIP"
#: The rows that the bars are about.
AT_SIZE = f"{INDEX}, 1,000,000 rows of 1 vector"
OF_32 = f"{INDEX}, 1,000,000 rows of 32 vectors that fall off"

_SIZE, _NEAREST = 256, 20
#: Vectors a row, and whether they fall off: the published checkpoints have 32 a picture.
_CASES = ((1, False), (8, False), (32, True))
#: Bytes above which vectors are mapped from a file, and questions whose answers are then checked.
_IN_MEMORY, _CHECKED = 5e9, 2


def measure(setting: Setting) -> list[Record]:
    """Each case in a process of its own; only one vector a row has peers: what numpy would need for
    the others is what is told of it."""
    records = []
    rows = setting.count(1_000_000, 2_000)
    for each, falls in _CASES:
        found = call(
            seconds,
            setting.cache,
            rows=rows,
            each=each,
            falls=falls,
            questions=setting.count(10 * setting.rounds, 2),
            quick=setting.quick,
        )
        kind = " that fall off" if falls else ""
        records += _records(found, f"{rows:,} rows of {each} vector{'s' if each > 1 else ''}{kind}")
    return records


def _records(found: Any, rows: str) -> list[Record]:
    records = []
    numpy = found["seconds"].get(NUMPY)
    for way in (INDEX, NUMPY, FAISS):
        subject = f"{way}, {rows}"
        taken = found["seconds"].get(way)
        if taken is None:
            records.append(not_measured(NAME, subject, SECONDS, "s", found["why"][way]))
            continue
        reading = found["bytes"][way] / found["bandwidth"]
        median = statistics.median(taken)
        records += [
            median_of(NAME, subject, SECONDS, "s", taken),
            Record(NAME, subject, READING, reading, "s"),
            Record(NAME, subject, ROOFLINE, 100 * reading / median, "%"),
            Record(NAME, subject, HELD, found["bytes"][way], "bytes"),
        ]
        if numpy is not None:
            ratio = statistics.median(numpy) / median
            records.append(Record(NAME, subject, RATIO, ratio, "×"))
    records += [
        Record(NAME, f"{INDEX}, {rows}", MAKING, found["making"], "s"),
        Record(NAME, f"{INDEX}, {rows}", SAME, found["same"], "%"),
    ]
    return records


# --- in a process of its own ------------------------------------------------------------------


def seconds(rows: int, each: int, falls: bool, questions: int, quick: bool) -> dict[str, Any]:
    """Seconds of every search by way, the bytes each way reads for one, bytes read a second."""
    with tempfile.TemporaryDirectory() as folder:
        return _seconds(Path(folder) / "vectors", rows, each, falls, questions, quick)


def _seconds(
    file: Path, rows: int, each: int, falls: bool, questions: int, quick: bool
) -> dict[str, Any]:
    import numpy as np

    from blip2_widget.index import VectorIndex

    rng = np.random.default_rng(0)
    shape = (rows, each, _SIZE)
    vectors: Any = (
        np.memmap(file, np.float16, "w+", shape=shape)
        if rows * each * _SIZE * 2 > _IN_MEMORY
        else np.empty(shape, np.float16)
    )
    for start in range(0, rows, 10_000):
        vectors[start : start + 10_000] = _made(
            rng, len(vectors[start : start + 10_000]), each, falls
        )
    asked = _asked(rng, questions + 1, falls)

    began = time.perf_counter()
    index = VectorIndex(vectors)
    making = time.perf_counter() - began
    ways: dict[str, Callable[[Any], Any]] = {
        INDEX: lambda one: index.search(one, _NEAREST).rows,
    }
    held, why = {INDEX: index.nbytes}, dict[str, str]()
    if each == 1:
        ways |= _peers(vectors[:, 0].astype(np.float32), why)
        held |= dict.fromkeys(ways.keys() - {INDEX}, rows * _SIZE * 4)
    else:
        why |= dict.fromkeys((NUMPY, FAISS), f"in fp32 they take {rows * each / 1e6:,.0f} GB")
    taken: dict[str, list[float]] = {way: [] for way in ways}
    same = checked = 0
    for at, one in enumerate(asked):
        found = {}
        for way, search in ways.items():
            began = time.perf_counter()
            found[way] = search(one)
            if at:  # the first is for warming up
                taken[way].append(time.perf_counter() - began)
        if at and (NUMPY in found or at <= _CHECKED):
            expected = found[NUMPY] if NUMPY in found else _in_full(vectors, one)
            same += set(found[INDEX].tolist()) == set(expected.tolist())
            checked += 1
    return {
        "seconds": taken,
        "bytes": held,
        "why": why,
        "making": making,
        "same": 100 * same / checked,
        "bandwidth": bandwidth("cpu", quick),
    }


def _made(rng: Any, rows: int, each: int, falls: bool) -> Any:
    import numpy as np

    made = rng.standard_normal((rows, each, _SIZE), np.float32)
    if falls:
        shared, spread, turn = _falling()
        alike = rng.standard_normal((rows, 1, _SIZE), np.float32)
        made = (shared + spread * (0.55**0.5 * alike + 0.45**0.5 * made)) @ turn
    return made / np.linalg.norm(made, axis=-1, keepdims=True)


def _asked(rng: Any, count: int, falls: bool) -> Any:
    import numpy as np

    asked = _made(rng, count, 1, falls)[:, 0]
    if falls:
        shared, spread, turn = _falling()
        other = 2.2 * spread * rng.standard_normal((count, _SIZE), np.float32)
        elsewhere = 0.3 * rng.standard_normal(_SIZE, np.float32) / _SIZE**0.5
        asked = asked + (other - shared + elsewhere) @ turn
    return asked / np.linalg.norm(asked, axis=-1, keepdims=True)


def _falling() -> tuple[Any, Any, Any]:
    """What vectors that fall off share, how far they spread from it along directions of their own,
    and those."""
    import numpy as np

    rng = np.random.default_rng(1)
    shared = rng.standard_normal(_SIZE).astype(np.float32)
    shared *= 0.48 / np.linalg.norm(shared)
    held = 1 / np.arange(1, _SIZE + 1)
    spread = np.sqrt((1 - 0.48**2) * held / held.sum()).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((_SIZE, _SIZE)))[0].astype(np.float32)
    return shared, spread, turn


def _peers(vectors: Any, why: dict[str, str]) -> dict[str, Callable[[Any], Any]]:
    """What others search the same vectors by, in fp32."""
    import numpy as np

    def by_numpy(one: Any) -> Any:
        scores = vectors @ one
        best = np.argpartition(scores, -_NEAREST)[-_NEAREST:]
        return best[np.argsort(-scores[best])]

    try:
        import faiss
    except ModuleNotFoundError:
        why[FAISS] = "pip install faiss-cpu"
        return {NUMPY: by_numpy}
    flat = faiss.IndexFlatIP(_SIZE)
    flat.add(vectors)
    return {NUMPY: by_numpy, FAISS: lambda one: flat.search(one[None], _NEAREST)[1][0]}


def _in_full(vectors: Any, one: Any) -> Any:
    """The nearest rows, some at a time."""
    import numpy as np

    scores = np.concatenate(
        [
            (vectors[start : start + 10_000].astype(np.float32) @ one).max(axis=1)
            for start in range(0, len(vectors), 10_000)
        ]
    )
    return np.argsort(-scores)[:_NEAREST]

"""Seconds to find the 20 nearest of a million vectors, and the least that reading them takes.

The vectors are random ones of length 1, of 256 numbers. Peers search the same ones in fp32: numpy,
and faiss where it is installed (`pip install faiss-cpu`); all answer the same questions in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
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
#: The row that the bar is about.
AT_SIZE = f"{INDEX}, 1,000,000 rows of 1 vector"

_SIZE, _NEAREST = 256, 20


def measure(setting: Setting) -> list[Record]:
    """One vector a row and eight, each in a process of its own; eight have no peer: that numpy
    would need 8 GB is what is told of it."""
    records = []
    for rows, each in ((1_000_000, 1), (1_000_000, 8)):
        rows = setting.count(rows, 2_000)
        found = call(
            seconds,
            setting.cache,
            rows=rows,
            each=each,
            questions=setting.count(10 * setting.rounds, 2),
            quick=setting.quick,
        )
        records += _records(found, f"{rows:,} rows of {each} vector{'s' if each > 1 else ''}")
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


def seconds(rows: int, each: int, questions: int, quick: bool) -> dict[str, Any]:
    """Seconds of every search by way, the bytes each way reads for one, bytes read a second."""
    import numpy as np

    from blip2_widget.index import VectorIndex

    rng = np.random.default_rng(0)
    vectors = np.empty((rows, each, _SIZE), np.float16)
    for start in range(0, rows, 50_000):
        made = rng.standard_normal((len(vectors[start : start + 50_000]), each, _SIZE), np.float32)
        made /= np.linalg.norm(made, axis=-1, keepdims=True)
        vectors[start : start + 50_000] = made
    asked = rng.standard_normal((questions + 1, _SIZE), np.float32)
    asked /= np.linalg.norm(asked, axis=-1, keepdims=True)

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
        why |= dict.fromkeys((NUMPY, FAISS), f"in fp32 {each} vectors a row would take 8 GB")
    taken: dict[str, list[float]] = {way: [] for way in ways}
    same = 0
    for at, one in enumerate(asked):
        found = {}
        for way, search in ways.items():
            began = time.perf_counter()
            found[way] = search(one)
            if at:  # the first is for warming up
                taken[way].append(time.perf_counter() - began)
        expected = found[NUMPY] if NUMPY in found else _in_full(vectors, one)
        same += at > 0 and set(found[INDEX].tolist()) == set(expected.tolist())
    return {
        "seconds": taken,
        "bytes": held,
        "why": why,
        "making": making,
        "same": 100 * same / questions,
        "bandwidth": bandwidth("cpu", quick),
    }


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

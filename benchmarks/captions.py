"""Seconds a picture for captions: peers and this package, one at a time and in batches."""

from __future__ import annotations

from benchmarks.limits import limits_of
from benchmarks.pictures import NEW_TOKENS
from benchmarks.process import ProcessFailed
from benchmarks.record import Record
from benchmarks.roofline import PRECISIONS, seconds_per_answer, work_of_folder
from benchmarks.setting import Setting
from benchmarks.ways import Timing, Way, alternate, card, timing_records, unquantised

NAME = "captions"
FIGURE = "seconds a picture"
ROOFLINE = "of the roofline at its batch"
CEILING = "of the roofline, all pictures in one batch"
PEER_BATCH = 16
#: What the package takes by itself on a processor, once a run is under way.
BEST_BATCH = 64


def measure(setting: Setting) -> list[Record]:
    """Every way in turn; what only a GPU can do says so where there is none."""
    ways = _ways(setting)
    timings = alternate(setting, ways, NEW_TOKENS)
    on_cpu = {way: timing for way, timing in timings.items() if way.device == "cpu"}
    on_gpu = {way: timing for way, timing in timings.items() if way.device == "cuda"}
    records = timing_records(NAME, FIGURE, on_cpu, card(setting))
    records += timing_records(NAME, FIGURE, on_gpu, card(setting, "cuda-fp16"))
    for way, timing in timings.items():
        if way.kind == "ours" and isinstance(timing, Timing):
            records += _shares(setting, way, timing)
    return records


def _ways(setting: Setting) -> list[Way]:
    """A peer, then one of ours, and so on."""
    ours = unquantised()
    few, many = setting.few(4), setting.count(BEST_BATCH, 2)
    return [
        card(setting),
        Way("ours", ours, many, BEST_BATCH),
        Way("card", "cpu-bf16", few),
        Way("ours", ours, few, 1),
        Way("batched", "cpu-bf16", setting.few(PEER_BATCH), PEER_BATCH),
        Way("ours", "cpu-int8", many, BEST_BATCH),
        Way("pipeline", "cpu-bf16", setting.few(PEER_BATCH), PEER_BATCH),
        Way("ours", "cpu-int4", many, BEST_BATCH),
        card(setting, "cuda-fp16"),
        Way("ours", "cuda-bf16", setting.count(1024, 2), None),
        Way("batched", "cuda-fp16", setting.count(256, 2), PEER_BATCH),
        Way("ours", "cuda-bf16", few, 1),
        Way("ours", "cuda-bf16", setting.count(1024, 2), 256),
    ]


def _shares(setting: Setting, way: Way, timing: Timing) -> list[Record]:
    """What share of the speed that cannot be passed was reached."""
    try:
        work, limits = work_of_folder(setting.checkpoint), limits_of(setting, way.device)
    except (ValueError, ProcessFailed) as error:
        return [Record(NAME, way.title, ROOFLINE, None, "%", note=str(error))]
    found = []
    for figure, batch in ((ROOFLINE, min(timing.batch, way.count)), (CEILING, way.count)):
        least = seconds_per_answer(
            work,
            PRECISIONS[way.precision],
            limits,
            batch=batch,
            text_tokens=timing.text_tokens,
            new_tokens=NEW_TOKENS,
        )
        found.append(Record(NAME, way.title, figure, 100 * least / timing.seconds, "%"))
    return found

"""Seconds a picture for captions: peers and this package, one at a time and in batches."""

from __future__ import annotations

from benchmarks import agreement
from benchmarks.pictures import NEW_TOKENS
from benchmarks.record import Record
from benchmarks.setting import Setting
from benchmarks.shares import share
from benchmarks.ways import Timing, Way, alternate, card, timing_records, unquantised

NAME = "captions"
FIGURE = "seconds a picture"
PICTURES = "pictures"
PEAK = "peak memory"
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
        if not isinstance(timing, Timing):
            continue
        records.append(Record(NAME, way.title, PICTURES, way.count, ""))
        if timing.peak is not None:
            records.append(Record(NAME, way.title, PEAK, timing.peak, "bytes"))
        if way.kind == "ours":
            records += _beside_the_speed(setting, way, timing)
    return records


def _ways(setting: Setting) -> list[Way]:
    """A peer, then one of ours, and so on.

    Batches and the pipeline get the unquantised type that is at home here, as ours does: bf16 is
    slower than fp32 on a processor that does not multiply it.
    """
    ours, gpu = unquantised(), unquantised("cuda")
    few, many, quantised = setting.few(4), setting.count(BEST_BATCH, 2), setting.count(32, 2)
    return [
        card(setting),
        Way("ours", ours, many, BEST_BATCH),
        Way("card", "cpu-bf16", few),
        Way("ours", ours, few, 1),
        Way("batched", ours, setting.few(PEER_BATCH), PEER_BATCH),
        # The default, over so many that the small chunks it begins with weigh little.
        Way("ours", ours, setting.count(4 * BEST_BATCH, 8), None),
        Way("pipeline", ours, setting.few(PEER_BATCH), PEER_BATCH),
        Way("ours", "cpu-int8", quantised, 32),
        Way("card", "cpu-int8", setting.few(2)),
        Way("ours", "cpu-int4", quantised, 32),
        Way("card", "cpu-int4", setting.few(2)),
        *(Way("ours", f"cpu-int8+{side}", quantised, 32) for side in ("bf16", "int8", "int4")),
        card(setting, "cuda-fp16"),
        Way("ours", gpu, setting.count(1024, 2), None),
        Way("card", "cuda-fp32", few),
        Way("ours", gpu, few, 1),
        Way("card", "cuda-bf16", few),
        Way("ours", gpu, setting.count(1024, 2), 256),
        Way("card", "cuda-int8", few),
        Way("ours", "cuda-int8", quantised, 32),
        Way("card", "cuda-int4", few),
        Way("ours", "cuda-int4", quantised, 32),
        Way("batched", gpu, setting.count(256, 2), PEER_BATCH),
        Way("pipeline", gpu, setting.count(256, 2), PEER_BATCH),
    ]


def _beside_the_speed(setting: Setting, way: Way, timing: Timing) -> list[Record]:
    """What share of the speed that cannot be passed was reached, and what precision it cost."""
    batches = ((ROOFLINE, min(timing.batch, way.count)), (CEILING, way.count))
    found = [share(setting, NAME, each, way, timing, batch=batch) for each, batch in batches]
    return found + agreement.lost_by_demo(setting, NAME, way.title, way.variant)

"""A second question about a picture: its features are stored, and its prefix is in memory."""

from __future__ import annotations

from benchmarks.pictures import NEW_TOKENS
from benchmarks.record import Record
from benchmarks.setting import Setting
from benchmarks.ways import Way, alternate, card, timing_records, unquantised

NAME = "follow_up"
FIGURE = "seconds a question"


def measure(setting: Setting) -> list[Record]:
    """One question at a time, in each precision, against the card's loop in fp32."""
    loop = card(setting, task="questions")
    names = dict.fromkeys([unquantised(), "cpu-int8", "cpu-int4"])
    count = setting.few(4)
    ways = [loop, *(Way("ours", name, count, None, "follow-up") for name in names)]
    records = timing_records(NAME, FIGURE, alternate(setting, ways, NEW_TOKENS), loop)
    gpu_loop = card(setting, "cuda-fp16", "questions")
    gpu_ways = [gpu_loop, Way("ours", "cuda-bf16", count, None, "follow-up")]
    timings = alternate(setting, gpu_ways, NEW_TOKENS)
    return records + timing_records(NAME, FIGURE, timings, gpu_loop)

"""Ten questions on each of 32 pictures in one call: the image encoder runs once a picture.

The card's loop would take most of an hour for the same; it answers three, and the time of one of
its answers is what is compared.
"""

from __future__ import annotations

from benchmarks.pictures import NEW_TOKENS
from benchmarks.record import Record
from benchmarks.setting import Setting
from benchmarks.ways import Way, alternate, card, timing_records, unquantised

NAME = "ten_questions"
FIGURE = "seconds an answer"


def measure(setting: Setting) -> list[Record]:
    """Seconds an answer, one round: it is 320 answers long."""
    loop, count = card(setting, task="questions"), setting.count(32, 2)
    ways = [loop, Way("ours", unquantised(), count, None, "ten questions")]
    records = timing_records(NAME, FIGURE, alternate(setting, ways, NEW_TOKENS, 1), loop)
    gpu_loop = card(setting, "cuda-fp16", "questions")
    gpu_ways = [gpu_loop, Way("ours", "cuda-bf16", count, None, "ten questions")]
    timings = alternate(setting, gpu_ways, NEW_TOKENS, 1)
    return records + timing_records(NAME, FIGURE, timings, gpu_loop)

"""Ten questions on each of 32 pictures in one call: the image encoder runs once a picture.

The card's loop would take most of an hour for the same; it answers three, and the time of one of
its answers is what is compared.
"""

from __future__ import annotations

from benchmarks.pictures import NEW_TOKENS
from benchmarks.record import Record
from benchmarks.setting import Setting
from benchmarks.shares import share
from benchmarks.ways import Timing, Way, alternate, card, timing_records, unquantised

NAME = "ten_questions"
FIGURE = "seconds an answer"
ROOFLINE = "of the roofline"


def measure(setting: Setting) -> list[Record]:
    """Seconds an answer, one round: it is 320 answers long."""
    count, records = setting.count(32, 2), []
    for device, against in (("cpu", "cpu-fp32"), ("cuda", "cuda-fp16")):
        loop = card(setting, against, "questions")
        ways = [loop, Way("ours", unquantised(device), count, None, "ten questions")]
        timings = alternate(setting, ways, NEW_TOKENS, 1)
        records += timing_records(NAME, FIGURE, timings, loop)
        questions = setting.count(10, 2)
        records += [
            share(
                setting,
                NAME,
                ROOFLINE,
                way,
                timing,
                batch=min(timing.batch, count * questions),
                answers_a_picture=questions,
            )
            for way, timing in timings.items()
            if way.kind == "ours" and isinstance(timing, Timing)
        ]
    return records

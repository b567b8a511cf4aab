"""A second question about a picture: its features are stored, and its prefix is in memory."""

from __future__ import annotations

from benchmarks import agreement
from benchmarks.pictures import NEW_TOKENS
from benchmarks.record import Record
from benchmarks.setting import Setting
from benchmarks.shares import share
from benchmarks.ways import Timing, Way, alternate, card, timing_records, unquantised

NAME = "follow_up"
FIGURE = "seconds a question"
ROOFLINE = "of the roofline"


def measure(setting: Setting) -> list[Record]:
    """One question at a time, in each precision, against the card's loop in fp32."""
    count, records = setting.few(4), []
    for device, against in (("cpu", "cpu-fp32"), ("cuda", "cuda-fp16")):
        loop = card(setting, against, "questions")
        names = dict.fromkeys([unquantised(device), f"{device}-int8", f"{device}-int4"])
        ways = [loop, *(Way("ours", name, count, None, "follow-up") for name in names)]
        timings = alternate(setting, ways, NEW_TOKENS)
        records += timing_records(NAME, FIGURE, timings, loop)
        for way, timing in timings.items():
            if way.kind == "ours" and isinstance(timing, Timing):
                records.append(share(setting, NAME, ROOFLINE, way, timing, batch=1, known="prefix"))
                records += agreement.lost_by_demo(setting, NAME, way.title, way.variant)
    return records

"""What share of the speed that cannot be passed was reached."""

from __future__ import annotations

import statistics

from benchmarks.pictures import NEW_TOKENS
from benchmarks.record import Record
from benchmarks.roofline import PRECISIONS, Known, seconds_per_answer, work_of_folder
from benchmarks.setting import Setting
from benchmarks.ways import Timing, Way


def share(
    setting: Setting,
    benchmark: str,
    figure: str,
    way: Way,
    timing: Timing,
    *,
    batch: int,
    known: Known = "nothing",
    answers_a_picture: int = 1,
) -> Record:
    """The roofline's time as a share of the time taken, each round's by its own limits."""
    try:
        work = work_of_folder(setting.checkpoint)
    except ValueError as error:
        return Record(benchmark, way.title, figure, None, "%", note=str(error))
    shares = [
        100
        * seconds_per_answer(
            work,
            PRECISIONS[way.precision],
            limits,
            batch=batch,
            text_tokens=timing.text_tokens,
            new_tokens=NEW_TOKENS,
            known=known,
            answers_a_picture=answers_a_picture,
        )
        / seconds
        for limits, seconds in zip(timing.limits, timing.rounds, strict=True)
    ]
    return Record(benchmark, way.title, figure, statistics.median(shares), "%", tuple(shares))

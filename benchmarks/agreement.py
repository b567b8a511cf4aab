"""What each precision costs in right answers: the demo's test sets, beside fp32.

Needs easy-vqa, of the `demo` extra. The sets are those of `blip2_widget/demo/evaluate.py`.
"""

from __future__ import annotations

from typing import TypedDict

from benchmarks.process import ProcessFailed, call_once
from benchmarks.record import Record, not_measured
from benchmarks.setting import Setting

NAME = "agreement"
EXACT = "cpu-fp32"
LOST = "lost at most"
EQUAL = "answers equal to fp32's"
#: The figure of other benchmarks, beside a variant's speed.
LOST_BY_DEMO = "right answers lost by the demo"
VARIANTS = (
    "cpu-bf16",
    "cpu-int8",
    "cpu-int4",
    "cpu-int8+bf16",
    "cpu-int8+int8",
    "cpu-int8+int4",
    "cuda-bf16",
    "cuda-fp16",
    "cuda-int8",
    "cuda-int4",
)


class Found(TypedDict):
    """What one variant answered: per cent right by test set, and every answer in order."""

    right: dict[str, float]
    answers: list[str]


def measure(setting: Setting) -> list[Record]:
    """Right answers of every test set in per cent, the most points lost in any of them, and how
    many of all answers, right or wrong, are those of fp32."""
    records: list[Record] = []
    for variant in (EXACT, *VARIANTS):
        refusal = setting.refusal(variant)
        if refusal is not None:
            records.append(not_measured(NAME, variant, LOST, "points", refusal))
            continue
        try:
            found, exact = _found(setting, variant), _found(setting, EXACT)
        except ProcessFailed as error:
            records.append(not_measured(NAME, variant, LOST, "points", str(error)))
            continue
        records += [Record(NAME, variant, name, each, "%") for name, each in found["right"].items()]
        if variant != EXACT:
            records.append(Record(NAME, variant, LOST, _lost(found, exact), "points"))
            pairs = list(zip(found["answers"], exact["answers"], strict=True))
            equal = 100 * sum(a == b for a, b in pairs) / len(pairs)
            records.append(Record(NAME, variant, EQUAL, equal, "%"))
    return records


def lost_by_demo(setting: Setting, benchmark: str, subject: str, variant: str) -> list[Record]:
    """What a variant's precision costs, for its row in another benchmark; fp32's costs nothing."""
    if variant == EXACT:
        return []
    try:
        points = _lost(_found(setting, variant), _found(setting, EXACT))
    except ProcessFailed as error:
        return [not_measured(benchmark, subject, LOST_BY_DEMO, "points", str(error))]
    return [Record(benchmark, subject, LOST_BY_DEMO, points, "points")]


def _lost(found: Found, exact: Found) -> float:
    """The most points lost in any test set."""
    return max(exact["right"][name] - share for name, share in found["right"].items())


def _found(setting: Setting, variant: str) -> Found:
    found: Found = call_once(right, setting.cache, variant=variant, quick=setting.quick)
    return found


# --- in a process of its own ------------------------------------------------------------------


def right(variant: str, quick: bool) -> Found:
    """Right answers of each test set in per cent, and every answer."""
    from blip2_widget.demo import evaluate

    engine = evaluate.load(variant=variant)
    scores = evaluate.score_easy_vqa(engine, *((10, 50) if quick else ()))
    scores += evaluate.score_scenes(engine, 10 if quick else evaluate.SCENES)
    return {
        "right": {score.name: 100 * score.share for score in scores},
        "answers": [answer for score in scores for answer in score.answers],
    }

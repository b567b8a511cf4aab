"""What each precision costs in right answers: the demo's test sets, beside fp32.

Needs easy-vqa, of the `demo` extra. The sets are those of `blip2_widget/demo/evaluate.py`.
"""

from __future__ import annotations

from benchmarks.process import ProcessFailed, call
from benchmarks.record import Record, not_measured
from benchmarks.setting import NO_DEVICE, Setting

NAME = "agreement"
EXACT = "cpu-fp32"
LOST = "lost at most"
VARIANTS = ("cpu-bf16", "cpu-int8", "cpu-int4", "cuda-bf16", "cuda-fp16", "cuda-int8", "cuda-int4")


def measure(setting: Setting) -> list[Record]:
    """Right answers of every test set in per cent, and the most points lost in any of them."""
    records: list[Record] = []
    exact: dict[str, float] = {}
    for variant in (EXACT, *VARIANTS):
        if variant.partition("-")[0] not in setting.devices:
            why = NO_DEVICE
            records.append(not_measured(NAME, variant, LOST, "points", why))
            continue
        try:
            scores = call(right, setting.cache, variant=variant, quick=setting.quick)
        except ProcessFailed as error:
            records.append(not_measured(NAME, variant, LOST, "points", str(error)))
            continue
        exact = exact or scores
        records += [Record(NAME, variant, name, share, "%") for name, share in scores.items()]
        if variant != EXACT:
            lost = max(exact[name] - share for name, share in scores.items())
            records.append(Record(NAME, variant, LOST, lost, "points"))
    return records


# --- in a process of its own ------------------------------------------------------------------


def right(variant: str, quick: bool) -> dict[str, float]:
    """Right answers of each test set, in per cent."""
    from blip2_widget.demo import evaluate

    engine = evaluate.load(variant=variant)
    scores = evaluate.score_easy_vqa(engine, *((10, 50) if quick else ()))
    scores += evaluate.score_scenes(engine, 10 if quick else evaluate.SCENES)
    return {score.name: 100 * score.share for score in scores}

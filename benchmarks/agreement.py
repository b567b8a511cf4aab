"""What each precision costs in right answers: the demo's test sets, beside fp32.

Needs easy-vqa, of the `demo` extra. The sets are those of `blip2_widget/demo/evaluate.py`.
"""

from __future__ import annotations

from benchmarks.process import ProcessFailed, call_once
from benchmarks.record import Record, not_measured
from benchmarks.setting import NO_DEVICE, Setting

NAME = "agreement"
EXACT = "cpu-fp32"
LOST = "lost at most"
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


def measure(setting: Setting) -> list[Record]:
    """Right answers of every test set in per cent, and the most points lost in any of them."""
    records: list[Record] = []
    for variant in (EXACT, *VARIANTS):
        if variant.partition("-")[0] not in setting.devices:
            records.append(not_measured(NAME, variant, LOST, "points", NO_DEVICE))
            continue
        try:
            scores, points = _scores(setting, variant), lost(setting, variant)
        except ProcessFailed as error:
            records.append(not_measured(NAME, variant, LOST, "points", str(error)))
            continue
        records += [Record(NAME, variant, name, share, "%") for name, share in scores.items()]
        if points is not None:
            records.append(Record(NAME, variant, LOST, points, "points"))
    return records


def lost(setting: Setting, variant: str) -> float | None:
    """The most points that a variant loses in any test set; None for the one it is held against.

    Raises ProcessFailed.
    """
    if variant == EXACT:
        return None
    exact = _scores(setting, EXACT)
    return max(exact[name] - share for name, share in _scores(setting, variant).items())


def _scores(setting: Setting, variant: str) -> dict[str, float]:
    found: dict[str, float] = call_once(right, setting.cache, variant=variant, quick=setting.quick)
    return found


# --- in a process of its own ------------------------------------------------------------------


def right(variant: str, quick: bool) -> dict[str, float]:
    """Right answers of each test set, in per cent."""
    from blip2_widget.demo import evaluate

    engine = evaluate.load(variant=variant)
    scores = evaluate.score_easy_vqa(engine, *((10, 50) if quick else ()))
    scores += evaluate.score_scenes(engine, 10 if quick else evaluate.SCENES)
    return {score.name: 100 * score.share for score in scores}

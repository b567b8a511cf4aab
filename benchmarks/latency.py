"""How long one typed question waits for its first token: with the model idle, and amid a batch.

The question is put as the gallery puts it, on a row that has its caption: the picture was seen
before. A question on a picture that never was, in a call of its own, is told beside it.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.pictures import CAPTION_PROMPT, NEW_TOKENS, QUESTIONS, noise
from benchmarks.process import ProcessFailed, call
from benchmarks.record import Record, median_of, not_measured
from benchmarks.setting import NO_DEVICE, Setting
from benchmarks.ways import unquantised

NAME = "latency"
FIGURE = "to the first token"
IDLE, BUSY = "no run goes on", "a batch is under way"
NEW = "no run goes on, a new picture"


def measure(setting: Setting) -> list[Record]:
    """Seconds to what a person first sees of an answer."""
    records = []
    for variant in (unquantised(), unquantised("cuda")):
        subjects = [f"{variant}, {when}" for when in (IDLE, NEW, BUSY)]
        if variant.partition("-")[0] not in setting.devices:
            why = NO_DEVICE
            records += [not_measured(NAME, each, FIGURE, "s", why) for each in subjects]
            continue
        try:
            found = call(
                waits,
                setting.cache,
                checkpoint=str(setting.checkpoint),
                variant=variant,
                asks=setting.count(3, 1),
            )
        except ProcessFailed as error:
            records += [not_measured(NAME, each, FIGURE, "s", str(error)) for each in subjects]
            continue
        for subject, seconds in zip(subjects, found, strict=True):
            records.append(median_of(NAME, subject, FIGURE, "s", seconds))
    return records


# --- in a process of its own ------------------------------------------------------------------


def waits(checkpoint: str, variant: str, asks: int) -> tuple[list[float], ...]:
    """Seconds that each of so many questions waited: idle, on new pictures, amid a batch."""
    import blip2_widget

    options: dict[str, Any] = {
        "model": checkpoint,
        "variant": variant,
        "max_new_tokens": NEW_TOKENS,
        "cache": False,
    }
    result = blip2_widget.caption(noise(1, NAME), CAPTION_PROMPT, **options).wait()
    _wait_for_answer(result, QUESTIONS[-1])  # warms up
    idle = [_wait_for_answer(result, question) for question in QUESTIONS[:asks]]
    new = []
    for picture in noise(asks, f"{NAME}-new"):
        began = time.perf_counter()
        new.append(_wait(blip2_widget.ask([picture], QUESTIONS[0], **options), began))
    busy: list[float] = []
    batch = blip2_widget.caption(noise(2000, f"{NAME}-batch", (96, 72)), **options)
    while batch.progress.done == 0:
        time.sleep(0.01)
    for question in QUESTIONS[asks : 2 * asks]:
        time.sleep(0.3 * busy[-1] if busy else 0.0)  # not always at a batch's beginning
        busy.append(_wait_for_answer(result, question))
        if batch.progress.state != "running":
            raise RuntimeError("the batch had ended before the question was answered")
    batch.cancel()
    return idle, new, busy


def _wait_for_answer(result: Any, question: str) -> float:
    began = time.perf_counter()
    return _wait(result.ask(0, question), began)


def _wait(result: Any, began: float) -> float:
    while not _has_begun(result.run.cell(0, 0)):
        time.sleep(0.002)
    seconds = time.perf_counter() - began
    result.wait()  # the next question finds nothing of this one under way
    return seconds


def _has_begun(cell: Any) -> bool:
    """Whether anything of the answer can be seen."""
    if cell.state in ("error", "cancelled"):
        raise RuntimeError(cell.error or "the question was cancelled")
    return cell.partial is not None or cell.state == "done"

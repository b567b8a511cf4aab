"""Loading each variant, first and again: seconds, and memory beside what was planned.

Each load is a process of its own, which answers eight prompts and unloads. A quantised variant is
loaded again from what the first load has kept on disk. GB are 10⁹ bytes. What is in use while
answering are the pages of memory that answering touched, weights and all else: that is what the
plan foretells.
"""

from __future__ import annotations

import shutil
import time
from typing import Any

from benchmarks.memory import Peak, gpu_held, process_held, process_mapped, worked_with
from benchmarks.process import ProcessFailed, call
from benchmarks.record import Record, Unit, not_measured
from benchmarks.setting import Setting
from blip2_widget.model import PUBLISHED, Sizes

NAME = "load"
SECONDS = "loading took"
IN_USE = "in use while answering"
PLANNED = "to have free, planned"
PEAK, PEAK_OF_PLAN = "held at most while loading", "of what was planned"
CARD = "the model card's table"
FIRST, AGAIN = "first", "again"
VARIANTS = (
    "cpu-fp32",
    "cpu-bf16",
    "cpu-int8",
    "cpu-int4",
    "cpu-int8+bf16",
    "cpu-int8+int8",
    "cpu-int8+int4",
)
GPU_VARIANTS = ("cuda-bf16", "cuda-fp16", "cuda-int8", "cuda-int4")

#: What https://huggingface.co/Salesforce/blip2-opt-2.7b says the whole model takes.
_CARD_BYTES = {"fp32": 14.43e9, "fp16": 7.21e9, "bf16": 7.21e9, "int8": 3.61e9, "int4": 1.80e9}
_UNITS: dict[str, Unit] = {SECONDS: "s", PEAK_OF_PLAN: "%"}


def measure(setting: Setting) -> list[Record]:
    """Two loads of every variant."""
    names = VARIANTS[1:] if setting.quick else VARIANTS
    records = []
    for name in (*names, *GPU_VARIANTS):
        # The first load is to be a first, also of the side that another variant has in common.
        shutil.rmtree(setting.cache / "weights", ignore_errors=True)
        for time_ in (FIRST, AGAIN):
            records += _load(setting, name, f"{name}, {time_}")
    return records


def _load(setting: Setting, name: str, subject: str) -> list[Record]:
    refusal = setting.refusal(name)
    if refusal is not None:
        return [not_measured(NAME, subject, SECONDS, "s", refusal)]
    try:
        found = call(load_once, setting.cache, checkpoint=str(setting.checkpoint), name=name)
    except ProcessFailed as error:
        return [not_measured(NAME, subject, SECONDS, "s", str(error))]
    return [
        Record(NAME, subject, figure, value, _UNITS.get(figure, "bytes"))
        for figure, value in found.items()
        if value is not None
    ]


# --- in a process of its own ------------------------------------------------------------------


def load_once(checkpoint: str, name: str) -> dict[str, float | None]:
    """Load, answer, unload: seconds and bytes by figure."""
    import torch  # before the first reading: the library itself is not the model's
    import transformers.models.blip_2.modeling_blip_2  # noqa: F401
    from PIL import Image

    import blip2_widget
    from blip2_widget.model import locate, needed_bytes, parse, weight_bytes
    from blip2_widget.session import current

    manager, located = current().manager, locate(parse(checkpoint))
    variant = manager.choose(located, name)
    held = gpu_held if variant.is_cuda else process_held
    before = held()
    with Peak(held) as peak:
        began = time.perf_counter()
        manager.load(located, variant).result()
        seconds = time.perf_counter() - began

    def answer() -> None:
        options: dict[str, Any] = {"model": checkpoint, "variant": name, "max_new_tokens": 10}
        pictures = [Image.new("RGB", (224, 224), (0, shade, 128)) for shade in range(8)]
        progress = blip2_widget.caption(pictures, cache=False, **options).wait().progress
        if progress.failed:
            raise RuntimeError(f"{progress.failed} answers failed")

    answer()
    answering = held() - before
    mapped = 0 if variant.is_cuda else process_mapped()
    in_use = answering if variant.is_cuda else worked_with(answer)
    manager.unload()
    if variant.is_cuda:
        torch.cuda.synchronize()
    precision = name.partition("-")[2]
    planned = needed_bytes(located.sizes, variant)
    return {
        SECONDS: seconds,
        CARD: _CARD_BYTES.get(precision) if _is_the_cards(located.sizes) else None,
        "weights, planned": weight_bytes(located.sizes, variant),
        PLANNED: planned,
        IN_USE: in_use,
        "held": answering,
        "mapped from files": mapped,
        PEAK: peak.bytes - before,
        PEAK_OF_PLAN: 100 * (peak.bytes - before) / planned,
        "held after unload": max(held() - before, 0),
    }


def _is_the_cards(sizes: Sizes) -> bool:
    """Whether a checkpoint has the size of the one in the model card's table."""
    return abs(sizes.total / PUBLISHED["opt-2.7b"].total - 1) < 0.01

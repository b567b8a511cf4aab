"""What the package costs beside the model: the demo, against bare transformers in batches.

Both get the same 1,000 drawn pictures, decoded in memory, in turn, each in a process of its own
that rests meanwhile: where two Python threads have computed, each with OpenMP's threads, both are
slower, and a machine's speed drifts faster than models load. The bare way is the image processor
and `model.generate` with the same weights' precision and batch size; ours is
`caption(…, cache=False)`, with its keys, rows, worker and result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.pictures import NEW_TOKENS, noise, scenes
from benchmarks.process import ProcessFailed, Turns
from benchmarks.record import Record, median_of, not_measured
from benchmarks.setting import Setting
from benchmarks.ways import unquantised
from blip2_widget.demo import CHECKPOINT

NAME = "overhead"
FIGURE = "seconds a picture"
BARE, OURS = "bare transformers, batched", "blip2_widget"
RATIO = "of the bare time"
BATCH = 8


def measure(setting: Setting) -> list[Record]:
    """Both ways in turn, round after round."""
    seconds: dict[str, list[float]] = {BARE: [], OURS: []}
    setup = {"count": setting.count(1000, 16), "variant": unquantised()}
    try:
        with (
            Turns(time_answers, setting.cache, way=BARE, **setup) as bare,
            Turns(time_answers, setting.cache, way=OURS, **setup) as ours,
        ):
            for _ in range(setting.count(max(setting.rounds, 10), 1)):
                found = [bare.next(), ours.next()]
                for way, one in zip(seconds, found, strict=True):
                    seconds[way].append(one["seconds"])
                _compare(*(one["answers"] for one in found))
    except ProcessFailed as error:
        return [not_measured(NAME, OURS, FIGURE, "s", str(error))]
    medians = [median_of(NAME, way, FIGURE, "s", each) for way, each in seconds.items()]
    # Round by round, so that what slows the machine for a while slows both sides of a ratio.
    ratios = [100 * ours / bare for bare, ours in zip(*seconds.values(), strict=True)]
    return [*medians, median_of(NAME, OURS, RATIO, "%", ratios)]


def _compare(bare: list[str], ours: list[str]) -> None:
    """Both must have done the same work. A few near ties may fall otherwise in a batch."""
    differing = sum(a != b for a, b in zip(bare, ours, strict=True))
    if differing > 0.02 * len(bare):
        raise RuntimeError(f"{differing} of {len(bare)} answers differ: {bare[0]!r}, {ours[0]!r}")


# --- in a process of its own ------------------------------------------------------------------


def time_answers(way: str, count: int, variant: str) -> Iterator[dict[str, Any]]:
    """Seconds a picture of one way, and the answers, again and again, after a warm-up."""
    pictures = scenes(count, NAME)
    answer = {BARE: _bare, OURS: _ours}[way](variant)
    answer(noise(8 * BATCH, NAME))
    while True:
        began = time.perf_counter()
        answers = answer(pictures)
        yield {"seconds": (time.perf_counter() - began) / count, "answers": answers}


def _bare(variant: str) -> Any:
    import torch
    from transformers import Blip2ForConditionalGeneration, Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    dtype = {"cpu-bf16": torch.bfloat16, "cpu-fp32": torch.float32}[variant]
    processor = Blip2Processor.from_pretrained(CHECKPOINT, local_files_only=True)
    # As the package does: its backends differ in speed, and this is not about them.
    images = BlipImageProcessorPil.from_pretrained(CHECKPOINT, local_files_only=True)
    model = Blip2ForConditionalGeneration.from_pretrained(
        CHECKPOINT, dtype=dtype, local_files_only=True
    ).eval()
    # With a picture, since without one no image tokens are put before the text.
    prompt = processor(images=noise(1, NAME)[0], text="", return_tensors="pt").input_ids

    def answers(pictures: list[Any]) -> list[str]:
        texts: list[str] = []
        with torch.inference_mode():
            for at in range(0, len(pictures), BATCH):
                some = pictures[at : at + BATCH]
                pixels = images(some, return_tensors="pt").pixel_values.to(dtype)
                ids = prompt.expand(len(some), -1)
                output = model.generate(
                    pixel_values=pixels, input_ids=ids, max_new_tokens=NEW_TOKENS
                )
                texts += processor.batch_decode(output, skip_special_tokens=True)
        return [text.strip() for text in texts]

    return answers


def _ours(variant: str) -> Any:
    import blip2_widget

    def answers(pictures: list[Any]) -> list[str]:
        result = blip2_widget.caption(
            pictures,
            model="demo",
            variant=variant,
            batch_size=BATCH,
            max_new_tokens=NEW_TOKENS,
            cache=False,
        ).wait()
        return [result.run.cell(row, 0).answer or "" for row in range(len(result.board))]

    return answers

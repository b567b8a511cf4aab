"""Ranking given answers: the demo, against the whole model over each of them.

Both rank the same choices for one question on the same drawn pictures, decoded in memory, in turn,
each in a process of its own that rests meanwhile. The peer is what one writes with transformers:
picture, prompt and choice through the model, in batches of choices, and the likelihoods added up.
Ours is `ask(…, choices=…, cache=False)`, with its keys, rows, worker and result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.pictures import noise, scenes
from benchmarks.process import ProcessFailed, Turns
from benchmarks.record import Record, median_of, not_measured
from benchmarks.setting import Setting
from benchmarks.ways import unquantised
from blip2_widget.demo import CHECKPOINT

NAME: Final = "choices"
FIGURE: Final = "seconds a picture"
RATIO: Final = "times the whole model"
WHOLE, OURS = "the whole model over each", "blip2_widget"
QUESTION: Final = "what is in the picture?"
BATCH: Final = 32
#: How many choices, and on how many pictures they are ranked.
_SIZES: Final = {3: 200, 100: 20}


def measure(setting: Setting) -> list[Record]:
    """Both ways in turn, round after round, for few choices and for many."""
    return [
        record
        for count, pictures in _SIZES.items()
        for record in _measure(setting, count, setting.count(pictures, 2))
    ]


def _measure(setting: Setting, count: int, pictures: int) -> list[Record]:
    whole, ours = (f"{way}, {count} choices" for way in (WHOLE, OURS))
    seconds: dict[str, list[float]] = {whole: [], ours: []}
    setup = {"count": count, "pictures": pictures, "variant": unquantised()}
    try:
        with (
            Turns(time_rankings, setting.cache, way=WHOLE, **setup) as theirs,
            Turns(time_rankings, setting.cache, way=OURS, **setup) as mine,
        ):
            for _ in range(setting.count(max(setting.rounds, 5), 1)):
                found = [theirs.next(), mine.next()]
                for way, one in zip(seconds, found, strict=True):
                    seconds[way].append(one["seconds"])
                _compare(*(one["answers"] for one in found))
    except ProcessFailed as error:
        return [not_measured(NAME, ours, FIGURE, "s", str(error))]
    medians = [median_of(NAME, way, FIGURE, "s", each) for way, each in seconds.items()]
    ratios = [theirs / ours for theirs, ours in zip(*seconds.values(), strict=True)]
    return [*medians, median_of(NAME, ours, RATIO, "×", ratios)]


def _compare(whole: list[str], ours: list[str]) -> None:
    """Both must have done the same work. A few near ties may fall otherwise in a batch."""
    differing = sum(a != b for a, b in zip(whole, ours, strict=True))
    if differing > 0.05 * len(whole):
        raise RuntimeError(f"{differing} of {len(whole)} answers differ: {whole[0]!r}, {ours[0]!r}")


# --- in a process of its own ------------------------------------------------------------------


def time_rankings(way: str, count: int, pictures: int, variant: str) -> Iterator[dict[str, Any]]:
    """Seconds a picture of one way, and the answers, again and again, after a warm-up."""
    images, choices = scenes(pictures, NAME), choices_of(count)
    rank = {WHOLE: _whole, OURS: _ours}[way](variant)
    rank(noise(2, NAME), choices)
    while True:
        began = time.perf_counter()
        answers = rank(images, choices)
        yield {"seconds": (time.perf_counter() - began) / pictures, "answers": answers}


def choices_of(count: int) -> list[str]:
    """Choices of one to a few tokens."""
    shapes, colours = ("circle", "rectangle", "triangle"), ("red", "green", "blue", "yellow")
    found = [*shapes, *(f"a {colour} {shape}" for colour in colours for shape in shapes)]
    found += [f"{number} {each}s" for number in range(2, 10) for each in found]
    return found[:count]


def _whole(variant: str) -> Any:
    import torch
    from transformers import Blip2ForConditionalGeneration, Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    dtype = {"cpu-bf16": torch.bfloat16, "cpu-fp32": torch.float32}[variant]
    processor = Blip2Processor.from_pretrained(CHECKPOINT, local_files_only=True)
    processor.tokenizer.padding_side = "right"
    images = BlipImageProcessorPil.from_pretrained(CHECKPOINT, local_files_only=True)
    model = Blip2ForConditionalGeneration.from_pretrained(
        CHECKPOINT, dtype=dtype, local_files_only=True
    ).eval()
    prompt = f"Question: {QUESTION} Answer:"
    picture = noise(1, NAME)[0]  # without one no image tokens are put before the text
    begin = processor(images=picture, text=prompt, return_tensors="pt").input_ids.shape[1]

    def scores(pixels: Any, choices: list[str]) -> list[float]:
        texts = [f"{prompt} {choice}\n" for choice in choices]
        read = processor(
            images=[picture] * len(texts), text=texts, padding=True, return_tensors="pt"
        )
        ids, mask = read.input_ids, read.attention_mask
        logits = model(
            pixel_values=pixels.expand(len(texts), -1, -1, -1), input_ids=ids, attention_mask=mask
        ).logits[:, begin - 1 : -1]
        gains = logits.float().log_softmax(-1).gather(-1, ids[:, begin:, None])[..., 0]
        found: list[float] = (gains * mask[:, begin:]).sum(1).tolist()
        return found

    def rank(pictures: list[Any], choices: list[str]) -> list[str]:
        answers = []
        with torch.inference_mode():
            for each in pictures:
                pixels = images([each], return_tensors="pt").pixel_values.to(dtype)
                found: list[float] = []
                for at in range(0, len(choices), BATCH):
                    found += scores(pixels, choices[at : at + BATCH])
                answers.append(choices[found.index(max(found))])
        return answers

    return rank


def _ours(variant: str) -> Any:
    import blip2_widget

    def rank(pictures: list[Any], choices: list[str]) -> list[str]:
        result = blip2_widget.ask(
            pictures, QUESTION, model="demo", variant=variant, choices=choices, cache=False
        ).wait()
        return [result.run.cell(row, 0).answer or "" for row in range(len(result.board))]

    return rank

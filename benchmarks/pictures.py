"""Pictures and prompts that every way of answering is given alike."""

from __future__ import annotations

import random
from typing import Final

import numpy as np
from PIL import Image

from blip2_widget.demo.scenes import draw_scene

#: Eight tokens for the tokenizer of the full-size checkpoint with random weights.
CAPTION_PROMPT: Final = "a photo of two or"
NEW_TOKENS: Final = 10
_SUBJECTS = ("dogs", "cats", "people", "cars", "trees", "birds", "boats", "signs", "chairs", "cups")
QUESTIONS: Final = tuple(f"how many {subject} are there?" for subject in _SUBJECTS)


def noise(count: int, seed: str, size: tuple[int, int] = (500, 375)) -> list[Image.Image]:
    """Pictures of repeatable noise, no two alike, as large as those people have (COCO's)."""
    generator = np.random.default_rng(list(seed.encode()))
    width, height = size
    return [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for _ in range(count)
    ]


def scenes(count: int, seed: str) -> list[Image.Image]:
    """Drawn pictures of the kind the demo checkpoint knows, no two alike."""
    return [draw_scene(random.Random(f"{seed}-{number}")).image for number in range(count)]

"""Pictures and prompts that every way of answering is given alike."""

from __future__ import annotations

import random
from pathlib import Path
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


def small_files(count: int, folder: Path) -> list[str]:
    """The paths of small files of noise, no two alike, a thousand in a folder."""
    generator = np.random.default_rng(17)
    paths = []
    for number in range(count):
        inside = folder / str(number // 1000)
        inside.mkdir(parents=True, exist_ok=True)
        path = inside / f"{number}.png"
        pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=1)
        paths.append(str(path))
    return paths


def photo(width: int, height: int, seed: str) -> Image.Image:
    """A picture that a JPEG of it is about as large as a photograph's: soft shapes with grain."""
    generator = np.random.default_rng(list(seed.encode()))
    soft = generator.integers(0, 256, (height // 25, width // 25, 3), dtype=np.uint8)
    shapes = Image.fromarray(soft).resize((width, height), Image.Resampling.BICUBIC)
    grain = generator.normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))

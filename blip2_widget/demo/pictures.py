"""Read the easy-VQA pictures, each with its shape and its questions."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

import easy_vqa
import numpy as np
from PIL import Image

from blip2_widget.demo.scenes import COLOURS, Shape


@dataclass(frozen=True)
class EasyVqaPicture:
    """One easy-VQA picture: its number, its file, its shape, its questions with answers."""

    number: int
    path: str
    shape: Shape
    questions: list[tuple[str, str]] = field(default_factory=list)

    def open(self) -> Image.Image:
        """Read the picture."""
        with Image.open(self.path) as image:
            return image.convert("RGB")


def easy_vqa_pictures(split: Literal["train", "test"]) -> list[EasyVqaPicture]:
    """All pictures of a split, by number."""
    if split == "train":
        paths, rows = easy_vqa.get_train_image_paths(), easy_vqa.get_train_questions()
    else:
        paths, rows = easy_vqa.get_test_image_paths(), easy_vqa.get_test_questions()
    questions: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for question, answer, number in zip(*rows, strict=True):
        questions[number].append((question, answer))
    return [
        EasyVqaPicture(number, path, _shape(path), questions[number])
        for number, path in sorted(paths.items())
    ]


def _shape(path: str) -> Shape:
    """The picture's one shape, measured from its pixels.

    Every picture has one plain background and one plainly coloured shape, so nothing is left to
    guess; what is measured agrees with every answer in the data.
    """
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    # The commonest colour is the background; the commonest of the eight is the shape's.
    found = sorted(image.getcolors(image.width * image.height) or (), reverse=True)
    background = found[0][1]
    by_rgb = {rgb: name for name, rgb in COLOURS.items()}
    colour = next(by_rgb[rgb] for _, rgb in found if rgb in by_rgb)

    pixels = np.asarray(image).astype(int)
    to_colour = np.abs(pixels - np.array(COLOURS[colour])).sum(-1)
    to_background = np.abs(pixels - np.array(background)).sum(-1)
    drawn = to_colour < to_background
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    box = (
        float(left / image.width),
        float(top / image.height),
        float(right / image.width),
        float(bottom / image.height),
    )
    return Shape(_kind(drawn[top:bottom, left:right]), colour, box)


def _kind(drawn: "np.ndarray[Any, Any]") -> str:
    """Which kind a shape is, from its drawn pixels within its box."""
    half = len(drawn) // 2
    if drawn[:half].sum() < 0.6 * drawn[-half:].sum():
        return "triangle"
    return "rectangle" if drawn.mean() > 0.93 else "circle"

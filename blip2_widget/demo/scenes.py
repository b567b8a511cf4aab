"""Draw the demo's pictures: one to four coloured shapes on a light background.

The colours, the three kinds of shape and the light backgrounds are those of the easy-VQA data set,
so that one small model can learn from both.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "brown": (165, 42, 42),
    "gray": (128, 128, 128),
    "green": (0, 255, 0),
    "red": (255, 0, 0),
    "teal": (0, 128, 128),
    "yellow": (255, 255, 0),
}
KINDS: Final = ("circle", "rectangle", "triangle")
MAX_SHAPES: Final = 4
NUMBER_WORDS: Final = ("no", "one", "two", "three", "four")

# Lengths are fractions of the picture's side, by the number of shapes. A lone shape may be as small
# as easy-VQA's, not quite one 8-pixel patch of the 64 pixels the model sees; among others a shape
# is larger than a patch, so that no two have their centres in the same one.
_SMALLEST = {1: 0.11, 2: 0.16, 3: 0.16, 4: 0.16}
_LARGEST = {1: 0.5, 2: 0.42, 3: 0.38, 4: 0.34}
_GAP = 0.03
_SUPERSAMPLING = 4

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Shape:
    """One drawn shape; `box` is (left, top, right, bottom) in fractions of the picture's side."""

    kind: str
    colour: str
    box: Box


@dataclass(frozen=True)
class Scene:
    """A picture and the shapes that were drawn on it."""

    image: Image.Image
    shapes: tuple[Shape, ...]


def draw_scene(rng: random.Random, count: int | None = None, size: int = 256) -> Scene:
    """Draw a scene of `count` shapes that do not touch (one to four at random if not given).

    The same state of `rng` always gives the same scene.
    """
    count = rng.randint(1, MAX_SHAPES) if count is None else count
    if not 1 <= count <= MAX_SHAPES:
        raise ValueError(f"a scene has 1 to {MAX_SHAPES} shapes, not {count}")
    looks = _choose_looks(rng, count)
    boxes = _place(rng, [kind for kind, _ in looks])
    shapes = tuple(
        Shape(kind, colour, box) for (kind, colour), box in zip(looks, boxes, strict=True)
    )
    background = (rng.randint(230, 255), rng.randint(230, 255), rng.randint(230, 255))
    return Scene(draw_shapes(shapes, background, size), shapes)


def draw_shapes(
    shapes: Iterable[Shape], background: tuple[int, int, int], size: int = 256
) -> Image.Image:
    """Draw shapes on a plain background, with smooth edges."""
    side = size * _SUPERSAMPLING
    image = Image.new("RGB", (side, side), background)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        left, top, right, bottom = (round(edge * side) for edge in shape.box)
        colour = COLOURS[shape.colour]
        if shape.kind == "circle":
            draw.ellipse((left, top, right - 1, bottom - 1), fill=colour)
        elif shape.kind == "rectangle":
            draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
        else:
            apex = ((left + right) / 2, top)
            draw.polygon([apex, (right - 1, bottom - 1), (left, bottom - 1)], fill=colour)
    return image.reduce(_SUPERSAMPLING)


def caption(shapes: Iterable[Shape]) -> str:
    """Say what a picture shows, such as "a red circle and two blue triangles".

    Equal shapes are counted together. Groups come in a fixed order: circles, rectangles, triangles,
    and colours by the alphabet within each.
    """
    groups = Counter((shape.kind, shape.colour) for shape in shapes)
    parts = [
        f"a {colour} {kind}" if number == 1 else f"{NUMBER_WORDS[number]} {colour} {kind}s"
        for (kind, colour), number in sorted(groups.items())
    ]
    if len(parts) == 1:
        return parts[0]
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def _choose_looks(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Choose kinds and colours; shapes often share one or both, to make counting worth asking."""
    looks: list[tuple[str, str]] = []
    for _ in range(count):
        kind, colour = rng.choice(KINDS), rng.choice(tuple(COLOURS))
        if looks:
            like_kind, like_colour = rng.choice(looks)
            draw = rng.random()
            if draw < 0.5:
                kind = like_kind
            if draw < 0.3 or draw > 0.8:
                colour = like_colour
        looks.append((kind, colour))
    return looks


def _place(rng: random.Random, kinds: list[str]) -> list[Box]:
    """Choose a box for each shape so that no two boxes come nearer than the gap."""
    while True:
        boxes: list[Box] = []
        for kind in kinds:
            for _ in range(30):
                box = _choose_box(rng, kind, _SMALLEST[len(kinds)], _LARGEST[len(kinds)])
                if all(_apart(box, other) for other in boxes):
                    boxes.append(box)
                    break
        if len(boxes) == len(kinds):
            return boxes


def _choose_box(rng: random.Random, kind: str, smallest: float, largest: float) -> Box:
    width = height = rng.uniform(smallest, largest)
    if kind == "rectangle":
        height = rng.uniform(smallest, largest)
    elif kind == "triangle":
        height = width * 0.87
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return left, top, left + width, top + height


def _apart(one: Box, other: Box) -> bool:
    return (
        one[2] + _GAP <= other[0]
        or other[2] + _GAP <= one[0]
        or one[3] + _GAP <= other[1]
        or other[3] + _GAP <= one[1]
    )

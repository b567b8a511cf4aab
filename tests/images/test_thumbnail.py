"""Thumbnails are small, in shape, and drawings keep their colours."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from blip2_widget.images import thumbnail


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image.convert("RGB")


@pytest.mark.parametrize(
    ("size", "expected"), [((400, 200), (128, 64)), ((200, 400), (64, 128)), ((9000, 3), (128, 1))]
)
def test_the_longest_side_is_what_was_asked(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert opened(thumbnail(Image.new("RGB", size, "red"), 128)).size == expected


def test_a_small_picture_keeps_its_size_and_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    shown = opened(thumbnail(Image.fromarray(pixels), 256))
    assert (np.asarray(shown) == pixels).all()


def test_a_photographs_thumbnail_is_small_and_alike() -> None:
    ramp = np.linspace(0, 255, 1200, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[None], ramp[:900, None], np.uint8(90)), -1)
    image = Image.fromarray(pixels)
    data = thumbnail(image, 256)
    assert len(data) < 10_000
    expected = np.asarray(image.resize((256, 192)), dtype=int)
    assert np.abs(np.asarray(opened(data), dtype=int) - expected).mean() < 3


def test_the_picture_itself_is_left_as_it_is() -> None:
    image = Image.new("RGB", (500, 500))
    thumbnail(image, 64)
    assert image.size == (500, 500)

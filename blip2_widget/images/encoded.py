"""A picture as a file: the bytes that it is stored in, or a PNG of it; and its size."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from blip2_widget.images.errors import shortly
from blip2_widget.images.formats import open_bytes
from blip2_widget.images.limits import Limits
from blip2_widget.images.load import file_bytes, image_errors, load_image

#: Pillow's names of the formats that are kept as they are, and what their files end in.
_SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tiff",
}


@dataclass(frozen=True)
class Encoded:
    """A picture's file: its bytes, and its name's end (".jpg")."""

    data: bytes
    suffix: str


def encoded(value: Any, limits: Limits | None = None) -> Encoded:
    """A picture as a file: byte for byte where the value is one in a usual format, else as PNG.

    Takes what `load_image` takes. Raises ImageError where the value is no picture.
    """
    data, image = _stored(value, limits)
    suffix = None if image is None else _SUFFIXES.get(image.format or "")
    if data is not None and suffix is not None:
        return Encoded(bytes(data), suffix)
    file = io.BytesIO()
    load_image(value if data is None else data, limits).save(file, "PNG")
    return Encoded(file.getvalue(), ".png")


def size_of(value: Any, limits: Limits | None = None) -> tuple[int, int]:
    """A picture's width and height in its file, before it is turned upright.

    Raises ImageError where the value is no picture.
    """
    _, image = _stored(value, limits)
    return (image or load_image(value, limits)).size


def _stored(value: Any, limits: Limits | None) -> tuple[Any, Image | None]:
    """A file's bytes and the picture that they begin; None and None where the value is no file."""
    with image_errors(value):
        data = file_bytes(value, limits or Limits())
        return data, None if data is None else open_bytes(data, shortly(value))

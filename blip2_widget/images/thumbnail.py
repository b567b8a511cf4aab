"""Small pictures for the gallery."""

from __future__ import annotations

import io

from PIL.Image import Dither, Image, Resampling

#: A picture no larger than this, in pixels, is shown as it is.
_ICON = 128


def thumbnail(image: Image, pixels: int) -> bytes:
    """An RGB picture as WebP, its longest side at most `pixels`; never larger than it was."""
    small = image.copy()
    # reducing_gap shrinks large pictures by whole factors first, which is several times faster.
    small.thumbnail((pixels, pixels), Resampling.BICUBIC, reducing_gap=2.0)
    data = io.BytesIO()
    # Drawings and icons are small, and ugly with the artefacts that a photograph hides.
    lossless = small.size == image.size and max(small.size) <= _ICON
    small.save(data, "WEBP", quality=82, method=2, lossless=lossless)
    return data.getvalue()


def still(image: Image, pixels: int) -> tuple[bytes, str]:
    """An RGB picture as a small file and its MIME type: the same bytes on every machine.

    Drawings, of at most 256 colours, are kept exactly, as GIF; all else is JPEG.
    """
    small = image.copy()
    small.thumbnail((pixels, pixels), Resampling.BICUBIC, reducing_gap=2.0)
    data = io.BytesIO()
    colours = small.getcolors(256)
    if colours is None:
        small.save(data, "JPEG", quality=80)
        return data.getvalue(), "image/jpeg"
    exact = small.quantize(len(colours), dither=Dither.NONE)
    exact.save(data, "GIF")
    return data.getvalue(), "image/gif"

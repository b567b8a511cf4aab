"""Small pictures for the gallery."""

from __future__ import annotations

import io

from PIL.Image import Image, Resampling


def thumbnail(image: Image, pixels: int) -> bytes:
    """An RGB picture as WebP, its longest side at most `pixels`; never larger than it was."""
    small = image.copy()
    # reducing_gap shrinks large pictures by whole factors first, which is several times faster.
    small.thumbnail((pixels, pixels), Resampling.BICUBIC, reducing_gap=2.0)
    data = io.BytesIO()
    small.save(data, "WEBP", quality=82, method=2)
    return data.getvalue()

"""Files that Pillow cannot write: 16 bit a channel, and boxes of unknown brands."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

Pixels = np.ndarray[Any, Any]


def png16(pixels: Pixels, transparent: tuple[int, ...] | None = None) -> bytes:
    """A PNG of 16 bit a channel: grey (H×W), grey with alpha, RGB or RGBA (H×W×C)."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = pixels.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))]
    if transparent is not None:
        chunks.append((b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    chunks += [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff(pixels: Pixels, order: str = "<") -> bytes:
    """A TIFF without compression of any integers or floats: grey (H×W) or RGB (H×W×3)."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    bits = pixels.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    fields = [
        *[(256, [width]), (257, [height]), (258, [bits] * channels), (259, [1])],
        *[(262, [2 if channels == 3 else 1]), (273, [8]), (277, [channels]), (278, [height])],
        *[(279, [len(data)]), (339, [kind] * channels)],
    ]
    after = 8 + len(data) + 2 + 12 * len(fields) + 4
    entries, long_values = b"", b""
    for tag, values in fields:
        wide = tag in (273, 279)
        packed = struct.pack(f"{order}{len(values)}{'I' if wide else 'H'}", *values)
        if len(packed) > 4:
            long_values += packed
            packed = struct.pack(f"{order}I", after + len(long_values) - len(packed))
        entries += struct.pack(f"{order}HHI", tag, 4 if wide else 3, len(values))
        entries += packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(fields)) + entries + b"\0" * 4 + long_values


def boxes(brand: bytes) -> bytes:
    """The start of a file of ISO's boxes, as HEIC and AVIF are, with nothing behind it."""
    return struct.pack(">I", 16) + b"ftyp" + brand + b"\0\0\0\0" + b"\0" * 32

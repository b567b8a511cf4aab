"""Opening a file's bytes: what Pillow reads, and its plug-ins where they are installed."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image, UnidentifiedImageError

from blip2_widget.images.errors import ImageError

#: Not read: Pillow hands PostScript, which is a program, to another program that runs it.
_NOT_READ = {"EPS"}


@dataclass(frozen=True)
class _PlugIn:
    """What reads a format that Pillow does not."""

    format: str
    is_one: Callable[[bytes], bool]
    module: str
    package: str
    #: What has to be called once it is imported.
    register: str | None = None


def _brands(*brands: bytes) -> Callable[[bytes], bool]:
    """Whether a file of ISO's boxes, as HEIC and AVIF are, says that it is one of these."""
    return lambda start: start[4:8] == b"ftyp" and start[8:12] in brands


_PLUG_INS = (
    _PlugIn(
        "HEIC",
        _brands(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        "pillow_heif",
        "pillow-heif",
        "register_heif_opener",
    ),
    _PlugIn("AVIF", _brands(b"avif", b"avis"), "pillow_avif", "pillow-avif-plugin"),
    _PlugIn(
        "JPEG XL",
        lambda start: start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")),
        "pillow_jxl",
        "pillow-jxl-plugin",
    ),
)


def open_bytes(data: Any, name: str) -> Image.Image:
    """A Pillow image of a file's bytes; its pixels are not read yet.

    Raises ImageError where it needs a plug-in that is not installed, and whatever Pillow does.
    """
    start = bytes(memoryview(data)[:16])
    if start.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        raise ImageError("unsupported", f"{name} is PostScript, which is a program; give a picture")
    try:
        return _open(data)
    except UnidentifiedImageError:
        plug_in = next((each for each in _PLUG_INS if each.is_one(start)), None)
        if plug_in is None:
            raise
    try:
        module = importlib.import_module(plug_in.module)
    except ImportError:
        raise ImageError(
            "unsupported",
            f"{name} is {plug_in.format}, which this Pillow does not read: "
            f"pip install {plug_in.package}",
        ) from None
    if plug_in.register is not None:
        getattr(module, plug_in.register)()
    return _open(data)


def _open(data: Any) -> Image.Image:
    Image.init()
    return Image.open(
        io.BytesIO(data), formats=[each for each in Image.ID if each not in _NOT_READ]
    )

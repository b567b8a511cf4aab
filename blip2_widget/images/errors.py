"""Why a value is no picture, in one line."""

from __future__ import annotations

from typing import Literal

from blip2_widget.errors import Blip2Error
from blip2_widget.texts import whole

Kind = Literal[
    "missing",
    "not-found",
    "permission",
    "unreadable",
    "is-a-folder",
    "not-an-image",
    "truncated",
    "too-many-pixels",
    "too-large",
    "too-slow",
    "url",
    "unsupported",
    "unexpected",
]


class ImageError(Blip2Error):
    """One value that cannot be read as a picture; `kind` tells the reasons apart."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type[ImageError], tuple[Kind, str]]:
        return ImageError, (self.kind, str(self))  # else only the message would be pickled


def reason_of(error: Exception) -> str:
    """What another library's error says, in one line and with its type."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def message_of(error: Exception) -> str:
    """The same without its type, unless it says nothing else."""
    return " ".join(str(error).split()) or type(error).__name__


def shortly(value: object) -> str:
    """A value in a message: a text's end, the size of bytes, else the type."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"bytes of {len(value) / 1000:.1f} kB"
    text = str(value) if isinstance(value, str) or hasattr(value, "__fspath__") else ""
    if text.startswith("data:"):
        return f"data URI of {len(text) / 1000:.1f} kB"
    if text:
        text = whole(text)
        return text if len(text) <= 80 else f"…{text[-79:]}"
    return f"a {type(value).__name__}"

"""What makes two pictures one: their pixels; and what makes a file the one seen before."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from PIL.Image import Image

#: Part of every key. Change it when decoding changes, so that older features are not found.
_VERSION = 1


def image_key(image: Image) -> str:
    """Hex sha256 over version, mode, width, height and the pixels of an upright RGB picture."""
    digest = hashlib.sha256(f"{_VERSION}:{image.mode}:{image.width}:{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def file_identity(value: Any) -> tuple[str, int, int] | None:
    """(absolute path, bytes, time of change in ns) of a local file; None for anything else."""
    if isinstance(value, dict) and not value.get("bytes"):
        value = value.get("path")
    if not isinstance(value, str) and not hasattr(value, "__fspath__"):
        return None
    if isinstance(value, str) and (not value or "://" in value or value.startswith("data:")):
        return None
    try:
        path = Path(value).expanduser().absolute()
        str(path).encode()  # a name that is no text cannot be stored, so it is no identity
        status = path.stat()
    except (OSError, ValueError, RuntimeError):
        return None
    return str(path), status.st_size, status.st_mtime_ns

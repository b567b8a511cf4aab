"""Any value that stands for a picture, as an upright RGB image, or a typed error."""

from __future__ import annotations

import base64
import binascii
import os
import stat
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from blip2_widget.images.errors import ImageError, message_of, shortly
from blip2_widget.images.fetch import fetch
from blip2_widget.images.formats import open_bytes
from blip2_widget.images.limits import Limits
from blip2_widget.images.remote import is_remote, read_remote

#: Images and open files are the caller's, read here from several threads. Pillow reads a lazily
#: opened image when its pixels are first needed, and two threads at that break it.
_shared = threading.Lock()


def load_image(value: Any, limits: Limits | None = None) -> Image.Image:
    """The picture that `value` stands for: mode RGB, upright, alpha composited on white.

    Takes paths, file:, data:, http:, https: and fsspec's URLs, bytes, open binary files, Pillow
    images, NumPy arrays and torch tensors (H×W, H×W×C or C×H×W; 8 or 16 bit integers, or floats
    from 0 to 1), and Hugging Face's {"bytes", "path"}. Of an animation or of pages the first is
    taken. 16-bit grey is scaled to 8 bit; float files are stretched from their least to their
    greatest value. Raises ImageError, and nothing else, where it is none or is beyond the limits.
    """
    limits = limits or Limits()
    with image_errors(value):
        image = _open(value, limits)
        if image.width * image.height > limits.pixels:
            raise ImageError(
                "too-many-pixels",
                f"{shortly(value)} has {image.width} × {image.height} pixels, more than "
                f"{limits.pixels:,}; raise it by %config Blip2Magics.max_pixels",
            )
        if image is value:
            with _shared:
                image.load()
        return _to_rgb(_upright(image))


@contextmanager
def image_errors(value: Any) -> Iterator[None]:
    """Whatever goes wrong with a value as an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not-an-image", f"{shortly(value)} is not a picture") from None
    except FileNotFoundError:
        raise ImageError("not-found", f"there is no file {shortly(value)}") from None
    except IsADirectoryError:
        raise ImageError("is-a-folder", f"{shortly(value)} is a folder, not a picture") from None
    except PermissionError:
        raise ImageError("permission", f"no permission to read {shortly(value)}") from None
    except Image.DecompressionBombError:
        raise ImageError(
            "too-many-pixels",
            f"{shortly(value)} has too many pixels for Pillow; raise PIL.Image.MAX_IMAGE_PIXELS",
        ) from None
    except MemoryError:
        raise ImageError("too-large", f"there is no memory for {shortly(value)}") from None
    except OSError as error:
        if error.strerror is None:  # Pillow's own, of what the file holds
            raise _damaged(value, error) from None
        raise ImageError("unreadable", f"{shortly(value)}: {error.strerror}") from None
    except Exception as error:  # Pillow's plug-ins raise whatever a damaged file leads them to
        raise _damaged(value, error) from None


def _damaged(value: Any, error: Exception) -> ImageError:
    return ImageError("truncated", f"{shortly(value)} is damaged: {message_of(error)}")


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none: None, an empty text, or any library's NaN."""
    if value is None or (isinstance(value, bytes) and not value):
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return type(value).__name__ in ("NAType", "NaTType")  # pandas', known without importing it


def _open(value: Any, limits: Limits) -> Image.Image:
    """A Pillow image whose size is known and whose pixels need not be read yet."""
    if is_missing(_inner(value)):
        raise ImageError("missing", "there is no picture in this row")
    if isinstance(value, Image.Image):
        return value
    data = file_bytes(value, limits)
    if data is not None:
        return open_bytes(data, shortly(_inner(value)))
    if hasattr(value, "detach"):  # a torch tensor, known without importing torch
        tensor = value.detach().cpu()
        value = (tensor.float() if tensor.dtype.is_floating_point else tensor).numpy()
    if isinstance(value, np.ndarray):
        return _from_array(value)
    raise ImageError(
        "unsupported",
        f"{shortly(value)} is no picture; give a path, URL, bytes, array or Pillow image",
    )


def file_bytes(value: Any, limits: Limits) -> Any:
    """The bytes of the file that a value is or names; None of a picture that is no file, such as an
    array. Raises what reading them does."""
    value = _inner(value)
    if isinstance(value, str):
        return _read_text(value, limits) if value else None
    if isinstance(value, bytes | bytearray | memoryview):
        return value
    if hasattr(value, "__fspath__"):
        return _read_file(Path(value), limits)
    if hasattr(value, "read") and not isinstance(value, Image.Image):
        with _shared:
            if getattr(value, "seekable", bool)():
                value.seek(0)
            return value.read()
    return None


def _inner(value: Any) -> Any:
    """What of Hugging Face's {"bytes", "path"} is there; of others the value itself."""
    if isinstance(value, dict) and {"bytes", "path"} & value.keys():
        return value["bytes"] if value.get("bytes") else value.get("path")
    return value


def _read_text(text: str, limits: Limits) -> bytes:
    if "\0" in text:  # no system has such a name
        raise FileNotFoundError(text)
    scheme = text.partition(":")[0].lower()
    if scheme == "data":
        return _data_uri(text)
    if scheme == "file":
        path = urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
        return _read_file(Path(path), limits)
    if scheme in ("http", "https"):
        return fetch(text, limits)
    if is_remote(text):
        return read_remote(text, limits)
    return _read_file(Path(text).expanduser(), limits)


def _read_file(path: Path, limits: Limits) -> bytes:
    """A file, whole: one that Pillow opens lazily stays open as long as its image lives."""
    # Not to be waited for where it is no file but, for example, a pipe.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(path)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not-an-image", f"{shortly(path)} is a device or pipe, not a file")
        if status.st_size > limits.bytes:
            raise limits.too_large(shortly(path))
        return file.read()


def _data_uri(text: str) -> bytes:
    header, _, data = text.partition(",")
    try:
        if header.endswith(";base64"):
            plain = b"".join(urllib.parse.unquote_to_bytes(data).split())
            return base64.b64decode(plain, validate=True)
        return urllib.parse.unquote_to_bytes(data)
    except binascii.Error:
        raise ImageError("truncated", "the data URI's base64 is damaged") from None


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    grey_or_colour = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not grey_or_colour or 0 in array.shape:
        raise ImageError(
            "unsupported",
            f"an array of shape {array.shape} is no picture; give H×W, H×W×C or C×H×W",
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _eight_bit(array)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ImageError(
                "unsupported", "a float array must hold values from 0 to 1; divide it by 255"
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            "unsupported", f"an array of {array.dtype} is no picture; give uint8, uint16 or floats"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _eight_bit(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """16-bit values scaled so that 65535 becomes 255 (65535 = 255 × 257)."""
    scaled: np.ndarray[Any, Any] = np.rint(np.clip(values, 0, 65535) / 257).astype(np.uint8)
    return scaled


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if image.getexif() else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        return _from_integers(np.asarray(image), image.info.get("transparency"))
    if image.mode == "F":
        return Image.fromarray(_stretched(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        # Left alone, transparent pixels show whatever colour lies beneath, mostly black.
        shown = image.convert("RGBA")
        page = Image.new("RGBA", shown.size, "white")
        return Image.alpha_composite(page, shown).convert("RGB")
    return image.convert("RGB")


def _from_integers(values: np.ndarray[Any, Any], transparent: object) -> Image.Image:
    """Grey of more than 8 bit: Pillow's own conversion clips at 255, which turns it white."""
    if values.size and (values.min() < 0 or values.max() > 65535):
        grey = _stretched(values.astype(np.float64))
    else:
        grey = _eight_bit(values)
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")


def _stretched(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = (np.nan_to_num(values, nan=low) - low) / ((high - low) or 1.0)
    shown: np.ndarray[Any, Any] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return shown

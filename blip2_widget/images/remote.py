"""Pictures that fsspec reads: in buckets, on the Hugging Face Hub, in archives, in memory."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images.errors import ImageError, reason_of, shortly
from blip2_widget.images.limits import Limits, within

#: What is read, and the package that fsspec needs for it. Nothing else is: behind the URL of a
#: data set that is not trusted it could reach into a network (http, ftp, ssh) or fill a cache.
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs"), "adlfs"),
    "hf": "huggingface-hub",
    **dict.fromkeys(("memory", "zip", "tar"), "fsspec"),
}
#: Of these, what holds other files: zip://a.png::pictures.zip.
_ARCHIVES = ("zip", "tar")


def is_remote(text: str) -> bool:
    """Whether a text is a URL, and none that is read without fsspec."""
    scheme, found, _ = text.partition("://")
    return bool(found) and scheme.lower() not in ("http", "https", "file", "data")


def read_remote(url: str, limits: Limits) -> bytes:
    """The bytes at an fsspec URL. Raises ImageError where they cannot be had, or are too many, and
    FileNotFoundError, IsADirectoryError and PermissionError."""

    def read() -> bytes:
        system, path = _opened(url)
        with system.open(path, "rb") as file:
            data: bytes = file.read(limits.bytes + 1)
            return data

    name = shortly(url)
    try:
        data = within(limits.seconds, read)
    except TimeoutError:
        raise limits.too_slow(name) from None
    except (ImageError, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # whatever the library of a bucket raises
        raise ImageError("url", f"{name} cannot be read: {reason_of(error)}") from None
    if len(data) > limits.bytes:
        raise limits.too_large(name)
    return data


def list_remote(url: str, suffixes: Iterable[str]) -> list[str]:
    """The URLs of the files that a pattern matches, or of the pictures in a folder; of one picture
    its own. Raises Blip2Error where there are none."""
    head, chained, rest = url.partition("::")
    known = tuple(suffixes)
    if not glob.has_magic(head) and head.lower().endswith(known):
        return [url]
    try:
        system, path = _opened(url)
        if glob.has_magic(head):
            found = [each for each in system.glob(path) if not system.isdir(each)]
        elif system.isdir(path):
            entries = system.ls(path, detail=True)
            names = [each["name"] for each in entries if each["type"] == "file"]
            found = [each for each in names if each.lower().endswith(known)]
        else:
            return [url]
    except Blip2Error:
        raise
    except Exception as error:  # whatever the library of a bucket raises
        raise Blip2Error(f"{shortly(url)} cannot be listed: {reason_of(error)}") from None
    if not found:
        raise Blip2Error(f"there is no picture at {shortly(url)}")
    scheme = head.partition("://")[0]
    return [f"{scheme}://{name.lstrip('/')}{chained}{rest}" for name in found]


def package_of(url: str) -> str:
    """What fsspec needs to be installed to read a URL."""
    schemes = (each.partition("://")[0] for each in url.split("::"))
    return next((_PACKAGES[each] for each in schemes if each in _PACKAGES), "fsspec")


def _opened(url: str) -> tuple[Any, str]:
    """The file system that a URL lies in, and its path there."""
    *archives, last = url.split("::")
    schemes = [each.partition("://")[0] for each in archives]
    scheme, found, path = last.partition("://")
    is_local = bool(archives) and (scheme == "file" or not found)
    if not all(each in _ARCHIVES for each in schemes) or not (is_local or scheme in _PACKAGES):
        raise ImageError(
            "url",
            f"{shortly(url)}: only http, https, file, data and "
            f"{', '.join(_PACKAGES)} URLs are read",
        )
    if is_local:
        path = path if found else last
        if not Path(path).is_file():
            raise ImageError("not-found", f"there is no file {shortly(path)}")
        url = "::".join([*archives, f"file://{Path(path).absolute()}"])
    wanted = "fsspec"
    try:
        import fsspec

        wanted = package_of(url)
        system, inside = fsspec.core.url_to_fs(url)
    except ImportError:
        raise ImageError("url", f"to read {shortly(url)}, pip install {wanted}") from None
    return system, str(inside)

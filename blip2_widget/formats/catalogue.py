"""Every format by its name: what its files end in, and what writes and reads it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import Answers
from blip2_widget.formats.coco import read_coco, write_coco
from blip2_widget.formats.datasets import is_dataset, read_dataset, write_dataset
from blip2_widget.formats.folders import (
    imagefolder_inside,
    is_imagefolder,
    is_sidecar,
    read_imagefolder,
    read_sidecar,
    write_imagefolder,
    write_sidecar,
)
from blip2_widget.formats.tables import (
    read_csv,
    read_jsonl,
    read_parquet,
    write_csv,
    write_jsonl,
    write_parquet,
)
from blip2_widget.formats.webdataset import read_webdataset, write_webdataset


@dataclass(frozen=True)
class Format:
    """One format: a file that ends in `suffix`, or a folder, which `is_one` knows."""

    write: Callable[[Answers, Path, bool], int]
    read: Callable[[Path], Iterator[dict[str, Any]]]
    suffix: str = ""
    is_one: Callable[[Path], bool] | None = None


FORMATS = {
    "parquet": Format(write_parquet, read_parquet, ".parquet"),
    "csv": Format(write_csv, read_csv, ".csv"),
    "jsonl": Format(write_jsonl, read_jsonl, ".jsonl"),
    "coco": Format(write_coco, read_coco, ".json"),
    "webdataset": Format(write_webdataset, read_webdataset, ".tar"),
    # The first that knows a folder reads it.
    "dataset": Format(write_dataset, read_dataset, is_one=is_dataset),
    "imagefolder": Format(write_imagefolder, read_imagefolder, is_one=is_imagefolder),
    "sidecar": Format(write_sidecar, read_sidecar, is_one=is_sidecar),
}
_SUFFIXES = {each.suffix: each for each in FORMATS.values() if each.suffix}


def has_format(path: Path) -> bool:
    """Whether a path's end says a format."""
    return path.suffix.lower() in _SUFFIXES


def format_to_write(path: Path, name: str | None) -> Format:
    """The format of a name, or of how the path ends. Raises Blip2Error where it is none."""
    found = _named(name) if name is not None else _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise Blip2Error(
            f"{path} says no format; end it in {', '.join(_SUFFIXES)}, or write --format and one "
            f"of {', '.join(FORMATS)}"
        )
    return found


def format_to_read(path: Path, name: str | None) -> Format:
    """The same of what is there. Raises Blip2Error where nothing is."""
    if not path.exists():
        raise Blip2Error(f"there is no file or folder {path} (looked from {Path.cwd()})")
    if name is not None:
        return _named(name)
    if path.suffix.lower() == ".tsv":  # tabs are found in a CSV as well
        return FORMATS["csv"]
    if path.is_dir():
        inside = None if is_dataset(path) or is_imagefolder(path) else imagefolder_inside(path)
        if inside is not None:
            raise Blip2Error(f"{path} holds no metadata itself; give the folder {inside}")
        for each in FORMATS.values():
            if each.is_one is not None and each.is_one(path):
                return each
        raise Blip2Error(
            f"{path} holds no texts: no metadata.jsonl, no saved Dataset, no .txt beside a picture"
        )
    return format_to_write(path, None)


def _named(name: str) -> Format:
    if name not in FORMATS:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"write one of {', '.join(FORMATS)}"
        raise Blip2Error(f"there is no format {name!r}; {hint}")
    return FORMATS[name]

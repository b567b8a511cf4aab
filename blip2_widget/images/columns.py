"""Columns of pictures, whatever holds them, as one plain shape."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image, registered_extensions

from blip2_widget.errors import Blip2Error
from blip2_widget.images.errors import shortly
from blip2_widget.images.values import LazyValues


@dataclass(frozen=True)
class Column:
    """A column's values with each row's place in the caller's index.

    `index` is pandas' own where the column has one. `name` is the column's, `frame` the data
    frame it belongs to, None where there is none.
    """

    values: Sequence[Any]
    index: Any
    name: str | None = None
    frame: Any = None

    def value(self, row: int) -> Any:
        """What the column holds, None where that cannot be had; opening the picture tells why."""
        try:
            return self.values[row]
        except Exception:  # whatever a data set raises that decodes what it holds
            return None

    @property
    def labels(self) -> Sequence[str]:
        """What each row is called, in short: its file's name or its place in the index."""
        return LazyValues(
            lambda row: _file_name(self.value(row)) or str(self.index[row]), range(len(self.values))
        )

    def take(self, rows: Sequence[int], frame: Any) -> Column:
        """The column of these rows alone, and of a frame that has them."""
        values = LazyValues(self.values.__getitem__, rows)
        index = self.index.take(list(rows)) if hasattr(self.index, "take") else rows
        return Column(values, index, self.name, frame)


def read_column(target: Any, *, frame: Any = None) -> Column:
    """A column of pictures from a data frame's column, a list, an array of pictures, a glob, a
    folder, or one picture.

    Values are read from what holds them one by one, as they are needed. pandas' index is kept;
    other columns are numbered from 0. Raises Blip2Error in one line for anything else, for a glob
    that matches nothing and for a folder without pictures.
    """
    if isinstance(target, str | Path):
        return _from_path(target, frame)
    if isinstance(target, Image | bytes | bytearray | memoryview | dict) or hasattr(target, "read"):
        return _column([target], frame=frame)
    if isinstance(target, np.ndarray) or hasattr(target, "detach"):  # or a torch tensor
        if target.ndim in (2, 3) and target.dtype != object:
            return _column([target], frame=frame)
        return _column([target.item()] if target.ndim == 0 else _lazy(target), frame=frame)
    if isinstance(target, list | tuple):
        return _column(list(target), frame=frame)
    if is_table(target):
        raise _not_a_column(target)
    if hasattr(target, "iloc"):  # a pandas Series
        # A copy, since the caller may change the frame; where it holds objects, of references.
        return _column(_lazy(target.array.copy()), target.index, _name(target.name), frame)
    if hasattr(target, "__next__") or callable(target):
        raise Blip2Error(
            f"a {type(target).__name__} is no column of pictures; give a column, or list(…) of it"
        )
    return _from_series(target, frame)


def _lazy(holder: Any) -> LazyValues:
    return LazyValues(holder.__getitem__, range(len(holder)))


def _column(
    values: Sequence[Any], index: Any = None, name: str | None = None, frame: Any = None
) -> Column:
    if frame is not None and len(frame) != len(values):
        raise Blip2Error(
            f"the column has {len(values)} rows and its frame {len(frame)}; give the frame that "
            "the column was taken from"
        )
    if hasattr(frame, "iloc"):
        if index is not None and not frame.index.equals(index):
            raise Blip2Error(
                "the column's rows are not its frame's, or in another order; give the frame in "
                "that order (frame=df.loc[column.index])"
            )
        index = frame.index
    if index is None:
        index = range(len(values))
    if len(index) != len(values):
        raise ValueError(f"{len(values)} values and {len(index)} places")
    return Column(values, index, name, frame)


def _file_name(value: Any) -> str:
    """The name of a picture that is a file or has an address, "" of another."""
    if isinstance(value, dict):
        value = value.get("path")
    if isinstance(value, str | Path) and not str(value).startswith("data:"):
        path = str(value).partition("?")[0].replace("\\", "/").rstrip("/")
        return path.rpartition("/")[2]
    return ""


def _name(name: object) -> str | None:
    return None if name is None else str(name)


def _from_path(target: str | Path, frame: Any) -> Column:
    text = str(target)
    if "://" in text or text.startswith("data:"):
        return _column([text], frame=frame)
    try:
        return _from_disk(text, Path(text).expanduser())
    except (OSError, RuntimeError) as error:  # a name too long, no permission, no such home
        reason = getattr(error, "strerror", None) or error
        raise Blip2Error(f"{shortly(text)} cannot be looked up: {reason}") from None


def _from_disk(text: str, path: Path) -> Column:
    if path.is_dir():
        known = registered_extensions()
        files = [each for each in path.iterdir() if each.suffix.lower() in known and each.is_file()]
        if not files:
            raise Blip2Error(f"there is no picture in the folder {text}")
        return _column(_sorted(map(str, files)))
    if not path.exists() and glob.has_magic(text):
        # glob.glob, unlike Path.glob, takes absolute patterns.
        found = glob.glob(str(path), recursive=True)  # noqa: PTH207
        matches = [match for match in found if Path(match).is_file()]
        if not matches:
            raise Blip2Error(f"no file matches {text!r} (looked from {Path.cwd()})")
        return _column(_sorted(matches))
    if not path.exists():
        raise Blip2Error(f"there is no file or folder {text!r} (looked from {Path.cwd()})")
    return _column([text])


def _sorted(paths: Iterable[str]) -> list[str]:
    """By name, with numbers in them by value: 2.png comes before 10.png."""

    def pieces(path: str) -> list[tuple[int, int | str]]:
        parts = re.split(r"(\d+)", path)
        return [(0, int(part)) if part.isdecimal() else (1, part.lower()) for part in parts]

    return sorted(paths, key=pieces)


def _from_series(target: Any, frame: Any) -> Column:
    """A column of polars, pyarrow or anything else narwhals reads, or any other sequence."""
    import narwhals.stable.v2 as nw

    try:
        series = nw.from_native(target, series_only=True)
    except TypeError:
        if hasattr(target, "__len__") and hasattr(target, "__getitem__"):
            return _column(_lazy(target), frame=frame)
        raise Blip2Error(
            f"a {type(target).__name__} is no column of pictures; give one such as df.image, "
            'a list, or a glob such as "photos/*.jpg"'
        ) from None
    values = LazyValues(series.item, range(len(series)))
    return _column(values, name=_name(series.name) or None, frame=frame)


#: How a column of pictures is likely called, and how a text that stands for one likely ends.
_LIKELY = re.compile("im(age|g)|pic|photo|path|file", re.IGNORECASE)


def is_table(target: Any) -> bool:
    """Whether a value is a whole data frame or data set, not a column of one."""
    return hasattr(target, "columns") or hasattr(target, "column_names")


def find_pictures(table: Any) -> str:
    """The name of a table's first column that holds pictures, by its first value that is there;
    columns that are called like one come first. Raises Blip2Error where none does."""
    names = _column_names(table)
    for name in sorted(names, key=lambda name: not _LIKELY.search(str(name))):
        for value in islice(table[name], _LOOKED_AT):
            if _looks_like_one(value):
                return str(name)
    raise _not_a_column(table)


#: How many values of a column are looked at for a picture.
_LOOKED_AT = 20


def _looks_like_one(value: Any) -> bool:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str | Path):
        text = str(value).partition("?")[0].lower()
        return text.startswith("data:image/") or Path(text).suffix in registered_extensions()
    if isinstance(value, bytes | bytearray | memoryview | Image):
        return True
    return getattr(value, "ndim", 0) in (2, 3)  # an array or a tensor


def _column_names(table: Any) -> list[Any]:
    names = getattr(table, "columns", None)
    if names is None or callable(names) or hasattr(table, "column_names"):
        names = table.column_names
    return list(names)


def _not_a_column(target: Any) -> Blip2Error:
    names = _column_names(target)
    likely = [str(name) for name in names if _LIKELY.search(str(name))]
    listed = ", ".join(map(str, names[:8])) + (", …" if len(names) > 8 else "")
    example = (likely or names or ["image"])[0]
    return Blip2Error(
        f"this is a whole table; give one of its columns, e.g. df.{example} "
        f"(it has {listed or 'none'})"
    )

"""Columns of pictures, whatever holds them, as one plain shape."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image, registered_extensions

from blip2_widget.errors import Blip2Error
from blip2_widget.images.datasets import (
    is_dataset,
    is_ray_dataset,
    is_stream,
    source_of,
    stored_values,
)
from blip2_widget.images.errors import shortly
from blip2_widget.images.remote import is_remote, list_remote
from blip2_widget.images.tables import (
    as_lazy,
    column_names,
    find_pictures,
    is_table,
    named_series,
    not_a_column,
    read_table,
)
from blip2_widget.images.values import LazyValues
from blip2_widget.texts import whole


@dataclass(frozen=True)
class Column:
    """A column's values with each row's place in the caller's index.

    `index` is pandas' own where the column has one. `name` is the column's, `frame` the data
    frame it belongs to, None where there is none. `heads` are the values without their bytes,
    where these need not be read to know what a row is called and which file it is. `series` is the
    column itself where it is one of another library than pandas.
    """

    values: Sequence[Any]
    index: Any
    name: str | None = None
    frame: Any = None
    heads: Sequence[Any] | None = None
    series: Any = None

    def value(self, row: int) -> Any:
        """What the column holds, None where that cannot be had; opening the picture tells why."""
        try:
            return self.values[row]
        except Exception:  # whatever a data set raises that decodes what it holds
            return None

    def head(self, row: int) -> Any:
        """The value, or as much of it as says which file it is; raises what the holder raises."""
        return (self.values if self.heads is None else self.heads)[row]

    @property
    def labels(self) -> Sequence[str]:
        """What each row is called, in short: its file's name or its place in the index."""

        def label(row: int) -> str:
            try:
                name = _file_name(self.head(row))
            except Exception:  # as for `value`
                name = ""
            return whole(name or str(self.index[row]))

        return LazyValues(label, range(len(self.values)))

    def address(self, row: int) -> str:
        """The path or URL of a row's picture, its label where it has none."""
        try:
            return _address(self.head(row)) or self.labels[row]
        except Exception:  # as for `value`
            return self.labels[row]

    def take(self, rows: Sequence[int], frame: Any) -> Column:
        """The column of these rows alone, and of a frame that has them."""
        index = self.index.take(list(rows)) if hasattr(self.index, "take") else rows
        return Column(
            LazyValues(self.values.__getitem__, rows),
            index,
            self.name,
            frame,
            None if self.heads is None else LazyValues(self.heads.__getitem__, rows),
            None if self.series is None else self.series[list(rows)],
        )


def read_column(target: Any, *, frame: Any = None, first: int | None = None) -> Column:
    """A column of pictures from a data frame's column, a list, an array of pictures, a glob, a
    folder, a Hugging Face data set, or one picture.

    Values are read from what holds them one by one, as they are needed. pandas' index is kept;
    other columns are numbered from 0. What has no rows by number is read here, once: the `first`
    rows of an IterableDataset, and what a query, such as a DuckDB relation, gives; of a column of
    a query the rows are its frame's. Raises Blip2Error in one line for anything else, for a glob
    that matches nothing and for a folder without pictures.
    """
    if frame is not None and not is_table(frame):
        raise Blip2Error(f"a {type(frame).__name__} is no data frame that a column belongs to")
    if is_ray_dataset(target):
        raise Blip2Error(
            "a Ray Dataset is answered by Ray: write engine='ray', or --engine ray in a line; or "
            "give a column of ds.to_pandas()"
        )
    target, frame = _with_rows(target, frame, first)
    if isinstance(target, _Stored):
        values, heads = stored_values(target.dataset, target.name)
        return replace(_column(values, name=target.name, frame=frame), heads=heads)
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
        raise not_a_column(target)
    if hasattr(target, "iloc"):  # a pandas Series
        # A copy, since the caller may change the frame; where it holds objects, of references.
        return _column(_lazy(target.array.copy()), target.index, _name(target.name), frame)
    if hasattr(target, "__next__") or callable(target):
        raise Blip2Error(
            f"a {type(target).__name__} is no column of pictures; give a column, or list(…) of it"
        )
    return _from_series(target, frame)


@dataclass(frozen=True)
class _Stored:
    """A column of a Hugging Face Dataset."""

    dataset: Any
    name: str


def _with_rows(target: Any, frame: Any, first: int | None) -> tuple[Any, Any]:
    """A column and its frame, both with rows that can be had by number."""
    source, name = source_of(target) or (None, "")
    if source is None and (is_dataset(target) or is_stream(target)):
        source, name = target, find_pictures(target)
    if source is not None:
        table = read_table(source, first)
        return _Stored(table, name), table if frame is None or frame is source else read_table(
            frame, first
        )
    if not is_table(target) or as_lazy(target) is None:
        return target, None if frame is None else read_table(frame, first)
    if len(names := column_names(target)) != 1:
        raise not_a_column(target)
    if frame is None or as_lazy(frame) is None:
        table = read_table(target, first if frame is None else None)
        return named_series(table, names[0]), frame
    # The frame's query is run and the column's is not: the same query twice may give two orders.
    table = read_table(frame, first)
    if names[0] not in column_names(table):
        raise Blip2Error(f"the frame has no column {names[0]!r}; give the one it was taken from")
    return named_series(table, names[0]), table


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
    if path := _address(value):
        if "://" in path:  # of a URL neither the query nor the archive that it lies in
            path = path.partition("?")[0].partition("::")[0]
        path = path.replace("\\", "/").rstrip("/")
        return path.rpartition("/")[2]
    return ""


def _address(value: Any) -> str:
    """The path or URL of a picture that is a file or has an address, "" of another."""
    if isinstance(value, dict):
        value = value.get("path")
    is_one = isinstance(value, str | Path) and not str(value).startswith("data:")
    return str(value) if is_one else ""


def _name(name: object) -> str | None:
    return None if name is None else str(name)


def _from_path(target: str | Path, frame: Any) -> Column:
    text = str(target)
    if is_remote(text):
        return _column(_sorted(list_remote(text, registered_extensions())), frame=frame)
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
    return replace(_column(values, name=series.name or None, frame=frame), series=series)

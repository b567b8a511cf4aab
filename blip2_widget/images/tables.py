"""Whole data frames and data sets: what columns they have, and which of these holds pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from PIL.Image import Image, registered_extensions

from blip2_widget.errors import Blip2Error
from blip2_widget.images.datasets import (
    is_dataset,
    is_stream,
    is_stream_column,
    picture_columns,
    taken,
)

#: How a column of pictures is likely called, and how a text that stands for one likely ends.
_LIKELY = re.compile("im(age|g)|pic|photo|path|file", re.IGNORECASE)
#: How many values of a column are looked at for a picture.
_LOOKED_AT = 20


def is_table(target: Any) -> bool:
    """Whether a value is a whole data frame or data set, not a column of one."""
    if is_stream_column(target):
        return False
    kind = type(target)  # of the type, since polars warns where a query's columns are asked for
    return any(hasattr(each, "columns") or hasattr(each, "column_names") for each in (kind, target))


def column_names(table: Any) -> list[Any]:
    """The names of a table's columns; none where it does not know them before it is read."""
    if hasattr(table, "collect_schema"):  # polars' and narwhals', of queries too
        return list(table.collect_schema().names())
    names = getattr(table, "column_names", None)  # before pyarrow's `columns`, which are arrays
    if names is None or callable(names):
        names = getattr(table, "columns", None)
    return [] if names is None or callable(names) else list(names)


def column_of(table: Any, name: Any) -> Any:
    """A table's column by its name; of a query that is not run yet, a query for that column."""
    lazy = as_lazy(table)
    return table[name] if lazy is None else lazy.select(name).to_native()


def named_series(table: Any, name: str) -> Any:
    """A data frame's column with its name, which pyarrow's own columns do not know."""
    import narwhals.stable.v2 as nw

    return nw.from_native(table, eager_only=True)[name]


def as_lazy(table: Any) -> Any:
    """A query that is not run yet, such as a DuckDB relation, as narwhals reads it; else None."""
    if hasattr(table, "iloc") or isinstance(table, list | tuple | dict | str | bytes):
        return None
    import narwhals.stable.v2 as nw

    read = nw.from_native(table, pass_through=True)
    return read if isinstance(read, nw.LazyFrame) else None


def read_table(table: Any, first: int | None) -> Any:
    """A table whose rows can be had by number: a query is run, once, and of a stream the `first`
    rows are read. Others are given back as they are."""
    if is_stream(table):
        return taken(table, first)
    lazy = as_lazy(table)
    if lazy is None:
        return table
    return (lazy if first is None else lazy.head(first)).collect().to_native()


def find_pictures(table: Any) -> str:
    """The name of a table's first column that holds pictures, by its first value that is there;
    columns that are called like one come first. Raises Blip2Error where none does."""
    if isinstance(table, dict):  # several data sets
        raise not_a_column(table)
    if is_dataset(table) or is_stream(table):
        declared = picture_columns(table)
        if declared:
            return declared[0]
    if is_stream(table):
        table = taken(table, _LOOKED_AT)
    elif as_lazy(table) is not None:
        table = read_table(table, _LOOKED_AT)
    for name in sorted(column_names(table), key=lambda name: not _LIKELY.search(str(name))):
        if any(map(_looks_like_one, _first_values(table[name]))):
            return str(name)
    raise not_a_column(table)


def _first_values(column: Any) -> Iterable[Any]:
    for value in islice(column, _LOOKED_AT):
        yield value.as_py() if hasattr(value, "as_py") else value  # pyarrow's


def _looks_like_one(value: Any) -> bool:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str | Path):
        text = str(value).partition("?")[0].lower()
        return text.startswith("data:image/") or Path(text).suffix in registered_extensions()
    if isinstance(value, bytes | bytearray | memoryview | Image):
        return True
    return getattr(value, "ndim", 0) in (2, 3)  # an array or a tensor


def not_a_column(table: Any) -> Blip2Error:
    """The error for a whole table where one of its columns was wanted."""
    names = column_names(table)
    if isinstance(table, dict):  # a Hugging Face DatasetDict
        listed = ", ".join(map(str, table)) or "none"
        example = next(iter(table), "train")
        return Blip2Error(
            f"these are several data sets ({listed}); give one of them, e.g. ds[{example!r}]"
        )
    likely = [str(name) for name in names if _LIKELY.search(str(name))]
    listed = ", ".join(map(str, names[:8])) + (", …" if len(names) > 8 else "")
    example = (likely or names or ["image"])[0]
    return Blip2Error(
        f"this is a whole table; give one of its columns, e.g. df.{example} "
        f"(it has {listed or 'none'})"
    )

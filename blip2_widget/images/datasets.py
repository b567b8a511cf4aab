"""Hugging Face's data sets: their pictures as they are stored, none decoded before its turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images.errors import reason_of
from blip2_widget.images.values import LazyValues

# They are known by what they can do: `datasets` is imported only where somebody has used it.


def is_dataset(value: Any) -> bool:
    """Whether a value is a Dataset, or can be asked the same way: rows by number, columns apart."""
    return (
        hasattr(value, "select_columns") and hasattr(value, "__getitem__") and not is_stream(value)
    )


def is_stream(value: Any) -> bool:
    """Whether it is an IterableDataset: rows that come one after another, nobody knows how many."""
    return type(value).__name__ == "IterableDataset" and hasattr(value, "take")


def is_ray_dataset(value: Any) -> bool:
    """Whether it is a Ray Dataset, whose rows lie anywhere in a cluster."""
    return type(value).__module__ == "ray.data.dataset"


def is_stream_column(value: Any) -> bool:
    """Whether it is a column of a stream."""
    return hasattr(value, "column_name") and is_stream(getattr(value, "source", None))


def source_of(column: Any) -> tuple[Any, str] | None:
    """The data set that a column of one was taken from, and its name there; else None."""
    source, name = getattr(column, "source", None), getattr(column, "column_name", None)
    if isinstance(name, str) and (is_dataset(source) or is_stream(source)):
        return source, name
    return None


def picture_columns(dataset: Any) -> list[str]:
    """The columns that are declared as pictures."""
    features = getattr(dataset, "features", None) or {}
    return [name for name, feature in features.items() if _is_picture(feature)]


def _is_picture(feature: Any) -> bool:
    return type(feature).__name__ == "Image" and hasattr(feature, "decode")


def taken(stream: Any, count: int | None) -> Any:
    """The first `count` rows of a stream as a Dataset, their pictures not decoded.

    Raises Blip2Error where nobody said how many.
    """
    if count is None:
        raise Blip2Error(
            "an IterableDataset does not say how many rows it has; say how many to read: "
            "n=100, or -n 100 in a line"
        )
    from datasets import Dataset, Image

    declared = stream.features
    for name in picture_columns(stream):
        stream = stream.cast_column(name, Image(decode=False))
    try:
        rows = list(stream.take(count))
    except Exception as error:  # whatever reading from wherever it lies raises
        raise Blip2Error(
            f"the data set's first {count} rows cannot be read: {reason_of(error)}"
        ) from None
    return Dataset.from_list(rows, features=declared)


def stored_values(dataset: Any, name: str) -> tuple[Sequence[Any], Sequence[Any] | None]:
    """A column's values, read one by one, and the same without the pictures' bytes: to know what
    a row is called, no picture is read. None for that where the column is not of pictures."""
    rows = dataset.select_columns([name])
    if name not in picture_columns(dataset):
        rows = rows.with_format(None)
        return LazyValues(lambda row: rows[row][name], range(len(rows))), None
    from datasets import Image

    rows = rows.cast_column(name, Image(decode=False)).with_format(None)
    raw = rows.with_format("arrow")  # nothing of a row is copied before it is asked for

    def head(row: int) -> dict[str, Any] | None:
        struct = raw[row].column(name).chunk(0)
        if not struct.is_valid()[0].as_py():
            return None
        stored = struct.field("bytes").is_valid()[0].as_py()
        return {"bytes": b"not read" if stored else None, "path": struct.field("path")[0].as_py()}

    numbers = range(len(rows))
    return LazyValues(lambda row: rows[row][name], numbers), LazyValues(head, numbers)


def named_values(dataset: Any, name: str) -> list[Any]:
    """A whole column; the numbers of classes as their names, pictures as they are stored."""
    if name in picture_columns(dataset):
        return list(stored_values(dataset, name)[0])
    values = list(dataset.select_columns([name]).with_format(None)[:][name])
    names = getattr(dataset.features[name], "names", None)
    if names is None:
        return values
    return [names[at] if at is not None and 0 <= at < len(names) else None for at in values]


def with_column(dataset: Any, name: str, values: Sequence[Any], dtype: str) -> Any:
    """The Dataset with a column more: "string" or "float64", with None where nothing is."""
    from datasets import Value

    return dataset.add_column(name, list(values), feature=Value(dtype))

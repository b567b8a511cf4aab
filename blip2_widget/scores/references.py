"""What the right answers may be given as, read into a list of texts a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from blip2_widget.texts import whole

#: Where VQAv2's and COCO's annotations keep their text.
_TEXT_KEYS: Final = ("answer", "caption")


def read_references(values: Any) -> list[list[str]]:
    """Each row's references; an empty list where it has none.

    `values` is a column or list of: a text; several texts (a list, an array); VQAv2's
    `[{"answer": …}]` or COCO's `[{"caption": …}]`; numbers, which are told as a person writes them
    (2.0 as "2"). Columns of pandas, polars, pyarrow and NumPy are read alike. None, NaN, empty
    texts and what is no text are no reference.
    """
    return [list(_texts(value)) for value in _plain(values)]


def read_texts(values: Any) -> list[str | None]:
    """Each row's one text, read alike, and None where it has none. An empty text is one: a model
    that says nothing has answered."""
    return [next(iter(_texts(value, empty=True)), None) for value in _plain(values)]


def _plain(values: Any) -> Sequence[Any]:
    """A column's values, out of whatever holds them."""
    for method in ("to_pylist", "to_list", "tolist"):  # pyarrow's, pandas' and polars', NumPy's
        if hasattr(values, method):
            return list(getattr(values, method)())
    return list(values)


def _texts(value: Any, empty: bool = False) -> Iterable[str]:
    if hasattr(value, "as_py"):  # a pyarrow scalar
        value = value.as_py()
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        value = value.tolist()
    if isinstance(value, str):
        if empty or value.strip():
            yield whole(value)
    elif isinstance(value, bool | int):
        yield str(value)
    elif isinstance(value, float):
        if math.isfinite(value):
            yield str(int(value)) if value.is_integer() else str(value)
    elif isinstance(value, Mapping):
        for key in _TEXT_KEYS:
            if key in value:
                yield from _texts(value[key], empty)
                return
    elif isinstance(value, list | tuple) or hasattr(value, "to_list"):
        for each in _plain(value):
            yield from _texts(each, empty)

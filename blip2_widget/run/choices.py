"""Choices as a person or a frame writes them: with commas between them, or as a list."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from blip2_widget.errors import Blip2Error


def choices_in(text: str) -> list[str]:
    """The choices in a text: with commas between, or a Python list where they hold commas or
    quotes. Raises Blip2Error for a list that is none."""
    if not text.strip().startswith("["):
        return [piece.strip() for piece in text.split(",") if piece.strip()]
    try:
        listed = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        listed = [None]
    if not all(isinstance(each, str) for each in listed):
        raise Blip2Error('a list of choices is written ["red", "dark blue"]')
    return list(listed)


def column_of_choices(choices: str | Sequence[str] | None) -> str | None:
    """The column that has each row's own choices, where that is what "{column}" says."""
    alone = [choices] if isinstance(choices, str) else choices
    if alone is None or len(alone) != 1:
        return None
    found = re.fullmatch(r"\s*\{([^{}@][^{}]*)\}\s*", str(alone[0]))
    return found[1].strip() if found else None


def row_choices(value: Any, column: str) -> tuple[str, ...]:
    """One row's choices, each once: a list of them, of whatever frame, or a text as above.

    Raises Blip2Error where there are none.
    """
    for method in ("tolist", "to_list", "as_py"):  # NumPy's, polars', pyarrow's
        if hasattr(value, method):
            value = getattr(value, method)()
            break
    if isinstance(value, str):
        value = choices_in(value)
    listed = value if isinstance(value, list | tuple) else []
    texts = [" ".join(str(each).split()) for each in listed if each is not None and each == each]
    texts = [text for text in texts if text]
    if not texts:
        raise Blip2Error(f"the row has no choices in {column!r}; give a list, or some with commas")
    return tuple(dict.fromkeys(texts))

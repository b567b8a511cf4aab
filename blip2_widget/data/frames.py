"""A run's results as pandas frames; the caller's own frame is never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from blip2_widget.run import Run, no_such_column

if TYPE_CHECKING:
    import pandas as pd


def row_values(frame: Any, name: str) -> list[object]:
    """A column's values by name; Blip2Error with a close name where there is none."""
    if name not in list(frame.columns):
        raise no_such_column(name, frame.columns)
    return list(frame[name])


def take_rows(frame: Any, rows: Sequence[int]) -> Any:
    """The frame's rows by number, in that order; None for no frame."""
    if frame is None:
        return None
    return frame.iloc[list(rows)] if hasattr(frame, "iloc") else frame[list(rows)]


def wide_frame(run: Run) -> pd.DataFrame:
    """The caller's frame, or one of its pictures, with a column of answers for each prompt.

    An answer that is not there (yet) is None. An answer column whose name is taken gets a
    number behind it.
    """
    import pandas as pd

    column = run.column
    frame = column.frame
    if frame is None or not hasattr(frame, "iloc"):
        base = pd.DataFrame(
            {column.name or "image": pd.Series(column.values, dtype=object)}
        ).set_axis(pd.Index(column.index), axis=0)
    else:
        base = frame.copy()
    for at, prompt in enumerate(run.prompts):
        name, number = prompt.name, 2
        while name in base.columns:
            name, number = f"{prompt.name}_{number}", number + 1
        answers = [cells[at].answer for cells in run.cells]
        base[name] = pd.Series(answers, index=base.index, dtype=object)
    return base


def long_frame(run: Run) -> pd.DataFrame:
    """One line for each row and prompt: what was asked, what came back, from where."""
    import pandas as pd

    lines = [
        {
            "row": run.column.index[row],
            "picture": run.column.labels[row],
            "name": prompt.name,
            "prompt": cell.prompt,
            "answer": cell.answer,
            "logprob": cell.logprob,
            "state": cell.state,
            "error": cell.error,
            "cached": cell.cached,
            "model": run.located.checkpoint.name,
            "variant": run.variant.name,
        }
        for row, cells in enumerate(run.cells)
        for prompt, cell in zip(run.prompts, cells, strict=True)
    ]
    return pd.DataFrame(lines)


def error_frame(run: Run) -> pd.DataFrame:
    """The rows that failed, with what is wrong in one line."""
    lines = long_frame(run)
    failed = lines[lines["state"] == "error"]
    return failed[["row", "picture", "name", "prompt", "error"]].reset_index(drop=True)

"""A run's results as pandas frames; the caller's own frame is never changed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from blip2_widget.run import Board, ReviewOf, no_such_column, same

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


def is_frame(frame: Any) -> bool:
    """Whether it is a data frame of another library than pandas, such as polars."""
    return (
        not hasattr(frame, "iloc")
        and isinstance(getattr(frame, "columns", None), list)
        and (all(isinstance(name, str) for name in frame.columns))
    )


def wide_frame(board: Board, review_of: ReviewOf | None = None) -> pd.DataFrame:
    """The caller's frame, or one of its pictures, with a column of answers for each prompt.

    An answer that is not there (yet) is None, and one that a person corrected is the person's. An
    answer column whose name is taken gets a number behind it.
    """
    import pandas as pd

    column = board.column
    frame = column.frame
    if is_frame(frame):
        # Column by column: a frame's own way to pandas may ask for pyarrow.
        base = pd.DataFrame({name: list(frame[name]) for name in frame.columns})
    elif frame is None or not hasattr(frame, "iloc"):
        values = [column.value(row) for row in range(len(board))]
        index = pd.Index(column.index)
        base = pd.DataFrame({column.name or "image": pd.Series(values, index, dtype=object)})
    else:
        base = frame.copy()
    for at, prompt in enumerate(board.prompts):
        name, number = prompt.name, 2
        while name in base.columns:
            name, number = f"{prompt.name}_{number}", number + 1
        answers = [_counts(board, row, at, review_of) for row in range(len(board))]
        base[name] = pd.Series(answers, index=base.index, dtype=object)
    return base


def _counts(board: Board, row: int, at: int, review_of: ReviewOf | None) -> str | None:
    """The answer that counts: the person's where there is one."""
    review = review_of(row, at) if review_of else None
    return board.cell(row, at).answer if review is None or review.text is None else review.text


def long_frame(board: Board, review_of: ReviewOf | None = None) -> pd.DataFrame:
    """One line for each row and prompt: what was asked, what came back, from where, and what a
    person said of it."""
    import pandas as pd

    lines = []
    for row in range(len(board)):
        for at, prompt in enumerate(board.prompts):
            cell, run = board.cell(row, at), board.run_of(at)
            if cell.state == "unasked":
                continue
            review = review_of(row, at) if review_of else None
            lines.append(
                {
                    "row": board.column.index[row],
                    "picture": board.column.labels[row],
                    "name": prompt.name,
                    "prompt": cell.prompt,
                    "answer": cell.answer,
                    "logprob": cell.logprob,
                    "state": cell.state,
                    "error": cell.error,
                    "cached": cell.cached,
                    "model": run.located.checkpoint.name,
                    "variant": run.variant.name,
                    "review": review.status if review else None,
                    "flagged": bool(review and review.flagged),
                    "corrected": review.text if review else None,
                    "reviewer": review.who if review else None,
                    "reviewed_at": pd.Timestamp(review.when, unit="s") if review else None,
                }
            )
    return pd.DataFrame(lines, columns=COLUMNS)


#: The columns of `long_frame`, which are there where it has no line as well.
COLUMNS = [
    *("row", "picture", "name", "prompt", "answer", "logprob", "state", "error", "cached"),
    *("model", "variant", "review", "flagged", "corrected", "reviewer", "reviewed_at"),
]


def error_frame(board: Board) -> pd.DataFrame:
    """The rows that failed, with what is wrong in one line."""
    lines = long_frame(board)
    failed = lines[lines["state"] == "error"]
    return failed[["row", "picture", "name", "prompt", "error"]].reset_index(drop=True)


def agreement_frame(board: Board) -> pd.DataFrame:
    """For each two columns of answers: on how many rows both answered, on how many of these the
    same (but for case and spaces at the ends), and the share of that.

    The models' own answers count, also where a person has corrected one.
    """
    import pandas as pd

    lines = []
    prompts = board.prompts
    for one, other in itertools.combinations(range(len(prompts)), 2):
        pairs = [(board.cell(row, one), board.cell(row, other)) for row in range(len(board))]
        both = [(a.answer, b.answer) for a, b in pairs if a.answer is not None]
        answered = [(a, b) for a, b in both if a is not None and b is not None]
        equal = sum(same(pair) for pair in answered)
        share = equal / len(answered) if answered else None
        lines.append((prompts[one].name, prompts[other].name, len(answered), equal, share))
    return pd.DataFrame(lines, columns=["one", "other", "both answered", "agree", "share"])

"""A run's results as frames; the caller's own frame is never changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, column_names, is_dataset, named_values, with_texts
from blip2_widget.run import Board, ReviewOf, no_such_column, same

if TYPE_CHECKING:
    import pandas as pd


def row_values(frame: Any, name: str) -> list[object]:
    """A column's values by name; Blip2Error with a close name where there is none."""
    names = column_names(frame)
    if name not in names:
        raise no_such_column(name, names)
    if is_dataset(frame):
        return named_values(frame, name)
    column = frame[name]
    return list(column.to_pylist() if hasattr(column, "to_pylist") else column)  # pyarrow's


def take_rows(frame: Any, rows: Sequence[int]) -> Any:
    """The frame's rows by number, in that order; None for no frame."""
    if frame is None:
        return None
    if hasattr(frame, "iloc"):
        return frame.iloc[list(rows)]
    if is_dataset(frame):
        return frame.select(rows)  # of a range nothing is copied
    return frame.take(list(rows)) if hasattr(frame, "take") else frame[list(rows)]


def wide_frame(board: Board, review_of: ReviewOf | None = None) -> Any:
    """The caller's frame, or one of its pictures, with a column of answers for each prompt.

    It is of the caller's kind: pandas' with its index, polars', pyarrow's, whatever narwhals reads,
    or a Hugging Face Dataset; pandas' where there was none. An answer that is not there (yet) is
    None, and one that a person corrected is the person's. An answer column whose name is taken
    gets a number behind it.
    """
    base = _without_answers(board.column)
    for at, prompt in enumerate(board.prompts):
        name, number, taken = prompt.name, 2, column_names(base)
        while name in taken:
            name, number = f"{prompt.name}_{number}", number + 1
        answers = [_counts(board, row, at, review_of) for row in range(len(board))]
        base = _with_column(base, name, answers)
    return base


def _without_answers(column: Column) -> Any:
    """The caller's frame, or one that has the column of pictures alone, as a copy."""
    if column.frame is not None:
        return column.frame.copy() if hasattr(column.frame, "iloc") else column.frame
    if column.series is not None:
        return column.series.alias(column.name or "image").to_frame().to_native()
    import pandas as pd

    values = [column.value(row) for row in range(len(column.values))]
    pictures = pd.Series(values, pd.Index(column.index), dtype=object)
    return pd.DataFrame({column.name or "image": pictures})


def _with_column(frame: Any, name: str, texts: list[str | None]) -> Any:
    """The frame with one column more: pandas' own is changed, others are made anew."""
    if hasattr(frame, "iloc"):
        import pandas as pd

        frame[name] = pd.Series(texts, index=frame.index, dtype=object)
        return frame
    if is_dataset(frame):
        return with_texts(frame, name, texts)
    import narwhals.stable.v2 as nw

    read = nw.from_native(frame, eager_only=True)
    column = nw.new_series(name, texts, nw.String, backend=read.implementation)
    return read.with_columns(column).to_native()


def _counts(board: Board, row: int, at: int, review_of: ReviewOf | None) -> str | None:
    """The answer that counts: the person's where there is one."""
    review = review_of(row, at) if review_of else None
    return board.cell(row, at).answer if review is None or review.text is None else review.text


def long_frame(board: Board, review_of: ReviewOf | None = None) -> pd.DataFrame:
    """One line for each row and prompt: what was asked, what came back, from where, and what a
    person said of it.

    Where choices were ranked the column `choices` has a dict of their probabilities, and where
    several answers were asked for `alternatives` one of their log-probabilities.
    """
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
                    "choices": dict(cell.choices) or None,
                    "alternatives": dict(cell.alternatives) or None,
                }
            )
    asked = [run.settings for run in board.runs]
    more = ["choices"] * any(each.choices for each in asked)
    more += ["alternatives"] * any(each.k > 1 for each in asked)
    return pd.DataFrame(lines, columns=COLUMNS + more)


#: The columns of `long_frame`, which are there where it has no line as well.
COLUMNS = [
    *("row", "picture", "name", "prompt", "answer", "logprob", "state", "error", "cached"),
    *("model", "variant", "review", "flagged", "corrected", "reviewer", "reviewed_at"),
]


def probability_frame(board: Board) -> pd.DataFrame:
    """Each choice's probability as a column, one line a row of the frame, with its index.

    A column is called by its choice, or `name: choice` where several prompts were ranked. Raises
    Blip2Error where none was.
    """
    import pandas as pd

    ranked = [at for at in range(len(board.prompts)) if board.run_of(at).settings.choices]
    if not ranked:
        raise Blip2Error("no choices were ranked here; ask with choices=['yes', 'no']")
    columns = {}
    for at in ranked:
        found = [dict(board.cell(row, at).choices) for row in range(len(board))]
        for choice in board.run_of(at).settings.choices:
            name = choice if len(ranked) == 1 else f"{board.prompts[at].name}: {choice}"
            columns[name] = [each.get(choice, math.nan) for each in found]
    return pd.DataFrame(columns, index=pd.Index(board.column.index))


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

"""A run's results as frames; the caller's own frame is never changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, column_names, is_dataset, named_values, with_column
from blip2_widget.run import Board, ReviewOf, compared, free_name, no_such_column, records_of
from blip2_widget.scores import Interval, wilson

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


def rows_of(column: Column, values: Any, what: str = "references") -> Any:
    """A value for each row of a column: of the frame's column by its name, of a pandas Series by
    its index where the column has some of its rows, and else as they are. Raises Blip2Error where
    there is no such column, and where their number is another.
    """
    if isinstance(values, str):
        if column.frame is None:
            raise Blip2Error(
                f"{values!r} names no column, since there is no frame; give the values"
            )
        return row_values(column.frame, values)
    if not hasattr(values, "__len__"):
        raise Blip2Error(f"{what} are one for each row, in a list or column, not {values!r}")
    count = len(column.values)
    if len(values) != count and hasattr(values, "iloc") and values.index.is_unique:
        values = values.reindex(column.index)
    if len(values) != count:
        raise Blip2Error(f"there are {len(values)} {what} for {count} rows; give one for each")
    return values


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
    None, and one that a person corrected is the person's. Behind the answers stand the numbers
    that were computed of the rows. A column whose name is taken gets a number behind it.
    """
    base = _without_answers(board.column)
    for at, prompt in enumerate(board.prompts):
        answers = [_counts(board, row, at, review_of) for row in range(len(board))]
        base = _with_column(base, prompt.name, answers, "text")
    for name, number in board.numbers.items():
        base = _with_column(base, name, list(map(number, range(len(board)))), "number")
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


def _with_column(frame: Any, name: str, values: list[Any], kind: Literal["text", "number"]) -> Any:
    """The frame with one column more: pandas' own is changed, others are made anew."""
    name = free_name(name, column_names(frame))
    if hasattr(frame, "iloc"):
        import pandas as pd

        dtype = object if kind == "text" else float
        frame[name] = pd.Series(values, index=frame.index, dtype=dtype)
        return frame
    if is_dataset(frame):
        return with_column(frame, name, values, "string" if kind == "text" else "float64")
    import narwhals.stable.v2 as nw

    read = nw.from_native(frame, eager_only=True)
    dtype = nw.String if kind == "text" else nw.Float64
    column = nw.new_series(name, values, dtype, backend=read.implementation)
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

    asked = [board.run_of(at).settings for at in range(len(board.prompts))]
    more = ["choices"] * any(each.ranks for each in asked)
    more += ["alternatives"] * any(each.k > 1 for each in asked)
    lines = []
    for row in range(len(board)):
        label = board.column.labels[row]
        for record in records_of(board, row, review_of):
            known = {name: getattr(record, name) for name in COLUMNS + more}
            times = {name: _timestamp(known[name]) for name in ("answered_at", "reviewed_at")}
            several = {name: dict(known[name]) or None for name in more}
            own = {"picture": label, "answer": record.model_answer}
            lines.append(known | own | times | several)
    return pd.DataFrame(lines, columns=COLUMNS + more)


def _timestamp(seconds: float | None) -> pd.Timestamp | None:
    import pandas as pd

    return None if seconds is None else pd.Timestamp(seconds, unit="s")


#: The columns of `long_frame`, which are there where it has no line as well.
COLUMNS = [
    *("row", "picture", "name", "prompt", "answer", "logprob", "state", "error", "cached"),
    *("model", "revision", "variant", "answered_at", "source"),
    *("review", "flagged", "corrected", "reviewer", "reviewed_at"),
]


def probability_frame(board: Board) -> pd.DataFrame:
    """Each choice's probability as a column, one line a row of the frame, with its index.

    A column is called by its choice, or `name: choice` where several prompts were ranked. Where
    rows have choices of their own there is one line a choice instead, under its row's index: `name`
    of the prompt, `choice` and `probability`. Raises Blip2Error where none was ranked.
    """
    import pandas as pd

    own = [at for at in range(len(board.prompts)) if board.run_of(at).settings.choices_of]
    if own:
        lines = [
            (board.column.index[row], board.prompts[at].name, *each)
            for row in range(len(board))
            for at in own
            for each in board.cell(row, at).choices
        ]
        frame = pd.DataFrame(lines, columns=["row", "name", "choice", "probability"])
        return frame.set_index("row").rename_axis(index=None)
    choices = board.choices
    if not choices:
        raise Blip2Error("no choices were ranked here; ask with choices=['yes', 'no']")
    found = {
        at: [dict(board.cell(row, at).choices) for row in range(len(board))]
        for at in {at for _, at, _ in choices}
    }
    columns = {
        name: [each.get(choice, math.nan) for each in found[at]] for name, at, choice in choices
    }
    return pd.DataFrame(columns, index=pd.Index(board.column.index))


def error_frame(board: Board) -> pd.DataFrame:
    """What failed, with its kind and, in one line, what is wrong.

    A picture's kinds are those of ImageError; an answer's are "memory", "model", "choices" and
    "prompt". Where nothing was asked it is the pictures that were looked at and could not be read.
    """
    import pandas as pd

    failed: list[tuple[int, str | None, str | None, str, str]] = []
    if not board.prompts:
        broken = sorted(board.pictures.errors.items())
        failed = [(row, None, None, error.kind, str(error)) for row, error in broken]
    for row in range(len(board)) if board.prompts else ():
        for prompt, cell in zip(board.prompts, board.cells(row), strict=True):
            if cell.state == "error":
                kind, error = cell.error_kind or "model", cell.error or ""
                failed.append((row, prompt.name, cell.prompt, kind, error))
    index, labels = board.column.index, board.column.labels
    lines = [(index[row], labels[row], *line) for row, *line in failed]
    return pd.DataFrame(lines, columns=["row", "picture", "name", "prompt", "kind", "error"])


class Agreement(NamedTuple):
    """How often two columns of answers, by their places, say the same: `share` is that of the rows
    on which both have `answered`."""

    one: int
    other: int
    answered: int
    agree: int
    share: Interval


def agreements(board: Board, most: int | None = None) -> list[Agreement]:
    """For each two columns of answers, or of the first `most`, on how many rows they agree.

    Answers are the same but for case and spaces at the ends; the interval is Wilson's, 95 %: how
    far the share of all such pictures may be from these rows'. The models' own answers count, also
    where a person has corrected one.
    """
    import numpy as np

    columns = range(len(board.prompts))[:most]
    numbers: dict[str | None, int] = {None: -1}
    said = np.empty((len(columns), len(board)), np.int32)
    for at in columns:
        for row in range(len(board)):
            answer = board.cell(row, at).answer
            text = None if answer is None else compared(answer)
            said[at, row] = numbers.setdefault(text, len(numbers))
    found = []
    for one, other in itertools.combinations(columns, 2):
        both = (said[one] >= 0) & (said[other] >= 0)
        answered = int(both.sum())
        agree = int((both & (said[one] == said[other])).sum())
        found.append(Agreement(one, other, answered, agree, wilson(agree, answered)))
    return found


def agreement_frame(board: Board) -> pd.DataFrame:
    """The same of all columns, as a frame: their names, on how many rows both answered, on how many
    of these they agree, and the share of that with its interval."""
    import pandas as pd

    names = [prompt.name for prompt in board.prompts]
    lines = [
        (
            *(names[each.one], names[each.other], each.answered, each.agree),
            *(each.share.value, each.share.low, each.share.high),
        )
        for each in agreements(board)
    ]
    columns = ["one", "other", "both answered", "agree", "share", "low", "high"]
    return pd.DataFrame(lines, columns=columns)

"""Answers as records: all that is known of each, in plain values, one row after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blip2_widget.model import Kind
from blip2_widget.run.board import Board
from blip2_widget.run.cells import State
from blip2_widget.run.reviews import ReviewOf
from blip2_widget.store import ReviewStatus


@dataclass(frozen=True, slots=True)
class Record:
    """One answer. `row` is the row's place in the caller's index, `picture` its path or URL, or its
    label where it has none; `name` is the column of answers.

    `answer` is the one that counts, `model_answer` the model's own, `corrected` a person's. Of an
    imported answer `source` is the file that it came from, and stands for the model where nobody
    knows that. `checkpoint` is what reviews go by: the one that was asked. Times are in Unix
    seconds. `choices` are what was ranked, each with its probability, and `alternatives` further
    answers, each with the logarithm of its.
    """

    row: Any
    picture: str
    name: str
    prompt: str
    kind: Kind
    answer: str | None
    model_answer: str | None
    corrected: str | None
    review: ReviewStatus | None
    flagged: bool
    reviewer: str | None
    reviewed_at: float | None
    state: State
    error: str | None
    confidence: float | None
    logprob: float | None
    cached: bool
    source: str | None
    model: str
    revision: str | None
    variant: str
    answered_at: float | None
    checkpoint: str
    choices: tuple[tuple[str, float], ...]
    alternatives: tuple[tuple[str, float], ...]


def records_of(
    board: Board, row: int, review_of: ReviewOf | None = None, places: Sequence[int] | None = None
) -> list[Record]:
    """A row's records, of all columns of answers or of those at `places`, without those that
    nobody asked for."""
    index, picture = board.column.index[row], board.column.address(row)
    places = range(len(board.prompts)) if places is None else places
    records = [_record(board, row, at, review_of, index, picture) for at in places]
    return [record for record in records if record.state != "unasked"]


def _record(
    board: Board, row: int, at: int, review_of: ReviewOf | None, index: Any, picture: str
) -> Record:
    cell, run = board.cell(row, at), board.run_of(at)
    review = review_of(row, at) if review_of else None
    corrected = review.text if review else None
    imported = cell.source is not None
    return Record(
        row=index,
        picture=picture,
        name=board.prompts[at].name,
        prompt=cell.prompt,
        kind=cell.kind,
        answer=cell.answer if corrected is None else corrected,
        model_answer=cell.answer,
        corrected=corrected,
        review=review.status if review else None,
        flagged=bool(review and review.flagged),
        reviewer=review.who if review else None,
        reviewed_at=review.when if review else None,
        state=cell.state,
        error=cell.error,
        confidence=None if cell.logprob is None else math.exp(cell.logprob),
        logprob=cell.logprob,
        cached=cell.cached,
        source=cell.source,
        model=(cell.model or cell.source or "") if imported else run.located.checkpoint.name,
        revision=cell.revision if imported else run.located.commit,
        variant=(cell.variant or "imported") if imported else run.variant.name,
        answered_at=cell.answered_at,
        checkpoint=run.located.checkpoint.known_as,
        choices=cell.choices,
        alternatives=cell.alternatives,
    )

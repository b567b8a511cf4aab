"""A gallery's rows: as the page is sent them, and as they are searched, filtered and sorted."""

from __future__ import annotations

import heapq
import math
from collections.abc import Container, Iterator
from operator import itemgetter
from typing import Any

from blip2_widget.run import Board, Cell, CellField, Prompt, ReviewOf
from blip2_widget.store import Review

#: The most choices, alternatives and references that the page is sent of an answer.
_MOST_SENT = 20


class Rows:
    """What stands in each row of a board, with what people said of it."""

    def __init__(self, board: Board, review_of: ReviewOf) -> None:
        self._board = board
        self.review = review_of
        self.labels = board.column.labels
        self.count = len(board)

    @property
    def prompts(self) -> list[Prompt]:
        return self._board.prompts

    def cell(self, row: int, prompt: int) -> Cell:
        return self._board.cell(row, prompt)

    def each(self, field: CellField, prompt: int) -> Iterator[Any]:
        return self._board.each(field, prompt)

    def picture_error(self, row: int) -> str | None:
        error = self._board.pictures.errors.get(row)
        return None if error is None else str(error)

    def picture_key(self, row: int) -> str | None:
        return self._board.pictures.keys.get(row)

    def message(
        self, row: int, values: list[str | None], selected: Container[int], duplicates: int
    ) -> dict[str, Any]:
        """A row as protocol.ts has it."""
        return {
            "id": row,
            "label": self.labels[row],
            "error": self.picture_error(row),
            "cells": [
                self._cell(cell, self.review(row, at), self._board.references_of(row, at))
                for at, cell in enumerate(self._board.cells(row))
            ],
            "values": values,
            "selected": row in selected,
            "duplicates": duplicates,
        }

    def _cell(
        self, cell: Cell, review: Review | None, references: list[tuple[str, int]]
    ) -> dict[str, Any]:
        message: dict[str, Any] = {
            "prompt": cell.prompt,
            "answer": cell.partial if cell.answer is None else cell.answer,
            "state": cell.state,
            "error": cell.error,
            "cached": cell.cached,
            "source": cell.source,
            "confidence": None if cell.logprob is None else math.exp(cell.logprob),
            "review": None
            if review is None
            else {
                "status": review.status,
                "flagged": review.flagged,
                "text": review.text,
                "who": review.who,
                "when": review.when,
            },
        }
        if cell.choices:
            message["choices"] = heapq.nlargest(_MOST_SENT, cell.choices, key=itemgetter(1))
        if cell.alternatives:
            several = cell.alternatives[:_MOST_SENT]
            message["alternatives"] = [(text, math.exp(logprob)) for text, logprob in several]
        if references:
            message["references"] = references[:_MOST_SENT]
            message["further"] = len(references[_MOST_SENT:])
        return message

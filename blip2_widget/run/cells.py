"""What a run is asked and what came of it: prompts, cells, and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from blip2_widget.model import Kind

State = Literal["waiting", "running", "done", "error", "cancelled"]
RunState = Literal["waiting", "loading", "running", "done", "cancelled", "failed"]


@dataclass(frozen=True)
class Prompt:
    """One question or caption for every row; `name` names its column of answers."""

    name: str
    text: str
    kind: Kind


@dataclass(slots=True)
class Cell:
    """One prompt on one picture, and its answer.

    `edition` goes up whenever the cell is asked anew, so that an answer to an earlier prompt
    that comes late is not taken for the answer to this one.
    """

    prompt: str
    kind: Kind
    state: State = "waiting"
    answer: str | None = None
    error: str | None = None
    cached: bool = False
    edition: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a run is. Counts are of answers (rows times prompts); `done` includes those that
    `failed` and those that came `cached` from the store. `rate` is computed answers a second."""

    state: RunState
    note: str
    done: int
    total: int
    failed: int
    cached: int
    rate: float | None
    seconds_left: float | None
    seconds: float | None
    model: str
    variant: str

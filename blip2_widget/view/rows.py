"""What is needed to know of a gallery's rows, whoever holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol


class PromptLike(Protocol):
    """A column of answers."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...


class CellLike(Protocol):
    """One answer. `logprob` is the natural logarithm of its probability under the model."""

    @property
    def prompt(self) -> str: ...
    @property
    def answer(self) -> str | None: ...
    @property
    def state(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def logprob(self) -> float | None: ...


class ReviewLike(Protocol):
    """A person's word on an answer; `text` is what the person wrote in its place."""

    @property
    def status(self) -> str | None: ...
    @property
    def flagged(self) -> bool: ...
    @property
    def text(self) -> str | None: ...


class Rows(Protocol):
    """The rows of a gallery, by number in the frame's order. May be asked on any thread.

    How many rows there are never changes; prompts may be added at the end.
    """

    @property
    def count(self) -> int: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def prompts(self) -> Sequence[PromptLike]: ...

    def cell(self, row: int, prompt: int) -> CellLike:
        """A row's answer to a prompt."""

    def each(self, field: Literal["answer", "state", "logprob"], prompt: int) -> Iterator[Any]:
        """That field of every row's answer to a prompt, in order."""

    def review(self, row: int, prompt: int) -> ReviewLike | None:
        """What a person said of it, None where nobody did."""

    def picture_error(self, row: int) -> str | None:
        """Why the row's picture cannot be read, in one line."""

    def picture_key(self, row: int) -> str | None:
        """By what equal pictures are known, None while it is not known."""

"""What is kept of an answer that came, and of one that did not."""

from __future__ import annotations

import math

from blip2_widget.images import ImageError
from blip2_widget.model import Answer, is_out_of_memory
from blip2_widget.run.work import why
from blip2_widget.store import StoredAnswer

#: Texts, each with its probability or the logarithm of that.
Several = tuple[tuple[str, float], ...]


def several(answer: Answer | StoredAnswer, ranked: tuple[str, ...]) -> tuple[Several, Several]:
    """The choices that were `ranked`, each with its probability, in the order in which they were
    given; where none were, further answers, each with the logarithm of its own."""
    if not ranked:
        return (), answer.alternatives
    logprobs = dict(answer.alternatives)  # stored in one order, however they are given
    return tuple((text, math.exp(logprobs[text])) for text in ranked if logprobs), ()


def failure(error: Exception) -> tuple[str, str]:
    """Why there is no answer, in one line, and the kind of that."""
    if isinstance(error, ImageError):
        return str(error), error.kind
    return why(error, "answer"), "memory" if is_out_of_memory(error) else "model"

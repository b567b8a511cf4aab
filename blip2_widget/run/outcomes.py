"""What is kept of an answer that came, and of one that did not."""

from __future__ import annotations

import math

from blip2_widget.errors import Blip2Error
from blip2_widget.images import ImageError
from blip2_widget.model import Answer, GenerationSettings, is_out_of_memory
from blip2_widget.store import StoredAnswer

#: Texts, each with its probability or the logarithm of that.
Several = tuple[tuple[str, float], ...]


def several(answer: Answer | StoredAnswer, settings: GenerationSettings) -> tuple[Several, Several]:
    """The choices that were ranked, each with its probability, in the order in which they were
    given; and further answers, each with the logarithm of its own."""
    if not settings.choices:
        return (), answer.alternatives
    logprobs = dict(answer.alternatives)  # stored in one order, however they are given
    return tuple((text, math.exp(logprobs[text])) for text in settings.choices if logprobs), ()


def failure(error: Exception) -> tuple[str, str]:
    """Why there is no answer, in one line, and the kind of that."""
    if isinstance(error, ImageError):
        return str(error), error.kind
    if is_out_of_memory(error):
        return "memory does not suffice for this answer; close something and try again", "memory"
    if isinstance(error, Blip2Error):
        return str(error), "model"
    return f"{type(error).__name__}: {error}", "model"

"""This package, used as a notebook uses it, with the model loaded and warm."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import blip2_widget
from benchmarks.pictures import CAPTION_PROMPT, QUESTIONS, noise
from blip2_widget.notebook.result import Result

#: Pictures of a warm-up where the package chooses the batch.
_WARM_UP = 8


@dataclass(frozen=True)
class Asked:
    """How the package is called; `batch` None is its own choice."""

    checkpoint: str
    variant: str
    batch: int | None
    new_tokens: int

    @property
    def options(self) -> dict[str, Any]:
        """The call's options by name."""
        return {
            "model": self.checkpoint,
            "variant": self.variant,
            "batch_size": self.batch,
            "max_new_tokens": self.new_tokens,
        }


def captions(asked: Asked, count: int, seed: str) -> dict[str, Any]:
    """Captions of new pictures, nothing of them stored."""
    warm_up = noise(min(asked.batch or _WARM_UP, count), f"{seed}-warm-up")
    finished(blip2_widget.caption(warm_up, CAPTION_PROMPT, cache=False, **asked.options))
    pictures = noise(count, seed)
    began = time.perf_counter()
    result = blip2_widget.caption(pictures, CAPTION_PROMPT, cache=False, **asked.options)
    finished(result)
    return _told(time.perf_counter() - began, count, result, CAPTION_PROMPT)


def follow_up(asked: Asked, count: int, seed: str) -> dict[str, Any]:
    """One question after another, each on one picture that was captioned just before."""
    pictures = noise(count, seed)
    finished(blip2_widget.caption(pictures, CAPTION_PROMPT, **asked.options))
    # The first question ever is no follow-up: it warms up what only questions need.
    finished(blip2_widget.ask(pictures[:1], QUESTIONS[-1], **asked.options))
    began = time.perf_counter()
    for number, picture in enumerate(pictures):
        question = QUESTIONS[number % (len(QUESTIONS) - 1)]
        result = blip2_widget.ask([picture], question, **asked.options)
        finished(result)
    return _told(time.perf_counter() - began, count, result, _whole(QUESTIONS[0]))


def many_questions(asked: Asked, count: int, seed: str, questions: int) -> dict[str, Any]:
    """So many questions on each of `count` new pictures, in one call."""
    warm_up = noise(min(asked.batch or _WARM_UP, count), f"{seed}-warm-up")
    finished(blip2_widget.ask(warm_up, QUESTIONS[0], cache=False, **asked.options))
    pictures = noise(count, seed)
    began = time.perf_counter()
    result = blip2_widget.ask(pictures, QUESTIONS[:questions], **asked.options)
    finished(result)
    return _told(time.perf_counter() - began, count * questions, result, _whole(QUESTIONS[0]))


def finished(result: Result) -> None:
    """Wait, and see that every answer was computed now: none failed, none came from the store."""
    progress = result.wait().progress
    if progress.failed:
        raise RuntimeError(str(result.errors.iloc[0]["error"]))
    if progress.cached:
        raise RuntimeError(f"{progress.cached} answers were stored, so this measured nothing")


def _whole(question: str) -> str:
    return f"Question: {question} Answer:"


def _told(seconds: float, answers: int, result: Result, prompt: str) -> dict[str, Any]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        result.run.located.checkpoint.source, local_files_only=True
    )
    return {
        "seconds": seconds / answers,
        "text_tokens": len(tokenizer(prompt).input_ids),
        "batch": batch_of(result),
    }


def batch_of(result: Result) -> int:
    """How many answers the run computes at a time."""
    return result.run._answers.at_a_time

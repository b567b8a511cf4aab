"""Texts as everything takes them: stores, tokenizers, frames and pages."""

from __future__ import annotations

from collections.abc import Sequence


def whole(text: str) -> str:
    """The text with each half of a character (a lone surrogate), which comes of names of files
    and of cut texts and can be neither stored nor read, as U+FFFD."""
    if text.isascii():
        return text
    # As UTF-16, so that two halves that belong together become one character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def listed(words: Sequence[str]) -> str:
    """Words as a person lists them: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))

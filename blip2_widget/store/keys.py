"""What features and answers are stored under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence


def features_key(image_key: str, *, checkpoint: str, vision: str, preprocessing: str) -> str:
    """The key of a picture's features: hex sha256 over everything that decides them.

    `checkpoint` is "source@revision", `vision` the image encoder's type, `preprocessing` the
    version of how pixels are made ready.
    """
    return _digest(["features", image_key, checkpoint, vision, preprocessing])


def answer_key(
    features_key: str,
    *,
    language: str,
    prompt: str | Sequence[int],
    settings: Mapping[str, object],
    seed: int | None,
) -> str:
    """The key of an answer: hex sha256 over features, precision, full prompt and settings.

    `prompt` is the text, or the token ids, that the language model reads after the picture. A
    checkpoint's revision holds its tokenizer, so a text decides its ids. `seed` is None where
    nothing is sampled.
    """
    read = prompt if isinstance(prompt, str) else list(prompt)
    return _digest(["answer", features_key, language, read, dict(settings), seed])


def _digest(parts: list[object]) -> str:
    """Hash of canonical JSON, so that no two lists of parts run together into one text."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()

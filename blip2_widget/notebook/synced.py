"""What of a gallery is synced: never more than 24 kB, because it is saved with the notebook.

Names, texts and queries may be of any length and number. What takes too much is cut here, and sent
whole by a message to a page that asks for it.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from dataclasses import asdict
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.run import Progress
from blip2_widget.scores import Score

#: The most bytes that each takes as JSON.
_TITLE, _PROMPTS, _COLUMNS, _QUERY = 300, 6_000, 5_000, 4_000
_NOTE, _NAME = 1_000, 300
#: Decimals of a score's numbers, of which three are shown.
_DECIMALS = 5
#: In a list that is too long for that, the most bytes of each text, and of what else an item has.
_TEXT, _BESIDE = 60, 40


def synced(whole: dict[str, Any]) -> dict[str, Any]:
    """The title, prompts, columns and query as they are synced: a query that is too long is None,
    since half a query would be another one."""
    return {
        "title": shortened(whole["title"], _TITLE),
        "prompts": _first(whole["prompts"], _PROMPTS),
        "columns": _first(whole["columns"], _COLUMNS),
        "query": whole["query"] if _size(whole["query"]) <= _QUERY else None,
    }


def synced_progress(progress: Progress) -> dict[str, Any]:
    """Progress with its texts cut, which nothing is done with but to read them."""
    return asdict(progress) | {
        "note": shortened(progress.note, _NOTE),
        "model": shortened(progress.model, _NAME),
        "variant": shortened(progress.variant, _NAME),
    }


def synced_score(prompt: int, score: Score) -> dict[str, Any]:
    """The score of a prompt's answers, as protocol.ts has it, in less than 600 bytes. Of many rows
    the intervals take a while."""
    metrics = [
        [metric.name, *map(_told, (interval.value, interval.low, interval.high))]
        for metric, interval in zip(score.metrics, score.intervals, strict=True)
    ]
    told = {"prompt": prompt, "count": len(score), "metrics": metrics}
    try:
        curve = score.reliability
    except Blip2Error:  # of captions, and of answers without a confidence
        return told | {"reliability": None}
    bins = [
        [count, _told(confidence), _told(correct)]
        for count, confidence, correct in zip(
            curve.count.tolist(), curve.confidence, curve.correct, strict=True
        )
    ]
    return told | {
        "reliability": {"ece": _told(curve.ece), "brier": _told(curve.brier), "bins": bins}
    }


def _told(number: float) -> float | None:
    """A number as JSON has it."""
    return None if math.isnan(number) else round(float(number), _DECIMALS)


def shortened(text: str, most: int = _NOTE) -> str:
    """A text, or its beginning where it takes more bytes as JSON."""
    if _size(text) <= most:
        return text
    kept = bisect_right(range(most), most, key=lambda length: _size(text[:length] + "…")) - 1
    return text[:kept] + "…"


def _first(items: list[dict[str, str]], most: int) -> list[dict[str, str]]:
    """The items, or where they take more bytes than that as JSON, the first of them, cut."""
    if _size(items) <= most:
        return items
    count = most // (_BESIDE + _TEXT * len(items[0]))
    return [{key: shortened(text, _TEXT) for key, text in item.items()} for item in items[:count]]


def _size(value: object) -> int:
    return len(json.dumps(value))

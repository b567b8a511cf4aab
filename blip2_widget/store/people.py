"""What people said: of answers, elsewhere, in conversations, and which prompts they asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

ReviewStatus = Literal["accepted", "rejected", "corrected"]

#: How many prompts are remembered for the one who looks for an earlier one.
_MOST_PROMPTS = 200
#: Seconds between two prompts of one call; times of today are exact to a quarter of that.
_APART = 1e-6

_REVIEW = (
    "image_key, prompt, kind, model, variant, status, flagged, text, model_text, who, created_at"
)
_IMPORTED = (
    "image_key, prompt, kind, text, source, model, created_at, revision, variant, logprob, "
    "superseded"
)


@dataclass(frozen=True)
class Review:
    """A person's word on one answer, beside what the model had said (`model_text`).

    It is of a picture, a prompt with its kind, and a checkpoint, whatever its variant. `text` is
    the person's own where `status` is "corrected". `when` is in Unix seconds.
    """

    image_key: str
    prompt: str
    kind: str
    model: str
    variant: str
    status: ReviewStatus | None
    flagged: bool
    text: str | None
    model_text: str | None
    who: str
    when: float

    @property
    def is_empty(self) -> bool:
        """Whether it says no more than that an earlier word was taken back."""
        return self.status is None and not self.flagged


_ADD_REVIEWS = f"INSERT INTO reviews ({_REVIEW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_PROMPTS = (
    "INSERT INTO prompts VALUES (?, ?, 1) ON CONFLICT (text) "
    "DO UPDATE SET used_at = max(used_at, excluded.used_at), times = times + 1"
)
_PUT_CONVERSATION = "INSERT OR REPLACE INTO conversations VALUES (?, ?, ?, ?)"
_PUT_IMPORTED = (
    f"INSERT OR REPLACE INTO imported ({_IMPORTED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class ImportedText:
    """An answer that somebody else gave: to a prompt with its kind, about a picture.

    `source` is the file that it came from; `model`, with its `revision` and `variant`, what made it
    there, and `logprob` the logarithm of its probability, None where nobody knows. `created_at` is
    in Unix seconds. One is `superseded` where a person had the model answer in its place: it is
    kept, but no run gives it any more.
    """

    image_key: str
    prompt: str
    kind: str
    text: str
    source: str
    model: str | None
    created_at: float
    revision: str | None = None
    variant: str | None = None
    logprob: float | None = None
    superseded: bool = False


class People:
    """The part of a store that nobody can compute again. Each put is one transaction, committed
    when it returns, or, where the file cannot be written now, kept and read with the rest until
    it can.

    Reviews are lines that are only ever added.
    """

    def __init__(
        self,
        rows: Callable[[str, Sequence[object]], list[tuple[Any, ...]]],
        select: Callable[[str, Sequence[str]], Iterator[tuple[Any, ...]]],
        put: Callable[[str, Sequence[tuple[Any, ...]]], None],
        waiting: Callable[[str], list[tuple[Any, ...]]],
    ) -> None:
        """`rows` reads a query with its values, `select` one that ends in IN for any number of
        keys; `put` writes lines by a query, and `waiting` gives those of a query that are not in
        the file yet."""
        self._rows = rows
        self._select = select
        self._put = put
        self._waiting = waiting
        #: When the latest prompt was asked here.
        self._asked_at = 0.0

    def reviews(self, image_keys: Iterable[str]) -> list[Review]:
        """All that was ever said of pictures, oldest first."""
        wanted = dict.fromkeys(image_keys)
        # Before the file is read: what is written meanwhile may come twice, but is not missed.
        waiting = [line for line in self._waiting(_ADD_REVIEWS) if line[0] in wanted]
        query = f"SELECT id, {_REVIEW} FROM reviews WHERE image_key IN"
        lines = [line[1:] for line in sorted(self._select(query, list(wanted)))] + waiting
        return [Review(*line[:6], bool(line[6]), *line[7:]) for line in lines]  # type: ignore[call-arg]

    def reviewed(self) -> set[str]:
        """The keys of all pictures of which anything was ever said."""
        stored = self._rows("SELECT DISTINCT image_key FROM reviews", [])
        return {line[0] for line in (*stored, *self._waiting(_ADD_REVIEWS))}

    def add_reviews(self, reviews: Iterable[Review]) -> None:
        """Add lines, in this order."""
        lines = [
            (
                *(one.image_key, one.prompt, one.kind, one.model, one.variant, one.status),
                *(one.flagged, one.text, one.model_text, one.who, one.when),
            )
            for one in reviews
        ]
        self._put(_ADD_REVIEWS, lines)

    def imported(self, image_keys: Iterable[str]) -> list[ImportedText]:
        """The texts that came from elsewhere about pictures, in no order."""
        wanted = dict.fromkeys(image_keys)
        waiting = [line for line in self._waiting(_PUT_IMPORTED) if line[0] in wanted]
        stored: Iterable[tuple[Any, ...]] = ()
        if self._rows("SELECT EXISTS (SELECT 1 FROM imported)", [])[0][0]:
            query = f"SELECT {_IMPORTED} FROM imported WHERE image_key IN"
            stored = self._select(query, list(wanted))
        # Of one picture and prompt the latest: what waits is newer than what is stored.
        found = {
            line[:3]: ImportedText(*line[:-1], bool(line[-1]))  # type: ignore[call-arg]
            for line in (*stored, *waiting)
        }
        return list(found.values())

    def put_imported(self, texts: Iterable[ImportedText]) -> None:
        """Keep texts; an earlier one to the same prompt about the same picture is replaced."""
        lines = [
            (
                *(one.image_key, one.prompt, one.kind, one.text, one.source, one.model),
                *(one.created_at, one.revision, one.variant, one.logprob, one.superseded),
            )
            for one in texts
        ]
        self._put(_PUT_IMPORTED, lines)

    def prompts(self) -> list[str]:
        """The prompts asked, newest first and once each."""
        waiting = sorted(self._waiting(_ADD_PROMPTS), key=lambda line: -line[1])
        query = "SELECT text FROM prompts ORDER BY used_at DESC, text LIMIT ?"
        stored = self._rows(query, [_MOST_PROMPTS])
        texts = dict.fromkeys(line[0] for line in (*waiting, *stored))
        return list(texts)[:_MOST_PROMPTS]

    def add_prompts(self, texts: Iterable[str]) -> None:
        """Note that prompts were asked just now, the first one last, so that it is the newest;
        empty ones are no prompts."""
        asked = [text.strip() for text in texts if text.strip()]
        # Each has a time of its own, later than all from before, so that they keep their order.
        first = max(time.time(), self._asked_at + _APART)
        self._asked_at = first + len(asked) * _APART
        self._put(
            _ADD_PROMPTS, [(text, self._asked_at - at * _APART) for at, text in enumerate(asked)]
        )

    def conversation(self, image_key: str, model: str) -> list[dict[str, Any]]:
        """The turns about a picture with a checkpoint, as they were put; none at first."""
        waiting = [
            line[2] for line in self._waiting(_PUT_CONVERSATION) if line[:2] == (image_key, model)
        ]
        query = "SELECT turns FROM conversations WHERE image_key = ? AND model = ?"
        for turns in (*waiting[-1:], *(line[0] for line in self._rows(query, [image_key, model]))):
            found: list[dict[str, Any]] = json.loads(turns)
            return found
        return []

    def put_conversation(self, image_key: str, model: str, turns: Sequence[dict[str, Any]]) -> None:
        """Keep the turns in place of those that were kept before."""
        self._put(_PUT_CONVERSATION, [(image_key, model, json.dumps(turns), time.time())])

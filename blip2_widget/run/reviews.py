"""Reviews: what a person says of answers, kept at once, undone and done again."""

from __future__ import annotations

import getpass
import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

from blip2_widget.errors import Blip2Error
from blip2_widget.model import Kind
from blip2_widget.run.board import Board
from blip2_widget.store import Review, Store
from blip2_widget.texts import whole

Action = Literal["accept", "reject", "flag", "clear", "correct"]

#: The word on a row's and a prompt's answer, None where nobody said anything.
ReviewOf = Callable[[int, int], Review | None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """The answer that a person speaks of, and the cell that shows it: `row` and `prompt`.

    Equal pictures share their reviews, so that others may show it too: those with this
    `image_key`. `model` is the checkpoint's `known_as`, `answer` what it says there now.
    """

    row: int
    prompt: int
    image_key: str
    text: str
    kind: Kind
    model: str = ""
    variant: str = ""
    answer: str | None = None


def target_of(board: Board, row: int, prompt: int) -> Callable[[], Target]:
    """A board's cell as it is now, as a target; what is asked of it later is no matter.

    To call what is returned decodes the picture where nothing needed it yet, and raises Blip2Error
    where it cannot be read.
    """
    cell, run = board.cell(row, prompt), board.run_of(prompt)
    now = (
        *(cell.prompt, cell.kind),
        *(run.located.checkpoint.known_as, run.variant.name, cell.answer),
    )
    return lambda: Target(row, prompt, board.pictures.key_of(row), *now)


@dataclass(frozen=True)
class _Change:
    target: Target
    before: Review | None
    after: Review | None


class Reviews:
    """The reviews of a session, over those in the store. May be used from any thread.

    A review is of a picture, a prompt and a checkpoint, whatever the variant. Where a checkpoint
    has none, a correction of another one's answer holds for it too: it is about the picture.
    Where the store cannot be written, reviews stay here, and go there with the next that can.
    """

    def __init__(self, store: Store, who: str | None = None) -> None:
        self.who = who or _user()
        self._store = store
        self._lock = threading.Lock()
        #: Held from a word to its being shown; it is stored in between.
        self._saying = threading.RLock()
        self._loaded: set[str] = set()
        #: The newest by picture, prompt and kind, then by model.
        self._newest: dict[tuple[str, str, str], dict[str, Review]] = {}
        self._unsaved: list[Review] = []
        self._warned = False
        self._undo: list[_Change] = []
        self._redo: list[_Change] = []
        self._listeners: list[Callable[[], None]] = []

    @property
    def history(self) -> dict[str, int]:
        """How many reviews can be undone, and done again: {"undo": …, "redo": …}."""
        with self._lock:
            return {"undo": len(self._undo), "redo": len(self._redo)}

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever something was said, from whichever thread it was."""
        self._listeners.append(listener)

    def load(self, image_keys: Iterable[str]) -> None:
        """Read what the store has of pictures that were not read before, in few queries."""
        with self._lock:
            new = [key for key in dict.fromkeys(image_keys) if key not in self._loaded]
        if not new:
            return
        try:
            found = self._store.people.reviews(new)
        except Blip2Error as error:
            self._warn(f"{error}; earlier reviews are not shown")
            found = []
        with self._lock:
            # What was said here meanwhile is newer than what was read.
            said = {key for key in new if key in self._loaded}
            self._loaded.update(new)
            for review in found:
                if review.image_key not in said:
                    self._take(review)

    def get(self, image_key: str, prompt: str, kind: Kind, model: str = "") -> Review | None:
        """The word that counts; None where there is none, or it was taken back."""
        self.load([image_key])
        with self._lock:
            review = self._found(image_key, prompt, kind, model)
        return None if review is None or review.is_empty else review

    def of(self, board: Board, row: int, prompt: int) -> Review | None:
        """The word that counts on a board's cell; None too where its picture is not known yet."""
        key = board.pictures.keys.get(row)
        if key is None:
            return None
        cell, checkpoint = board.cell(row, prompt), board.run_of(prompt).located.checkpoint
        return self.get(key, cell.prompt, cell.kind, checkpoint.known_as)

    def find(self, board: Board) -> list[int]:
        """Let a board know the pictures that were spoken of where it knows only those that were
        looked at; returns their rows."""
        with suppress(Blip2Error):  # which reading them tells
            return board.find(self._store.people.reviewed())
        return []

    def over(self, board: Board) -> ReviewOf:
        """`of` for all cells of a board, what the store has being read at once."""
        self.find(board)
        self.load(board.pictures.keys.values())
        return partial(self.of, board)

    def act(self, target: Target, action: Action, text: str | None = None) -> Review | None:
        """Review an answer, and return what now counts.

        "correct" takes the person's text; "flag" sets a flag, or takes it away; "clear" takes
        all back. What changes nothing is no step to undo. Raises Blip2Error in one line for
        what cannot be done.
        """
        if action not in get_args(Action):
            raise Blip2Error(f"{action!r} is no review; write one of {', '.join(get_args(Action))}")
        text = whole(text or "").strip()
        if action == "correct" and not text:
            raise Blip2Error("a correction needs a text; reject the answer where there is none")
        self.load([target.image_key])
        with self._saying:
            with self._lock:
                before = self._found(target.image_key, target.text, target.kind, target.model)
            after = self._after(before, target, action, text)
            if _says(before) == _says(after):
                return None if before is None or before.is_empty else before
            self._say(after)
            with self._lock:
                self._undo.append(_Change(target, before, after))
                self._redo.clear()
        self._tell()
        return None if after.is_empty else after

    def undo(self) -> list[Target]:
        """Take the last review back; returns what it was of, and nothing where there is none."""
        with self._saying:
            if not self._undo:
                return []
            change = self._undo[-1]
            self._say(self._again(change.before, change.target))
            with self._lock:
                self._redo.append(self._undo.pop())
        self._tell()
        return [change.target]

    def redo(self) -> list[Target]:
        """Do again what was taken back last; returns what `undo` does."""
        with self._saying:
            if not self._redo:
                return []
            change = self._redo[-1]
            self._say(self._again(change.after, change.target))
            with self._lock:
                self._undo.append(self._redo.pop())
        self._tell()
        return [change.target]

    # --- what is said ---------------------------------------------------------------------------

    def _found(self, image_key: str, prompt: str, kind: str, model: str) -> Review | None:
        by_model = self._newest.get((image_key, prompt, kind), {})
        if model in by_model:
            return by_model[model]
        corrected = [each for each in by_model.values() if each.status == "corrected"]
        return max(corrected, key=lambda each: each.when, default=None)

    def _after(self, before: Review | None, target: Target, action: Action, text: str) -> Review:
        # What a correction stands beside is what it was made beside, whatever is shown by now.
        review = self._again(before, target)
        if action == "flag":
            return replace(review, flagged=not review.flagged)
        review = replace(review, variant=target.variant, model_text=target.answer)
        if action == "clear":
            return replace(review, status=None, flagged=False, text=None)
        if action == "correct":
            return replace(review, status="corrected", text=text)
        return replace(review, status="accepted" if action == "accept" else "rejected", text=None)

    def _again(self, review: Review | None, target: Target) -> Review:
        """What was said, said now and of this target's answer."""
        if review is not None:
            return replace(review, model=target.model, who=self.who, when=time.time())
        return Review(
            image_key=target.image_key,
            prompt=target.text,
            kind=target.kind,
            model=target.model,
            variant=target.variant,
            status=None,
            flagged=False,
            text=None,
            model_text=target.answer,
            who=self.who,
            when=time.time(),
        )

    def _say(self, review: Review) -> None:
        """Store a word, and only then show it: what was seen is there again."""
        self._unsaved.append(review)
        self._write()
        with self._lock:
            self._loaded.add(review.image_key)
            self._take(review)

    def _take(self, review: Review) -> None:
        key = review.image_key, review.prompt, review.kind
        self._newest.setdefault(key, {})[review.model] = review

    # --- keeping --------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write what is not yet written, in its order."""
        try:
            self._store.people.add_reviews(self._unsaved)
        except Blip2Error as error:
            self._warn(f"{error}; reviews are kept in this session until they can be stored")
        else:
            self._unsaved.clear()

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _warn(self, message: str) -> None:
        if not self._warned:
            _log.warning("%s", message)
        self._warned = True


def _says(review: Review | None) -> tuple[object, ...]:
    return (None, False, None) if review is None else (review.status, review.flagged, review.text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "someone"

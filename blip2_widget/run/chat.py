"""Conversations: questions about one picture, each asked with what was said before it.

A turn is a run over that one picture, put to it as a person's question is to a gallery's row: so it
goes ahead of everything queued, streams, is stored, and goes on from the keys and values of the
turn before.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column
from blip2_widget.model import conversation_text
from blip2_widget.run.cells import Prompt, State
from blip2_widget.run.run import Run
from blip2_widget.run.templates import quoted
from blip2_widget.store import Store
from blip2_widget.texts import whole

#: Makes a run over a column of one picture, not started; with `refresh` (the second argument) its
#: answers are computed even where they are stored. The prompt it is made with is put later.
MakeRun = Callable[[Column, Prompt, bool], Run]

#: What a run of a conversation begins with; the text is put to it by `Run.ask`.
_PROMPT = Prompt("answer", "", "question")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Turn:
    """One question and its answer, which while it is "running" is its beginning, and once it is
    "cancelled" what had come of it.

    `logprob` is the natural logarithm of the answer's probability under the model. By `id` it is
    the same turn wherever it is shown.
    """

    question: str
    answer: str | None = None
    state: State = "waiting"
    error: str | None = None
    logprob: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "running")


@dataclass
class _Conversation:
    """The turns about one picture, the rows that hold it, and what is being answered now."""

    key: str
    column: Column
    turns: list[Turn] = field(default_factory=list)
    #: The turns as the store had them when it was last read or written here.
    kept: list[dict[str, Any]] = field(default_factory=list)
    #: The turns, by id, that were said here.
    said: set[str] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    #: The turn whose stored answer is not to be taken, and the one that is being answered.
    anew: Turn | None = None
    asked: Turn | None = None
    run: Run | None = None


class Chats:
    """One conversation a picture with one checkpoint. May be used from any thread.

    Rows of equal pictures share theirs. With a `store` conversations are kept there after every
    word, and are there again when the same picture is opened.
    """

    def __init__(
        self,
        column: Column,
        key_of: Callable[[int], str],
        make_run: MakeRun,
        *,
        model: str,
        store: Store | None = None,
    ) -> None:
        """`key_of` gives a row's image key (`Pictures.key_of`), `model` is the checkpoint's
        `known_as`."""
        self._column = column
        self._key_of = key_of
        self._make_run = make_run
        self._model = model
        self._store = store
        # Never held while a run is called or a listener: they have locks of their own.
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._conversations: dict[str, _Conversation] = {}
        self._listeners: list[Callable[[int], None]] = []
        self._warned = False

    def subscribe(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with a row whenever its conversation changes, from whichever thread
        changed it."""
        self._listeners.append(listener)

    def turns(self, row: int) -> list[Turn]:
        """The conversation about a row's picture as it is now, read from the store at first.

        Decodes the picture where nothing needed it yet; raises Blip2Error where it cannot be read.
        """
        conversation = self._open(row)
        with self._changed:
            return [replace(turn) for turn in conversation.turns]

    def say(self, row: int, text: str, at: int | None = None) -> None:
        """Ask the next question; it waits where the one before is still being answered.

        With `at` it takes the place of that turn and of all behind it: so a turn is edited, or
        with the same text answered anew. Raises Blip2Error for an empty text, a turn that is not
        there, and a picture that cannot be read.
        """
        text = whole(text).strip()
        if not text:
            raise Blip2Error("there is nothing to ask; write a question about the picture")
        conversation = self._open(row)
        stopped = None
        with self._changed:
            turns = conversation.turns
            at = len(turns) if at is None else at
            if not 0 <= at <= len(turns):
                raise Blip2Error(f"there is no turn {at}; the conversation has {len(turns)}")
            replaced, turn = turns[at:], Turn(text)
            if conversation.asked is not None and any(t is conversation.asked for t in replaced):
                stopped, conversation.asked, conversation.run = conversation.run, None, None
            if replaced and replaced[0].question == text:
                conversation.anew = turn
            turns[at:] = [turn]
            conversation.said.add(turn.id)
        if stopped is not None:
            stopped.cancel()
        self._keep(conversation)
        self._announce(conversation)
        self._go_on(conversation)

    def cancel(self, row: int) -> None:
        """Stop the answer under way, of which stays what has come, and what waits behind it; each
        can be said again."""
        conversation = self._open(row)
        with self._changed:
            run = conversation.run
            for turn in conversation.turns:
                if turn.state == "waiting":
                    turn.state = "cancelled"
            if run is None:
                conversation.asked = None
            self._changed.notify_all()
        if run is not None:
            run.cancel()
        self._keep(conversation)
        self._announce(conversation)

    def wait(self, row: int, timeout: float | None = None) -> bool:
        """Block until nothing of a row's conversation is open; False after `timeout` seconds."""
        conversation = self._open(row)
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(turn.is_open for turn in conversation.turns), timeout
            )

    def code(self, row: int, expression: str, options: str = "") -> str:
        """The line that has the same conversation in a cell.

        `expression` is what the column is called there, such as df.image, and `options` what
        the line ends in, such as -m demo.
        """
        questions = [quoted(turn.question) for turn in self.turns(row)]
        picture = _picture_expression(self._column, row, expression)
        return " ".join(["%blip2 chat", picture, *questions, *([options] if options else [])])

    # --- asking ---------------------------------------------------------------------------------

    def _go_on(self, conversation: _Conversation) -> None:
        """Ask the first turn that waits, unless one is being answered."""
        with self._changed:
            waiting = [turn for turn in conversation.turns if turn.state == "waiting"]
            if conversation.asked is not None or not waiting:
                return
            turn = conversation.asked = waiting[0]
            earlier = [
                (each.question, each.answer)
                for each in conversation.turns[: _place(conversation.turns, turn)]
                if each.state == "done" and each.answer is not None
            ]
            refresh = conversation.anew is turn
        try:
            run = self._make_run(conversation.column, _PROMPT, refresh)
        except Exception as error:  # a model that does not fit; the turn says so
            known = isinstance(error, Blip2Error)
            line = str(error) if known else f"{type(error).__name__}: {error}"
            self._settle(conversation, turn, "error", None, " ".join(line.split()))
            return
        run.pictures.keys[0] = conversation.key
        with self._changed:
            if conversation.asked is not turn or turn.state != "waiting":
                is_wanted = False  # it was replaced or cancelled meanwhile
                if conversation.asked is turn:
                    conversation.asked = None
            else:
                is_wanted, conversation.run, turn.state = True, run, "running"
        if is_wanted:
            run.subscribe(lambda _rows: self._hear(conversation, turn, run))
            run.ask(0, 0, conversation_text(earlier, turn.question))
        else:
            self._go_on(conversation)

    def _hear(self, conversation: _Conversation, turn: Turn, run: Run) -> None:
        """Take over what has become of a run's one cell."""
        cell = run.cell(0, 0)
        state, partial = cell.state, cell.partial
        if state in ("waiting", "running"):
            with self._changed:
                if conversation.asked is not turn or partial in (None, turn.answer):
                    return
                turn.answer = partial
            self._announce(conversation)
        elif state == "cancelled":
            # Where the whole run has failed, its one line says why.
            progress = run.progress
            failed = progress.state == "failed"
            if failed:
                self._settle(conversation, turn, "error", None, progress.note)
            else:
                self._settle(conversation, turn, "cancelled", turn.answer, None)
        elif state == "error":
            self._settle(conversation, turn, "error", None, cell.error)
        elif cell.answer is not None:
            self._settle(conversation, turn, "done", cell.answer, None, cell.logprob)

    def _settle(
        self,
        conversation: _Conversation,
        turn: Turn,
        state: State,
        answer: str | None,
        error: str | None,
        logprob: float | None = None,
    ) -> None:
        settled = replace(turn, state=state, answer=answer, error=error, logprob=logprob)
        with self._changed:
            if conversation.asked is not turn:
                return  # it was settled before, or another took its place
        # Stored before it is shown: what was seen is there again, whatever happens next.
        self._keep(conversation, settled)
        with self._changed:
            if conversation.asked is not turn:
                return
            turn.state, turn.answer, turn.error, turn.logprob = state, answer, error, logprob
            conversation.asked = conversation.run = None
            self._changed.notify_all()
        self._announce(conversation)
        self._go_on(conversation)

    # --- keeping --------------------------------------------------------------------------------

    def _open(self, row: int) -> _Conversation:
        key = self._key_of(row)
        with self._changed:
            column = _one_row(self._column, row)
            found = self._conversations.setdefault(key, _Conversation(key, column))
            found.rows.add(row)
        self._catch_up(found)
        return found

    def _catch_up(self, conversation: _Conversation) -> None:
        """Take over what another gallery or kernel has said of the picture meanwhile."""
        if self._store is None or any(turn.is_open for turn in conversation.turns):
            return
        with self._writing:
            try:
                stored = self._store.people.conversation(conversation.key, self._model)
            except Blip2Error as error:
                self._warn(f"{error}; the earlier conversation is not shown")
                return
            with self._changed:
                if stored != conversation.kept:
                    conversation.kept, conversation.turns = stored, _turns(stored)

    def _keep(self, conversation: _Conversation, settled: Turn | None = None) -> None:
        """Store the turns as they are now, one of them as it is `settled`, behind those that
        another has stored meanwhile."""
        if self._store is None:
            return
        people = self._store.people
        with self._writing:
            try:
                stored = people.conversation(conversation.key, self._model)
                with self._changed:
                    if stored != conversation.kept:
                        conversation.turns = _merged(conversation, _turns(stored))
                    turns = [
                        asdict(settled if settled and settled.id == turn.id else turn)
                        for turn in conversation.turns
                    ]
                people.put_conversation(conversation.key, self._model, turns)
                conversation.kept = turns
            except Blip2Error as error:
                self._warn(f"{error}; conversations are kept in this session alone")

    def _warn(self, message: str) -> None:
        if not self._warned:
            _log.warning("%s", message)
        self._warned = True

    def _announce(self, conversation: _Conversation) -> None:
        with self._changed:
            rows = sorted(conversation.rows)
        self._tell(rows)

    def _tell(self, rows: Iterable[int]) -> None:
        for listener in tuple(self._listeners):
            for row in rows:
                try:
                    listener(row)
                except Exception:  # one that shows it must not end the thread that computes
                    _log.exception("a listener failed")


def _place(turns: list[Turn], turn: Turn) -> int:
    return next(at for at, each in enumerate(turns) if each is turn)


def _turns(stored: Iterable[dict[str, Any]]) -> list[Turn]:
    turns = [Turn(**turn) for turn in stored]
    for turn in turns:
        if turn.is_open:  # the kernel that asked is gone, or it will store the answer
            turn.state, turn.answer = "cancelled", None
    return turns


def _merged(conversation: _Conversation, stored: Sequence[Turn]) -> list[Turn]:
    """The stored turns and then ours, each once, and as it is here if it was said here. What was
    stored before and is here no more was edited away."""
    here = {turn.id: turn for turn in conversation.turns}
    gone = {turn.get("id") for turn in conversation.kept} - here.keys()
    ours = {turn.id: turn for turn in conversation.turns if turn.id in conversation.said}
    merged = [ours.get(turn.id, turn) for turn in stored if turn.id not in gone]
    there = {turn.id for turn in merged}
    return merged + [turn for turn in ours.values() if turn.id not in there]


def _one_row(column: Column, row: int) -> Column:
    return Column([column.values[row]], [column.index[row]], column.name)


def _picture_expression(column: Column, row: int, expression: str) -> str:
    """One picture of a column, as Python: by its label where the column has labels, since a run
    may be over some rows only."""
    if expression[:1] in ("'", '"'):  # a glob or a folder
        return quoted(str(column.values[row]))
    place: Any = column.index[row]
    place = place.item() if hasattr(place, "item") else place
    if not hasattr(column.index, "take"):
        return f"{expression}[{place}]"
    if isinstance(place, int | str) and column.index.is_unique:
        return f"{expression}.loc[{place!r}]"
    return f"{expression}.iloc[{row}]"

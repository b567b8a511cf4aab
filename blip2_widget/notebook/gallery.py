"""The gallery's kernel side: small synced state, rows and pictures by message.

Messages, and what they hold, are described in js/src/protocol.ts. They may arrive on the main
thread or, where the front end uses subshells, on another one while a cell runs; nothing here
computes on the thread they arrive on.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from blip2_widget.data.frames import agreements, wide_frame
from blip2_widget.errors import Blip2Error
from blip2_widget.model import kind_of
from blip2_widget.notebook.code import answer_line, chat_line, measure_line
from blip2_widget.notebook.maps import Maps, Marks
from blip2_widget.notebook.rows import Rows
from blip2_widget.notebook.synced import shortened, synced, synced_progress, synced_score
from blip2_widget.notebook.thumbnails import Thumbnails
from blip2_widget.run import Board, Chats, Prompt, Reviews, Target, target_of
from blip2_widget.scores import Score
from blip2_widget.store import Review, Store
from blip2_widget.texts import whole
from blip2_widget.view import Computed, FrameColumns, View

if TYPE_CHECKING:
    from blip2_widget.api import Asking

_log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"

#: Seconds between two messages about changed rows, and between two looks at whether rows that
#: changed still pass the query.
_INTERVAL = 0.1
_REFRESH_INTERVAL = 1.0
#: Seconds between two counts of how often compared answers agree, and the most columns of answers
#: that are counted, each with each.
_COUNT_INTERVAL = 2.0
_MOST_COMPARED = 8
#: The most scores that are shown, the last ones.
_MOST_SCORES = 4
#: Rows in one message about changed rows.
_ROWS_A_MESSAGE = 500
#: How many of the rows that the page asked for last are told when they change; it keeps 3000.
_MOST_SENT = 10_000
#: The most rows a page may ask for at once.
_MOST_ROWS = 1000
#: Of this many rows and more, what a first search waits for is made ready beforehand, so many
#: seconds after a page first asks for rows: its first pictures come before.
_MANY_ROWS = 5_000
_WARM_AFTER = 1.0


class Gallery(anywidget.AnyWidget):
    """Shows a board: thumbnails, prompts that can be edited, answers as they come.

    `selected` and `filtered` hold row numbers, counted from 0 in the frame's order: `df.iloc` takes
    them. Both can be observed and linked; setting `selected` selects on the page.
    """

    _esm = _STATIC / "gallery.js"
    _css = _STATIC / "gallery.css"

    row_count = traitlets.Int(0).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    prompts = traitlets.List(traitlets.Dict()).tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    columns = traitlets.List(traitlets.Dict()).tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    selected_count = traitlets.Int(0).tag(sync=True)
    history = traitlets.Dict().tag(sync=True)
    few_selected = traitlets.List(traitlets.Int()).tag(sync=True)
    comparing = traitlets.Bool(False).tag(sync=True)
    scored = traitlets.List(traitlets.Int()).tag(sync=True)
    scores = traitlets.List(traitlets.Dict()).tag(sync=True)
    agreement = traitlets.List(traitlets.Dict()).tag(sync=True)
    mapped = traitlets.Dict().tag(sync=True)
    cut = traitlets.Int(0).tag(sync=True)

    selected: traitlets.List[int] = traitlets.List(
        help="the numbers of the selected rows, in order"
    )
    filtered = traitlets.Any(
        read_only=True, help="the numbers of the rows shown, in the order shown; see `show`"
    )

    def __init__(
        self, board: Board, askings: Sequence[Asking], reviews: Reviews, people: Store
    ) -> None:
        """`askings` made the board's first runs, and the first of them makes all that follow.
        `people` is the store of what people say, `reviews` what they said of answers."""
        self._board, self._askings, self._reviews = board, askings, reviews
        # What is asked later is another question, to which there are other answers.
        self._asking = askings[0].freely() if board.prompts else askings[0]
        self._people = people.people
        self._rows = Rows(board, self.review_of)
        self._columns = FrameColumns(board.column.frame, board.column.name)
        self._take_numbers()
        self._view = View(self._rows, self._columns)
        self._thumbnails = Thumbnails(board.pictures, self._send_if_open, self._rows_changed)
        self._chats_store = people
        self._chat_views: dict[str, int] = {}
        self._maps = Maps(board, self._send_if_open, self._marks)
        self._lock = threading.Lock()
        #: Held from a change of what is shown until it is told: the page hears of it in order.
        self._showing = threading.RLock()
        self._changed: set[int] = set()
        self._timer: threading.Timer | None = None
        self._stale: threading.Timer | None = None
        self._counter: threading.Timer | None = None
        self._sent: dict[int, None] = {}
        self._warmer: threading.Timer | None = None
        self._marked: frozenset[int] = frozenset()
        #: The last score of each prompt's answers.
        self._score_of: dict[int, Score] = {}
        # Each does its work in the order it came: what is short; what searches all rows; and what
        # may have to open a picture first, which may hang on a slow network.
        self._desk, self._searcher, self._opener = (
            ThreadPoolExecutor(1, thread_name_prefix=f"blip2-gallery-{name}")
            for name in ("desk", "searcher", "opener")
        )
        self._shown_last = self._view.shown()
        #: What the board wants shown, and the query that it was shown as.
        self._wanted: tuple[dict[str, Any], Any] = ({}, self._shown_last["query"])
        #: What is left out of what is synced, and the number it is known by.
        self._left_out: tuple[int, dict[str, Any]] = (0, {})
        super().__init__(
            row_count=len(board),
            progress=synced_progress(board.progress),
            **self._texts(),
            history=reviews.history,
            comparing=board.comparing,
            mapped=self._maps.told(),
        )
        self.set_trait("filtered", range(len(board)))
        _answer_in_subshells(self.comm)
        self.on_msg(self._receive)
        self._show_what_is_wanted()
        board.subscribe(self._rows_changed)
        self._rows_changed(())  # what changed while this was being made
        self._later(lambda: self._rows_changed(self._reviews.find(board)), self._searcher)
        if board.comparing:
            self._later(self._count_agreement, self._searcher)

    @property
    def df(self) -> Any:
        """The caller's frame (a copy) with the answers, a person's where they were corrected."""
        return wide_frame(self._board, self._reviews.over(self._board))

    def review_of(self, row: int, prompt: int) -> Review | None:
        """What a person said of an answer, None where nobody did."""
        return self._reviews.of(self._board, row, prompt)

    def show(
        self,
        search: str = "",
        *,
        filters: Sequence[dict[str, Any]] = (),
        sort: str | None = None,
        descending: bool = False,
        unique: bool = False,
    ) -> Gallery:
        """Show what passes, as the page's own search does: the same on all of its views.

        A filter is {"key": "answer:0", "values": ["yes"]} or {"key": "column:year", "min": 1990};
        `sort` is such a key: "confidence:0". Raises Blip2Error where there is no such key.
        """
        self._set_query(
            {
                "search": search,
                "filters": list(filters),
                "sort": None if sort is None else {"key": sort, "descending": descending},
                "unique": unique,
            }
        )
        return self

    def show_score(self, prompt: int, score: Score) -> None:
        """Show what a prompt's answers were scored with, as soon as its intervals are known."""
        self._score_of[prompt] = score

        def tell() -> None:
            told = synced_score(prompt, score)
            with self._lock:
                if self._score_of[prompt] is score:
                    others = [each for each in self.scores if each["prompt"] != prompt]
                    self.scores = [*others, told][-_MOST_SCORES:]

        # Not at a desk, where what a person does would wait for it.
        _soon(0, tell)

    def catch_up(self) -> None:
        """Show at once what changed by now, and in what order the board wants it."""
        self._send_changes()
        self._show_what_is_wanted()
        self._refresh_now()
        if self._board.comparing:
            self._count_agreement()

    # --- from the page ------------------------------------------------------------------------

    def _receive(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        try:
            handle = _HANDLERS.get(str(content.get("type")))
            if handle is not None:
                handle(self, content)
        except Blip2Error as error:
            self._notice(error)
        except (AttributeError, KeyError, TypeError, ValueError):
            _log.debug("a message that makes no sense: %r", content, exc_info=True)

    def _later(self, work: Callable[[], None], desk: ThreadPoolExecutor | None = None) -> None:
        """Do what may take a while on another thread; what is wrong is told on the page."""

        def do() -> None:
            try:
                work()
            except Blip2Error as error:
                self._notice(error)
            except Exception as error:
                _log.exception("the gallery failed")
                self._notice(Blip2Error(f"that did not work: {type(error).__name__}: {error}"))

        with contextlib.suppress(RuntimeError):  # Python is ending
            (desk or self._desk).submit(do)

    def _notice(self, error: Blip2Error) -> None:
        self._send_if_open({"type": "notice", "text": str(error)})

    def _touch(self, *rows: int) -> None:
        """Note what the page is to be told of when it changes; it holds less than is noted here."""
        with self._lock:
            for row in rows:
                self._sent.pop(row, None)
                self._sent[row] = None
            for row in list(islice(self._sent, max(0, len(self._sent) - _MOST_SENT))):
                del self._sent[row]

    def _row_in(self, content: dict[str, Any]) -> int:
        row = int(content["row"])
        if not 0 <= row < self.row_count:
            raise ValueError(row)
        return row

    def _prompt_in(self, content: dict[str, Any]) -> int:
        prompt = int(content["prompt_index"])
        if not 0 <= prompt < len(self._board.prompts):
            raise ValueError(prompt)
        return prompt

    def _on_rows(self, content: dict[str, Any]) -> None:
        start = max(int(content["start"]), 0)
        stop = min(int(content["stop"]), start + _MOST_ROWS)
        version, rows = self._view.version_and_rows_at(start, stop)
        self._touch(*rows)
        found = [self._row(row) for row in rows]
        self.send({"type": "rows", "version": version, "start": start, "rows": found})
        if self._warmer is None and self.row_count >= _MANY_ROWS:
            self._warmer = _soon(_WARM_AFTER, self._warm)

    def _on_whole(self, _content: dict[str, Any]) -> None:
        number, parts = self._left_out
        self.send({"type": "whole", "cut": number, "parts": parts})

    def _on_row(self, content: dict[str, Any]) -> None:
        row = self._row_in(content)
        self._touch(row)
        self.send({"type": "row", "row": self._row(row)})

    def _on_place(self, content: dict[str, Any]) -> None:
        row, version = self._row_in(content), self._view.version
        place = {"type": "place", "row": row, "version": version}
        self.send(place | {"position": self._view.position_of(row)})

    def _on_thumbs(self, content: dict[str, Any]) -> None:
        rows = [int(row) for row in content["rows"] if 0 <= int(row) < self.row_count]
        self._thumbnails.wish(str(content["view"]), rows, int(content["pixels"]))

    def _on_close(self, content: dict[str, Any]) -> None:
        self._thumbnails.wish(str(content["view"]), [], 0)
        self._chat_views.pop(str(content["view"]), None)
        self._maps.close(str(content["view"]))

    def _on_ask(self, content: dict[str, Any]) -> None:
        row, prompt = self._row_in(content), self._prompt_in(content)
        self._touch(row)
        self._board.ask(row, prompt, _text(content["prompt"]))

    def _on_retry(self, content: dict[str, Any]) -> None:
        if content.get("row") is None:
            self._later(self._retry_all)
            return
        self._board.retry([self._row_in(content)])
        self._rows_changed([self._row_in(content)])

    def _retry_all(self) -> None:
        broken = list(self._board.pictures.errors)
        self._board.retry()
        self._rows_changed(broken)

    def _on_cancel(self, _content: dict[str, Any]) -> None:
        self._later(self._board.cancel)

    def _on_query(self, content: dict[str, Any]) -> None:
        self._later(lambda: self._set_query(content["query"]), self._searcher)

    def _on_facets(self, content: dict[str, Any]) -> None:
        keys, name = [str(key) for key in content["keys"]], str(content["id"])

        def count() -> None:
            facets, version = self._view.facets(keys), self._view.version
            message = {"type": "facets", "id": name, "version": version, "facets": facets}
            self._send_if_open(message)

        self._later(count, self._searcher)

    def _on_map_open(self, content: dict[str, Any]) -> None:
        view = str(content["view"])
        if content["open"]:
            self._later(lambda: self._maps.open(view))
        else:
            self._maps.close(view)

    def _on_colours(self, content: dict[str, Any]) -> None:
        key = str(content["key"])

        def find() -> None:
            legend, codes = self._view.colours(key)
            self._send_if_open({"type": "colours", "key": key} | legend, [codes.tobytes()])

        self._later(find, self._searcher)

    def _on_select(self, content: dict[str, Any]) -> None:
        rows = {int(row) for row in content.get("rows") or () if 0 <= int(row) < self.row_count}
        if positions := content.get("positions"):
            version, there = self._view.version_and_rows_at(*map(int, positions))
            if content.get("version", version) != version:
                self._later(lambda: self._send_rows(there))
                raise Blip2Error("the rows have moved meanwhile; select them again")
            rows.update(there)
        before = set(self._marked)
        how = {"set": rows, "add": before | rows, "remove": before - rows}
        self.selected = sorted(how[content["how"]])

    def _on_ask_many(self, content: dict[str, Any]) -> None:
        text, rows = _text(content["prompt"]).strip(), self._rows_of(str(content["scope"]))
        self._later(lambda: self._ask_many(text, rows))

    def _on_prompts(self, _content: dict[str, Any]) -> None:
        self._later(
            lambda: self._send_if_open({"type": "prompts", "prompts": self._people.prompts()})
        )

    def _on_review(self, content: dict[str, Any]) -> None:
        row, prompt = self._row_in(content), self._prompt_in(content)
        action: Any = str(content["action"])
        text = content.get("text")

        spoken_of = target_of(self._board, row, prompt)

        def review() -> None:
            target = spoken_of()
            self._reviews.act(target, action, None if text is None else _text(text))
            self._reviewed(target)

        is_known = row in self._board.pictures.keys
        self._later(review, self._desk if is_known else self._opener)

    def _on_undo(self, _content: dict[str, Any]) -> None:
        self._later(lambda: self._step(self._reviews.undo))

    def _on_redo(self, _content: dict[str, Any]) -> None:
        self._later(lambda: self._step(self._reviews.redo))

    def _on_picture(self, content: dict[str, Any]) -> None:
        self._thumbnails.open(self._row_in(content), int(content["pixels"]))

    def _on_codes(self, content: dict[str, Any]) -> None:
        row = self._row_in(content)
        self._later(lambda: self._send_codes(row))

    def _on_chat_open(self, content: dict[str, Any]) -> None:
        view = str(content["view"])
        if content["row"] is None:
            self._chat_views.pop(view, None)
            return
        row = self._chat_views[view] = self._row_in(content)
        self._touch(row)
        self._later(lambda: self._send_chat(row), self._opener)

    def _on_chat_say(self, content: dict[str, Any]) -> None:
        row, text, at = self._row_in(content), _text(content["text"]), content.get("at")
        at = None if at is None else int(at)
        self._later(lambda: self._chats.say(row, text, at), self._opener)

    def _on_chat_stop(self, content: dict[str, Any]) -> None:
        row = self._row_in(content)
        self._later(lambda: self._chats.cancel(row))

    # --- what is shown --------------------------------------------------------------------------

    def _warm(self) -> None:
        """Make the first search as fast as later ones, unless the gallery is closed before."""
        try:
            self._view.warm(lambda: self.comm is None)
        except Exception:  # a search will meet the same, and tell of it
            _log.debug("the index could not be made ready", exc_info=True)

    def _set_query(self, message: dict[str, Any]) -> None:
        with self._showing:
            try:
                self._view.set(message)
            finally:  # where it cannot be done, `shown` says so
                self._show()

    def _show(self) -> None:
        """Tell the page, and whoever watches `filtered`, what is shown now."""
        shown = self._view.shown()
        if shown != self._shown_last:
            self._shown_last = shown
            self._sync()
            self.set_trait("filtered", self._view.order)
            self._later(self._maps.send_marks)

    def _sync(self) -> None:
        with self._showing:
            for name, value in self._texts().items():
                setattr(self, name, value)

    def _texts(self) -> dict[str, Any]:
        """The traits that hold names, texts and queries, cut where they are too long."""
        shown = self._shown_last
        whole = {
            "title": self._board.title,
            "prompts": [{"name": each.name, "text": each.text} for each in self._board.prompts],
            "columns": self._columns.shown,
            "query": shown["query"],
        }
        short = synced(whole)
        parts = {name: value for name, value in whole.items() if short[name] != value}
        number, before = self._left_out
        if parts != before:
            self._left_out = (number + 1, parts)
        query, error = short.pop("query"), shown["error"]
        cut_error = None if error is None else shortened(error)
        short["shown"] = shown | {"query": query, "error": cut_error}
        short["scored"] = sorted(self._board.references)
        return short | {"cut": self._left_out[0] if parts else 0}

    @traitlets.validate("selected")
    def _rows_there_are(self, proposal: Any) -> list[int]:
        return [row for row in proposal.value if 0 <= row < self.row_count]

    @traitlets.observe("selected")
    def _select(self, change: Any) -> None:
        """Tell the page of another selection, wherever it was made."""
        before, self._marked = self._marked, frozenset(change.new)
        self.selected_count = len(self._marked)
        self.few_selected = sorted(self._marked) if 2 <= len(self._marked) <= 4 else []
        changed = [row for row in before ^ self._marked if row in self._sent]
        self._later(lambda: self._send_rows(changed))
        self._later(self._maps.send_marks)

    def _marks(self) -> Marks:
        """A byte for each row: 1 where it is shown, and 2 more where it is selected."""
        marks = np.zeros(self.row_count, np.uint8)
        marks[self._view.order] = 1
        marks[list(self._marked)] += 2
        return marks

    def _rows_of(self, scope: str) -> list[int] | None:
        """The rows that are meant now, None for all of them."""
        if scope == "all" or (scope == "shown" and self._view.plain):
            return None
        rows = list(self.selected if scope == "selected" else self._view.order)
        if not rows:
            raise Blip2Error(f"no row is {scope}; choose other rows to ask")
        return rows

    def _ask_many(self, text: str, rows: list[int] | None) -> None:
        if text:  # before anything can go wrong: what was typed is not lost
            with contextlib.suppress(Blip2Error):
                self._people.add_prompts([text])
        taken = {prompt.name for prompt in self._board.prompts}
        name, number = text or "caption", 2
        while name in taken:
            name, number = f"{text or 'caption'} ({number})", number + 1
        prompt = Prompt(name, text, kind_of(text, "question"))
        run = self._asking.run([prompt], rows=rows, beside=self._board.pictures)
        self._board.add(run.start())
        # Where there was no run before, choices may be ranked.
        self._board.put_probabilities()
        self._sync()

    def _step(self, step: Callable[[], list[Target]]) -> None:
        for target in step():
            self._reviewed(target)

    def _reviewed(self, target: Target) -> None:
        """Show a new word on every row that holds the picture."""
        self.history = self._reviews.history
        keys = self._board.pictures.keys
        self._rows_changed([row for row, key in list(keys.items()) if key == target.image_key])

    def _send_codes(self, row: int) -> None:
        board = self._board
        codes = []
        for at, prompt in enumerate(board.prompts):
            run = board.runs.index(board.run_of(at))
            asking = self._askings[run] if run < len(self._askings) else self._asking
            line = answer_line(asking, prompt, board.cell(row, at), row)
            codes.append("\n".join(filter(None, (line, board.scored_by.get(at)))))
        measured = measure_line(self._asking, board.measured) if board.measured else ""
        self._send_if_open({"type": "codes", "row": row, "codes": codes, "measured": measured})

    def _send_chat(self, row: int) -> None:
        if row not in self._chat_views.values():
            return
        turns = [
            {
                "question": turn.question,
                "answer": turn.answer,
                "state": turn.state,
                "error": turn.error,
                "confidence": None if turn.logprob is None else math.exp(turn.logprob),
            }
            for turn in self._chats.turns(row)
        ]
        code = chat_line(self._asking, self._chats, row)
        self._send_if_open({"type": "chat", "row": row, "turns": turns, "code": code})

    @cached_property
    def _chats(self) -> Chats:
        """The conversations; before the first one no model is looked for."""
        chats = self._asking.chats(self._board.pictures, self._chats_store)
        chats.subscribe(self._send_chat)
        return chats

    # --- changes, gathered ----------------------------------------------------------------------

    def _rows_changed(self, rows: Iterable[int]) -> None:
        with self._lock:
            self._changed.update(rows)
            if self._timer is None:
                self._timer = _soon(_INTERVAL, self._send_changes)

    def _send_changes(self) -> None:
        with self._lock:
            rows, self._changed = sorted(self._changed), set()
            self._timer = None
        if self._take_numbers():
            self._sync()
        if self._board.query != self._wanted[0]:
            self._later(self._show_what_is_wanted, self._searcher)
        keys = self._board.pictures.keys
        self._reviews.load(key for key in map(keys.get, rows) if key is not None)
        with self._lock:
            if rows and self._stale is None:
                self._stale = _soon(_REFRESH_INTERVAL, self._refresh)
            if rows and self._board.comparing and self._counter is None:
                self._counter = _soon(_COUNT_INTERVAL, self._count)
        self._view.changed(rows)
        # What no view has asked for yet is asked for when it comes on the screen.
        self._send_rows(row for row in rows if row in self._sent)
        self.progress = synced_progress(self._board.progress)
        mapped = self._maps.told()
        if mapped != self.mapped:
            self.mapped = mapped

    def _show_what_is_wanted(self) -> None:
        """Show what the board wants to be shown, unless a person looks at something else."""
        query = self._board.query
        if query == self._wanted[0]:
            return
        with self._showing:
            untouched = self._shown_last["query"] == self._wanted[1]
            if untouched:
                self.show(**query)
            self._wanted = (query, self._shown_last["query"] if untouched else None)

    def _take_numbers(self) -> bool:
        """Show what was computed of the rows; whether there is any that was not shown before."""
        board = self._board
        names = [name for name in list(board.numbers) if not self._columns.is_computed(name)]
        for name in names:
            kind: Computed = "probability" if name in board.probabilities else "computed"
            self._columns.put(name, len(board), partial(board.number, name), kind)
        return bool(names)

    def _refresh(self) -> None:
        """Rows may have come to pass the query, or to pass it no more."""
        with self._lock:
            self._stale = None
        self._later(self._refresh_now, self._searcher)

    def _refresh_now(self) -> None:
        with self._showing:
            self._view.refresh()
            self._show()

    def _count(self) -> None:
        with self._lock:
            self._counter = None
        self._later(self._count_agreement, self._searcher)

    def _count_agreement(self) -> None:
        """Tell the page how often the columns that are compared agree."""
        self.agreement = [
            {
                **{"one": each.one, "other": each.other},
                **{"answered": each.answered, "agree": each.agree},
                **{"low": each.share.low, "high": each.share.high},
            }
            for each in agreements(self._board, _MOST_COMPARED)
            if each.answered
        ]

    def _send_rows(self, rows: Iterable[int]) -> None:
        listed = sorted(rows)
        for at in range(0, len(listed), _ROWS_A_MESSAGE):
            piece = listed[at : at + _ROWS_A_MESSAGE]
            changed = [[row, self._row(row)] for row in piece]
            self._send_if_open({"type": "changed", "rows": changed})

    def _row(self, row: int) -> dict[str, Any]:
        return self._rows.message(
            row, self._columns.values(row), self._marked, self._view.duplicates(row)
        )

    def _send_if_open(self, content: dict[str, Any], buffers: Any = None) -> None:
        """Send from a thread of our own, which must live on where the comm does not."""
        try:
            self.send(content, buffers)
        except Exception:
            _log.debug("a message could not be sent", exc_info=True)


#: What is done about each kind of message.
_HANDLERS: dict[str, Callable[[Gallery, dict[str, Any]], None]] = {
    name.removeprefix("_on_"): handler
    for name, handler in vars(Gallery).items()
    if name.startswith("_on_")
}


def _text(value: object) -> str:
    """A text of the page, which can send half an emoji."""
    return whole(str(value))


def _soon(seconds: float, work: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()
    return timer


def _answer_in_subshells(comm: Any) -> None:
    """Let the front end's choice of subshell stand.

    ipykernel sends a page's messages to the shell that last wrote to the comm. That is the main
    one here, so with it the gallery would stand still whenever a cell runs.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default

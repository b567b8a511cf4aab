"""A job's folder without the line that made it: what is there, and what whoever makes it adds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, ImageError, LazyValues, Limits, is_remote, reason_of
from blip2_widget.jobs import turn
from blip2_widget.jobs.folder import Folder
from blip2_widget.jobs.parts import DESCRIPTION, Parts
from blip2_widget.model import Checkpoint, GenerationSettings, Located, Sizes, Variant
from blip2_widget.run import Pictures, Prompt
from blip2_widget.store import Store

#: Seconds between two looks at a folder that is not complete, and what is said meanwhile.
_EVERY = 1.0
_LOOKING = f"looked for every {_EVERY:g} s"

_log = logging.getLogger(__name__)


def find_job(place: Any) -> Parts | None:
    """The parts of the job whose folder that is, on a disk or at an fsspec URL; None where it is
    anything else. Raises Blip2Error where the job cannot be read."""
    if not isinstance(place, str | Path):
        return None
    text = str(place)
    try:
        if is_remote(text):
            parts = Parts(text)
            return None if parts.description() is None else parts
        folder = Path(text).expanduser().absolute()
        return Parts(folder) if (folder / DESCRIPTION).is_file() else None
    except Blip2Error:
        raise
    except Exception:  # whatever is wrong with it is told by who takes it for something else
        return None


class _Seen(Column):
    """A column of which a frame has the addresses, and not what is kept of the pictures."""

    def value(self, row: int) -> Any:
        with suppress(ImageError):  # it is not there yet
            return self.head(row)
        return None


class Watching(Folder):
    """A job's answers, which are made elsewhere or were. `start` looks for new parts until all are
    there."""

    def __init__(self, parts: Parts, *, title: str, store: Store, limits: Limits) -> None:
        """Raises Blip2Error where the folder's description is none that is known here."""
        told = parts.description() or {}
        try:
            self.prompts = [Prompt(**each) for each in told["prompts"]]
            self.settings = GenerationSettings(**told["settings"])
            self.model, self.wanted_variant = str(told["model"]), str(told["variant"])
            self._fingerprint, rows = told["fingerprint"], range(told["rows"])
            checkpoint, variant = Checkpoint(**told["checkpoint"]), Variant(**told["planned"])
            # Whose weights lie with whoever answers.
            located = Located(checkpoint, told["revision"], {}, Sizes(0, 0, 0, 0), None)
            name = told["column"]
        except (KeyError, TypeError, Blip2Error) as error:
            raise Blip2Error(
                f"{parts.folder}/{DESCRIPTION} is none that this version reads: {reason_of(error)}"
            ) from None
        values, heads = LazyValues(self._picture, rows), LazyValues(self._address, rows)
        column = _Seen(values, rows, name, heads=heads)
        super().__init__(column, title, located, variant, Pictures(column, store, limits))
        self._stop = threading.Event()
        self._look(parts)
        self._name_variant()

    # --- for the person -------------------------------------------------------------------------

    def start(self) -> Self:
        with self._lock:
            self._go_on()
            if not self._counts().left:
                self._end("done")
                return self
            self._state, self._note = "running", _LOOKING
            self._stop = stop = threading.Event()
        threading.Thread(target=self._watch, args=(stop,), name="blip2-watch", daemon=True).start()
        return self

    def cancel(self) -> None:
        """Look no more; whoever makes the answers goes on."""
        with self._lock:
            if self._finished.is_set():
                return
            self._drop_what_is_left()
            self._end("cancelled")
        self._announce(range(len(self.column.values)))

    def retry(self, rows: Collection[int] | None = None) -> None:
        """Look again where that was stopped. Raises Blip2Error where answers have failed, since
        nothing is answered here."""
        if rows is None and self._finished.is_set() and self._counts().left:
            self.start()
            self._announce(range(len(self.column.values)))
        failed = {row for counts in self._there.values() for row in counts.failed_rows}
        if failed and (rows is None or not failed.isdisjoint(rows)):
            raise Blip2Error("these answers are made elsewhere: retry in the line that made them")

    def ask(self, row: int, prompt: int, text: str) -> None:
        raise Blip2Error(
            "these answers are made elsewhere: ask all rows or those selected as a new column, or "
            "ask in the line that made them"
        )

    # --- on a thread of its own -----------------------------------------------------------------

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(_EVERY):
            try:
                self._look_again(stop)
            except Blip2Error as error:
                with self._lock:
                    if not stop.is_set():
                        self._fail(error)
            except Exception as error:  # of a network, which may be back at the next look
                _log.debug("a job's folder could not be looked at", exc_info=True)
                self._note = f"cannot be looked at just now: {reason_of(error)}"
            self._announce(())

    def _look_again(self, stop: threading.Event) -> None:
        told = self.parts.description()
        if told is None or told.get("fingerprint") != self._fingerprint:
            raise Blip2Error(f"{self.parts.folder} holds another job by now, or none: explore anew")
        unread = 0
        for number, version in sorted(self.parts.versions().items()):
            if self._versions.get(number) == version:
                continue
            read = self._read(number)
            if read is None:
                unread += 1
                continue
            with self._lock:
                if stop.is_set():
                    return
                self._versions[number] = version
                self._arrived(*read)
            self._name_variant()
            self._announce(range(read[1].first, read[1].first + read[1].rows))
        told_of = "" if turn.is_anyones(self.parts) else "nobody is making them just now, "
        told_of += f"{unread} parts cannot be read, " if unread else ""
        with self._lock:
            if stop.is_set():
                return
            self._note = told_of + _LOOKING
            if not self._counts().left:
                self._drop_what_is_left()
                self._end("done")

    def _name_variant(self) -> None:
        """Say in which variant the answers were made, once a part tells."""
        with suppress(Exception):  # there is none, or one that cannot be read
            first, number = self._firsts[0]
            self.variant = replace(self.variant, name=self._line(number, first)["variant"])

    def _drop_what_is_left(self) -> None:
        self._stop.set()

    # --- pictures -------------------------------------------------------------------------------

    def _picture(self, row: int) -> Any:
        """A row's address, or what its part keeps of a picture that nobody can open again."""
        number = self._there_of(row)
        at = (row - self._there[number].first) * len(self.prompts)
        kept = self.parts.thumbnail(number, at)
        address = self._address(row)
        return address if kept is None else {"bytes": kept, "path": address}

    def _address(self, row: int) -> str:
        address: str = self._line(self._there_of(row), row)["picture"]
        return address

    def _there_of(self, row: int) -> int:
        number = self._part_of(row)
        if number is None:
            raise ImageError("missing", "its part is not there yet")
        return number

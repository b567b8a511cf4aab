"""Prompts over the rows of a source that Ray answers, into a folder."""

from __future__ import annotations

import bisect
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from typing import Any, Self
from weakref import WeakValueDictionary

from blip2_widget.errors import Blip2Error
from blip2_widget.jobs import on_ray, turn
from blip2_widget.jobs.answering import Spec
from blip2_widget.jobs.folder import Folder
from blip2_widget.jobs.parts import Parts
from blip2_widget.jobs.sources import Source
from blip2_widget.model import Located, kind_of
from blip2_widget.run import Pictures, Progress, Prompt, Run, escaped
from blip2_widget.texts import whole

_log = logging.getLogger(__name__)

#: Of each folder the job of this process that was started last.
_AT_WORK: WeakValueDictionary[str, Job] = WeakValueDictionary()


class Job(Folder):
    """Prompts over the rows of a source, answered by Ray into a folder. `start` begins it, or goes
    on with it; what is in the folder already is there at once."""

    def __init__(
        self,
        source: Source,
        spec: Spec,
        *,
        title: str,
        located: Located,
        parts: Parts,
        pictures: Pictures,
        ask: Callable[[int, Prompt], Run],
        variant: str = "auto",
        actors: int | None = None,
        describe: Callable[[], None] | None = None,
    ) -> None:
        """`ask` starts a run that asks one row something else, in this process. `variant` is a
        name, or "auto" for what the cluster's machines can hold. `describe` makes the folder this
        job's, before it begins, where it is not."""
        super().__init__(source.column, title, located, spec.variant, pictures)
        self.prompts = list(spec.prompts)
        self.settings = spec.settings
        self._source = source
        self._spec = spec
        self._asks = ask
        self._wanted_variant = variant
        self._actors = actors
        self._begins = [piece.first for piece in source.pieces]
        self._describe = describe
        self._stop = threading.Event()
        self._turn: str | None = None
        self._look(parts, are_ours=describe is None)

    # --- for the person -------------------------------------------------------------------------

    def start(self) -> Self:
        other = _AT_WORK.get(self.parts.folder)
        if other is not None and other is not self:
            other.cancel()  # a cell that is run again goes on where it was
        _AT_WORK[self.parts.folder] = self
        if self._describe is not None:
            self._describe()
            self._describe = None
            self._look(self.parts)
        self._begin(self._missing())
        return self

    def wait(self, timeout: float | None = None) -> bool:
        began = time.monotonic()
        return super().wait(timeout) and all(
            run.wait(None if timeout is None else max(timeout - time.monotonic() + began, 0))
            for run in list(self._asked.values())
        )

    @property
    def progress(self) -> Progress:
        progress = super().progress
        asked = [run.progress for run in list(self._asked.values()) if not run.has_ended]
        if not asked or not self.has_ended:
            return progress
        return replace(progress, state=asked[0].state, note=asked[0].note)

    def cancel(self) -> None:
        """Stop: pieces that are under way are given up, and what they have computed is stored where
        it was computed."""
        for run in list(self._asked.values()):
            run.cancel()
        with self._lock:
            if self._finished.is_set() or self._state == "waiting":
                return
            self._stop.set()
            self._end("cancelled")
            if self._turn is not None:
                turn.give(self.parts, self._turn)
        self._announce(range(len(self._source)))

    def retry(self, rows: Collection[int] | None = None) -> None:
        """Answer again what failed, on the given rows or on all, and what was never come to."""
        for (row, _), run in list(self._asked.items()):
            if rows is None or row in rows:
                run.retry()
        wanted = None if rows is None else {self._piece_of(row) for row in rows}
        with self._lock:
            if not self._finished.is_set():
                return
            failed = {number for number, counts in self._there.items() if counts.failed}
            missing = set(self._missing())
            chosen = (failed | missing) if wanted is None else (failed | missing) & wanted
        if chosen:
            self._begin(sorted(chosen))

    def ask(self, row: int, prompt: int, text: str) -> None:
        """Ask one picture something else, in this process."""
        wanted = self.prompts[prompt]
        asked = replace(wanted, text=escaped(whole(text).strip()), kind=kind_of(text, wanted.kind))
        run = self._asks(row, asked)
        with self._lock:
            self._asked[row, prompt] = run
        run.subscribe(lambda _rows: self._announce([row]))
        self._announce([row])

    # --- on a thread of its own -----------------------------------------------------------------

    def _begin(self, numbers: Sequence[int]) -> None:
        with self._lock:
            self._go_on()
            self._stop = stop = threading.Event()
            if not numbers:
                self._end("done")
                return
            self._state = "loading"
        threading.Thread(
            target=self._work, args=(numbers, stop), name="blip2-job", daemon=True
        ).start()
        self._announce(range(len(self._source)))

    def _work(self, numbers: Sequence[int], stop: threading.Event) -> None:
        over = threading.Event()
        try:
            mine = turn.take(self.parts)
            threading.Thread(
                target=turn.keep, args=(self.parts, mine, over), name="blip2-turn", daemon=True
            ).start()
            with self._lock:
                self._turn = mine
                if stop.is_set():
                    return
            self._say("starting Ray", stop)
            plan = on_ray.plan(self.located, self._wanted_variant, self._actors)
            self._spec = replace(self._spec, variant=plan.variant)
            self.variant = plan.variant
            actors = min(plan.actors, len(numbers))
            self._say(f"loading {self.located.checkpoint.label} · {plan.variant.name}", stop)
            pieces = [(number, self._source.pieces[number]) for number in numbers]
            kept = [number for number in numbers if number in self._there]
            for number, counts in on_ray.run(self._spec, pieces, self.parts, plan, mine, kept):
                read = self._read(number)
                if read is None:
                    raise Blip2Error(
                        f"part {number} was written, and is not in {self.parts.folder} as seen "
                        "from here: give a folder that all machines share"
                    )
                with self._lock:
                    self._arrived(*read)
                    if not stop.is_set():
                        self._state = "running"
                        self._note = f"{actors} actor{'s' if actors > 1 else ''}"
                self._announce(range(counts.first, counts.first + counts.rows))
                if stop.is_set():
                    return
            turn.give(self.parts, mine)  # before anybody is told that it has ended
            with self._lock:
                if not stop.is_set():
                    self._end("cancelled" if self._missing() else "done")
        except Exception as error:
            if not isinstance(error, Blip2Error):
                _log.exception("a job failed")
                error = Blip2Error(f"the job stopped: {type(error).__name__}: {error}")
            with self._lock:
                if not stop.is_set():
                    self._fail(error)
        finally:
            over.set()
            self._announce(())

    # --- state ----------------------------------------------------------------------------------

    def _missing(self) -> list[int]:
        return [number for number in range(len(self._begins)) if number not in self._there]

    def _piece_of(self, row: int) -> int:
        return bisect.bisect_right(self._begins, row) - 1

    def _say(self, note: str, stop: threading.Event) -> None:
        with self._lock:
            if not stop.is_set():
                self._note = note
        self._announce(())

    def _drop_what_is_left(self) -> None:
        self._stop.set()


def description(spec: Spec, source: Source, variant: str, rows: int) -> dict[str, Any]:
    """What a job's folder says of itself; `fingerprint` is another for other answers, and `asking`
    for other answers to the same rows."""
    told: dict[str, Any] = {
        "version": 1,
        "rows_per_part": rows,
        "prompts": [vars(prompt) for prompt in spec.prompts],
        "model": spec.checkpoint.name,
        "revision": spec.commit,
        "variant": variant,
        "settings": dict(spec.settings.stored_as()),
        "question_form": spec.question_form,
    }
    asking = _digest(told)
    told |= {
        "asking": asking,
        "rows": len(source),
        "input": _digest([piece.fingerprint for piece in source.pieces]),
    }
    # What else whoever looks at the answers has to know, and what makes no other answers of them.
    beside = {
        "column": source.column.name,
        "checkpoint": asdict(spec.checkpoint),
        "planned": asdict(spec.variant),
    }
    return {"fingerprint": _digest(told), **told, **beside}


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

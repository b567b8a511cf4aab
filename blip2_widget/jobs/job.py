"""A run whose answers are made in pieces elsewhere and lie in a folder: to a gallery it is a run
like any other, and of the folder it reads what is looked at.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Self, get_args

from blip2_widget.errors import Blip2Error
from blip2_widget.images import ErrorKind, ImageError
from blip2_widget.jobs import on_ray
from blip2_widget.jobs.answering import Spec
from blip2_widget.jobs.parts import Counts as PartCounts
from blip2_widget.jobs.parts import Parts, cell_of
from blip2_widget.jobs.sources import Source
from blip2_widget.model import Located
from blip2_widget.run import Answerer, Cell, Counts, Pictures, Prompt, Run

_log = logging.getLogger(__name__)


class Job(Answerer):
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
    ) -> None:
        """`ask` starts a run that asks one row something else, in this process. `variant` is a
        name, or "auto" for what the cluster's machines can hold."""
        super().__init__(source.column, title, located, spec.variant, pictures)
        self.prompts = list(spec.prompts)
        self.settings = spec.settings
        self.parts = parts
        self._source = source
        self._spec = spec
        self._asks = ask
        self._wanted_variant = variant
        self._actors = actors
        self._firsts = [piece.first for piece in source.pieces]
        self._stop = threading.Event()
        self._there: dict[int, PartCounts] = {}
        self._asked: dict[tuple[int, int], Run] = {}
        for number, counts in parts.all_counts().items():
            self._take(number, counts)

    # --- for the person -------------------------------------------------------------------------

    def start(self) -> Self:
        self._begin(self._missing())
        return self

    def cancel(self) -> None:
        """Stop: pieces that are under way are given up, and what they have computed is stored where
        it was computed."""
        with self._lock:
            if self._finished.is_set() or self._state == "waiting":
                return
            self._stop.set()
            self.parts.stop()
            self._end("cancelled")
        for run in self._asked.values():
            run.cancel()
        self._announce(range(len(self._source)))

    def retry(self, rows: Collection[int] | None = None) -> None:
        """Answer again what failed, on the given rows or on all, and what was never come to."""
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
        run = self._asks(row, replace(self.prompts[prompt], text=text))
        with self._lock:
            self._asked[row, prompt] = run
        run.subscribe(lambda _rows: self._announce([row]))
        self._announce([row])

    def count_stored(self) -> int:
        """How many answers there are already."""
        return sum(counts.answered for counts in self._there.values())

    def cell(self, row: int, prompt: int) -> Cell:
        asked = self._asked.get((row, prompt))
        if asked is not None:
            return asked.cell(row, 0)
        number = self._piece_of(row)
        counts = self._there.get(number)
        wanted = self.prompts[prompt]
        if counts is None:
            waits = self._state in ("waiting", "loading", "running")
            return Cell(wanted.text, wanted.kind, "waiting" if waits else "cancelled")
        try:
            line = self.parts.line(number, (row - counts.first) * len(self.prompts) + prompt)
        except Exception as error:  # whatever a damaged or removed file raises
            message = f"part {number} of {self.parts.folder} cannot be read: {error}"
            return Cell(
                wanted.text, wanted.kind, "error", error=message[:300], error_kind="unreadable"
            )
        if line["image_key"]:
            self.pictures.keys[row] = line["image_key"]
        return cell_of(line)

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
        try:
            self._say("starting Ray", stop)
            plan = on_ray.plan(self.located, self._wanted_variant, self._actors)
            self._spec = replace(self._spec, variant=plan.variant)
            self.variant = plan.variant
            actors = min(plan.actors, len(numbers))
            self._say(f"loading {self.located.checkpoint.label} · {plan.variant.name}", stop)
            self.parts.go()
            pieces = [(number, self._source.pieces[number]) for number in numbers]
            kept = [number for number in numbers if number in self._there]
            for number, counts in on_ray.run(self._spec, pieces, self.parts, plan, kept):
                self._arrived(number, counts, f"{actors} actor{'s' if actors > 1 else ''}", stop)
                if stop.is_set():
                    return
            with self._lock:
                if not stop.is_set():
                    self._end("done")
        except Exception as error:
            if not isinstance(error, Blip2Error):
                _log.exception("a job failed")
                error = Blip2Error(f"the job stopped: {type(error).__name__}: {error}")
            with self._lock:
                if not stop.is_set():
                    self._fail(error)
        finally:
            self._announce(())

    def _arrived(self, number: int, counts: PartCounts, note: str, stop: threading.Event) -> None:
        with self._lock:
            before = self._there.get(number)
            self.parts.forget(number)
            self._take(number, counts)
            if stop.is_set():
                return
            self._state, self._note = "running", note
            if self._computing_since is None:
                # What the first piece took is no measure: a model was loaded in it.
                self._computing_since = time.monotonic()
            else:
                self._computed += counts.answered - (before.answered if before else 0)
        self._announce(range(counts.first, counts.first + counts.rows))

    def _take(self, number: int, counts: PartCounts) -> None:
        self._there[number] = counts
        for row in range(counts.first, counts.first + counts.rows) if counts.failed_rows else ():
            self.pictures.errors.pop(row, None)
        for row in counts.failed_rows:
            cell = self.cell(row, 0)
            if cell.error_kind in get_args(ErrorKind):
                self.pictures.errors[row] = ImageError(cell.error_kind, cell.error or "")  # type: ignore[arg-type]

    # --- state ----------------------------------------------------------------------------------

    def _missing(self) -> list[int]:
        return [number for number in range(len(self._firsts)) if number not in self._there]

    def _piece_of(self, row: int) -> int:
        return bisect.bisect_right(self._firsts, row) - 1

    def _say(self, note: str, stop: threading.Event) -> None:
        with self._lock:
            if not stop.is_set():
                self._note = note
        self._announce(())

    def _counts(self) -> Counts:
        every = list(self._there.values())
        total = len(self._source) * len(self.prompts)
        failed = sum(each.failed for each in every)
        done = sum(each.answered for each in every) + failed
        cached = sum(each.cached for each in every)
        return Counts(total, done, failed, cached, left=total - done)

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
    return {"fingerprint": _digest(told), **told}


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

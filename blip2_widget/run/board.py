"""A column of pictures with all the answers about them, whichever run they come from."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, column_names
from blip2_widget.run.cells import Cell, CellField, Counted, Progress, Prompt
from blip2_widget.run.life import Answerer, Life, Listener
from blip2_widget.run.measuring import Measuring
from blip2_widget.run.pictures import Pictures
from blip2_widget.run.projecting import Projecting

#: What a column of pictures that nothing was asked about says of itself.
_NOTHING_ASKED = Progress("idle", "", 0, 0, 0, 0, None, None, None, "", "")
#: Of a prompt with more choices than this none is a column: they would flood the page.
_MOST_CHOICES = 12
#: Of several runs' states, the one that counts for all.
_BY_WEIGHT = ("running", "loading", "waiting", "failed", "cancelled", "done")


class Measured(NamedTuple):
    """What is measured, as a line says it: its sub-command, what stands behind the target, and its
    options in the words of the Python API. `words` are None where no line can say them."""

    sub: Literal["match", "search"]
    words: Sequence[str] | None
    options: Mapping[str, Any]


class Board:
    """Runs over one column, side by side: `prompts[k]` is the k-th column of answers. What measures
    the pictures is beside them, and its numbers among `numbers`.

    What was asked later stands behind what was asked before, so that a place never changes.
    """

    def __init__(self, column: Column, pictures: Pictures, title: str) -> None:
        self.column = column
        self.pictures = pictures
        self.title = title
        #: Whether the columns of answers are there to be compared with each other.
        self.comparing = False
        #: Numbers that were computed of the rows, by name: each gives a row's, or None.
        self.numbers: dict[str, Callable[[int], float | None]] = {}
        #: Which of them are the probability of which prompt's choice.
        self.probabilities: dict[str, tuple[int, str]] = {}
        #: What prompts' answers were scored against: of each such prompt every row's texts.
        self.references: dict[int, Sequence[Sequence[str]]] = {}
        #: The lines that scored them, where a line did.
        self.scored_by: dict[int, str] = {}
        #: What `numbers` come of, where pictures are measured.
        self.measured: Measured | None = None
        #: What a gallery shows while a person looks at nothing else, in the words of its `show`.
        #: For something else another dict is put here, and rows are announced.
        self.query: dict[str, Any] = {}
        #: The rows that were found or matched, best first; None where nothing was to be.
        self.found: Callable[[], Sequence[int]] | None = None
        #: Where the pictures lie on a map, and the pass that finds it; None where nobody asked.
        self.map: tuple[Measuring, Projecting] | None = None
        self.runs: list[Life] = []
        self._places: list[tuple[Answerer, int]] = []
        self._listeners: list[Listener] = []

    def __len__(self) -> int:
        return len(self.column.values)

    def add(self, run: Answerer) -> None:
        """Show a run's answers behind those that are there."""
        self._places.extend((run, at) for at in range(len(run.prompts)))
        self._join(run)

    def measure(self, measuring: Measuring) -> None:
        """Let what measures the pictures count as one of the runs; `put` shows its numbers."""
        self._join(measuring)

    def lay_out(self, measuring: Measuring, projecting: Projecting) -> None:
        """Make a map of the pictures, in place of the one that is there or on its way."""
        if self.map is not None:
            self.map[0].cancel()
            self.runs.remove(self.map[0])
        self.map = (measuring, projecting)
        self._join(measuring)

    def put(self, name: str, number: Callable[[int], float | None]) -> str:
        """Show a number beside each row, in place of those of that name; returns the name, which
        has a number behind it where it is a column's of the frame."""
        name = free_name(name, column_names(self.column.frame))
        self.numbers[name] = number
        self._announce(range(len(self)))
        return name

    def put_probabilities(self) -> Board:
        """Show the probability of each choice that is ranked and not shown yet, unless its prompt
        has many; returns the board itself."""
        shown = set(self.probabilities.values())
        for name, at, choice in self.choices:
            if (at, choice) in shown or len(self.run_of(at).settings.choices) > _MOST_CHOICES:
                continue
            name = self.put(name, partial(self._probability, at, choice))
            self.probabilities[name] = (at, choice)
        return self

    def number(self, name: str, row: int) -> float | None:
        """A row's number by its name, as it was computed last."""
        return self.numbers[name](row)

    def references_of(self, row: int, prompt: int) -> list[tuple[str, int]]:
        """The references of a row's answer, each once with how often it is there, the most frequent
        first; none where it was not scored."""
        of_all = self.references.get(prompt)
        return Counter(map(str.strip, of_all[row])).most_common() if of_all else []

    @property
    def prompts(self) -> list[Prompt]:
        """The columns of answers."""
        return [run.prompts[at] for run, at in self._places]

    @property
    def choices(self) -> list[tuple[str, int, str]]:
        """What the prompts' choices are called as columns, each with its prompt and itself: by the
        choice, with the prompt's name before it where several prompts are ranked."""
        prompts = self.prompts
        ranked = [at for at in range(len(prompts)) if self.run_of(at).settings.choices]
        return [
            (choice if len(ranked) == 1 else f"{prompts[at].name}: {choice}", at, choice)
            for at in ranked
            for choice in self.run_of(at).settings.choices
        ]

    def run_of(self, prompt: int) -> Answerer:
        """The run that answers the prompt."""
        return self._places[prompt][0]

    def cell(self, row: int, prompt: int) -> Cell:
        """What was asked of a row under a prompt, and what came of it."""
        run, at = self._places[prompt]
        return run.cell(row, at)

    def each(self, field: CellField, prompt: int) -> Iterator[Any]:
        """That field of every row's cell under a prompt, in order."""
        run, at = self._places[prompt]
        return run.each(field, at)

    def cells(self, row: int) -> list[Cell]:
        """A row's cells, in the order of `prompts`."""
        return [run.cell(row, at) for run, at in self._places]

    def find(self, keys: Collection[str]) -> list[int]:
        """The rows that hold these pictures, of those whose keys were not known before."""
        runs = dict.fromkeys(run for run, _ in self._places) if keys else ()
        return [row for run in runs for row in run.find(keys)]

    def ask(self, row: int, prompt: int, text: str) -> None:
        """Ask one picture anew, ahead of everything that is queued."""
        run, at = self._places[prompt]
        run.ask(row, at, text)

    def retry(self, rows: Collection[int] | None = None) -> None:
        """Ask again what failed or was cancelled, on the given rows or on all. Raises Blip2Error
        where some of it cannot be asked here."""
        broken = self.pictures.errors
        some = list(broken.items())
        kept = {row: error for row, error in some if rows is None or row in rows}
        for row in kept:
            broken.pop(row, None)
        refusal = None
        for run in self.runs:
            try:
                run.retry(rows)
            except Blip2Error as error:
                refusal = error
        if refusal is not None:
            broken.update(kept)
            raise refusal

    def cancel(self) -> None:
        """Stop all runs; answers that are there stay."""
        for run in self.runs:
            run.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until no run has anything left to do; False after `timeout` seconds.

        Raises the Blip2Error that stopped a run, if one did.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        return all(
            run.wait(None if deadline is None else max(deadline - time.monotonic(), 0))
            for run in list(self.runs)
        )

    @property
    def progress(self) -> Progress:
        """How far all runs are, as if they were one. A map that is there is none of the answers."""
        runs = list(self.runs)
        if self.map is not None and len(runs) > 1 and self.map[0].progress.state == "done":
            runs.remove(self.map[0])
        each = [run.progress for run in runs]
        if not each:
            return _NOTHING_ASKED
        measured = {isinstance(run, Measuring) for run in runs}
        counted: Counted = "pictures" if measured == {True} else "answers"
        if len(measured) == 2:
            counted = "answers and pictures"
        if len(each) == 1:
            return replace(each[0], counted=counted)
        working = min(each, key=lambda one: _BY_WEIGHT.index(one.state))
        return replace(
            working,
            done=sum(one.done for one in each),
            total=sum(one.total for one in each),
            failed=sum(one.failed for one in each),
            cached=sum(one.cached for one in each),
            seconds=sum(one.seconds or 0 for one in each),
            model=" / ".join(dict.fromkeys(one.model for one in each)),
            variant=" / ".join(dict.fromkeys(one.variant for one in each)),
            counted=counted,
        )

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` whenever rows change, or with no rows when only the progress does."""
        self._listeners.append(listener)

    def place(self, name: str | None) -> int:
        """The number of a column of answers by its name; the first where there is no name.

        Raises Blip2Error where there is none.
        """
        names = [each.name for each in self.prompts]
        if not names:
            raise Blip2Error("nothing was asked about these pictures yet")
        if name is not None and name not in names:
            raise Blip2Error(f"there is no column {name!r}; write one of {', '.join(names)}")
        return names.index(name) if name else 0

    def _probability(self, prompt: int, choice: str, row: int) -> float | None:
        return dict(self.cell(row, prompt).choices).get(choice)

    def _join(self, run: Life) -> None:
        self.runs.append(run)
        run.subscribe(self._announce)
        self._announce(range(len(self)))

    def _announce(self, rows: Iterable[int]) -> None:
        for listener in tuple(self._listeners):
            listener(rows)


def free_name(name: str, taken: Collection[object]) -> str:
    """The name, or where it is taken the same with a number behind it."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def compared(answer: str) -> str:
    """An answer without what makes no other answer of it: case, and spaces at its ends."""
    return answer.strip().casefold()

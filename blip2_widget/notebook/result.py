"""What `%blip2 caption` and `ask` give back: one object for the gallery and the frames."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from blip2_widget.data.frames import (
    agreement_frame,
    error_frame,
    long_frame,
    probability_frame,
    rows_of,
    take_rows,
    wide_frame,
)
from blip2_widget.errors import Blip2Error
from blip2_widget.formats import Answers, format_to_write, to_dataset
from blip2_widget.notebook.code import score_line
from blip2_widget.notebook.saved import SavedPage, is_program
from blip2_widget.run import Action, Board, Progress, Reviews, Run, target_of
from blip2_widget.scores import Rule, Score, read_references, score_answers, score_captions
from blip2_widget.session import current
from blip2_widget.store import Review, Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from blip2_widget.api import Asking
    from blip2_widget.notebook.gallery import Gallery

#: Seconds between looks at the interrupt while waiting.
_TICK = 0.1


class Result:
    """A run's answers, while they come and after.

    Shown at the end of a cell it is the gallery. `df` is the caller's frame with the answers
    that are there so far; `wait` first for all of them.
    """

    def __init__(self, board: Board, askings: Sequence[Asking], *, started: bool = True) -> None:
        """`askings` made the board's runs; what is asked later is asked by the first of them."""
        self.board = board
        self._askings = askings
        self._asking = askings[0]
        self._started = started
        self._saved_page = SavedPage(board, self._review_of)
        self._quiet_in: int | None = None
        self._galleries: list[Gallery] = []
        if _is_marimo():
            # There a widget lives as long as the cell that made it: this one, and not one that
            # shows it.
            _ = self.gallery

    def __repr__(self) -> str:
        # The same on every run and machine: saved notebooks are compared by it.
        count = len(self.board)
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        names = ", ".join(prompt.name for prompt in self.board.prompts)
        labels = dict.fromkeys(run.located.checkpoint.label for run in self.board.runs)
        return " · ".join(part for part in (names, pictures, ", ".join(labels)) if part)

    @property
    def run(self) -> Run:
        """The first run; Blip2Error where nothing was asked, or is answered elsewhere."""
        if not self.board.prompts:
            raise Blip2Error("nothing was asked about these pictures yet")
        run = self.board.run_of(0)
        if not isinstance(run, Run):
            raise Blip2Error("this is not answered in this process; `progress` tells of it")
        return run

    @cached_property
    def _people(self) -> Store:
        """Where what people say is kept, whether answers are or not: nobody can compute it."""
        return current().store

    @cached_property
    def reviews(self) -> Reviews:
        """What people said of the answers."""
        reviews = Reviews(self._people)
        reviews.subscribe(self._saved_page.reviewed)
        return reviews

    def _review_of(self, row: int, prompt: int) -> Review | None:
        return self.reviews.of(self.board, row, prompt)

    @property
    def gallery(self) -> Gallery:
        """The widget, made when it is first shown; every view of it stays in step."""
        from blip2_widget.notebook.gallery import Gallery

        if not self._galleries:
            people = self._people
            self._galleries.append(Gallery(self.board, self._askings, self.reviews, people))
        return self._galleries[0]

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self.board.progress

    @property
    def df(self) -> Any:
        """The caller's frame (a copy) with a column of answers for each prompt.

        It is of the caller's kind: pandas', polars', pyarrow's or a Hugging Face Dataset; where
        there was none, or a list, pandas'.
        """
        return wide_frame(self.board, self.reviews.over(self.board))

    @property
    def answers(self) -> pd.DataFrame:
        """One line a row and prompt: what was asked, the answer, its state and origin."""
        return long_frame(self.board, self.reviews.over(self.board))

    @property
    def errors(self) -> pd.DataFrame:
        """The rows that failed, with what is wrong with each in one line."""
        return error_frame(self.board)

    @property
    def agreement(self) -> pd.DataFrame:
        """How often each two columns of the models' own answers agree, corrections aside."""
        return agreement_frame(self.board)

    @property
    def found(self) -> Any:
        """The rows of `df` that a search has found, best first, once it has ended; where texts were
        matched, all that could be, by the first text.

        Raises Blip2Error as `wait`, and where nothing was searched for or matched.
        """
        if self.board.found is None:
            raise Blip2Error('nothing was searched for here; write %blip2 search df.image "a dog"')
        self.wait()
        return take_rows(self.df, self.board.found())

    @property
    def coordinates(self) -> NDArray[np.float32]:
        """Where each row lies on the map: (rows, 2) in fp32, NaN where its picture cannot be read.

        Raises Blip2Error as `wait`, and where there is no map.
        """
        if self.board.map is None:
            raise Blip2Error("there is no map here; write .map() on the result first")
        self.wait()
        projecting = self.board.map[1]
        if projecting.coordinates is None:
            raise Blip2Error(
                projecting.note or "the map was not finished; .retry() goes on with it"
            )
        return projecting.coordinates.copy()

    def map(
        self,
        method: str = "pca",
        *,
        model: str | None = None,
        variant: str | None = None,
        refresh: bool = False,
    ) -> Result:
        """Lay these pictures out on a map, which opens beside the gallery: see `blip2_widget.map`.

        Without `model` it is laid out by the features that these answers came from, which are not
        computed again unless `refresh` says so. Returns at once, the result itself. Raises
        Blip2Error as `blip2_widget.map`.
        """
        runs = self.board.runs
        if model is None and runs:
            model = runs[0].located.checkpoint.name
        asking = dataclasses.replace(
            self._asking, variant=variant or self._asking.variant, refresh=refresh
        )
        measuring, projecting = asking.mapping(
            method, model, title=self.board.title, beside=self.board.pictures
        )
        self.board.lay_out(measuring.start(), projecting)
        return self

    def probabilities(self) -> pd.DataFrame:
        """Each choice's probability as a column, however many there are: one line a row, with its
        index.

        Columns are called by the choices, with the prompt's name before them where several prompts
        were ranked. Where rows have choices of their own there is a line for each instead, under
        its row's index: `name`, `choice` and `probability`. Raises Blip2Error where none was.
        """
        return probability_frame(self.board)

    def export(
        self,
        path: str | Path,
        format: str | None = None,
        columns: str | Sequence[str] | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the answers that are there to a file or folder, whole or not at all.

        The path's end says the format: .parquet, .csv, .jsonl, .json (COCO captions), .tar
        (WebDataset); `format` names the others: "imagefolder", "dataset", "sidecar". `columns` are
        the columns of answers that are meant. Returns the path. Raises Blip2Error where something
        is there already and not to be overwritten, and where it cannot be written.
        """
        path = Path(path).expanduser()
        self.write(path, format, columns, overwrite)
        return path

    def write(
        self,
        path: Path,
        format: str | None,
        columns: str | Sequence[str] | None,
        overwrite: bool,
    ) -> int:
        """The same; returns how many answers were written."""
        return format_to_write(path, format).write(self._written(columns), path, overwrite)

    def to_dataset(self, columns: str | Sequence[str] | None = None) -> Any:
        """The answers as a Hugging Face Dataset, each with its picture."""
        return to_dataset(self._written(columns))

    def _written(self, columns: str | Sequence[str] | None) -> Answers:
        limits = current().defaults.limits
        return Answers(self.board, self.reviews.over(self.board), columns, limits)

    def wait(self, timeout: float | None = None) -> Result:
        """Block until the run has ended, and return the result itself.

        An interrupt cancels the run and keeps what was answered. Raises Blip2Error where the run
        could not go on, after `timeout` seconds, or, with on_error="raise", where rows failed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self.board.wait(_TICK):
                if deadline is not None and time.monotonic() > deadline:
                    raise Blip2Error(f"the run has not ended within {timeout:g} s; it goes on")
        except KeyboardInterrupt:
            self.board.cancel()
            progress = self.board.progress
            again = "running the cell again" if self._asking.cache else ".retry() on the result"
            raise Blip2Error(
                f"interrupted with {progress.done} of {progress.total} {progress.counted}; "
                f"they are kept, and {again} goes on from there"
            ) from None
        if (self.board.query or self.board.comparing) and self._galleries:
            self.gallery.catch_up()
        if self._asking.raises and len(errors := self.errors):
            first, progress = errors.iloc[0], self.board.progress
            raise Blip2Error(
                f"{len(errors)} of {progress.total} {progress.counted} failed; the first, "
                f"{first['picture']}: {first['error']}"
            )
        return self

    def review(
        self, row: int, action: Action, text: str | None = None, name: str | None = None
    ) -> Result:
        """Say of an answer what the gallery's buttons say: "accept", "reject", "flag" (or not any
        more), "clear", or "correct" with a text.

        `row` counts from 0; `name` is the column of answers, the first where it is left out. Raises
        Blip2Error where there is no such row, column or action, or no picture.
        """
        self._check_row(row)
        self.reviews.act(target_of(self.board, row, self.board.place(name))(), action, text)
        return self

    def score(
        self,
        references: Any,
        name: str | None = None,
        *,
        rule: Rule = "vqa",
        spice: bool = False,
        seed: int = 0,
        expression: str = "",
    ) -> Score:
        """Score the model's own answers, corrections aside, once the run has ended.

        `references` is a column's name in the frame, or has for each row one text or several (a
        pandas Series is taken by its index); `name` is the column of answers, the first where it
        is left out. Captions are scored by CIDEr-D and the others, answers by VQA's accuracy, or
        with `rule="gqa"` by GQA's. The gallery then has each row's score as a column, the
        references beside the answers, the score's numbers and the reliability of the confidence
        above them, and shows the worst first. Raises Blip2Error as `wait`, and where there is
        nothing to score.
        """
        self.wait()
        board, at = self.board, self.board.place(name)
        rows = range(len(board))
        cells = [board.cell(row, at) for row in rows]
        texts, right = [cell.answer for cell in cells], rows_of(board.column, references)
        index = list(board.column.index)
        if board.prompts[at].kind == "caption":
            score = score_captions(texts, right, index=index, spice=spice, seed=seed)
        else:
            confidence = [None if c.logprob is None else math.exp(c.logprob) for c in cells]
            score = score_answers(
                texts, right, confidence=confidence, index=index, rule=rule, seed=seed
            )
        leading = score.metrics[0]
        found = dict(zip(score.places, leading.rows.tolist(), strict=True))

        def of_row(row: int) -> float | None:
            # What is answered since is another text, which nobody has scored.
            return found.get(row) if board.cell(row, at).answer == texts[row] else None

        board.references[at] = read_references(right)
        board.scored_by[at] = score_line(expression, rule, spice) if expression else ""
        others = len(board.prompts) > 1
        column = board.put(
            f"{leading.name} of {board.prompts[at].name}" if others else leading.name, of_row
        )
        self.gallery.catch_up()  # one that was shown before has no such column yet
        self.gallery.show_score(at, score)
        self.gallery.show(sort=f"column:{column}")
        return score

    def cancel(self) -> None:
        """Stop the run; what was answered stays."""
        self.board.cancel()

    def retry(self, on_error: str | None = None) -> Result:
        """Ask again what failed or was cancelled; of a stopped run, whatever it never came to.

        `on_error` as in `ask`, from now on, where it is given.
        """
        if on_error is not None:
            self._asking = dataclasses.replace(self._asking, raises=on_error == "raise")
        self.board.retry()
        return self

    def ask(self, row: int, prompt: str, name: str | None = None) -> Result:
        """Ask another question about one picture, in place of the one that stands there.

        `row` counts from 0 in the order shown; `name` is the column of answers (the first where
        it is left out). Raises Blip2Error where there is no such row or column.
        """
        self._check_row(row)
        self.board.ask(row, self.board.place(name), prompt)
        return self

    def _check_row(self, row: int) -> None:
        if not 0 <= row < len(self.board):
            raise Blip2Error(f"there is no row {row}; rows go from 0 to {len(self.board) - 1}")

    def _ipython_display_(self) -> None:
        if self._quiet_in is None or self._quiet_in != _cell_number():
            self.show()

    def _display_(self) -> Gallery:
        """What marimo shows at the end of a cell."""
        return self.gallery

    def show(self) -> None:
        """Display the gallery here, and for the saved notebook its static page.

        Where a program runs the notebook, that is when the run has ended: only then can both be
        complete, and the same every time.
        """
        if is_program() and self._started:
            with contextlib.suppress(Blip2Error):  # which `wait` tells
                while not self.board.wait(_TICK):
                    pass
        display(self._mimebundle(), raw=True)
        self._saved_page.show()

    def quiet(self) -> Result:
        """The same result, which shows nothing where the cell that runs now ends in it."""
        twin = copy.copy(self)
        twin._quiet_in = _cell_number()
        return twin

    def _mimebundle(self) -> dict[str, Any]:
        bundle: Any = self.gallery._repr_mimebundle_()
        data: dict[str, Any] = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        data["text/plain"] = repr(self)
        return data


def _is_marimo() -> bool:
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


def _cell_number() -> int | None:
    shell = get_ipython()
    return shell.execution_count if shell else None

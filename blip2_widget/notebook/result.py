"""What `%blip2 caption` and `ask` give back: one object for the gallery and the frames."""

from __future__ import annotations

import contextlib
import copy
import time
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from blip2_widget.data.frames import error_frame, long_frame, wide_frame
from blip2_widget.errors import Blip2Error
from blip2_widget.notebook.saved import SavedPage, is_program
from blip2_widget.run import Progress, Run

if TYPE_CHECKING:
    import pandas as pd

    from blip2_widget.notebook.gallery import Gallery

#: Seconds between looks at the interrupt while waiting.
_TICK = 0.1


class Result:
    """A run's answers, while they come and after.

    Shown at the end of a cell it is the gallery. `df` is the caller's frame with the answers
    that are there so far; `wait` first for all of them.
    """

    def __init__(
        self, run: Run, *, raises: bool = False, stored: bool = True, started: bool = True
    ) -> None:
        self.run = run
        self._started = started
        self._saved_page = SavedPage(run)
        self._raises = raises
        self._stored = stored
        self._quiet_in: int | None = None
        self._galleries: list[Gallery] = []

    def __repr__(self) -> str:
        # The same on every run and machine: saved notebooks are compared by it.
        what = ", ".join(prompt.name for prompt in self.run.prompts)
        count = len(self.run.column.values)
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        return f"{what} · {pictures} · {self.run.located.checkpoint.label}"

    @property
    def gallery(self) -> Gallery:
        """The widget, made when it is first shown; every view of it stays in step."""
        from blip2_widget.notebook.gallery import Gallery

        if not self._galleries:
            self._galleries.append(Gallery(self.run))
        return self._galleries[0]

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self.run.progress

    @property
    def df(self) -> pd.DataFrame:
        """The caller's frame (a copy) with a column of answers for each prompt."""
        return wide_frame(self.run)

    @property
    def answers(self) -> pd.DataFrame:
        """One line a row and prompt: what was asked, the answer, its state and origin."""
        return long_frame(self.run)

    @property
    def errors(self) -> pd.DataFrame:
        """The rows that failed, with what is wrong with each in one line."""
        return error_frame(self.run)

    def wait(self, timeout: float | None = None) -> Result:
        """Block until the run has ended, and return the result itself.

        An interrupt cancels the run and keeps what was answered. Raises Blip2Error where the run
        could not go on, after `timeout` seconds, or, with on_error="raise", where rows failed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self.run.wait(_TICK):
                if deadline is not None and time.monotonic() > deadline:
                    raise Blip2Error(f"the run has not ended within {timeout:g} s; it goes on")
        except KeyboardInterrupt:
            self.run.cancel()
            progress = self.run.progress
            again = "running the cell again" if self._stored else ".retry() on the result"
            raise Blip2Error(
                f"interrupted with {progress.done} of {progress.total} answers; they are kept, "
                f"and {again} goes on from there"
            ) from None
        if self._raises and len(self.errors):
            first = self.errors.iloc[0]
            raise Blip2Error(
                f"{len(self.errors)} of {self.run.progress.total} answers failed; the first, "
                f"{first['picture']}: {first['error']}"
            )
        return self

    def cancel(self) -> None:
        """Stop the run; what was answered stays."""
        self.run.cancel()

    def retry(self) -> Result:
        """Ask again what failed or was cancelled."""
        self.run.retry()
        return self

    def ask(self, row: int, prompt: str, name: str | None = None) -> Result:
        """Ask another question about one picture, in place of the one that stands there.

        `row` counts from 0 in the order shown; `name` is the column of answers (the first where
        it is left out). Raises Blip2Error where there is no such row or column.
        """
        if not 0 <= row < len(self.run.cells):
            raise Blip2Error(f"there is no row {row}; rows go from 0 to {len(self.run.cells) - 1}")
        columns = [each.name for each in self.run.prompts]
        if name is not None and name not in columns:
            raise Blip2Error(f"there is no column {name!r}; write one of {', '.join(columns)}")
        self.run.ask(row, columns.index(name) if name else 0, prompt)
        return self

    def _ipython_display_(self) -> None:
        if self._quiet_in is None or self._quiet_in != _cell_number():
            self.show()

    def show(self) -> None:
        """Display the gallery here, and for the saved notebook its static page.

        Where a program runs the notebook, that is when the run has ended: only then can both be
        complete, and the same every time.
        """
        if is_program() and self._started:
            with contextlib.suppress(Blip2Error):  # which `wait` tells
                while not self.run.wait(_TICK):
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


def _cell_number() -> int | None:
    shell = get_ipython()
    return shell.execution_count if shell else None

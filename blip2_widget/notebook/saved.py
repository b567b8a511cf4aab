"""What a saved notebook keeps of a gallery: the static page, as an output of its own.

It is no second form of the gallery's own output, for what was found by trying (JupyterLab 4.6): a
trusted notebook that is opened without its widgets shows "model not found" there and not the HTML;
with saved widget state it shows a gallery of empty tiles; and changing an output, which is how
answers get into it once they are there, draws a live gallery anew, so that what was scrolled to or
half typed is lost. The output beside it can change as it likes. The gallery's style sheet hides it
as long as the gallery lives.

nbval does not hear changes of outputs, and after a cell has ended nobody but a page does. So where
a program runs the notebook, which shows in that it lets cells ask for no input, the output comes
once, when the run has ended; and where a person does, it is changed when the run has ended.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from blip2_widget.notebook.snapshot import EMPTY_PAGE, settled, snapshot_html
from blip2_widget.run import Board, ReviewOf

#: Seconds from showing a gallery to its page, which the gallery hides once it is drawn; and from
#: a later change to the page with it.
_FIRST, _LATER = 2.0, 0.2
#: In how many places the page of one gallery is kept up to date.
_PLACES = 4

_log = logging.getLogger(__name__)


def is_program() -> bool:
    """Whether a program runs this notebook (nbconvert, nbval, papermill): nobody is watching."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    request = kernel.get_parent("shell") or {}
    return request.get("content", {}).get("allow_stdin") is False


class SavedPage:
    """A gallery's static page, in every place where the gallery was shown last."""

    def __init__(self, board: Board, review_of: ReviewOf) -> None:
        self._board = board
        self._review_of = review_of
        self._places: deque[Any] = deque(maxlen=_PLACES)
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._was_settled = False
        self._shown_at = 0.0

    def show(self) -> None:
        """Display the page here: finished if it can be, and else empty until it can."""
        if is_program():
            display(self._bundle(snapshot_html(self._board, self._review_of)), raw=True)
        elif _is_hidden_by_galleries():
            if not self._places:
                self._board.subscribe(self._look)
            self._places.append(display(self._bundle(EMPTY_PAGE), raw=True, display_id=True))
            self._shown_at = time.monotonic()
            self._was_settled = False
            self._look(())

    def reviewed(self) -> None:
        """Draw the page with what a person has just said, if it is drawn yet."""
        with self._lock:
            if self._places and self._was_settled:
                self._draw_soon()

    def _look(self, _rows: Iterable[int]) -> None:
        """Draw the page when all that it shows has come; also after a question asked later."""
        with self._lock:
            is_settled = settled(self._board)
            if is_settled and not self._was_settled:
                self._draw_soon()
            self._was_settled = is_settled

    def _draw_soon(self) -> None:
        if self._timer is None:
            first = self._shown_at + _FIRST - time.monotonic()
            self._timer = threading.Timer(max(first, _LATER), self._draw)
            self._timer.daemon = True
            self._timer.start()

    def _draw(self) -> None:
        with self._lock:
            self._timer = None
        try:
            bundle = self._bundle(snapshot_html(self._board, self._review_of))
            for place in tuple(self._places):
                place.update(bundle, raw=True)
        except Exception:  # a thread of our own, and the kernel may be closing
            _log.debug("the static page could not be shown", exc_info=True)

    def _bundle(self, html: str) -> dict[str, str]:
        return {"text/html": html, "text/plain": "(the gallery as a static page)"}


def _is_hidden_by_galleries() -> bool:
    """Whether the page is Jupyter's. VS Code and Colab, whose pages are built in other ways, would
    show it below the living gallery."""
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    return "google.colab" not in sys.modules and "__vsc_ipynb_file__" not in shell.user_ns

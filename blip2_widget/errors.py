"""The one error type a person at the notebook meets."""

from __future__ import annotations


class Blip2Error(Exception):
    """A mistake or a limit that the person at the notebook can act on.

    The message is one line: what is wrong, and what to write instead. IPython shows that line
    alone, without a traceback, and still counts the cell as failed (so nbval does too).
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]

"""The one error type a person at the notebook meets."""

from __future__ import annotations


class Blip2Error(Exception):
    """A mistake or a limit that the person at the notebook can act on.

    The message is one line: what is wrong, and what to write instead. IPython shows that line
    alone, without a traceback, and still counts the cell as failed (so nbval does too).
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def at_least_one(**counts: int | None) -> None:
    """Raise Blip2Error for a count that is given and below 1."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise Blip2Error(f"{name} must be at least 1, not {count}")

"""The lines that do in a cell what was done in a gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blip2_widget.notebook.line import options_written
from blip2_widget.run import Chats

if TYPE_CHECKING:
    from blip2_widget.api import Asking

#: What is said of a column's rows, for which a line about one picture has no use.
_OF_ROWS = ("n", "sample", "on_error")


def chat_line(asking: Asking, chats: Chats, row: int) -> str:
    """The line that has the conversation about a row's picture."""
    options = {name: value for name, value in asking.options.items() if name not in _OF_ROWS}
    return chats.code(row, _target(asking), options_written(options))


def _target(asking: Asking) -> str:
    return asking.expression or "images"

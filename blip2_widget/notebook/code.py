"""The lines that do in a cell what was done in a gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blip2_widget.notebook.line import options_written
from blip2_widget.run import Cell, Chats, Prompt, escaped, quoted

if TYPE_CHECKING:
    from blip2_widget.api import Asking

#: What is said of a column's rows, for which a line about one picture has no use.
_OF_ROWS = ("n", "sample", "on_error")


def answer_line(asking: Asking, prompt: Prompt, cell: Cell, row: int) -> str:
    """The line that asks all rows what was asked of this one under a prompt."""
    # What a person has asked one row in the prompt's place is no template.
    is_own = asking.text(prompt, row) != cell.prompt
    text = escaped(cell.prompt) if is_own else prompt.text
    words = ["%blip2", "caption" if cell.kind == "caption" else "ask", _target(asking)]
    words += [quoted(text)] if text else []
    return " ".join([*words, options_written(asking.options)]).rstrip()


def chat_line(asking: Asking, chats: Chats, row: int) -> str:
    """The line that has the conversation about a row's picture."""
    options = {name: value for name, value in asking.options.items() if name not in _OF_ROWS}
    return chats.code(row, _target(asking), options_written(options))


def _target(asking: Asking) -> str:
    return asking.expression or "images"

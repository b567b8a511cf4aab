"""The lines that do in a cell what was done in a gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blip2_widget.notebook.line import MEASURES, options_written
from blip2_widget.run import Cell, Chats, Measured, Prompt, columns_in, escaped, quoted

if TYPE_CHECKING:
    from blip2_widget.api import Asking
    from blip2_widget.scores import Rule

#: What is said of a column's rows, for which a line about one picture has no use.
_OF_ROWS = ("n", "sample", "on_error")


def answer_line(asking: Asking, prompt: Prompt, cell: Cell, row: int) -> str:
    """The line that asks all rows what was asked of this one under a prompt."""
    # What a person has asked one row in the prompt's place is no template.
    # Where there is no frame nobody knows what the template says here.
    has_frame = asking.column.frame is not None or not columns_in(prompt.text)
    is_own = has_frame and asking.text(prompt, row) != cell.prompt
    text = escaped(cell.prompt) if is_own else prompt.text
    words = ["%blip2", "caption" if cell.kind == "caption" else "ask", _target(asking)]
    words += [quoted(text)] if text else []
    return " ".join([*words, options_written(asking.options)]).rstrip()


def measure_line(asking: Asking, measured: Measured) -> str:
    """The line that measures all rows; empty where none can say what is searched for."""
    if measured.words is None:
        return ""
    known = {*MEASURES, "no_rerank"}
    options = {name: value for name, value in measured.options.items() if name in known}
    words = ["%blip2", measured.sub, _target(asking), *measured.words]
    return " ".join([*words, options_written(options)]).rstrip()


def score_line(references: str, rule: Rule, spice: bool) -> str:
    """The line that scores what was asked last against what an expression gives."""
    options = ({} if rule == "vqa" else {"rule": rule}) | ({"spice": True} if spice else {})
    return f"%blip2 score --refs {references} {options_written(options)}".rstrip()


def chat_line(asking: Asking, chats: Chats, row: int) -> str:
    """The line that has the conversation about a row's picture."""
    options = {name: value for name, value in asking.options.items() if name not in _OF_ROWS}
    return chats.code(row, _target(asking), options_written(options))


def _target(asking: Asking) -> str:
    return asking.expression or "images"

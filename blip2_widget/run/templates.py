"""Prompt templates: {column} is the row's value, {@name} a variable, {{ and }} are braces.

And how a prompt is written in a line of `%blip2`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable

from blip2_widget.errors import Blip2Error

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def columns_in(template: str) -> list[str]:
    """The columns a template names, in order and once each."""
    found = [m.group(1).strip() for m in _PIECE.finditer(template) if m.group(1) is not None]
    return list(dict.fromkeys(name for name in found if not name.startswith("@")))


def fill(template: str, value_of: Callable[[str], object]) -> str:
    """The template with every {field} replaced by `value_of(field)` and {{ }} made literal.

    A filled-in value is never read as a template again. Raises Blip2Error at a lone brace.
    """

    def replace(match: re.Match[str]) -> str:
        if match.group(0) in ("{{", "}}"):
            return match.group(0)[0]
        if match.group(1) is None:
            brace = match.group(0)
            raise Blip2Error(f"a lone {brace} in the prompt {template!r}; write {brace * 2} for it")
        return str(value_of(match.group(1).strip()))

    return _PIECE.sub(replace, template)


def escaped(text: str) -> str:
    """The template that is this text, braces and all."""
    return text.replace("{", "{{").replace("}", "}}")


def quoted(text: str) -> str:
    """A text in quotes, in one line whatever it holds."""
    return _LINE_ENDS.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False)
    )


#: What ends a line in Python's eyes and IPython's, and not in JSON's.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def no_such_column(name: str, columns: Iterable[object]) -> Blip2Error:
    """The error for a name that is no column, with the closest that is."""
    known = [str(column) for column in columns]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return Blip2Error(f"there is no column {name!r}; did you mean {close[0]!r}?")
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return Blip2Error(f"there is no column {name!r}; the columns are {listed or '(none)'}")

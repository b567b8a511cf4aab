"""Tab completion inside `%blip2` lines."""

from __future__ import annotations

from typing import get_args

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)
from IPython.core.getipython import get_ipython

from blip2_widget.errors import Blip2Error
from blip2_widget.formats import FORMATS
from blip2_widget.model import MIXED, NAMES, PRESETS, names
from blip2_widget.notebook.line import CLEARED, PARSER, SUBCOMMANDS, split
from blip2_widget.run import Method

_VALUES = {
    "-m": names,
    "--model": names,
    "--variant": lambda: ["auto", *NAMES, *MIXED],
    "--preset": lambda: list(PRESETS),
    "--display": lambda: ["widget", "table", "none"],
    "--method": lambda: list(get_args(Method)),
    "--format": lambda: list(FORMATS),
    "--kind": lambda: ["caption", "question"],
    "--on-error": lambda: ["null", "raise"],
}
_CACHE = ["stats", "path", "clear"]


@context_matcher()  # type: ignore[untyped-decorator]
def complete(context: CompletionContext) -> SimpleMatcherResult:
    """Sub-commands, options and their values, and a target's attributes; names are left to Python's
    own completion."""
    line = context.line_with_cursor[: context.cursor_position]
    try:
        words = split(line)
    except Blip2Error:  # inside a quote or a bracket: what stands there is the person's
        return {"completions": []}
    if not words or words[0] not in ("%blip2", "%%blip2"):
        return {"completions": []}
    token = "" if line.endswith(" ") else words.pop()
    offered = _offers(words[1:], token) if words else []
    matching = [each for each in offered if each.startswith(token)]
    # IPython replaces its own idea of the token, which begins behind a dash or a dot.
    skipped = len(token) - len(context.token) if token.endswith(context.token) else 0
    return {
        "completions": [SimpleCompletion(each[skipped:], type="param") for each in matching],
        "suppress": bool(matching),
    }


def _offers(before: list[str], token: str) -> list[str]:
    if not before:
        return list(SUBCOMMANDS)
    if before[-1] in ("-m", "--model") and before[0] in ("match", "search", "use", "unload"):
        return names("match") + (names() if before[0] in ("use", "unload") else [])
    if before[-1] in _VALUES:
        return list(_VALUES[before[-1]]())
    if token.startswith("-"):
        return [name for action in PARSER._actions for name in action.option_strings]
    if before[0] in ("caption", "ask", "chat", "map", "match", "search") and "." in token:
        # Jedi, which completes attributes elsewhere, does not know a magic's line as Python.
        shell = get_ipython()
        return shell.Completer.attr_matches(token) if shell else []
    if before[0] == "cache":
        return list(CLEARED) if before[-1] == "clear" else _CACHE
    return []

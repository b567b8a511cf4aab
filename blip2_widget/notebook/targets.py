"""What the words of a line mean in the notebook: columns with their frames, texts, variables."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images import column_names, column_of
from blip2_widget.run import escaped, fill, no_such_column

Namespace = Mapping[str, Any]


def target(expression: str, names: Namespace) -> tuple[Any, Any]:
    """A target's value, and the data frame it is a column of (None where it is of none).

    `df.image` is tried as an attribute and then as a column, since only pandas offers columns
    as attributes. Raises Blip2Error in one line, with close names where a column is misspelt.
    """
    tree = _parse(expression)
    base, name = _column_access(tree)
    if base is None or name is None:
        return _evaluate(expression, names), None
    frame = _evaluate(ast.unparse(base), names)
    columns = column_names(frame)
    if not columns:
        return _evaluate(expression, names), None
    if name in columns:
        return column_of(frame, name), frame
    if isinstance(tree, ast.Attribute) and hasattr(frame, name):
        return _evaluate(expression, names), None
    raise no_such_column(name, columns)


def texts(words: list[str], names: Namespace) -> list[str]:
    """The texts that words stand for: quoted ones, and names of a str or a list of str."""
    found: list[str] = []
    for word in words:
        try:
            value = _evaluate(word, names)
        except Blip2Error:
            bare = [each for each in words if each[0] not in "\"'"]
            raise Blip2Error(
                f"{word} is neither a text in quotes nor the name of one; "
                + (f'write "{" ".join(words)}"' if bare == words else "put it in quotes")
                + ", and of an option's list no space behind a comma" * (bare != words)
            ) from None
        several = [value] if isinstance(value, str) else value
        if not isinstance(several, list | tuple) or not all(isinstance(t, str) for t in several):
            raise Blip2Error(f"{word} is a {type(value).__name__}; give a str or a list of str")
        found.extend(several)
    return found


def with_variables(template: str, names: Namespace) -> str:
    """The template with {@name} replaced by variables; {column} and {{ }} stay for the rows."""

    def value_of(field: str) -> object:
        if not field.startswith("@"):
            return "{" + field + "}"
        return escaped(str(_evaluate(field[1:], names)))

    doubled = template.replace("{{", "{{{{").replace("}}", "}}}}")
    return fill(doubled, value_of)


def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise Blip2Error(
            f"{expression} is no Python expression; give a column such as df.image, "
            'or a path or glob in quotes: "photos/*.jpg"'
        ) from None


def _column_access(tree: ast.expr) -> tuple[ast.expr | None, str | None]:
    """The frame and the column of `frame.column` or `frame["column"]`."""
    if isinstance(tree, ast.Attribute):
        return tree.value, tree.attr
    if (
        isinstance(tree, ast.Subscript)
        and isinstance(tree.slice, ast.Constant)
        and isinstance(tree.slice.value, str)
    ):
        return tree.value, tree.slice.value
    return None, None


def _evaluate(expression: str, names: Namespace) -> Any:
    _parse(expression)
    try:
        return eval(expression, dict(names))
    except Blip2Error:
        raise
    except NameError as error:
        close = difflib.get_close_matches(error.name or "", names, n=1)
        hint = f"did you mean {close[0]}?" if close else "run the cell that makes it first"
        raise Blip2Error(f"{error}; {hint}") from None
    except Exception as error:
        raise Blip2Error(f"{expression} failed: {type(error).__name__}: {error}") from None

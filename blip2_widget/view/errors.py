"""Errors that name what is close to what was written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from blip2_widget.errors import Blip2Error


def unknown(what: str, name: str, known: Iterable[str]) -> Blip2Error:
    """The error for a name that is none of the known ones, with the closest of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return Blip2Error(f"there is no {what} {name!r}; did you mean {close[0]!r}?")
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return Blip2Error(f"there is no {what} {name!r}; there is {listed or '(none)'}")

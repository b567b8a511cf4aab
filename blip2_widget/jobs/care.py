"""Rows that kill whoever works on them are left out, so that no piece is begun for ever.

Whoever begins on a piece leaves a note. Who finds the note of one that never came back goes row by
row, and notes each before it is begun: a row at which two processes have died is given up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from blip2_widget.jobs.parts import Parts

Item = TypeVar("Item")
Done = TypeVar("Done")


def with_care(
    parts: Parts,
    name: str,
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], list[Done]],
    given_up: Callable[[Item], Done],
) -> list[Done]:
    """What `work` makes of the items, in their order; of those that are `given_up`, what that
    makes. `name` is that of the step and the piece."""
    note = parts.note(name)
    if note is None:
        parts.put_note(name, _as_note([], None))
        done = work(items)
    else:
        told = json.loads(note)
        died = [*told["died"], *([] if told["at"] is None else [told["at"]])]
        done = []
        for at, item in enumerate(items):
            if died.count(at) > 1:
                done.append(given_up(item))
                continue
            parts.put_note(name, _as_note(died, at))
            done += work([item])
    parts.drop_note(name)
    return done


def _as_note(died: list[int], at: int | None) -> str:
    return json.dumps({"died": died, "at": at})

"""Rows that kill whoever works on them are left out, so that no piece is begun for ever.

Whoever begins on a piece leaves a note. Who finds the note of one that never came back goes on in
some chunks, and in the chunk at which a second one died row by row, and notes each before it is
begun: a row at which two processes have died is given up. So a machine that was lost for another
reason costs a few notes, and a row that kills costs four processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from blip2_widget.jobs.parts import Parts

Item = TypeVar("Item")
Done = TypeVar("Done")

#: From which item to which, the last one left out.
_Range = tuple[int, int]


def with_care(
    parts: Parts,
    name: str,
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], list[Done]],
    given_up: Callable[[Item], Done],
) -> list[Done]:
    """What `work` makes of the items, in their order; of those that are `given_up`, what that
    makes. `name` is that of the step and the piece."""
    died = [(first, end) for first, end in json.loads(parts.note(name) or "[]")]
    done: list[Done] = []
    try:
        for first, end in chunks(len(items), died):
            if end - first == 1 and died.count((first, end)) > 1:
                done.append(given_up(items[first]))
                continue
            parts.put_note(name, json.dumps([*died, (first, end)]))
            done += work(items[first:end])
    finally:  # which a process that dies does not come to
        parts.drop_note(name)
    return done


def chunks(count: int, died: Sequence[_Range]) -> list[_Range]:
    """How `count` items are gone through where processes have died at some of them."""
    ranges = [(0, count)]
    for first, end in died:
        if (first, end) in ranges and end - first > 1:
            step = math.isqrt(count - 1) + 1 if (first, end) == (0, count) else 1
            at = ranges.index((first, end))
            ranges[at : at + 1] = [(k, min(k + step, end)) for k in range(first, end, step)]
    return ranges

"""Which row of a column a file means when it names a picture."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blip2_widget.formats.answers import clean
from blip2_widget.images import Column

#: How sure a match by the very path is; others are as sure as they have parts of it in common.
EXACT = 1_000_000

_FROM_A_ROOT = re.compile(r"/|[A-Za-z]:/|[A-Za-z][\w+.-]*://|~")


@dataclass(frozen=True)
class Match:
    """A row that a name means, and how sure that is."""

    row: int
    sure: int


class Matching:
    """The rows of a column by what may name them."""

    def __init__(self, column: Column, folder: Path) -> None:
        """`folder` is what relative paths in the file may start from."""
        self._folder = folder
        self._column = column
        self._by_address: dict[str, int] = {}
        self._by_path: dict[str, int] = {}
        #: By their last part, the first row of each place.
        self._by_name: dict[str, list[int]] = {}
        for row in range(len(column.values)):
            address = clean(column.address(row))
            if self._by_address.setdefault(address, row) != row:
                continue
            if "://" not in address:
                self._by_path.setdefault(_absolute(address), row)
            self._by_name.setdefault(clean(column.labels[row]), []).append(row)

    def find(self, names: Sequence[str]) -> Match | str:
        """The first row that one of the names means, or what is wrong with them.

        A name means the picture of that path, else the one with the longest end of a path in
        common, if nothing that both say of its folders speaks against that.
        """
        for name in names:
            row = self._by_address.get(name)
            if row is None and "://" not in name:
                row = self._by_path.get(_absolute(str(self._folder / name)))
            if row is not None:
                return Match(row, EXACT)
        for name in names:
            found = self._nearest(name)
            if found is not None:
                return found
        return "no picture of the column is called so"

    def _nearest(self, name: str) -> Match | str | None:
        parts = _parts(name)
        rows = self._by_name.get(parts[-1], []) if parts else []
        common = {row: self._common(name, parts, row) for row in rows}
        longest = max(common.values(), default=0)
        nearest = [row for row, length in common.items() if length == longest]
        if not longest:
            return None
        if len(nearest) > 1:
            return f"several pictures are called {'/'.join(parts[-longest:])}"
        return Match(nearest[0], longest)

    def _common(self, name: str, parts: list[str], row: int) -> int:
        """How many parts at the end a name and a row's path share; none where they differ."""
        address = clean(self._column.address(row))
        others = _parts(address)
        if others[-1:] != parts[-1:]:  # what has no path goes by its label
            others = parts[-1:]
        same = 0
        for one, other in zip(reversed(parts), reversed(others), strict=False):
            if one != other:
                break
            same += 1
        if same == min(len(parts), len(others)):
            return same
        # Where both begin at a root, the folders above may have moved, but not the picture's own.
        both = _FROM_A_ROOT.match(_slashes(name)) and _FROM_A_ROOT.match(_slashes(address))
        return same if both and same > 1 else 0


def _slashes(path: str) -> str:
    return path.replace("\\", "/")


def _parts(path: str) -> list[str]:
    return [part for part in _slashes(path).split("/") if part not in ("", ".", "..")]


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - without following links
    except (ValueError, RuntimeError):
        return path

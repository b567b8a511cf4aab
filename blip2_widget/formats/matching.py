"""Which row of a column a file means when it names a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from blip2_widget.formats.answers import clean
from blip2_widget.images import Column


class Matching:
    """The rows of a column by what may name them."""

    def __init__(self, column: Column, folder: Path) -> None:
        """`folder` is what relative paths in the file may start from."""
        self._folder = folder
        self._by_address: dict[str, int] = {}
        self._by_path: dict[str, int] = {}
        #: By their last part; None where pictures of two places are called so.
        self._by_name: dict[str, int | None] = {}
        places: dict[str, str] = {}
        for row in range(len(column.values)):
            address, label = clean(column.address(row)), clean(column.labels[row])
            self._by_address.setdefault(address, row)
            if "://" not in address:
                self._by_path.setdefault(_absolute(address), row)
            if places.setdefault(label, address) != address:
                self._by_name[label] = None
            else:
                self._by_name.setdefault(label, row)

    def find(self, names: Sequence[str]) -> int | str:
        """The first row that one of the names means, or what is wrong with them."""
        for name in names:
            row = self._by_address.get(name)
            if row is None and "://" not in name:
                row = self._by_path.get(_absolute(str(self._folder / name)))
            if row is not None:
                return row
        for name in names:
            last = name.replace("\\", "/").rpartition("/")[2]
            if last in self._by_name:
                row = self._by_name[last]
                return f"several pictures are called {last}" if row is None else row
        return "no picture of the column is called so"


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - without following links
    except (ValueError, RuntimeError):
        return path

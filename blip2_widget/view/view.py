"""What of a gallery's rows is shown, and in which order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from blip2_widget.errors import Blip2Error
from blip2_widget.view.colours import Bytes, colours
from blip2_widget.view.columns import FrameColumns
from blip2_widget.view.facets import facets
from blip2_widget.view.query import Query
from blip2_widget.view.rows import Rows
from blip2_widget.view.table import Order, Table
from blip2_widget.view.values import Ints, Texts


@dataclass(frozen=True)
class _State:
    """What is shown, all of one moment."""

    query: Query
    order: Order
    version: int
    error: str | None = None


class View:
    """A query over a gallery's rows and the rows it lets through.

    May be used on any thread. What it shows is read without waiting, also while another query is
    being done; `changed` never waits either. What has changed is taken up by the next `set` or
    `refresh`.
    """

    def __init__(self, rows: Rows, columns: FrameColumns | None = None) -> None:
        self.columns = FrameColumns(None) if columns is None else columns
        self._table = Table(rows, self.columns)
        self._lock = threading.RLock()
        self._state = _State(Query(), range(rows.count), 0)
        self._positions: tuple[Order, Ints] | None = None
        self._duplicates: dict[int, int] = {}

    # --- what is shown ----------------------------------------------------------------------------

    @property
    def query(self) -> Query:
        return self._state.query

    @property
    def order(self) -> Order:
        """The rows that are shown, by number."""
        return self._state.order

    @property
    def version(self) -> int:
        """Goes up whenever `order` becomes another."""
        return self._state.version

    @property
    def count(self) -> int:
        return len(self._state.order)

    @property
    def plain(self) -> bool:
        """Whether all rows are shown in their own order."""
        return isinstance(self._state.order, range)

    def shown(self) -> dict[str, Any]:
        """What is shown, as the page knows it."""
        state = self._state
        return {
            "version": state.version,
            "count": len(state.order),
            "plain": isinstance(state.order, range),
            "query": state.query.message(),
            "error": state.error,
        }

    def rows_at(self, start: int, stop: int) -> list[int]:
        """The rows at these positions; there may be fewer."""
        return self.version_and_rows_at(start, stop)[1]

    def version_and_rows_at(self, start: int, stop: int) -> tuple[int, list[int]]:
        """The rows at these positions and the version they are of."""
        state = self._state
        found = state.order[max(start, 0) : max(stop, 0)]
        return state.version, found.tolist() if isinstance(found, np.ndarray) else list(found)

    def position_of(self, row: int) -> int | None:
        """Where a row is shown, None where it is not."""
        order = self._state.order
        if isinstance(order, range):
            return row if row in order else None
        if not 0 <= row < self._table.count:
            return None
        positions = self._positions
        if positions is None or positions[0] is not order:
            places = np.full(self._table.count, -1, dtype=np.int32)
            places[order] = np.arange(len(order), dtype=np.int32)
            self._positions = positions = order, places
        at = int(positions[1][row])
        return None if at < 0 else at

    # --- what is to be shown ----------------------------------------------------------------------

    def set(self, query: Query | dict[str, Any]) -> None:
        """Show this. Raises Blip2Error, which `shown` tells too, where it cannot be done; what was
        shown before is then still shown."""
        with self._lock:
            try:
                parsed = query if isinstance(query, Query) else Query.parse(query)
                order = self._table.apply(parsed)
            except Blip2Error as error:
                self._state = replace(self._state, error=str(error))
                raise
            self._show(parsed, order)

    def refresh(self) -> bool:
        """Take up what has changed; whether other rows are shown now, or in another order."""
        with self._lock:
            before = self._state.version
            self._show(self._state.query, self._table.apply(self._state.query), self._state.error)
            return self._state.version != before

    def changed(self, rows: Iterable[int]) -> None:
        """These rows' answers, reviews or pictures may be others by now."""
        self._table.changed(rows)

    def _show(self, query: Query, order: Order, error: str | None = None) -> None:
        old = self._state
        if _are_same(order, old.order):
            self._state = _State(query, old.order, old.version, error)
        else:
            self._state = _State(query, order, old.version + 1, error)

    # --- what else is to be known -----------------------------------------------------------------

    @property
    def keys(self) -> list[str]:
        """Every key that can be filtered and sorted by."""
        return self._table.keys

    def facets(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """The values under these keys among the rows shown, as the page knows them."""
        return facets(self._table, keys, self._state.query)

    def colours(self, key: str) -> tuple[dict[str, Any], Bytes]:
        """What rows are coloured by under a key, as the page knows it, and a byte for each row."""
        return colours(self._table, key)

    def duplicates(self, row: int) -> int:
        """How many other rows hold the same picture, of those that are known."""
        if self._table.rows.picture_key(row) is None:
            return 0  # without counting all others, which the first rows on a page would wait for
        # Whoever sends rows must not wait for a search: they come again when their count changes.
        if not self._table.lock.acquire(blocking=False):
            return self._duplicates.get(row, 0)
        try:
            self._table.catch_up()
            pictures = self._table.pictures
            code = pictures.codes[row]
            count = int(pictures.totals[code]) - 1 if code else 0
        finally:
            self._table.lock.release()
        if count:
            self._duplicates[row] = count
        return count

    def warm(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Make ready what first searches and filters wait for; to be called on a thread of its own.

        Others who use the view meanwhile hardly wait.
        """
        self._table.search.build(should_stop)
        prompts = range(len(self._table.rows.prompts))
        for key in [f"{kind}:{at}" for at in prompts for kind in ("answer", "state", "confidence")]:
            if not should_stop():
                with self._table.lock:
                    values = self._table.values(key)
                    if isinstance(values, Texts):
                        values.rank()


def _are_same(one: Order, other: Order) -> bool:
    if isinstance(one, range) or isinstance(other, range):
        return isinstance(one, range) and isinstance(other, range)
    return np.array_equal(one, other)

"""The values under a key and how many rows have each, to choose filters by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from blip2_widget.view.query import Query
from blip2_widget.view.table import Table
from blip2_widget.view.values import Floats, Mask, Numbers

#: The most values that are told, and the bins of a histogram.
_MOST = 50
_BINS = 20


def facets(table: Table, keys: Iterable[str], query: Query) -> list[dict[str, Any]]:
    """A facet for each key, as the page knows it.

    Each is counted among the rows that pass the search and all filters but the key's own, so that
    it shows what another choice would give. Raises Blip2Error for no key.
    """
    with table.lock:
        table.catch_up()
        filtered = {each.key for each in query.filters}
        shown = table.mask(query)
        return [
            _facet(table, key, table.mask(query, without=key) if key in filtered else shown)
            for key in dict.fromkeys(keys)
        ]


def _facet(table: Table, key: str, rows: Mask | None) -> dict[str, Any]:
    values = table.values(key)
    facet = {"key": key, "label": table.label(key), "values": [], "bins": []}
    if isinstance(values, Numbers) and not values.are_few_whole():
        array = values.among(rows)
        finite = array[np.isfinite(array)]
        distinct = len(np.unique(finite))
        return facet | {"kind": "histogram", "distinct": distinct, "bins": _bins(finite)}
    found, distinct = values.frequent(rows, _MOST)
    counted = [{"value": value, "count": count} for value, count in found]
    return facet | {"kind": "values", "distinct": distinct, "values": counted}


def _bins(array: Floats) -> list[dict[str, Any]]:
    """Equal bins from the smallest number to the largest; one bin where all are the same."""
    if not len(array):
        return []
    low, high = float(array.min()), float(array.max())
    if low == high:
        return [{"min": low, "max": high, "count": len(array)}]
    share = np.linspace(0.0, 1.0, _BINS + 1)
    edges = low * (1 - share) + high * share  # no difference, which could be no number
    edges[0], edges[-1] = low, high
    counts, _ = np.histogram(array, edges)
    return [
        {"min": float(edges[at]), "max": float(edges[at + 1]), "count": int(counts[at])}
        for at in range(_BINS)
    ]

"""What every row is coloured by under a key: one byte a row, and what the bytes stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blip2_widget.view.table import Table
from blip2_widget.view.values import Numbers

#: The most values that have a colour of their own; rows with others, and with none, share one each.
MOST = 8
OTHERS, NONE = 254, 255
#: Numbers are told from the smallest, 0, to the largest.
_STEPS = 253

Bytes = NDArray[np.uint8]


def colours(table: Table, key: str) -> tuple[dict[str, Any], Bytes]:
    """The most frequent values of all rows, or how far numbers reach, and each row's byte.

    A byte is a place in `values`, or of numbers a share of their range from 0 to 253; 254 is any
    other value and 255 none. Raises Blip2Error for no key.
    """
    with table.lock:
        table.catch_up()
        values = table.values(key)
        label = table.label(key)
        if isinstance(values, Numbers) and not values.are_few_whole():
            return _ramp(values, label)
        found, _ = values.frequent(None, MOST + 1)
        named = [value for value, _ in found if value][:MOST]
        codes = np.full(table.count, OTHERS, np.uint8)
        codes[values.passing([""])] = NONE
        for at in reversed(range(len(named))):  # where a row has several, its most frequent one
            codes[values.passing([named[at]])] = at
    others = int((codes == OTHERS).sum())
    return {"label": label, "values": named, "others": others, "min": None, "max": None}, codes


def _ramp(values: Numbers, label: str) -> tuple[dict[str, Any], Bytes]:
    array = values.array
    is_finite = np.isfinite(array)
    codes = np.full(len(array), NONE, np.uint8)
    legend: dict[str, Any] = {"label": label, "values": [], "others": 0, "min": None, "max": None}
    if not is_finite.any():
        return legend, codes
    low, high = float(array[is_finite].min()), float(array[is_finite].max())
    # Halved, since the distance of two numbers may be none.
    span = max(high / 2 - low / 2, np.finfo(np.float64).tiny)
    codes[is_finite] = np.rint(_STEPS * ((array[is_finite] / 2 - low / 2) / span))
    return legend | {"min": low, "max": high}, codes

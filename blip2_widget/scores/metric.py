"""One metric over rows, kept so that it can be computed of any of them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: From what is summed over some rows, shape (…, k), to the score of these rows, shape (…).
OfSums = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The `OfSums` of a score that is the mean of its rows: of sums of (score, 1)."""
    return sums[..., 0] / sums[..., 1]


@dataclass(frozen=True)
class Metric:
    """A metric's value over rows, each row's own, and what it sums over rows.

    `of_sums` makes the value of the sum of `statistics`, shape (rows, k): a mean's are the score
    and 1, BLEU's are counts of words.
    """

    name: str
    value: float
    rows: NDArray[np.float64]
    statistics: NDArray[np.float64]
    of_sums: OfSums = mean

    @classmethod
    def mean_of(cls, name: str, rows: NDArray[np.float64]) -> Metric:
        """The metric that is the mean of its rows, of which there is at least one."""
        return cls(name, float(rows.mean()), rows, np.stack([rows, np.ones_like(rows)], axis=1))

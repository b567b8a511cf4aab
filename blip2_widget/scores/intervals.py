"""How sure a score is: bootstrap intervals of any metric over rows, and Wilson's of a share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from blip2_widget.scores.metric import OfSums, mean

LEVEL: Final = 0.95
RESAMPLES: Final = 1000

#: Weights of rows that are held at a time.
_AT_A_TIME: Final = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds of its interval, which are NaN where there are too few rows."""

    value: float
    low: float
    high: float


def bootstrap(
    statistics: NDArray[np.float64],
    of_sums: OfSums = mean,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The percentile bootstrap (Efron 1979) of a score over rows.

    `statistics`, shape (rows, k), is what the score sums over rows, so that a score of the whole,
    such as BLEU, is resampled as exactly as a mean. The same seed draws the same rows for every
    score of as many rows.
    """
    return _interval(_resampled(statistics, of_sums, resamples, seed), level)


def paired_difference(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    of_sums: OfSums = mean,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """How much higher the second score is than the first, on the same rows in the same order.

    Both are resampled with the same rows, so that what is hard in a row counts for both (the
    paired bootstrap, Koehn 2004). An interval without 0 is a difference that rows alone do not
    explain.
    """
    first = _resampled(one, of_sums, resamples, seed)
    second = _resampled(other, of_sums, resamples, seed)
    return _interval(second - first, level)


def wilson(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """The score interval of a share (Wilson 1927), which holds for few rows and near 0 and 1 too.

    Without trials all is NaN.
    """
    if not trials:
        return Interval(math.nan, math.nan, math.nan)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / trials
    middle = share + z * z / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Rounding must not put the bounds of 0 and of all beside themselves.
    low = 0.0 if successes == 0 else (middle - reach) / scale
    high = 1.0 if successes == trials else (middle + reach) / scale
    return Interval(share, low, high)


def _resampled(
    statistics: NDArray[np.float64], of_sums: OfSums, resamples: int, seed: int
) -> NDArray[np.float64]:
    """The score itself, and that of each resample; none where rows are too few to draw from."""
    rows = len(statistics)
    sums = [statistics.sum(axis=0, keepdims=True)]
    if rows > 1:
        sums += [weights @ statistics for weights in _weights(rows, resamples, seed)]
    return of_sums(np.concatenate(sums))


def _weights(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each row is drawn in each resample, a few resamples at a time."""
    generator = np.random.default_rng(seed)
    step = max(1, _AT_A_TIME // rows)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = generator.integers(0, rows, (count, rows))
        places = drawn + rows * np.arange(count)[:, None]
        counted = np.bincount(places.ravel(), minlength=count * rows)
        yield counted.reshape(count, rows).astype(np.float64)


def _interval(found: NDArray[np.float64], level: float) -> Interval:
    """Of a score and its resamples."""
    value, drawn = float(found[0]), found[1:]
    if not len(drawn):
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return Interval(value, float(low), float(high))

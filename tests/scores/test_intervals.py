"""Intervals: Wilson's by its published values, the bootstrap by what it must cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from blip2_widget.scores import bootstrap, paired_difference, wilson
from blip2_widget.scores.metric import Metric


def statistics(rows: list[float] | np.ndarray) -> np.ndarray:
    return Metric.mean_of("mean", np.asarray(rows, np.float64)).statistics


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_is_as_published(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)
    assert found.value == successes / trials
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_is_unknown() -> None:
    found = wilson(0, 0)
    assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.high)


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_has_it() -> None:
    rows = np.random.default_rng(1).normal(0.5, 0.1, 400)
    found = bootstrap(statistics(rows), resamples=4000)
    half = 1.96 * rows.std() / math.sqrt(len(rows))
    assert found.value == pytest.approx(rows.mean())
    assert found.low == pytest.approx(rows.mean() - half, abs=half / 10)
    assert found.high == pytest.approx(rows.mean() + half, abs=half / 10)


def test_a_seed_repeats_it_however_many_rows_are_held_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from blip2_widget.scores import intervals

    rows = statistics(np.random.default_rng(2).random(50))
    found = bootstrap(rows, seed=3)
    assert bootstrap(rows, seed=3) == found != bootstrap(rows, seed=4)
    monkeypatch.setattr(intervals, "_AT_A_TIME", 120)
    assert bootstrap(rows, seed=3) == found


def test_few_rows_have_a_value_and_no_interval() -> None:
    found = bootstrap(statistics([0.5]))
    assert found.value == 0.5 and math.isnan(found.low) and math.isnan(found.high)


def test_a_ratio_of_sums_is_resampled_as_one() -> None:
    """Not the mean of the rows' ratios: 11 of 20 are right, whatever the rows."""
    counts = np.array([[1.0, 10.0], [10.0, 10.0]] * 50)
    found = bootstrap(counts, lambda sums: sums[..., 0] / sums[..., 1])
    assert found.value == 0.55 and 0.4 < found.low < 0.55 < found.high < 0.7


def test_a_difference_is_between_the_same_rows() -> None:
    """Rows differ much, variants little: only rows taken together show it."""
    rows = np.random.default_rng(5).random(200)
    found = paired_difference(statistics(rows), statistics(rows - 0.01))
    assert found.value == pytest.approx(-0.01)
    assert found.low == pytest.approx(-0.01) and found.high == pytest.approx(-0.01)
    alone = bootstrap(statistics(rows))
    assert alone.high - alone.low > 0.05

"""Reliability curves, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.scores import reliability


def test_bins_of_equal_width_and_what_they_sum_up_to() -> None:
    curve = reliability([0.1, 0.3, 0.5, 0.9, 1.0], [0, 1, 0.5, 1, 1], bins=2)
    assert curve.low.tolist() == [0, 0.5] and curve.high.tolist() == [0.5, 1]
    assert curve.count.tolist() == [2, 3]  # 0.5 is in the bin above it
    assert curve.confidence.tolist() == pytest.approx([0.2, 0.8])
    assert curve.correct.tolist() == pytest.approx([0.5, 2.5 / 3])
    assert curve.ece == pytest.approx(2 / 5 * 0.3 + 3 / 5 * (2.5 / 3 - 0.8))
    assert curve.brier == pytest.approx((0.01 + 0.49 + 0 + 0.01 + 0) / 5)
    assert list(curve.frame.columns) == ["low", "high", "count", "confidence", "correct"]


def test_bins_of_equal_count_follow_the_answers() -> None:
    curve = reliability([0.9, 0.99, 0.2, 0.95], [1, 1, 0, 0], bins=2, equal="count")
    assert curve.count.tolist() == [2, 2]
    assert curve.low.tolist() == [0.2, 0.95] and curve.high.tolist() == [0.9, 0.99]
    assert curve.correct.tolist() == [0.5, 0.5]
    assert len(reliability([0.5], [1], equal="count").count) == 1


def test_confident_and_right_is_calibrated_and_empty_bins_cost_nothing() -> None:
    curve = reliability([1.0, 1.0, 0.0], [1, 1, 0])
    assert curve.ece == 0 and curve.brier == 0 and np.isnan(curve.correct[4])


@pytest.mark.parametrize(
    ("confidence", "correct", "said"),
    [
        ([-0.3], [1], r"confidence must be from 0 to 1; take exp\(logprob\)"),
        ([float("nan")], [1], "confidence must be from 0 to 1"),
        ([0.5], [2], "correct must be from 0 to 1"),
        ([], [], "calibration needs answers"),
        ([0.5, 0.5], [1], "calibration needs answers"),
    ],
)
def test_what_is_no_confidence_is_told(
    confidence: list[float], correct: list[float], said: str
) -> None:
    with pytest.raises(Blip2Error, match=said):
        reliability(confidence, correct)


def test_the_curve_is_drawn_where_matplotlib_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    axes = reliability([0.1, 0.9], [0, 1], bins=2).plot()
    assert axes.lines[1].get_xydata().tolist() == [[0.1, 0], [0.9, 1]]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Blip2Error, match="a plot needs matplotlib; pip install"):
        reliability([0.1], [0]).plot()

"""Whether a confidence means what it says: of answers at 80 %, are 80 % right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from blip2_widget.errors import Blip2Error, at_least_one

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reliability:
    """A reliability curve and what it sums up to.

    `low` and `high` bound each bin's confidences; `count`, `confidence` and `correct` are how many
    answers it has, their mean confidence and how many of them are right, from 0 to 1. A bin
    without answers has NaN for both.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.float64]
    #: Expected calibration error (Naeini et al. 2015): the mean distance between a bin's confidence
    #: and its share of right answers, weighted by its answers. 0 is calibrated.
    ece: float
    #: The mean squared distance between confidence and correctness (Brier 1950). 0 is best.
    brier: float

    @property
    def frame(self) -> pd.DataFrame:
        """The curve, one line a bin."""
        import pandas as pd

        names = ("low", "high", "count", "confidence", "correct")
        return pd.DataFrame({name: getattr(self, name) for name in names})

    def plot(self, axes: Any = None) -> Any:
        """Draw the curve beside the diagonal on matplotlib's `axes` (new ones without), and
        return them. Raises Blip2Error where matplotlib is not installed."""
        try:
            from matplotlib import pyplot
        except ModuleNotFoundError:
            raise Blip2Error(
                "a plot needs matplotlib; pip install 'blip2-widget[scores]'"
            ) from None
        if axes is None:
            _, axes = pyplot.subplots(figsize=(4, 4))
        some = self.count > 0
        axes.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle="--")
        axes.plot(self.confidence[some], self.correct[some], marker="o")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right")
        axes.set_title(f"ECE {self.ece:.3f} · Brier {self.brier:.3f}")
        return axes


def reliability(
    confidence: Sequence[float] | NDArray[np.float64],
    correct: Sequence[float] | NDArray[np.float64],
    *,
    bins: int = 10,
    equal: Literal["width", "count"] = "width",
) -> Reliability:
    """The curve of answers with a confidence and a correctness, both from 0 to 1.

    Bins have equal width, or an equal count of answers, which tells more where nearly all answers
    are confident. Raises Blip2Error where there are no answers, or numbers out of range.
    """
    at_least_one(bins=bins)
    said, right = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if said.shape != right.shape or said.ndim != 1 or not len(said):
        raise Blip2Error(
            "calibration needs answers, and for each a confidence and whether it is correct"
        )
    for name, values in (("confidence", said), ("correct", right)):
        if not ((values >= 0) & (values <= 1)).all():
            raise Blip2Error(f"{name} must be from 0 to 1; take exp(logprob) of a log-probability")
    if equal == "width":
        edges = np.linspace(0, 1, bins + 1)
        # A confidence on an edge belongs to the bin above it, and 1 to the last.
        place = np.minimum(np.searchsorted(edges, said, side="right") - 1, bins - 1)
        low, high = edges[:-1], edges[1:]
    else:
        place = np.empty(len(said), np.int64)
        parts = np.array_split(np.argsort(said, kind="stable"), min(bins, len(said)))
        for number, part in enumerate(parts):
            place[part] = number
        low = np.array([said[part].min() for part in parts])
        high = np.array([said[part].max() for part in parts])
    count = np.bincount(place, minlength=len(low))
    with np.errstate(invalid="ignore"):  # of bins without answers
        mean_said = np.bincount(place, said, len(low)) / count
        mean_right = np.bincount(place, right, len(low)) / count
    some = count > 0
    ece = float((count[some] * np.abs(mean_said - mean_right)[some]).sum() / len(said))
    brier = float(np.square(said - right).mean())
    return Reliability(low, high, count, mean_said, mean_right, ece, brier)

"""How good answers are: scores against references, with intervals, and calibration."""

from blip2_widget.scores.calibration import Reliability, reliability
from blip2_widget.scores.intervals import Interval, bootstrap, paired_difference, wilson
from blip2_widget.scores.metric import Metric
from blip2_widget.scores.references import read_references, read_texts
from blip2_widget.scores.score import Rule, Score, score_answers, score_captions
from blip2_widget.scores.vqa import exact_match, gqa_accuracy, normalise, vqa_accuracy

__all__ = [
    "Interval",
    "Metric",
    "Reliability",
    "Rule",
    "Score",
    "bootstrap",
    "exact_match",
    "gqa_accuracy",
    "normalise",
    "paired_difference",
    "read_references",
    "read_texts",
    "reliability",
    "score_answers",
    "score_captions",
    "vqa_accuracy",
    "wilson",
]

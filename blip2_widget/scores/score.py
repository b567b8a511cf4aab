"""Scores of a column of answers or captions against references: what the numbers are, how sure
they are, and which rows are worst."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from blip2_widget.errors import Blip2Error
from blip2_widget.scores import captions as of_captions
from blip2_widget.scores.calibration import Reliability, reliability
from blip2_widget.scores.intervals import RESAMPLES, Interval, bootstrap, paired_difference, wilson
from blip2_widget.scores.metric import Metric, mean
from blip2_widget.scores.references import read_references, read_texts
from blip2_widget.scores.vqa import (
    ANNOTATORS,
    exact_match,
    gqa_accuracy,
    most_common,
    normalise,
    vqa_accuracy,
    without_punctuation,
)

if TYPE_CHECKING:
    import pandas as pd

#: By which rule answers are right: VQA's, which is OK-VQA's too, or GQA's.
Rule = Literal["vqa", "gqa"]

#: Texts that have a line or column of their own in the confusion table. The others' name cannot
#: be a normalised answer's.
_CONFUSED: Final = 20
_OTHERS: Final = "(others)"
_WORST: Final = 5


def score_answers(
    answers: Any,
    references: Any,
    *,
    confidence: Any = None,
    index: Sequence[object] | None = None,
    rule: Rule = "vqa",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """Score answers to questions: VQA's accuracy (or GQA's) and exact match.

    `references` has for each answer one text, several (ten annotators' in VQA), or VQAv2's
    `[{"answer": …}]`. `confidence` is each answer's probability, for `.reliability`; `index` are
    the rows' names in `.rows`. Rows without an answer or a reference are left out and counted.

    Raises Blip2Error where no row is left, or where the columns differ in length.
    """
    kept = _Kept.of(answers, references, index)
    accuracy, name = (
        (gqa_accuracy, "GQA accuracy") if rule == "gqa" else (vqa_accuracy, "VQA accuracy")
    )
    pairs = list(zip(kept.texts, kept.references, strict=True))
    metrics = [
        Metric.mean_of(name, np.array([accuracy(*pair) for pair in pairs])),
        Metric.mean_of("exact match", np.array([exact_match(*pair) for pair in pairs])),
    ]
    of_vqa = all(len(each) >= ANNOTATORS for each in kept.references)
    notes = [*kept.notes, *(_notes_of_vqa(kept.references) if rule == "vqa" else ())]
    said = None if confidence is None else _confidence(confidence, kept)
    return Score(
        "answer",
        tuple(metrics),
        kept.places,
        kept.index,
        kept.texts,
        kept.references,
        tuple(notes),
        comparable=rule == "gqa" or of_vqa,
        confidence=said,
        resamples=resamples,
        seed=seed,
    )


def score_captions(
    captions: Any,
    references: Any,
    *,
    index: Sequence[object] | None = None,
    spice: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """Score captions: CIDEr-D, BLEU-1 to 4, ROUGE-L, and with Java METEOR and, if asked, SPICE.

    `references` has for each caption one text, several (five in COCO), or COCO's
    `[{"caption": …}]`. CIDEr-D weighs words by how rare they are in the references of the rows
    scored, so it says little of few rows. Rows without a caption or a reference are left out and
    counted.

    Raises Blip2Error where no row is left, where the columns differ in length, and where
    pycocoevalcap is not installed.
    """
    kept = _Kept.of(captions, references, index)
    tokens = of_captions.tokenize(kept.texts, kept.references)
    wordless = [at for at, each in enumerate(tokens.references) if not any(each)]
    if wordless:  # references of punctuation alone; CIDEr-D cannot do without a word
        kept = kept.without(wordless)
        tokens = of_captions.tokenize(kept.texts, kept.references)
    metrics, left_out = of_captions.measure(tokens, spice=spice)
    comparable = tokens.tokenizer == of_captions.JAVA_TOKENIZER
    rows = _count(len(kept.texts), "row")
    notes = [
        *kept.notes,
        *tokens.notes,
        f"words by {tokens.tokenizer}: "
        + ("as COCO's published scores" if comparable else "not to be compared with COCO's scores"),
        f"CIDEr-D's document frequencies are those of the {rows} scored; "
        "it compares with scores of the same rows",
        *left_out,
    ]
    return Score(
        "caption",
        tuple(metrics),
        kept.places,
        kept.index,
        kept.texts,
        kept.references,
        tuple(notes),
        comparable=comparable,
        tokenizer=tokens.tokenizer,
        resamples=resamples,
        seed=seed,
    )


@dataclass(frozen=True, repr=False, eq=False)
class Score:
    """What `score_answers` and `score_captions` found.

    `metrics`, the leading one first, are of the rows that have a text and a reference; `places`
    are these rows' numbers in the column. `text` says what was scored, `comparable` whether it
    was as published figures are, and `tokenizer` how captions were cut into words.
    """

    text: Literal["answer", "caption"]
    metrics: tuple[Metric, ...]
    places: tuple[int, ...]
    index: tuple[object, ...]
    texts: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    comparable: bool
    tokenizer: str | None = None
    confidence: NDArray[np.float64] | None = None
    resamples: int = RESAMPLES
    seed: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        width = max(len(metric.name) for metric in self.metrics)
        lines = [f"  {name:{width}}  {told}" for name, told in self._told]
        return "\n".join([self._heading, *lines, *(f"  {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        leading = self.metrics[0].name
        worst = self.rows.head(_WORST)
        rows = [
            (row, text, " · ".join(dict.fromkeys(references)), f"{value:.3f}")
            for row, text, references, value in zip(
                worst["row"], worst[self.text], worst["references"], worst[leading], strict=True
            )
        ]
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f"<div><p>{html.escape(self._heading)}</p>"
            f"{_table(('metric', 'value [95 % interval]'), self._told)}<ul>{notes}</ul>"
            f"<p>worst first</p>{_table(('row', self.text, 'references', leading), rows)}</div>"
        )

    @property
    def _heading(self) -> str:
        return f"scores of {_count(len(self), self.text)}"

    @property
    def _told(self) -> list[tuple[str, str]]:
        """Each metric's name, and its value with its interval."""
        metrics = zip(self.metrics, self.intervals, strict=True)
        return [(metric.name, _told(interval)) for metric, interval in metrics]

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Each metric's value with its 95 % interval over rows."""
        return tuple(map(self._interval, self.metrics))

    def _interval(self, metric: Metric) -> Interval:
        """By the bootstrap; where all rows are right, or none is, from which it could draw nothing
        else, Wilson's."""
        right, count = metric.rows.sum(), len(metric.rows)
        if metric.of_sums is mean and set(metric.rows) in ({0.0}, {1.0}) and self.text != "caption":
            return wilson(round(right), count)
        return bootstrap(
            metric.statistics, metric.of_sums, resamples=self.resamples, seed=self.seed
        )

    @property
    def summary(self) -> pd.DataFrame:
        """One line a metric: its name, value, 95 % interval and how many rows it is of."""
        import pandas as pd

        lines = [
            (metric.name, metric.value, interval.low, interval.high, len(self))
            for metric, interval in zip(self.metrics, self.intervals, strict=True)
        ]
        return pd.DataFrame(lines, columns=["metric", "value", "low", "high", "n"])

    @property
    def rows(self) -> pd.DataFrame:
        """One line a row, with its score in each metric: the worst of the leading one first."""
        import pandas as pd

        columns: dict[str, object] = {
            "row": pd.Series(self.index, dtype=object),
            self.text: self.texts,
            "references": [list(each) for each in self.references],
        }
        if self.confidence is not None:
            columns["confidence"] = self.confidence
        columns |= {metric.name: metric.rows for metric in self.metrics}
        worst = np.argsort(self.metrics[0].rows, kind="stable")
        return pd.DataFrame(columns).iloc[worst].reset_index(drop=True)

    @property
    def confusion(self) -> pd.DataFrame:
        """How often each reference (lines: what most annotators say) got each answer (columns),
        both normalised, the most frequent first; beyond 20 they are "(others)".

        Raises Blip2Error for captions, hardly two of which are equal.
        """
        import pandas as pd

        if self.text == "caption":
            raise Blip2Error("captions have no confusion table; .rows has each one's score")
        right = _frequent(most_common(each) for each in self.references)
        said = _frequent(normalise(text) for text in self.texts)
        table = pd.crosstab(pd.Series(right, name="reference"), pd.Series(said, name="answer"))
        return table.reindex(index=_by_count(right), columns=_by_count(said))

    @property
    def reliability(self) -> Reliability:
        """The curve of confidence against the leading metric; Blip2Error without confidences."""
        if self.confidence is None or self.text == "caption":
            raise Blip2Error("calibration is of answers with a confidence; give confidence=…")
        known = ~np.isnan(self.confidence)
        return reliability(self.confidence[known], self.metrics[0].rows[known])

    def plot(self, axes: Any = None) -> Any:
        """Draw the reliability curve on matplotlib's `axes`, and return them."""
        return self.reliability.plot(axes)

    def against(self, other: Score) -> pd.DataFrame:
        """How much higher another score of the same column is, by metric, on the rows both have.

        One line a metric: both values, their difference and its 95 % interval by the paired
        bootstrap. Raises Blip2Error where they share no row or metric.
        """
        import pandas as pd

        shared = sorted(set(self.places) & set(other.places))
        theirs = {metric.name: metric for metric in other.metrics}
        pairs = [(each, theirs[each.name]) for each in self.metrics if each.name in theirs]
        ours, others = (dict(zip(s.places, s.references, strict=True)) for s in (self, other))
        if any(ours[place] != others[place] for place in shared):
            raise Blip2Error("these are scored against different references; score both by one")
        if not shared or not pairs:
            raise Blip2Error("these scores share no row and metric; score the same column in both")
        mine, yours = _numbers(self.places, shared), _numbers(other.places, shared)
        lines = []
        for one, two in pairs:
            first, second = one.statistics[mine], two.statistics[yours]
            found = paired_difference(
                first, second, one.of_sums, resamples=self.resamples, seed=self.seed
            )
            values = one.of_sums(np.stack([first.sum(axis=0), second.sum(axis=0)]))
            lines.append((one.name, *values, found.value, found.low, found.high, len(shared)))
        return pd.DataFrame(
            lines, columns=["metric", "one", "other", "difference", "low", "high", "n"]
        )


@dataclass(frozen=True)
class _Kept:
    """The rows that can be scored, and what to know of those that cannot."""

    total: int
    places: tuple[int, ...]
    index: tuple[object, ...]
    texts: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, texts: Any, references: Any, index: Sequence[object] | None) -> _Kept:
        said, right = read_texts(texts), read_references(references)
        names = range(len(said)) if index is None else list(index)
        if not len(said) == len(right) == len(names):
            raise Blip2Error(
                f"{len(said)} answers, {len(right)} references and {len(names)} names do not go "
                "together; give each answer a reference, or a list of them"
            )
        silent = sum(text is None for text in said)
        unknown = sum(text is not None and not refs for text, refs in zip(said, right, strict=True))
        kept = [
            (place, text, tuple(refs))
            for place, (text, refs) in enumerate(zip(said, right, strict=True))
            if text is not None and refs
        ]
        if not kept:
            raise Blip2Error(
                "no row has both an answer and a reference; references are a column of texts, of "
                'lists of texts, or of VQA\'s [{"answer": "…"}]'
            )
        notes = [
            f"{_count(count, 'row')} without {what} left out"
            for count, what in ((silent, "an answer"), (unknown, "a reference"))
            if count
        ]
        places, kept_texts, kept_references = zip(*kept, strict=True)
        kept_names = tuple(names[at] for at in places)
        return cls(len(said), places, kept_names, kept_texts, kept_references, tuple(notes))

    def without(self, rows: Sequence[int]) -> _Kept:
        """All but some of the kept rows, whose references have no words."""
        left = [at for at in range(len(self.places)) if at not in set(rows)]
        if not left:
            raise Blip2Error("no reference has a word in it; give captions to compare with")
        return _Kept(
            self.total,
            tuple(self.places[at] for at in left),
            tuple(self.index[at] for at in left),
            tuple(self.texts[at] for at in left),
            tuple(self.references[at] for at in left),
            (*self.notes, f"{_count(len(rows), 'row')} whose references have no word left out"),
        )


def _confidence(values: Any, kept: _Kept) -> NDArray[np.float64]:
    """The confidences of the kept rows, NaN where there is none."""
    import pandas as pd

    said = pd.to_numeric(pd.Series(list(values), dtype=object), errors="coerce")
    if len(said) != kept.total:
        raise Blip2Error(
            f"there are {len(said)} confidences for {kept.total} answers; give each one"
        )
    return said.to_numpy(np.float64, na_value=np.nan)[list(kept.places)]


def _notes_of_vqa(references: Sequence[Sequence[str]]) -> Iterable[str]:
    fewer = sum(len(each) < ANNOTATORS for each in references)
    if fewer:
        yield (
            f"{_count(fewer, 'row')} of fewer than ten references: with n of them an "
            "answer has to agree with min(3, n - 1), and with 1 it has to equal that; not to be "
            "compared with VQA's scores"
        )
    raw = sum(
        any(normalise(text).split() != without_punctuation(text).split() for text in each)
        for each in references
        if len(each) >= ANNOTATORS
    )
    if raw:
        yield (
            f"{_count(raw, 'row')} of ten references with capitals, articles or number words in "
            "them: VQA's rule takes these as they are and misses them, exact match does not"
        )


def _frequent(texts: Iterable[str]) -> list[str]:
    """The same, but for those beyond the most frequent."""
    every = list(texts)
    names = {text for text, _ in Counter(every).most_common(_CONFUSED)}
    return [text if text in names else _OTHERS for text in every]


def _by_count(texts: Sequence[str]) -> list[str]:
    """Each text once, the most frequent first, the others last."""
    counts = Counter(texts)
    return sorted(counts, key=lambda text: (text == _OTHERS, -counts[text], text))


def _numbers(places: Sequence[int], wanted: Sequence[int]) -> list[int]:
    numbers = {place: number for number, place in enumerate(places)}
    return [numbers[place] for place in wanted]


def _told(interval: Interval) -> str:
    bounds = "" if np.isnan(interval.low) else f"  [{interval.low:.3f}, {interval.high:.3f}]"
    return f"{interval.value:.3f}{bounds}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    lines = (
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"

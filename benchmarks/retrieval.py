"""Recall of captions by pictures and of pictures by captions, as LAVIS counts it.

The candidates of each are the nearest by similarity. Their order is that of the vote for a match
plus the similarity, and whatever is no candidate comes behind them (`compute_sim_matrix` in
lavis/models/blip2_models/blip2.py, `itm_eval` in lavis/tasks/retrieval.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

import blip2_widget
from benchmarks.folders import Rows
from benchmarks.tasks import RECALL_AT
from blip2_widget.images import load_image
from blip2_widget.model import RetrievalEngine, locate, parse, similarity
from blip2_widget.scores import Interval, Metric, bootstrap
from blip2_widget.session import current

if TYPE_CHECKING:
    import pandas as pd

#: What LAVIS replaces in a caption by a space, and how many of its words it reads
#: (`blip_processors.py`).
_NOT_READ: Final = re.compile(r'[.!"()*#:;~\s]+')
_READ_WORDS: Final = 50
#: Pairs that are judged, and pictures that are compared, at a time.
_AT_A_TIME: Final = 64


@dataclass(frozen=True)
class Recalls:
    """The rank, from 0, of the right one in each search: `of_captions` of the best caption of each
    picture, `of_pictures` of each caption's picture."""

    pictures: list[Path]
    captions: list[str]
    of_captions: NDArray[np.int64]
    of_pictures: NDArray[np.int64]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        ranks = {"image to text": self.of_captions, "text to image": self.of_pictures}
        return tuple(
            Metric.mean_of(f"{way} R@{count}", (of_way < count).astype(float))
            for way, of_way in ranks.items()
            for count in RECALL_AT
        )

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Each recall with its 95 % bootstrap interval over searches."""
        return tuple(bootstrap(metric.statistics) for metric in self.metrics)

    @property
    def rows(self) -> pd.DataFrame:
        """One line a search, with the rank of the right one, from 1: the worst first."""
        import pandas as pd

        asked = [*map(str, self.pictures), *self.captions]
        rank = np.concatenate([self.of_captions, self.of_pictures]) + 1
        frame = pd.DataFrame({"searched": asked, "rank": rank})
        return frame.sort_values("rank", ascending=False, kind="stable", ignore_index=True)


def as_read(caption: str) -> str:
    """A caption in the form in which LAVIS compares it: lower case, without most punctuation."""
    words = _NOT_READ.sub(" ", caption.lower()).strip().split(" ")
    return " ".join(words[:_READ_WORDS])


def recalls(rows: Rows, checkpoint: str, variant: str, reranked: int) -> Recalls:
    """Search each picture of the rows by each of their references, and the other way.

    What cannot be opened is not found. Raises Blip2Error where nothing can, and as
    `blip2_widget.embed`.
    """
    captions = [as_read(text) for texts in rows.references for text in texts]
    owner = np.repeat(np.arange(len(rows)), [len(texts) for texts in rows.references])
    how = {"model": checkpoint, "variant": variant}
    paths = [str(picture) for picture in rows.pictures]
    pictures = blip2_widget.embed(paths, projected=True, **how)  # type: ignore[arg-type]
    texts = blip2_widget.embed_texts(captions, projected=True, **how)
    near = _near(pictures, texts)
    for_pictures, for_captions = _nearest(near, reranked), _nearest(near.T, reranked).T
    votes = _votes(rows.pictures, captions, for_pictures | for_captions, checkpoint, variant)
    of_captions = [
        _rank(votes[row] + near[row], for_pictures[row], np.flatnonzero(owner == row))
        for row in range(len(rows))
    ]
    of_pictures = [
        _rank(votes[:, at] + near[:, at], for_captions[:, at], owner[at : at + 1])
        for at in range(len(captions))
    ]
    lost = int(np.isnan(pictures).any(axis=(1, 2)).sum())
    notes = (
        (f"{lost} of {len(rows)} pictures could not be read, and are not found",) if lost else ()
    )
    return Recalls(rows.pictures, captions, np.array(of_captions), np.array(of_pictures), notes)


def _near(pictures: NDArray[np.float32], texts: NDArray[np.float32]) -> NDArray[np.float32]:
    """How near each picture is to each text, (pictures, texts); -inf of what could not be read."""
    import torch

    of_texts = torch.from_numpy(texts)
    near = np.empty((len(pictures), len(texts)), np.float32)
    for start in range(0, len(pictures), _AT_A_TIME):
        some = slice(start, start + _AT_A_TIME)
        near[some] = similarity(torch.from_numpy(pictures[some]), of_texts).numpy()
    return np.nan_to_num(near, nan=-np.inf)


def _nearest(near: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Which are the nearest of each line, so many at most."""
    chosen = np.zeros(near.shape, bool)
    for line, of_line in zip(chosen, near, strict=True):
        line[np.argsort(-of_line, kind="stable")[:count]] = True
    return chosen & (near > -np.inf)


def _votes(
    pictures: Sequence[Path],
    captions: Sequence[str],
    wanted: NDArray[np.bool_],
    checkpoint: str,
    variant: str,
) -> NDArray[np.float32]:
    """The vote that a caption fits a picture, of the pairs that are wanted."""
    session = current()
    located = locate(parse(checkpoint), "match")
    resident = session.manager.hold(located, session.manager.choose(located, variant))
    votes = np.zeros(wanted.shape, np.float32)
    try:
        engine: RetrievalEngine = resident.retrieval.result()
        for row in np.flatnonzero(wanted.any(axis=1)).tolist():
            seen = engine.see([load_image(str(pictures[row]))])
            places = np.flatnonzero(wanted[row])
            for start in range(0, len(places), _AT_A_TIME):
                some = places[start : start + _AT_A_TIME]
                texts = [captions[at] for at in some]
                votes[row, some] = engine.votes(seen.expand(len(some), -1, -1), texts)[:, 1].numpy()
    finally:
        session.manager.release(resident)
    return votes


def _rank(
    scores: NDArray[np.float32], candidates: NDArray[np.bool_], right: NDArray[np.int64]
) -> int:
    """How many candidates come before the best of the right ones; all there are, where none of
    these is a candidate."""
    scores = np.where(candidates, scores, -np.inf)
    best = scores[right].max(initial=-np.inf)
    return int((scores > best).sum()) if best > -np.inf else len(scores)

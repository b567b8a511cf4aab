"""Score the retrieval checkpoint: `python -m blip2_widget.demo.evaluate_retrieval [--variant V]`.

The pictures are scenes that no training has drawn; `demo.evaluate` asks about the same. A text is
right for every picture that it is true of (`sayings`), not only for the one it was written for.
"""

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from blip2_widget.demo import RETRIEVAL
from blip2_widget.demo.evaluate import SCENES, SEED, Score
from blip2_widget.demo.sayings import Group, Saying, alter, looks, plainly, say, truths, whole
from blip2_widget.demo.scenes import COLOURS, KINDS, Scene, draw_scene
from blip2_widget.model import ModelManager, RetrievalEngine, locate, parse, pooled, similarity

RERANKED: Final = 16
_BATCH: Final = 250


def load(path: Path = RETRIEVAL, variant: str = "cpu-fp32") -> RetrievalEngine:
    """The engine of a saved checkpoint, loaded as a notebook loads it."""
    manager, located = ModelManager(), locate(parse(str(path)), "match")
    return manager.hold(located, manager.choose(located, variant)).retrieval.result()


class Pool:
    """Scenes, what the model sees of them, and what is true of them."""

    def __init__(self, engine: RetrievalEngine, scenes: int = SCENES, seed: str = SEED) -> None:
        drawn = [draw_scene(random.Random(f"{seed}-{number}")) for number in range(scenes)]
        images = [scene.image for scene in drawn]
        starts = range(0, scenes, _BATCH)
        self.engine = engine
        self.scenes: list[Scene] = drawn
        self.looks = np.stack([looks(scene.shapes) for scene in drawn])
        self.seen = torch.cat([engine.see(images[start : start + _BATCH]) for start in starts])
        features = [engine.features(self.seen[start : start + _BATCH]) for start in starts]
        self.vectors = engine.project(torch.cat(features))

    def truth(self, sayings: Sequence[Saying]) -> Tensor:
        """Which of them are true of which picture: (sayings, pictures)."""
        return torch.from_numpy(truths(sayings, self.looks))

    def similarity(self, sayings: Sequence[Saying]) -> Tensor:
        """How near the texts are to the pictures: (sayings, pictures)."""
        texts = self.engine.embed_texts([saying.text for saying in sayings])
        return similarity(self.vectors, texts).T

    def match(self, pictures: Sequence[int], texts: Sequence[str]) -> list[float]:
        """The probability that each text fits the picture of that number."""
        found: list[float] = []
        for start in range(0, len(texts), _BATCH):
            some = slice(start, start + _BATCH)
            found += self.engine.match(self.seen[list(pictures[some])], texts[some])
        return found


def score_retrieval(pool: Pool) -> list[Score]:
    """Every scene's whole caption among all scenes, and the other way; equal captions count once.

    Recall at k: something right is among the first k.
    """
    sayings = _captions(pool)
    truth, likeness = pool.truth(sayings), pool.similarity(sayings)
    scores = [
        _recall(f"{way}, R@{first}", near, true, first)
        for way, near, true in (
            ("text to picture", likeness, truth),
            ("picture to text", likeness.T, truth.T),
        )
        for first in (1, 5)
    ]
    nearest = likeness.topk(RERANKED, dim=1).indices
    pictures = nearest.flatten().tolist()
    texts = [saying.text for saying in sayings for _ in range(RERANKED)]
    matches = torch.tensor(pool.match(pictures, texts)).view(-1, RERANKED)
    reranked = truth.gather(1, nearest)
    scores.insert(
        2, _recall(f"text to picture, R@1, first {RERANKED} by matching", matches, reranked, 1)
    )
    return scores


def score_pooled(pool: Pool) -> list[Score]:
    """The same with one vector a picture; and whether the nearest other picture has the same
    shapes, where one has."""
    sayings = _captions(pool)
    texts = pool.engine.embed_texts([saying.text for saying in sayings])
    vectors = pooled(pool.vectors)
    among = (vectors @ vectors.T).fill_diagonal_(-1)
    counts = torch.from_numpy(pool.looks)
    same = (counts[:, None] == counts[None]).all(dim=-1).fill_diagonal_(False)
    has = same.any(dim=1)
    return [
        _recall("one vector: text to picture, R@1", texts @ vectors.T, pool.truth(sayings), 1),
        _recall("one vector: picture to text, R@1", vectors @ texts.T, pool.truth(sayings).T, 1),
        _recall("one vector: picture to like picture, R@1", among[has], same[has], 1),
    ]


def score_words(pool: Pool, first: int = 10) -> Score:
    """Of the first pictures for each of "red circle", "circle" and "red", how many are right."""
    groups = [Group(kind, colour, None) for kind in (None, *KINDS) for colour in (None, *COLOURS)]
    sayings = [
        Saying(" ".join(word for word in (group.colour, group.kind) if word), (group,))
        for group in groups
        if group.colour or group.kind
    ]
    nearest = pool.similarity(sayings).topk(first, dim=1).indices
    right = pool.truth(sayings).gather(1, nearest)
    return Score(f"words, right among the first {first}", int(right.sum()), right.numel())


def score_matching(pool: Pool, seed: str = SEED) -> list[Score]:
    """True texts, and as many false ones: others' texts, or the true one with a word changed. The
    border is a probability of 0.5."""
    rng = random.Random(seed)
    true = [say(rng, scene.shapes) for scene in pool.scenes]
    numbers = list(range(len(true)))
    scores = []
    for name in ("another's text", "a word changed"):
        false = []
        for number, saying in enumerate(true):
            wrong = saying
            while truths([wrong], pool.looks[number : number + 1])[0, 0]:
                wrong = rng.choice(true) if name == "another's text" else alter(rng, saying)
            false.append(wrong)
        fits = pool.match(numbers, [saying.text for saying in true])
        unfit = pool.match(numbers, [saying.text for saying in false])
        right = sum(each > 0.5 for each in fits) + sum(each <= 0.5 for each in unfit)
        scores.append(Score(f"matching, false by {name}", right, 2 * len(true)))
    return scores


def _captions(pool: Pool) -> list[Saying]:
    """Every scene's whole caption, once."""
    found = {plainly(whole(scene.shapes)) for scene in pool.scenes}
    return sorted(found, key=lambda saying: saying.text)


def _recall(name: str, nearness: Tensor, truth: Tensor, first: int) -> Score:
    found = truth.gather(1, nearness.topk(first, dim=1).indices).any(1)
    return Score(name, int(found.sum()), len(found))


def main() -> None:
    """Print all scores."""
    parser = argparse.ArgumentParser(description="Score the demo's retrieval checkpoint.")
    parser.add_argument("--path", type=Path, default=RETRIEVAL, help="checkpoint folder")
    parser.add_argument("--variant", default="cpu-fp32", help="cpu-fp32 or cpu-bf16")
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args()

    started = time.perf_counter()
    pool = Pool(load(options.path, options.variant), options.scenes)
    scores = [*score_retrieval(pool), *score_pooled(pool), score_words(pool)]
    for entry in [*scores, *score_matching(pool)]:
        print(f"{entry.name:50} {entry.right:5} / {entry.asked:5}  {entry.share:7.2%}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

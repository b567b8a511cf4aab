"""The bundled retrieval checkpoint does what its card says, from the saved files."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

from blip2_widget.demo import CHECKPOINT, RETRIEVAL
from blip2_widget.demo.evaluate_retrieval import (
    Pool,
    load,
    score_matching,
    score_pooled,
    score_retrieval,
    score_words,
)
from blip2_widget.demo.sayings import Group, Saying, alter, looks, plainly, say, truths, whole
from blip2_widget.demo.scenes import Shape, caption, draw_scene

BARS = {
    "text to picture, R@1": 0.85,
    "text to picture, R@5": 0.97,
    "text to picture, R@1, first 16 by matching": 0.85,
    "picture to text, R@1": 0.9,
    "picture to text, R@5": 0.97,
}
POOLED = {
    "one vector: text to picture, R@1": 0.85,
    "one vector: picture to text, R@1": 0.8,
    "one vector: picture to like picture, R@1": 0.85,
}
MATCHING = {"matching, false by another's text": 0.93, "matching, false by a word changed": 0.88}
WORDS = 0.95

BOX = (0.1, 0.1, 0.3, 0.3)
#: Two red circles and a blue triangle.
SHAPES = [Shape("circle", "red", BOX), Shape("circle", "red", BOX), Shape("triangle", "blue", BOX)]


@pytest.fixture(scope="module", params=["cpu-fp32", "cpu-bf16"])
def pool(request: pytest.FixtureRequest) -> Pool:
    return Pool(load(variant=request.param), scenes=200)


# The checkpoint's files


def test_the_checkpoint_has_every_file_and_stays_small() -> None:
    files = {path.name for path in RETRIEVAL.iterdir()}
    assert files == {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in RETRIEVAL.iterdir()) <= 5_000_000


def test_it_sees_as_the_first_checkpoint_does() -> None:
    from safetensors.torch import load_file

    first, second = (load_file(each / "model.safetensors") for each in (CHECKPOINT, RETRIEVAL))
    tower = [name for name in first if name.startswith("vision_model.")]
    assert len(tower) > 50
    assert all((first[name].half() == second[name]).all() for name in tower)


# The scores


def test_pictures_and_texts_find_each_other(pool: Pool) -> None:
    scores = {score.name: score.share for score in score_retrieval(pool)}
    assert scores == {name: pytest.approx(1, abs=1 - BARS[name]) for name in scores}


def test_one_vector_a_picture_finds_most(pool: Pool) -> None:
    scores = {score.name: score.share for score in score_pooled(pool)}
    assert scores == {name: pytest.approx(1, abs=1 - POOLED[name]) for name in scores}


def test_words_find_pictures(pool: Pool) -> None:
    assert score_words(pool, first=5).share >= WORDS


def test_true_texts_are_told_from_false_ones(pool: Pool) -> None:
    scores = {score.name: score.share for score in score_matching(pool)}
    assert scores == {name: pytest.approx(1, abs=1 - MATCHING[name]) for name in scores}


def test_the_command_prints_every_score() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blip2_widget.demo.evaluate_retrieval", "--scenes", "40"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in [*BARS, *POOLED, *MATCHING, "words"])


# What its scores rest on


@pytest.mark.parametrize(
    ("groups", "true"),
    [
        ([Group("circle", "red", 2)], True),
        ([Group("circle", "red", 1)], False),
        ([Group("circle", None, 2)], True),
        ([Group(None, "blue", 1)], True),
        ([Group(None, None, 3)], True),
        ([Group("circle", "red", None)], True),
        ([Group("circle", "blue", None)], False),
        ([Group("circle", "red", 2), Group("triangle", "blue", 1)], True),
        ([Group("circle", "red", 2), Group("triangle", "blue", 2)], False),
    ],
)
def test_what_is_true_of_a_picture(groups: list[Group], true: bool) -> None:
    assert truths([Saying("", tuple(groups))], np.stack([looks(SHAPES)]))[0, 0] == true


def test_what_is_said_is_true_and_what_is_altered_often_not() -> None:
    rng = random.Random(0)
    scenes = [draw_scene(rng, size=8).shapes for _ in range(300)]
    counts = np.stack([looks(shapes) for shapes in scenes])
    said = [say(rng, shapes) for shapes in scenes]
    assert truths(said, counts).diagonal().all()
    altered = truths([alter(rng, saying) for saying in said], counts)
    assert altered.diagonal().mean() < 0.2 < altered.any(axis=1).mean()


def test_a_whole_picture_is_said_in_the_words_of_its_caption() -> None:
    assert plainly(whole(SHAPES)).text == caption(SHAPES)

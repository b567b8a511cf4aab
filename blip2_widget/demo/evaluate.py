"""Score the demo checkpoint: `python -m blip2_widget.demo.evaluate [--variant cpu-int8] [--json]`.

Every answer is generated freely, token by token, by the checkpoint as saved. The pictures are
easy-VQA's test split, and scenes that no training has drawn.
"""

import argparse
import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from blip2_widget.demo import CHECKPOINT
from blip2_widget.demo.pictures import easy_vqa_pictures
from blip2_widget.demo.scenes import Scene, caption, draw_scene
from blip2_widget.demo.texts import CAPTION_PREFIXES, Example, ask, ask_count, converse, vary
from blip2_widget.model import (
    Engine,
    GenerationSettings,
    ModelManager,
    conversation_text,
    locate,
    parse,
)

SCENES: Final = 1000
SEED: Final = "evaluation"
GREEDY: Final = GenerationSettings(max_new_tokens=40)


@dataclass(frozen=True)
class Score:
    """How many of some answers were right, a few that were not, and all of them in order."""

    name: str
    right: int
    asked: int
    mistakes: tuple[str, ...] = ()
    answers: tuple[str, ...] = field(default=(), repr=False)

    @property
    def share(self) -> float:
        """Right answers as a share of those asked."""
        return self.right / self.asked


@dataclass(frozen=True)
class Asked:
    """A prompt on the picture of this number, and the one right answer."""

    picture: int
    prompt: str
    answer: str


def load(path: Path = CHECKPOINT, variant: str = "cpu-fp32") -> Engine:
    """The engine of a saved checkpoint, loaded as a notebook loads it."""
    manager, located = ModelManager(), locate(parse(str(path)))
    return manager.load(located, manager.choose(located, variant)).result()


def picture_features(
    engine: Engine, images: Sequence[Image.Image], batch_size: int = 250
) -> Tensor:
    """What the language model sees of each picture: (pictures, query tokens, width)."""
    starts = range(0, len(images), batch_size)
    return torch.cat([engine.encode(images[start : start + batch_size]) for start in starts])


def generate(
    engine: Engine, features: Tensor, asked: Sequence[tuple[int, str]], batch_size: int = 500
) -> list[str]:
    """The model's greedy answer to each prompt on the picture of this number."""
    answers = [""] * len(asked)
    # Prompts of one length share a batch, so that little of it is padding.
    by_length = sorted(range(len(asked)), key=lambda number: len(asked[number][1]))
    for start in range(0, len(asked), batch_size):
        numbers = by_length[start : start + batch_size]
        batch = features[[asked[number][0] for number in numbers]]
        prompts = [asked[number][1] for number in numbers]
        for number, answer in zip(numbers, engine.generate(batch, prompts, GREEDY), strict=True):
            answers[number] = answer.text
    return answers


def score(name: str, engine: Engine, features: Tensor, questions: Sequence[Asked]) -> Score:
    """Generate an answer to every question and count the right ones."""
    answers = generate(engine, features, [(q.picture, q.prompt) for q in questions])
    mistakes = [
        f"picture {q.picture}: {q.prompt!r} gave {answer!r}, not {q.answer!r}"
        for q, answer in zip(questions, answers, strict=True)
        if answer != q.answer
    ]
    right = len(questions) - len(mistakes)
    return Score(name, right, len(questions), tuple(mistakes[:10]), tuple(answers))


def score_easy_vqa(
    engine: Engine, pictures: int | None = None, questions: int | None = None
) -> list[Score]:
    """Questions and captions of easy-VQA's test split (all of them unless told how many)."""
    chosen = easy_vqa_pictures("test")[:pictures]
    features = picture_features(engine, [picture.open() for picture in chosen])
    official = [
        Asked(number, conversation_text([], question), answer)
        for number, picture in enumerate(chosen)
        for question, answer in picture.questions
    ][:questions]
    captions = [Asked(n, "", caption([picture.shape])) for n, picture in enumerate(chosen)]
    return [
        score("easy-VQA test questions", engine, features, official),
        score("easy-VQA test captions", engine, features, captions),
    ]


def score_scenes(engine: Engine, scenes: int = SCENES, seed: str = SEED) -> list[Score]:
    """Counts, captions, other questions and conversations about freshly drawn scenes."""
    drawn = [draw_scene(random.Random(f"{seed}-{number}")) for number in range(scenes)]
    features = picture_features(engine, [scene.image for scene in drawn])
    rng = random.Random(seed)
    asked = {
        "scene counts": list(_counts(rng, drawn)),
        "scene captions": [
            Asked(number, "", caption(scene.shapes)) for number, scene in enumerate(drawn)
        ],
        "scene captions after a prefix": [
            Asked(number, rng.choice(CAPTION_PREFIXES), caption(scene.shapes))
            for number, scene in enumerate(drawn)
        ],
        "scene questions of all sorts": [
            Asked(number, conversation_text([], question), answer)
            for number, scene in enumerate(drawn)
            for question, answer in [ask(rng, scene.shapes) for _ in range(2)]
        ],
        "last answers of conversations": list(_conversations(rng, drawn)),
    }
    return [score(name, engine, features, asked[name]) for name in asked]


def _counts(rng: random.Random, scenes: Sequence[Scene]) -> Iterable[Asked]:
    for number, scene in enumerate(scenes):
        for _ in range(2):
            question, answer = ask_count(rng, scene.shapes)
            yield Asked(number, conversation_text([], vary(rng, question)), answer)


def _conversations(rng: random.Random, scenes: Sequence[Scene]) -> Iterable[Asked]:
    for number, scene in enumerate(scenes):
        talk: list[Example] = converse(rng, scene.shapes, rng.randint(2, 4))
        yield Asked(number, conversation_text(talk[:-1], talk[-1][0]), talk[-1][1])


def main() -> None:
    """Print all scores as a table or as JSON."""
    parser = argparse.ArgumentParser(description="Score the demo checkpoint.")
    parser.add_argument("--path", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--variant", default="cpu-fp32", help="such as cpu-bf16 or cpu-int8")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mistakes", action="store_true", help="show some wrong answers")
    options = parser.parse_args()

    started = time.perf_counter()
    engine = load(options.path, options.variant)
    scores = score_easy_vqa(engine) + score_scenes(engine, options.scenes)
    if options.json:
        told = [asdict(entry) | {"share": entry.share} for entry in scores]
        for each in told:
            del each["answers"]
        print(json.dumps(told, indent=2))
        return
    print(f"{'':32} right / asked")
    for entry in scores:
        print(f"{entry.name:32} {entry.right:5} / {entry.asked:5}  {entry.share:7.2%}")
        for mistake in entry.mistakes if options.mistakes else ():
            print(f"    {mistake}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

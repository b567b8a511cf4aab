"""Make the sample pictures for the notebooks: `python -m blip2_widget.demo.draw_samples`.

Sixteen test pictures of easy-VQA and sixteen drawn scenes, with a caption, a question and its right
answer for each. The answers come from the data and the drawing, never from a model.
"""

import argparse
import csv
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blip2_widget.demo import SAMPLES
from blip2_widget.demo.pictures import EasyVqaPicture, easy_vqa_pictures
from blip2_widget.demo.scenes import KINDS, MAX_SHAPES, Shape, caption, draw_scene

EACH: Final = 16
COLUMNS: Final = ("file", "source", "caption", "question", "answer")
SEED: Final = "samples"


def main() -> None:
    """Write the pictures and `samples.csv`."""
    parser = argparse.ArgumentParser(description="Make the sample pictures.")
    parser.add_argument("--out", type=Path, default=SAMPLES, help="folder to write")
    write_samples(parser.parse_args().out)


def write_samples(out: Path) -> None:
    """Write the pictures and `samples.csv` into this folder."""
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(SEED)
    easy, scenes = list(_easy_vqa_samples(rng, out)), list(_scene_samples(rng, out))
    rows = [row for pair in zip(easy, scenes, strict=True) for row in pair]
    with (out / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def _easy_vqa_samples(rng: random.Random, out: Path) -> Iterator[tuple[str, ...]]:
    pictures = {picture.number: picture for picture in easy_vqa_pictures("test")}
    for number in sorted(rng.sample(sorted(pictures), EACH)):
        picture = pictures[number]
        file = f"easy-vqa-{number:03}.png"
        shutil.copyfile(picture.path, out / file)
        question, answer = _one_question(rng, picture)
        yield file, "easy-VQA test", caption([picture.shape]), question, answer


def _one_question(rng: random.Random, picture: EasyVqaPicture) -> tuple[str, str]:
    """One of the picture's own questions; colours and shapes more often than yes and no."""
    telling = [example for example in picture.questions if example[1] not in ("yes", "no")]
    return rng.choice(telling if telling and rng.random() < 0.7 else picture.questions)


def _scene_samples(rng: random.Random, out: Path) -> Iterator[tuple[str, ...]]:
    for number in range(EACH):
        scene = draw_scene(rng, count=1 + number % MAX_SHAPES)
        file = f"scene-{number:02}.png"
        scene.image.save(out / file, optimize=True)
        question, answer = _counting_question(rng, scene.shapes)
        yield file, "drawn scene", caption(scene.shapes), question, answer


def _counting_question(rng: random.Random, shapes: tuple[Shape, ...]) -> tuple[str, str]:
    shape = rng.choice(shapes)
    other = rng.choice(KINDS)
    what, counted = rng.choice(
        (
            ("shapes", list(shapes)),
            (f"{shape.kind}s", [s for s in shapes if s.kind == shape.kind]),
            (f"{other}s", [s for s in shapes if s.kind == other]),
            (f"{shape.colour} shapes", [s for s in shapes if s.colour == shape.colour]),
        )
    )
    return f"how many {what} are in the picture?", str(len(counted))


if __name__ == "__main__":
    main()

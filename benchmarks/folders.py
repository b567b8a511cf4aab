"""COCO, NoCaps, VQAv2, OK-VQA, GQA and Flickr30k in a folder, in the formats they come in."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from blip2_widget.errors import Blip2Error

#: Where people keep annotations below a data set's folder.
_ANNOTATIONS: Final = ("", "annotations", "Annotations", "questions", "Questions", "questions1.2")
#: Where they keep pictures, a split's own folder beside these.
_PICTURES: Final = ("", "images", "Images", "val")


@dataclass(frozen=True)
class Rows:
    """One row a caption or question: its picture, what is asked, and the references.

    `questions` are empty for captions. `split` is which rows of the data set these are, and
    `domains` which part of it each is of, empty where it has none.
    """

    pictures: list[Path]
    questions: list[str]
    references: list[list[str]]
    split: str
    domains: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, count: int, seed: int = 0) -> Rows:
        """Some of the rows, drawn at random, in their order."""
        if count >= len(self):
            return self
        rows = sorted(random.Random(seed).sample(range(len(self)), count))
        return Rows(
            [self.pictures[row] for row in rows],
            [self.questions[row] for row in rows] if self.questions else [],
            [self.references[row] for row in rows],
            f"{count} of {len(self)} rows of {self.split}",
            [self.domains[row] for row in rows] if self.domains else [],
        )


def read_folder(name: str, folder: Path) -> Rows:
    """The rows of the data set of that name (a key of `tasks.TASKS`).

    Raises Blip2Error where the folder does not hold its files.
    """
    rows = _READERS[name](folder)
    if not len(rows):
        raise Blip2Error(f"the annotations in {folder} have no row with a reference")
    if not any(picture.is_file() for picture in rows.pictures[:100]):
        raise Blip2Error(
            f"{rows.pictures[0].name} is not in {folder}, nor in its images or split's folder; "
            "put the pictures there"
        )
    return rows


def _coco(folder: Path) -> Rows:
    """Karpathy's test split (dataset_coco.json) where it is there, else captions_*.json."""
    karpathy = _found(folder, "dataset_coco.json")
    if karpathy is None:
        return _captions(folder, _file(folder, "captions_val*.json", "captions_*.json"))
    return _karpathy(folder, karpathy)


def _coco_retrieval(folder: Path) -> Rows:
    return _with_captions(folder, "dataset_coco.json", "coco_karpathy_test.json")


def _flickr30k(folder: Path) -> Rows:
    return _with_captions(folder, "dataset_flickr30k.json", "flickr30k_test.json")


def _with_captions(folder: Path, karpathy: str, lavis: str) -> Rows:
    """Karpathy's test split, of his file or of LAVIS', which has pictures by their path, each with
    its captions."""
    file = _found(folder, karpathy)
    if file is not None:
        return _karpathy(folder, file)
    rows = _read(_file(folder, lavis))
    pictures = [_picture(folder, "", each["image"]) for each in rows]
    return Rows(pictures, [], [each["caption"] for each in rows], "Karpathy's test split")


def _karpathy(folder: Path, file: Path) -> Rows:
    images = [each for each in _read(file)["images"] if each["split"] == "test"]
    pictures = [
        _picture(folder, each.get("filepath", "flickr30k-images"), each["filename"])
        for each in images
    ]
    references = [[sentence["raw"] for sentence in each["sentences"]] for each in images]
    return Rows(pictures, [], references, "Karpathy's test split")


def _nocaps(folder: Path) -> Rows:
    return _captions(folder, _file(folder, "nocaps_val_*captions.json"))


def _captions(folder: Path, file: Path) -> Rows:
    """COCO's format: images with an id, and captions with their image's."""
    content = _read(file)
    by_image: dict[object, list[str]] = defaultdict(list)
    for each in content["annotations"]:
        by_image[each["image_id"]].append(each["caption"])
    split = file.stem.removeprefix("captions_")
    images = [each for each in content["images"] if each["id"] in by_image]
    pictures = [_picture(folder, split, each["file_name"]) for each in images]
    references = [by_image[each["id"]] for each in images]
    domains = [each["domain"] for each in images if "domain" in each]
    return Rows(pictures, [], references, split, domains if len(domains) == len(images) else [])


def _vqav2(folder: Path) -> Rows:
    return _questions(folder, "v2_")


def _okvqa(folder: Path) -> Rows:
    return _questions(folder, "")


def _questions(folder: Path, version: str) -> Rows:
    """VQA's format: a file of questions, and one of ten answers to each."""
    file = _file(folder, f"{version}OpenEnded_mscoco_val2014_questions.json")
    annotations = _read(_file(folder, f"{version}mscoco_val2014_annotations.json"))["annotations"]
    answers = {
        each["question_id"]: [answer["answer"] for answer in each["answers"]]
        for each in annotations
    }
    asked = [each for each in _read(file)["questions"] if each["question_id"] in answers]
    return Rows(
        [
            _picture(folder, "val2014", f"COCO_val2014_{each['image_id']:012d}.jpg")
            for each in asked
        ],
        [each["question"] for each in asked],
        [answers[each["question_id"]] for each in asked],
        "val2014",
    )


def _gqa(folder: Path) -> Rows:
    """GQA's format: questions by their id, each with its image and one answer."""
    asked = [
        each
        for each in _read(_file(folder, "testdev_balanced_questions.json")).values()
        if each.get("answer")
    ]
    return Rows(
        [_picture(folder, "testdev", f"{each['imageId']}.jpg") for each in asked],
        [each["question"] for each in asked],
        [[each["answer"]] for each in asked],
        "test-dev balanced",
    )


_READERS: Final[dict[str, Callable[[Path], Rows]]] = {
    "coco": _coco,
    "nocaps": _nocaps,
    "vqav2": _vqav2,
    "okvqa": _okvqa,
    "gqa": _gqa,
    "coco-retrieval": _coco_retrieval,
    "flickr30k": _flickr30k,
}


def _file(folder: Path, *patterns: str) -> Path:
    for pattern in patterns:
        if (file := _found(folder, pattern)) is not None:
            return file
    raise Blip2Error(f"{folder} holds no {patterns[0]}, nor does its annotations or questions")


def _found(folder: Path, pattern: str) -> Path | None:
    """The first file of that pattern in the folder or where annotations are kept below it."""
    files: Iterable[Path] = (
        file for below in _ANNOTATIONS for file in sorted((folder / below).glob(pattern))
    )
    return next(iter(files), None)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Blip2Error(f"{file} is not JSON: {error}") from None


def _picture(folder: Path, split: str, name: str) -> Path:
    """Where the picture is; where it should be, if it is nowhere."""
    places: Sequence[Path] = [
        folder / below / own / name for own in (split, "") for below in _PICTURES
    ]
    return next((place for place in places if place.is_file()), places[0])

"""COCO's captions: pictures and, apart from them, what is said of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import Answers, texts
from blip2_widget.formats.tables import BROKEN, as_json, open_text
from blip2_widget.formats.whole import whole_file

#: What an annotation has beside its caption: all but what its picture says.
_OF_THE_PICTURE = ("row", "picture", "answer")


def write_coco(answers: Answers, path: Path, overwrite: bool) -> int:
    """Every row as an image, and every answer as an annotation of it; returns how many answers.

    An image that cannot be read has no width and height.
    """
    answers.need_texts("a COCO file")
    written = 0

    def annotations() -> Iterator[dict[str, Any]]:
        nonlocal written
        for row in answers.rows():
            for record in map(texts, row.records):
                if record["answer"] is None:
                    continue
                written += 1
                said = {"id": written, "image_id": row.number + 1, "caption": record["answer"]}
                yield said | {
                    name: value for name, value in record.items() if name not in _OF_THE_PICTURE
                }

    with (
        whole_file(path, overwrite) as partial,
        partial.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write('{"info": {"description": "captions"}, "licenses": [], "images": [\n')
        file.writelines(_items(_image(answers, number) for number in range(len(answers))))
        file.write('], "annotations": [\n')
        file.writelines(_items(annotations()))
        file.write("]}\n")
    return written


def _image(answers: Answers, number: int) -> dict[str, Any]:
    size = answers.size(number)
    image = {"id": number + 1, "file_name": answers.address(number)}
    return image | ({"width": size[0], "height": size[1]} if size else {})


def _items(values: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A JSON array's items as text, a line each."""
    comma = ""
    for value in values:
        yield comma + as_json(value) + "\n"
        comma = ","


def read_coco(path: Path) -> Iterator[dict[str, Any]]:
    """A line for each annotation, with its picture's file name; of a list of objects a line for
    each. Raises Blip2Error where the file holds no captions of this kind."""
    try:
        with open_text(path) as file:
            whole = json.load(file)
        if isinstance(whole, list):
            yield from (
                each if isinstance(each, dict) else {BROKEN: "the item is no JSON object"}
                for each in whole
            )
            return
        names = {image["id"]: image["file_name"] for image in whole["images"]}
        annotations = [dict(each) for each in whole["annotations"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Blip2Error(
            f"{path} is no COCO captions file, with images and annotations "
            f"({type(error).__name__}: {error}), and no list of objects with a picture and a text"
        ) from None
    if annotations and not any("caption" in each for each in annotations):
        raise Blip2Error(
            f"{path} has annotations without captions, as COCO's instances have; give its captions "
            "file (captions_….json)"
        )
    for each in annotations:
        try:
            yield {"picture": names[each["image_id"]], "answer": each["caption"]} | each
        except (KeyError, TypeError):
            yield {BROKEN: "the annotation has no caption, or no image that is there"}

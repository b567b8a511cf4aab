"""Results with known answers, computed by nobody; and texts and names that break things."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import blip2_widget
from blip2_widget.notebook.result import Result
from blip2_widget.run.cells import Task

TEXTS = [
    '=HYPERLINK("http://example.com","x")',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\tindented",
    "\rreturned",
    "'=quoted",
    "''+twice",
    "two\nlines\r\nand one",
    'he said "no", twice',
    "NUL\0inside",
    "half \ud800 a character",
    "<script>alert(1)</script>",
    "naïve 😀",
    "../../etc/passwd",
    "line\u2028ends\x85here",
    "NA",
    "null",
    "007",
    "__import__('os').system('false')",
]
NAMES = [
    "a b.png",
    "=cmd|x.png",
    "-rf.png",
    "quo'te\".png",
    "new\nline.png",
    "ünï😀.png",
    "per%cent?x=1#y.png",
    "semi;colon,comma.png",
    "no \udcff utf-8.png",
    ".hidden.png",
    "a.b.c.png",
    "star*[x].png",
    "@at.png",
]
FORMATS = {
    "parquet": "a.parquet",
    "csv": "a.csv",
    "jsonl": "a.jsonl",
    "coco": "a.json",
    "webdataset": "a.tar",
    "dataset": "saved",
    "imagefolder": "folder",
}


def pictures(folder: Path, names: Sequence[str]) -> list[str]:
    """A picture of its own under each name."""
    generator = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        data = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(data).save(folder / name, "JPEG" if name.endswith("jpg") else "PNG")
        paths.append(str(folder / name))
    return paths


def answered(
    images: Any, texts: Sequence[str | None], *, more: Sequence[str] = (), **options: Any
) -> Result:
    """Captions that are these texts, None for one that failed; `more` are a second column's."""
    prompts = {"caption": "what?", "=second": "how many {{x}}?"} if more else None
    if prompts is None:
        result = blip2_widget.caption(images, start=False, **options)
    else:
        result = blip2_widget.ask(images, prompts, start=False, **options)
    grid = result.run._grid
    for prompt, said in enumerate([texts, *([more] if more else [])]):
        for row, text in enumerate(said):
            task = Task(row, prompt, 0)
            if text is None:
                grid.fail(task, "no answer", "model")
            else:
                grid.answer(task, text, -0.5, cached=False, at=1.7e9 + row)
    return result


def export(result: Result, folder: Path, name: str) -> Path:
    """A result in a format, under that format's file name."""
    folder.mkdir(exist_ok=True)
    return result.export(folder / FORMATS[name], name)

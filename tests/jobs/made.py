"""Who answers pictures into a job's folder, a part at a time, as another process does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from blip2_widget.images import read_column
from blip2_widget.jobs import Answering, Parts, Spec, open_pictures
from blip2_widget.jobs.job import description
from blip2_widget.jobs.sources import of_column
from blip2_widget.run import Prompt
from tests.jobs.conftest import demo_spec

COLOUR = Prompt("colour", "what colour is it?", "question")


class Maker:
    """The parts of pictures of whom nothing is answered yet."""

    def __init__(self, folder: str, pictures: Sequence[Any], *prompts: Prompt, rows: int = 3):
        self.spec: Spec = demo_spec(*prompts)
        texts = [prompt.text for prompt in self.spec.prompts]
        self.source = of_column(read_column(list(pictures)), texts, rows)
        self.source = replace(self.source, column=replace(self.source.column, name="photo"))
        self.parts = Parts(folder)
        pieces = [piece.fingerprint for piece in self.source.pieces]
        self.parts.describe(description(self.spec, self.source, "auto", rows), pieces)
        self._answering = Answering(self.spec)

    def make(self, *numbers: int) -> None:
        for number in numbers:
            rows = self.source.pieces[number].read(self.spec.prompts)
            opened = open_pictures(rows, self.spec)
            self.parts.write(number, self._answering.answer(opened), self.spec)

    def make_all(self) -> None:
        self.make(*range(len(self.source.pieces)))


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)

"""Rows to answers in two steps that may be done in two processes: pictures are opened in the one,
and read by the model in the other. Knows nothing of who calls it: Ray, Spark, or a loop.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images import ImageError, Limits, image_key, load_image, reason_of, thumbnail
from blip2_widget.model import (
    Answer,
    Between,
    Checkpoint,
    GenerationSettings,
    PictureSize,
    Variant,
    locate,
)
from blip2_widget.run import (
    Answers,
    Cell,
    Prompt,
    Reports,
    Wanted,
    failure,
    several,
    suitable_sizes,
)
from blip2_widget.session import current
from blip2_widget.store import Store, StoredAnswer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

#: Pictures that one process opens at a time: most of the time of a URL is waiting.
_OPENED = 8
#: The longer side of what is kept of a picture that nobody can open again, in pixels.
_THUMBNAIL = 256


@dataclass(frozen=True)
class Spec:
    """What is asked of every row, by which model, how: all that a worker has to be told.

    `commit` is the revision of the checkpoint that is meant, or its files' fingerprint.
    `size` is what pictures are scaled to before they are sent; None sends them as they are.
    """

    prompts: tuple[Prompt, ...]
    checkpoint: Checkpoint
    commit: str
    variant: Variant
    settings: GenerationSettings
    question_form: str | None = None
    limits: Limits = field(default_factory=Limits)
    size: PictureSize | None = None
    batch_size: int | None = None
    refresh: bool = False
    cache: bool = True


@dataclass(frozen=True)
class Row:
    """One row to be answered: its number, its picture in whatever form, and each prompt's text, or
    why there is none. `address` is the picture's path or URL, or its label where it has none.
    `error` is what is wrong with a row that could not be read."""

    number: int
    value: Any
    address: str
    texts: tuple[str | Blip2Error, ...]
    error: ImageError | None = None


@dataclass(frozen=True)
class Opened:
    """A row whose picture was opened: its key and what the model reads of it, or what is wrong."""

    row: Row
    key: str | None = None
    image: Image | None = None
    thumbnail: bytes | None = None
    error: ImageError | None = None


@dataclass(frozen=True)
class Answered:
    """A row with a cell for each prompt."""

    number: int
    address: str
    key: str | None
    thumbnail: bytes | None
    cells: tuple[Cell, ...]

    @property
    def has_failed(self) -> bool:
        return any(cell.state == "error" for cell in self.cells)


def open_pictures(rows: Iterable[Row], spec: Spec) -> list[Opened]:
    """Open the rows' pictures; what is wrong with one stands on its own row."""
    with ThreadPoolExecutor(_OPENED) as threads:
        return list(threads.map(lambda row: _opened(row, spec), rows))


def _opened(row: Row, spec: Spec) -> Opened:
    # What is held in memory alone is seen again only if some of it is kept.
    told = replace(row, value=None)
    if row.error is not None:
        return Opened(told, error=row.error)
    try:
        image = load_image(row.value, spec.limits)
        small = None if isinstance(row.value, str | Path) else thumbnail(image, _THUMBNAIL)
        sent = image if spec.size is None else spec.size.scaled(image)
        return Opened(told, image_key(image), sent, small)
    except ImageError as error:
        return Opened(told, error=error)
    except Exception as error:  # one picture must not end the job
        return Opened(told, error=ImageError("unexpected", reason_of(error)))


def given_up(row: Row) -> Opened:
    """A row that is not worked on."""
    error = ImageError("unexpected", "two processes died of this row; it is left out")
    return Opened(replace(row, value=None), error=error)


def reused(
    rows: Iterable[Opened], earlier: Iterable[Answered]
) -> tuple[list[Answered], list[Opened]]:
    """The rows that have earlier answers to the same prompts about an equal picture, with these;
    and those that have none."""
    known: dict[tuple[str | None, tuple[str | Blip2Error, ...]], tuple[Cell, ...]] = {
        (row.key, tuple(cell.prompt for cell in row.cells)): row.cells
        for row in earlier
        if row.key is not None and not row.has_failed
    }
    answered, left = [], []
    for each in rows:
        cells = known.get((each.key, each.row.texts))
        if cells is None:
            left.append(each)
        else:
            again = tuple(replace(cell, cached=True) for cell in cells)
            row = each.row
            answered.append(Answered(row.number, row.address, each.key, each.thumbnail, again))
    return answered, left


class Answering:
    """A model that answers rows, loaded once."""

    def __init__(self, spec: Spec, between: Between = lambda: None) -> None:
        """`between` is called between the layers of the model, and ends a batch by raising
        Cancelled. Raises Blip2Error where the checkpoint is not here, or is another one."""
        session = current()
        checkpoint = spec.checkpoint
        if not checkpoint.is_folder:  # of the Hub's revisions the one that was found when it began
            checkpoint = replace(checkpoint, revision=spec.commit)
        located = locate(checkpoint)
        if located.commit != spec.commit:
            raise Blip2Error(
                f"{checkpoint.name} is another checkpoint on this machine; give a Hub id, or a "
                "folder that all machines share"
            )
        self.spec = spec
        self._between = between
        self._located = located
        self._resident = session.manager.hold(located, spec.variant)
        self._engine = self._resident.future.result()
        self._sizes = suitable_sizes(self._engine, spec.variant, spec.settings, spec.batch_size)
        self._answers = self._storing(session.store) if spec.cache else None

    def _storing(self, store: Store) -> Answers:
        spec = self.spec
        answers = Answers(
            self._located,
            spec.variant,
            spec.settings,
            store,
            spec.refresh,
            question_form=spec.question_form,
        )
        answers.set_batch_sizes(self._sizes)
        return answers

    def answer(self, rows: Sequence[Opened]) -> list[Answered]:
        """The rows with their answers, in their order. What is stored is not computed again, and
        equal questions about equal pictures are computed once. Raises Cancelled where `between`
        does; what was computed by then is stored."""
        spec = self.spec
        # What is kept of these alone goes with them, or it would grow by every row.
        answers = self._answers or self._storing(Store.in_memory())
        cells = [
            tuple(
                _cell(prompt, text)
                for prompt, text in zip(spec.prompts, each.row.texts, strict=True)
            )
            for each in rows
        ]
        wanted: dict[Wanted, list[Cell]] = {}
        images: dict[str, Image] = {}
        for each, of_row in zip(rows, cells, strict=True):
            if each.error is not None:
                _fail(of_row, each.error)
            elif each.key is not None and each.image is not None:
                images[each.key] = each.image
                for cell in (cell for cell in of_row if cell.state == "waiting"):
                    want = answers.want(each.key, cell.prompt, cell.kind)
                    wanted.setdefault(want, []).append(cell)

        def settle(want: Wanted, answer: Answer | StoredAnswer, cached: bool, at: float) -> None:
            choices, others = several(answer, want.choices)
            for cell in wanted[want]:
                cell.settle(
                    answer.text,
                    answer.logprob,
                    cached=cached,
                    at=at,
                    choices=choices,
                    alternatives=others,
                )

        def settle_all(answers: Mapping[Wanted, Answer]) -> None:
            for want, answer in answers.items():
                settle(want, answer, False, time.time())

        def opened(key: str) -> Future[Image | NDArray[np.float32]]:
            done: Future[Image | NDArray[np.float32]] = Future()
            done.set_result(images[key])
            return done

        def failed(wants: Sequence[Wanted], error: Exception) -> None:
            _fail((cell for want in wants for cell in wanted[want]), error)

        for want, before in answers.stored(wanted).items():
            settle(want, before, True, before.created_at)
        reports = Reports(settle_all, failed, lambda _running: None)
        left = [want for want, (cell, *_) in wanted.items() if cell.state == "waiting"]
        answers.compute(self._engine, left, opened, reports, self._between)
        return [
            Answered(each.row.number, each.row.address, each.key, each.thumbnail, of_row)
            for each, of_row in zip(rows, cells, strict=True)
        ]


def _cell(prompt: Prompt, text: str | Blip2Error) -> Cell:
    if isinstance(text, str):
        return Cell(text, prompt.kind)
    cell = Cell(prompt.text, prompt.kind)
    cell.fail(str(text), "prompt")
    return cell


def _fail(cells: Iterable[Cell], error: Exception) -> None:
    message, kind = failure(error)
    for cell in cells:
        cell.fail(message, kind)

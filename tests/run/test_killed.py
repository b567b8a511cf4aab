"""A kernel that is killed loses no answer that was shown, whenever it is killed."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import blip2_widget
from blip2_widget import demo, session
from blip2_widget.run import Run
from blip2_widget.session import Session
from blip2_widget.store import Store

QUESTIONS = {"circles": "how many circles are there?", "shapes": "how many shapes are there?"}
PICTURES = 60
ANSWERS = PICTURES * len(QUESTIONS)
KILLS = 20

#: Row, prompt and text.
Shown = tuple[int, int, str]

#: Imported once, by the process that all those are forked off that are killed.
PRELOADED = [
    *("accelerate", "torch._dynamo", "blip2_widget.model.loading", "blip2_widget.notebook.result"),
    *("tests.tiny", __name__),
]


def ask_all(cache: str, paths: list[str], shown: Connection) -> None:
    """In a process of its own: ask, and tell of every answer as soon as it is shown."""
    os.environ["BLIP2_WIDGET_CACHE"] = cache
    torch.set_num_threads(1)  # more would only stand in each other's way
    shown.send(None)
    run = blip2_widget.ask(paths, QUESTIONS, model="demo", batch_size=8).run
    told: set[Shown] = set()

    def tell(rows: Iterable[int]) -> None:
        for each in answers_of(run, rows):
            if each not in told:
                told.add(each)
                shown.send(each)

    run.subscribe(tell)
    tell(range(PICTURES))
    run.wait()
    shown.close()


def answers_of(run: Run, rows: Iterable[int]) -> list[Shown]:
    cells = [(row, prompt, run.cell(row, prompt)) for row in rows for prompt in range(2)]
    return [(row, prompt, cell.answer) for row, prompt, cell in cells if cell.answer is not None]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.random.default_rng(3)
    for number in range(PICTURES):
        picture = Image.fromarray(pixels.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        picture.save(folder / f"{number:02}.png")
    return sorted(map(str, folder.iterdir()))


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.skipif(sys.platform == "win32", reason="processes start there in another way")
def test_a_kernel_killed_twenty_times_loses_no_answer_that_was_shown(
    paths: list[str],
    tmp_path: Path,
    own_session: Session,
    one_thread: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    processes = get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)
    chance, counts = random.Random(20), []
    for number in range(KILLS):
        cache = tmp_path / str(number)
        here, there = processes.Pipe(duplex=False)
        child = processes.Process(target=ask_all, args=(str(cache), paths, there))
        child.start()
        there.close()
        assert here.recv() is None
        # From one that has hardly begun to one that has next to nothing left to do.
        moment = chance.randrange(ANSWERS // KILLS) + number * ANSWERS // KILLS
        shown = [here.recv() for _ in range(moment if number else 0)]
        # As an answer is shown, or somewhere on the way to the next ones.
        time.sleep(chance.choice([0, 0, chance.uniform(0, 0.05)]))
        child.kill()
        child.join()
        shown += rest_of(here)
        counts.append(len(shown))
        check(cache, paths, shown, own_session, monkeypatch)
    assert min(counts) < 0.1 * ANSWERS and max(counts) > 0.9 * ANSWERS, counts
    assert sum(0.1 * ANSWERS < count < 0.9 * ANSWERS for count in counts) > KILLS / 2, counts


def rest_of(pipe: Connection) -> list[Shown]:
    """What was sent before the end."""
    found: list[Shown] = []
    try:
        while True:
            found.append(pipe.recv())
    except (EOFError, OSError):
        return found


def check(
    cache: Path,
    paths: list[str],
    shown: list[Shown],
    own_session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that was shown is stored, and a new session computes none of it again."""
    monkeypatch.setenv("BLIP2_WIDGET_CACHE", str(cache))
    again = Session(own_session.defaults, own_session.manager, own_session.worker)
    monkeypatch.setattr(session, "_session", again)
    assert again.store.stats().answers >= len(shown) and not again.store.note
    run = blip2_widget.ask(paths, QUESTIONS).wait(60).run
    cells = [(row, prompt, run.cell(row, prompt)) for row, prompt, _ in shown]
    assert [(row, prompt, cell.answer) for row, prompt, cell in cells] == shown
    assert all(cell.cached for _, _, cell in cells)
    assert (run.progress.done, run.progress.failed) == (ANSWERS, 0)
    again.store.close()


def test_what_is_shown_is_in_the_file_by_then(own_session: Session) -> None:
    run = blip2_widget.ask(
        [str(path) for path in demo.samples().image[:6]], QUESTIONS, batch_size=2, start=False
    ).run
    other, seen = Store(own_session.store.path), []

    def look(rows: Iterable[int]) -> None:
        answered = [each for row in range(6) for each in answers_of(run, [row])]
        seen.append((len(answered), other.stats().answers))

    run.subscribe(look)
    run.start().wait(60)
    assert {shown for shown, _ in seen} > {0, 2, 4, 12}
    assert all(shown <= stored for shown, stored in seen)

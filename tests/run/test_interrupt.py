"""An interrupt, a cancelled run and slow pictures leave everything usable, at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import pytest

import blip2_widget
from blip2_widget import demo
from blip2_widget.model import Engine, ModelManager
from blip2_widget.run.pictures import Pictures
from blip2_widget.session import Session

CIRCLES = "how many circles are there?"
PATHS = [str(path) for path in demo.samples().image[:8]]

#: Waits for a long run until it is interrupted, and then goes on working.
INTERRUPTED = """
import sys, time, blip2_widget
from blip2_widget.session import current
state, *paths = sys.argv[1:]
questions = {str(n): f"how many circles are there, {n}?" for n in range(2000)}
result = blip2_widget.ask(paths, questions, model="demo", cache=False)
while result.progress.state != state or (state == "running" and not result.progress.done):
    time.sleep(0.001)
print("now", flush=True)
try:
    result.wait()
except blip2_widget.Blip2Error as error:
    print(error)
while result.progress.state == "running":
    time.sleep(0.001)
print(result.progress.state, result.progress.done < result.progress.total)
other = blip2_widget.ask(paths[:1], "how many circles are there?", model="demo").wait(60)
print(other.progress.state, other.answers.answer[0])
result.ask(0, "how many shapes are there?").wait(60)
print(result.answers.state[0])
print(len(current().manager.unload()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals there are others")
@pytest.mark.parametrize("state", ["loading", "running"])
def test_an_interrupt_leaves_everything_usable(state: str) -> None:
    expected = blip2_widget.ask(PATHS[:1], CIRCLES).wait(60).answers.answer[0]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, state, *PATHS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n", process.communicate()
        time.sleep(0.05)  # into the waiting
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    lines = out.splitlines()
    assert process.returncode == 0, err
    assert lines[0].startswith("interrupted with ") and lines[0].endswith("goes on from there")
    assert lines[1:] == ["cancelled True", f"done {expected}", "done", "1"]


def test_slow_pictures_hold_up_neither_a_question_nor_cancelling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = blip2_widget.caption(PATHS[:1]).wait(60)
    reached, let_go, real = threading.Event(), threading.Event(), Pictures.load

    def slow(pictures: Pictures, row: int) -> Any:
        if pictures is not quick.run.pictures:
            reached.set()
            assert let_go.wait(60)
        return real(pictures, row)

    monkeypatch.setattr(Pictures, "load", slow)
    long = blip2_widget.caption(PATHS[1:])
    try:
        assert reached.wait(60)
        quick.ask(0, CIRCLES).wait(30)
        assert quick.answers.state[0] == "done" and long.progress.done == 0
        long.cancel()
        assert long.wait(30).progress.state == "cancelled"
        assert set(long.answers.state) == {"cancelled"}
    finally:
        let_go.set()
    assert set(long.retry().wait(60).answers.state) == {"done"}


def test_a_run_that_was_cancelled_while_loading_holds_no_model(
    own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real, loads = threading.Event(), ModelManager._load, []

    def slow(manager: ModelManager, *arguments: Any) -> None:
        assert gate.wait(60)
        loads.append(arguments)
        real(manager, *arguments)

    monkeypatch.setattr(ModelManager, "_load", slow)
    result = blip2_widget.caption(PATHS)
    while result.progress.state != "loading":
        time.sleep(0.01)
    result.cancel()
    result.retry()  # while it still loads: there is no second loading
    gate.set()
    assert set(result.wait(60).answers.state) == {"done"}
    assert len(loads) == 1
    (resident,) = own_session.manager.resident()
    assert resident.users == 0
    engine = weakref.ref(resident.engine)
    del resident
    assert len(own_session.manager.unload()) == 1
    assert engine() is None
    assert result.ask(0, CIRCLES).wait(60).answers.state[0] == "done"
    assert len(loads) == 2


def test_a_question_overtakes_a_column_that_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = blip2_widget.caption(PATHS[:1]).wait(60)
    long = blip2_widget.caption(PATHS[1:], batch_size=1)
    long.cancel()
    long.wait(60)
    order: list[str] = []
    real, reached, typed = Engine.stream, threading.Event(), threading.Event()

    def watched(engine: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        reached.set()
        assert typed.wait(60)
        order.extend(prompts)
        return real(engine, features, prompts, *rest, **named)

    monkeypatch.setattr(Engine, "stream", watched)
    long.retry()
    assert reached.wait(60)
    quick.ask(0, CIRCLES)
    typed.set()
    quick.wait(60)
    long.wait(60)
    assert order.index(f"Question: {CIRCLES} Answer:") <= 1 and len(order) > 3


def test_what_is_cancelled_and_asked_again_at_once_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blip2_widget.caption(PATHS[:1]).wait(60)
    real, reached, again = Engine.stream, threading.Event(), threading.Event()

    def held(engine: Engine, *rest: Any, **named: Any) -> Any:
        reached.set()
        assert again.wait(60)
        return real(engine, *rest, **named)

    monkeypatch.setattr(Engine, "stream", held)
    result = blip2_widget.caption(PATHS[1:], batch_size=3)
    assert reached.wait(60)
    result.cancel()
    result.retry()  # while the batch is still under way
    again.set()
    assert set(result.wait(60).answers.state) == {"done"}


def test_nobody_waits_for_a_picture_whose_key_was_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Pictures.open

    def forgetting(pictures: Pictures, *arguments: Any) -> Any:
        found = real(pictures, *arguments)
        pictures.forget(2)  # as asking again does, from another thread
        return found

    monkeypatch.setattr(Pictures, "open", forgetting)
    result = blip2_widget.caption(PATHS).wait(60)
    assert list(result.errors.error) == ["no answer came; try again"]
    assert list(result.errors.row) == [2]
    monkeypatch.undo()
    assert set(result.retry().wait(60).answers.state) == {"done"}


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no disk")])
def test_answers_that_cannot_be_kept_are_shown(
    own_session: Session, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(_: object) -> None:
        raise error

    monkeypatch.setattr(own_session.store, "put_answers", refuse)
    monkeypatch.setattr(own_session.store, "put_features", refuse)
    result = blip2_widget.caption(PATHS).wait(60)
    assert result.answers.answer.notna().all() and result.progress.failed == 0

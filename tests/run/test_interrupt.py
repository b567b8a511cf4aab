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
from blip2_widget.model import ModelManager
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

"""The result: its frames, its waiting, and what can be asked of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Engine
from blip2_widget.notebook.result import Result
from blip2_widget.run import Run
from blip2_widget.session import Session
from tests.notebook.conftest import RunCell


@pytest.fixture(autouse=True)
def tiny(own_session: Session, tiny_opt: Path) -> None:
    own_session.defaults.model = str(tiny_opt)
    own_session.defaults.max_new_tokens = 3


class Gate:
    """Holds the engine before it generates; `passes` batches go through first."""

    def __init__(self, passes: int) -> None:
        self.passes = passes
        self.reached = threading.Event()
        self.open = threading.Event()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate, real = Gate(0), Engine.stream

    def gated(*arguments: Any, **named: Any) -> Any:
        gate.passes -= 1
        if gate.passes < 0:
            gate.reached.set()
            assert gate.open.wait(30)
        return real(*arguments, **named)

    monkeypatch.setattr(Engine, "stream", gated)
    yield gate
    gate.open.set()


def test_the_repr_is_the_same_whenever_and_wherever(frame: pd.DataFrame, tiny_opt: Path) -> None:
    result = blip2_widget.ask(frame.image, {"a": "who?", "b": "what?"})
    before = repr(result)
    assert repr(result.wait(30)) == before
    assert before.startswith("a, b · 3 pictures · ")
    assert repr(blip2_widget.caption(frame.image[:1]).wait(30)).startswith("caption · 1 picture · ")


def test_the_repr_holds_no_path(frame: pd.DataFrame, tiny_opt: Path) -> None:
    assert str(tiny_opt.parent) not in repr(blip2_widget.caption(frame.image).wait(30))


def test_df_is_the_callers_frame_and_a_column(frame: pd.DataFrame) -> None:
    before = frame.copy()
    result = blip2_widget.caption(frame.image, frame=frame).wait(30)
    first = result.df
    assert list(first.columns) == [*frame.columns, "caption"]
    assert list(first.index) == list(frame.index)
    assert all(isinstance(each, str) for each in first.caption)
    first["a"] = 0
    first.loc["x", "image"] = "mine"
    first["caption"] = "mine"
    pd.testing.assert_frame_equal(frame, before)
    assert "mine" not in set(result.df.caption)


def test_a_taken_name_gets_a_number(frame: pd.DataFrame) -> None:
    taken = frame.assign(caption="mine", caption_2="mine too")
    df = blip2_widget.caption(taken.image, frame=taken).wait(30).df
    assert list(df.columns)[-3:] == ["caption", "caption_2", "caption_3"]
    assert set(df.caption) == {"mine"} and set(df.caption_2) == {"mine too"}


def test_df_and_progress_are_there_while_the_run_goes_on(frame: pd.DataFrame, gate: Gate) -> None:
    gate.passes = 1
    result = blip2_widget.caption(frame.image, frame=frame, batch_size=1)
    assert gate.reached.wait(30)
    assert [each is None for each in result.df.caption] == [False, True, True]
    assert (result.progress.done, result.progress.total) == (1, 3)
    assert list(result.answers.state)[:2] == ["done", "running"]
    gate.open.set()
    assert result.wait(30).df.caption.notna().all()


def test_answers_tell_what_was_asked_and_errors_what_failed(frame: pd.DataFrame) -> None:
    images = [*frame.image[:1], None]
    result = blip2_widget.ask(images, {"a": "who?", "b": "what?"}, variant="cpu-fp32").wait(30)
    lines = result.answers
    assert list(lines.row) == [0, 0, 1, 1] and list(lines.name) == ["a", "b", "a", "b"]
    assert list(lines.prompt) == ["who?", "what?"] * 2
    assert list(lines.state) == ["done", "done", "error", "error"]
    assert set(lines.variant) == {"cpu-fp32"} and not lines.cached.any()
    assert list(result.errors.row) == [1, 1]
    assert set(result.errors.error) == {"there is no picture in this row"}
    assert blip2_widget.caption(frame.image).wait(30).errors.empty


def test_waiting_ends_after_the_timeout_and_the_run_goes_on(
    frame: pd.DataFrame, gate: Gate
) -> None:
    result = blip2_widget.caption(frame.image)
    with pytest.raises(Blip2Error, match=r"not ended within 0\.05 s; it goes on"):
        result.wait(0.05)
    gate.open.set()
    assert result.wait(30) is result and result.progress.state == "done"


def test_an_interrupt_keeps_what_is_there_and_says_how_much(
    frame: pd.DataFrame, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.passes = 1
    result = blip2_widget.caption(frame.image, batch_size=1)
    real = Run.wait

    def interrupted(run: Run, timeout: float | None = None) -> bool:
        assert gate.reached.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "wait", interrupted)
    with pytest.raises(Blip2Error) as caught:
        result.wait()
    gate.open.set()
    monkeypatch.setattr(Run, "wait", real)
    result.wait(30)
    assert next(iter(result.answers.state)) == "done" and result.progress.state == "cancelled"
    assert "\n" not in str(caught.value)
    assert "interrupted with 1 of 3 answers; they are kept" in str(caught.value)


def test_on_error_raise_raises_after_all_is_answered(frame: pd.DataFrame) -> None:
    result = blip2_widget.caption([None, *frame.image], on_error="raise")
    with pytest.raises(Blip2Error, match="1 of 4 answers failed; the first, 0: there is no pict"):
        result.wait(30)
    assert result.df.caption.notna().sum() == 3
    assert blip2_widget.caption([None]).wait(30).progress.failed == 1


def test_a_row_is_asked_anew(frame: pd.DataFrame) -> None:
    result = blip2_widget.ask(frame.image, {"a": "who?", "b": "what?"}).wait(30)
    before = result.answers
    result.ask(1, "what is it?", "b").wait(30)
    result.ask(2, "where is it?").wait(30)
    changed = result.answers.prompt[result.answers.prompt != before.prompt]
    assert dict(changed) == {3: "what is it?", 4: "where is it?"}
    alone = blip2_widget.ask(frame.image[1:2], "what is it?", cache=False).wait(30)
    assert result.df.b.iloc[1] == alone.df.answer.iloc[0]


@pytest.mark.parametrize(
    ("row", "name", "part"),
    [(3, None, "rows go from 0 to 2"), (-1, None, "no row -1"), (0, "c", "write one of a, b")],
)
def test_what_cannot_be_asked_is_said(
    frame: pd.DataFrame, row: int, name: str | None, part: str
) -> None:
    result = blip2_widget.ask(frame.image, {"a": "who?", "b": "what?"}).wait(30)
    with pytest.raises(Blip2Error, match=part):
        result.ask(row, "who?", name)


def test_retry_asks_again_what_was_cancelled(frame: pd.DataFrame, gate: Gate) -> None:
    result = blip2_widget.caption(frame.image, batch_size=1)
    assert gate.reached.wait(30)
    result.cancel()
    gate.open.set()
    assert "cancelled" in set(result.wait(30).answers.state)
    assert set(result.retry().wait(30).answers.state) == {"done"}
    assert result.retry().wait(30).progress.done == 3


def test_what_is_displayed_has_a_plain_text_and_no_script(frame: pd.DataFrame) -> None:
    result = blip2_widget.ask(frame.image, {"<script>x</script>": "who?"}).wait(30)
    bundle = result._mimebundle()
    assert bundle["text/plain"] == repr(result)
    assert "<script" not in bundle.get("text/html", "")


@pytest.mark.parametrize("times", [1, 2])
def test_a_result_shows_its_gallery_each_time_it_is_displayed(
    run_cell: RunCell, frame: pd.DataFrame, times: int
) -> None:
    run_cell("import blip2_widget; r = blip2_widget.caption(df.image)")
    for _ in range(times):
        assert run_cell("r").galleries == 1
    assert run_cell("r.show()").galleries == 1
    assert run_cell("display(r)").galleries == 1


def test_every_view_is_of_one_gallery(frame: pd.DataFrame) -> None:
    result: Result = blip2_widget.caption(frame.image)
    assert result.gallery is result.gallery

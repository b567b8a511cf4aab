"""Several runs over one column, as one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.run import Prompt, compared
from blip2_widget.session import Session


@pytest.fixture(autouse=True)
def tiny(own_session: Session, tiny_opt: Path) -> None:
    own_session.defaults.model = str(tiny_opt)
    own_session.defaults.max_new_tokens = 3


def test_a_board_of_nothing_asked_is_idle_and_takes_runs(noise: list[Image.Image]) -> None:
    result = blip2_widget.explore(noise[:3])
    assert result.progress.state == "idle" and result.progress.total == 0
    assert list(result.wait(1).df.columns) == ["image"]
    with pytest.raises(Blip2Error, match="nothing was asked"):
        result.ask(0, "what is it?")
    run = result._asking.run([Prompt("what", "what is it?", "question")], rows=[0, 2])
    result.board.add(run.start())
    result.wait(60)
    assert result.progress.total == 2 and result.progress.done == 2
    assert [result.board.cell(row, 0).state for row in range(3)] == ["done", "unasked", "done"]
    # What its run left alone can still be asked.
    result.ask(1, "and this?").wait(60)
    assert result.board.cell(1, 0).state == "done" and result.progress.total == 3


def test_rows_left_alone_are_not_asked_by_retry_nor_cancelled(noise: list[Image.Image]) -> None:
    result = blip2_widget.explore(noise[:3])
    run = result._asking.run([Prompt("what", "what is it?", "question")], rows=[1])
    result.board.add(run)
    run.cancel()
    assert [run.cell(row, 0).state for row in range(3)] == ["unasked", "cancelled", "unasked"]
    run.retry()
    run.wait(60)
    assert [run.cell(row, 0).state for row in range(3)] == ["unasked", "done", "unasked"]
    assert result.progress.total == 1


def test_compare_puts_every_prompt_to_every_variant(noise: list[Image.Image]) -> None:
    result = blip2_widget.compare(
        noise[:4], {"what": "what is it?"}, variants=["cpu-fp32", "cpu-int8"]
    ).wait(120)
    names = [prompt.name for prompt in result.board.prompts]
    assert names == ["what · cpu-fp32", "what · cpu-int8"]
    assert list(result.df.columns) == ["image", *names]
    (line,) = result.agreement.to_dict("records")
    equal = sum(result.df[names[0]] == result.df[names[1]])
    assert line["both answered"] == 4 and line["agree"] == equal and line["share"] == equal / 4
    assert line["low"] <= line["share"] <= line["high"] and line["high"] - line["low"] > 0.4
    assert set(result.answers.variant) == {"cpu-fp32", "cpu-int8"}


def test_compare_of_one_says_what_is_missing(noise: list[Image.Image]) -> None:
    with pytest.raises(Blip2Error, match="nothing to compare; give two prompts"):
        blip2_widget.compare(noise[:1], "what is it?")


def test_case_and_spaces_do_not_make_answers_differ() -> None:
    assert compared("Yes ") == compared("yes") != compared("no")


def test_what_is_asked_after_comparing_models_is_asked_of_the_first(
    noise: list[Image.Image], tiny_opt: Path
) -> None:
    result = blip2_widget.compare(noise[:1], models=["demo", str(tiny_opt)], start=False)
    assert result._asking.model == "demo" and result.board.comparing


@pytest.mark.parametrize("look", [blip2_widget.explore, blip2_widget.caption])
def test_on_error_is_checked_whatever_is_asked(look: Any, noise: list[Image.Image]) -> None:
    with pytest.raises(Blip2Error, match="on_error is 'null' or 'raise', not 'loud'"):
        look(noise[:1], on_error="loud")


class _Million(Sequence[Any]):
    """A column that notes what is read of it."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.taken: set[int] = set()

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, at: Any) -> Any:
        self.taken.add(at)
        return self.image


def test_a_million_rows_cost_what_is_asked_of_them(noise: list[Image.Image]) -> None:
    blip2_widget.ask(noise[:1], "what is it?").wait(60)  # loads the model
    million = _Million(noise[1])
    tracemalloc.start()
    try:
        result = blip2_widget.explore(million)
        run = result._asking.run([Prompt("what", "what is it?", "question")], rows=[7])
        result.board.add(run.start())
        assert result.wait(60).progress.done == 1
        rest = result._asking.run([Prompt("rest", "what is that?", "question")])
        result.board.add(rest)
        rest.cancel()
        assert result.board.cell(999_999, 1).state == "cancelled"
        assert (result.progress.total, million.taken) == (1_000_001, {7})
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_row_that_its_column_cannot_give_costs_itself_alone(noise: list[Image.Image]) -> None:
    class Torn(Sequence[Any]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, at: Any) -> Any:
            if at == 1:
                raise OSError("broken\nshard")
            return noise[at]

    result = blip2_widget.ask(Torn(), "what is it?").wait(60)
    assert list(result.answers.state) == ["done", "error", "done"]
    assert list(result.errors.error) == ["this row cannot be read: OSError: broken shard"]
    assert list(result.answers.picture) == ["0", "1", "2"]
    assert [value is None for value in result.df.image] == [False, True, False]

"""Rows are answered, apart from whoever shares them out, as a run answers them."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.jobs import Answering, Row, open_pictures
from blip2_widget.jobs.answering import Opened, reused
from blip2_widget.model import Cancelled
from blip2_widget.run import Prompt
from tests.jobs.conftest import CAPTION, demo_spec

COLOUR = Prompt("colour", "what colour is it?", "question")


def rows_of(paths: list[str], *texts: str) -> list[Row]:
    return [Row(at, path, path, texts or ("",)) for at, path in enumerate(paths)]


def test_what_was_opened_elsewhere_is_answered_as_a_run_answers_it(drawn: list[str]) -> None:
    spec = demo_spec(CAPTION, COLOUR)
    opened = open_pictures(rows_of(drawn[:8], "", COLOUR.text), spec)
    sent = pickle.loads(pickle.dumps(opened))
    assert all(each.image.size == (64, 64) for each in sent)
    answered = Answering(spec).answer(sent)

    prompts = {"caption": "", "colour": COLOUR.text}
    captions = blip2_widget.caption(drawn[:8], variant="cpu-fp32", max_new_tokens=10, cache=False)
    colours = blip2_widget.ask(
        drawn[:8], {"colour": prompts["colour"]}, variant="cpu-fp32", max_new_tokens=10, cache=False
    )
    assert [row.cells[0].answer for row in answered] == list(captions.wait().df.caption)
    assert [row.cells[1].answer for row in answered] == list(colours.wait().df.colour)
    keys = captions.board.pictures.keys
    assert [row.key for row in answered] == [keys[at] for at in range(8)]
    # A batch of others may change the last bits, no more.
    own = [row.cells[0].logprob for row in answered]
    assert own == pytest.approx(list(captions.answers.logprob), abs=1e-4)


def test_a_large_picture_is_sent_small_and_answered_as_if_it_was_whole(drawn: list[str]) -> None:
    from PIL import Image

    large = Image.open(drawn[0]).resize((700, 500))
    [opened] = open_pictures([Row(0, large, "large", ("",))], demo_spec())
    assert opened.image is not None and opened.image.size == (64, 64)
    [answered] = Answering(demo_spec()).answer([opened])
    whole = blip2_widget.caption([large], variant="cpu-fp32", max_new_tokens=10, cache=False)
    assert answered.cells[0].answer == whole.wait().df.caption[0]
    assert answered.cells[0].logprob == pytest.approx(whole.answers.logprob[0], abs=1e-4)
    assert answered.thumbnail is not None  # of what has no address something is kept


def test_a_bad_row_costs_itself_and_equal_rows_are_computed_once(drawn: list[str]) -> None:
    rows = rows_of([drawn[0], "/nowhere.png", drawn[0], __file__])
    answering = Answering(demo_spec())
    answered = answering.answer(open_pictures(rows, demo_spec()))
    states = [row.cells[0].state for row in answered]
    assert states == ["done", "error", "done", "error"]
    assert [row.cells[0].error_kind for row in answered[1::2]] == ["not-found", "not-an-image"]
    assert answered[0].cells[0].answer == answered[2].cells[0].answer
    again = answering.answer(open_pictures(rows, demo_spec()))
    assert [row.cells[0].cached for row in again] == [True, False, True, False]


def test_equal_pictures_take_their_earlier_answers(drawn: list[str]) -> None:
    spec = demo_spec(CAPTION, COLOUR)

    def opened(paths: list[str]) -> list[Opened]:
        return open_pictures(rows_of(paths, "", COLOUR.text), spec)

    earlier = Answering(spec).answer(opened([drawn[0], "/nowhere.png", drawn[1]]))
    now = opened(["/nowhere.png", drawn[1], drawn[2], drawn[1]])
    now[3] = replace(now[3], row=replace(now[3].row, texts=("", "something else?")))
    known, left = reused(now, earlier)
    assert [(row.number, row.address, row.cells[0].cached) for row in known] == [
        (1, drawn[1], True)
    ]
    assert [cell.answer for cell in known[0].cells] == [cell.answer for cell in earlier[2].cells]
    assert [each.row.number for each in left] == [0, 2, 3]


def test_choices_have_their_probabilities(drawn: list[str]) -> None:
    spec = demo_spec(COLOUR)
    spec = replace(spec, settings=replace(spec.settings, choices=("red", "blue")))
    [answered] = Answering(spec).answer(open_pictures(rows_of(drawn[:1], COLOUR.text), spec))
    choices = dict(answered.cells[0].choices)
    assert list(choices) == ["red", "blue"] and sum(choices.values()) == pytest.approx(1)
    assert answered.cells[0].answer == "red"


def test_it_stops_between_layers_and_what_was_stored_is_not_computed_again(
    drawn: list[str],
) -> None:
    passes = 0

    def stop_later() -> None:
        nonlocal passes
        passes += 1
        if passes > 60:
            raise Cancelled

    opened = open_pictures(rows_of(drawn[:16]), demo_spec())
    with pytest.raises(Cancelled):
        Answering(demo_spec(batch_size=2), stop_later).answer(opened)
    answered = Answering(demo_spec()).answer(opened)
    cached = [row.cells[0].cached for row in answered]
    assert any(cached) and not all(cached)


def test_another_checkpoint_under_the_same_name_is_refused() -> None:
    with pytest.raises(Blip2Error, match="another checkpoint"):
        Answering(replace(demo_spec(), commit="0" * 40))

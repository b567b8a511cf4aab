"""Runs that rank choices or give several answers: what stands in cells, frames and the store."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Engine, GenerationSettings
from blip2_widget.notebook.line import options_given, options_written, parse
from blip2_widget.notebook.result import Result
from blip2_widget.session import Session
from tests.run.made import rank_only_six

COLOURS = ["red", "green", "blue", "yellow"]
QUESTION = "what colour is the shape?"


@pytest.fixture
def frame() -> pd.DataFrame:
    samples = demo.samples().iloc[:6]
    return pd.DataFrame(
        {"image": [str(path) for path in samples.image], "shape": ["circle", "square"] * 3},
        index=list("abcdef"),
    )


def cells(result: Result, prompt: int = 0) -> list[Any]:
    result.wait(120)
    return [result.board.cell(row, prompt) for row in range(len(result.board))]


def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(Engine, "rank", refuse)
    monkeypatch.setattr(Engine, "stream", refuse)


def test_choices_give_the_likeliest_with_its_share(frame: pd.DataFrame) -> None:
    result = blip2_widget.ask(frame.image, QUESTION, frame=frame, choices=COLOURS)
    found = cells(result)
    for cell in found:
        assert [choice for choice, _ in cell.choices] == COLOURS
        shares = dict(cell.choices)
        assert math.fsum(shares.values()) == pytest.approx(1)
        assert cell.answer == max(shares, key=shares.__getitem__)
        assert math.exp(cell.logprob) == pytest.approx(shares[cell.answer])
        assert cell.alternatives == ()
    probabilities = result.probabilities()
    assert list(probabilities.columns) == COLOURS and list(probabilities.index) == list("abcdef")
    assert probabilities.idxmax(axis=1).tolist() == list(result.df.answer)
    assert list(frame.join(probabilities).columns) == [*frame.columns, *COLOURS]
    assert result.answers.choices.tolist() == [dict(cell.choices) for cell in found]


def test_the_demo_picks_the_right_choice() -> None:
    samples = demo.samples()
    known = samples.answer.astype(str)
    result = blip2_widget.ask(
        samples.image, "{question}", frame=samples, choices=sorted(set(known)), cache=False
    )
    right = [mine.answer == answer for mine, answer in zip(cells(result), known, strict=True)]
    assert sum(right) >= 0.9 * len(right)


def test_ranking_is_stored_whatever_the_order(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, own_session: Session
) -> None:
    first = cells(blip2_widget.ask(frame.image, QUESTION, choices=COLOURS))
    normal = cells(blip2_widget.ask(frame.image, QUESTION, choices=COLOURS, length_normalised=True))
    free = cells(blip2_widget.ask(frame.image, QUESTION))
    assert not any(cell.cached for cell in [*normal, *free])
    no_engine(monkeypatch)
    # Settings that are of no matter to a ranking change nothing.
    own_session.defaults.max_new_tokens = 7
    turned = blip2_widget.ask(frame.image, QUESTION, choices=COLOURS[::-1])
    again = cells(turned)
    assert turned.progress.cached == len(again) and list(turned.probabilities()) == COLOURS[::-1]
    for before, after in zip(first, again, strict=True):
        assert (after.answer, after.logprob) == (before.answer, before.logprob)
        assert after.choices == before.choices[::-1]


def test_choices_are_ranked_in_pieces_that_fit(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [*COLOURS, *(f"{number} {colour}s" for number in range(9) for colour in COLOURS)]
    together = cells(blip2_widget.ask(frame.image[:3], QUESTION, choices=many, cache=False))
    sizes = rank_only_six(monkeypatch)
    pieces = cells(
        blip2_widget.ask(frame.image[:3], QUESTION, choices=many, cache=False, batch_size=16)
    )
    assert sum(sizes) == 3 * len(many)
    for one, other in zip(together, pieces, strict=True):
        assert [share for _, share in other.choices] == pytest.approx(
            [share for _, share in one.choices], abs=1e-5
        )


def test_a_choice_that_fails_costs_its_row_alone(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine.rank

    def poisoned(self: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        if any("square" in prompt for prompt in prompts):
            raise RuntimeError("poisoned")
        return real(self, features, prompts, *rest, **named)

    monkeypatch.setattr(Engine, "rank", poisoned)
    result = blip2_widget.ask(frame.image, "is it a {shape}?", frame=frame, choices="yes,no")
    states = [cell.state for cell in cells(result)]
    assert states == ["done", "error"] * 3
    assert list(result.errors.error) == ["RuntimeError: poisoned"] * 3
    probabilities = result.probabilities()
    assert probabilities.yes.isna().tolist() == [False, True] * 3


def test_several_prompts_have_columns_of_their_own(frame: pd.DataFrame) -> None:
    prompts = {"round": "is it round?", "big": "is it big?"}
    result = blip2_widget.ask(frame.image, prompts, choices=["yes", "no"]).wait(120)
    assert list(result.probabilities()) == ["round: yes", "round: no", "big: yes", "big: no"]


def test_where_nothing_was_ranked_there_are_no_probabilities(frame: pd.DataFrame) -> None:
    result = blip2_widget.caption(frame.image[:1]).wait(120)
    with pytest.raises(Blip2Error, match="no choices were ranked here; ask with choices="):
        result.probabilities()
    assert not {"choices", "alternatives"} & set(result.answers.columns)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"k": 3}, {1, 2, 3}),
        ({"k": 3, "temperature": 2.0, "top_p": 0.9, "seed": 4}, {1, 2, 3}),
    ],
    ids=["beams", "samples"],
)
def test_several_answers_are_there_again(
    frame: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    counts: set[int],
) -> None:
    first = cells(blip2_widget.caption(frame.image, **options))
    for cell in first:
        assert (cell.answer, cell.logprob) == cell.alternatives[0]
        assert len(dict(cell.alternatives)) == len(cell.alternatives) and cell.choices == ()
    assert {len(cell.alternatives) for cell in first} <= counts
    assert max(len(cell.alternatives) for cell in first) > 1
    no_engine(monkeypatch)
    result = blip2_widget.caption(frame.image, **options)
    again = cells(result)
    assert [cell.alternatives for cell in again] == [cell.alternatives for cell in first]
    assert result.answers.alternatives.tolist() == [dict(cell.alternatives) for cell in first]


def test_a_cell_that_is_asked_anew_forgets_its_choices(frame: pd.DataFrame) -> None:
    result = blip2_widget.ask(frame.image[:1], QUESTION, choices=COLOURS).wait(120)
    before = result.board.cell(0, 0).choices
    result.ask(0, "what shape is it?").wait(120)
    after = result.board.cell(0, 0).choices
    assert after != before and [choice for choice, _ in after] == COLOURS


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"choices": "yes,yes"}, "'yes' is there twice"),
        ({"choices": []}, "there are no choices"),
        ({"choices": "yes,no", "k": 2}, "not generated, so k has no effect; leave it out"),
        (
            {"choices": "yes,no", "temperature": 0.7, "max_length": 9, "k": 5},
            "choices are ranked, not generated, so max_new_tokens, temperature and k have no "
            "effect; leave them out",
        ),
        ({"choices": "{x}", "top_p": 1.0, "seed": 1}, "so top_p has no effect; leave it out"),
        ({"k": 3, "num_beams": 2}, "3 answers cannot come of 2 beams"),
        ({"preset": "cocoa"}, "did you mean 'coco'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(Blip2Error, match=said):
        blip2_widget.ask(["gone.png"], QUESTION, **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_beams": 5}, "num_beams has"),
        (
            {"preset": "vqa", "choices": "a,b", "min_length": 1},
            "min_new_tokens, preset and choices",
        ),
        ({"length_normalised": True}, "length_normalised has"),
    ],
)
def test_what_generates_nothing_takes_no_option_of_answers(
    options: dict[str, Any], named: str
) -> None:
    calls: dict[str, Callable[..., Any]] = {
        "match": lambda **how: blip2_widget.match(["gone.png"], "a", **how),
        "search": lambda **how: blip2_widget.search(["gone.png"], "a", **how),
        "embed": lambda **how: blip2_widget.embed(["gone.png"], **how),
        "map": lambda **how: blip2_widget.map(["gone.png"], **how),
    }
    for name, call in calls.items():
        with pytest.raises(Blip2Error, match=f"^{name} generates nothing, so {named}"):
            call(**options)


def test_a_preset_goes_with_choices_and_so_does_the_line_that_is_copied(
    frame: pd.DataFrame, own_session: Session
) -> None:
    own_session.defaults.num_beams = 3
    plain = blip2_widget.ask(frame.image, QUESTION, choices="yes,no", start=False)
    preset = blip2_widget.ask(frame.image, QUESTION, choices="yes,no", preset="vqa", start=False)
    own_session.defaults.num_beams = 1
    for result, words in ((plain, ""), (preset, " --preset vqa")):
        asked = result._askings[0]
        written = options_written(asked.options)
        assert sorted(written.split(" --")) == sorted(f"--choices yes,no{words}".split(" --"))
        again = options_given(parse(f"ask df.image {written}"))
        same = blip2_widget.ask(frame.image, QUESTION, **again, start=False)
        assert same._askings[0].how.said == asked.how.said


def test_a_conversation_answers_freely(frame: pd.DataFrame) -> None:
    with pytest.raises(Blip2Error, match="a conversation answers freely"):
        blip2_widget.chat(frame.image.iloc[0], QUESTION, choices="yes,no")
    result = blip2_widget.ask(frame.image[:1], QUESTION, choices="yes,no").wait(120)
    chats = result._askings[0].chats(result.board.pictures)
    chats.say(0, "what shape is it?")
    assert chats.wait(0, 120)
    assert chats.turns(0)[-1].answer not in ("yes", "no", None)


def settings_of(result: Result) -> GenerationSettings:
    return result.run.settings


def test_presets_are_settings_and_words(frame: pd.DataFrame, tiny_t5: Any) -> None:
    image = frame.image[:1]
    coco = blip2_widget.caption(image, preset="coco", start=False)
    assert coco.board.prompts[0].text == "a photo of"
    assert settings_of(coco) == GenerationSettings(num_beams=5, min_new_tokens=8)
    assert blip2_widget.caption(image, "", preset="coco", start=False).board.prompts[0].text == ""
    by_family = {
        "demo": GenerationSettings(10, 5, min_new_tokens=1, length_penalty=0.0),
        str(tiny_t5): GenerationSettings(10, 5, min_new_tokens=0, length_penalty=-1.0),
    }
    for model, expected in by_family.items():
        vqa = blip2_widget.ask(image, QUESTION, preset="vqa", model=model, start=False)
        assert settings_of(vqa) == expected
        wanted = vqa.run._answers.want("key", QUESTION, "question")
        assert wanted.prompt == f"Question: {QUESTION} Short answer:"


def test_what_is_given_beside_a_preset_wins(frame: pd.DataFrame, own_session: Session) -> None:
    own_session.defaults.max_new_tokens = 12
    image = frame.image[:1]
    mine = blip2_widget.caption(image, preset="coco", num_beams=2, min_new_tokens=0, start=False)
    assert settings_of(mine) == GenerationSettings(max_new_tokens=30, num_beams=2)
    usual = blip2_widget.caption(image, start=False)
    assert settings_of(usual) == GenerationSettings(max_new_tokens=12)
    many = blip2_widget.caption(image, preset="coco", k=7, start=False)
    assert settings_of(many).num_beams == 7


def test_lavis_names_are_known_in_python_and_unknown_ones_told() -> None:
    samples = [str(path) for path in demo.samples().image[:2]]
    run = blip2_widget.caption(
        samples, num_beams=4, max_length=12, min_length=3, num_captions=2, start=False
    ).run
    settings = run.settings
    assert (settings.max_new_tokens, settings.min_new_tokens, settings.k) == (12, 3, 2)
    with pytest.raises(Blip2Error, match="no option max_lenght; did you mean max_length"):
        blip2_widget.caption(samples, max_lenght=12)
    with pytest.raises(Blip2Error, match="no option poolled"):
        blip2_widget.embed(samples, poolled=True)

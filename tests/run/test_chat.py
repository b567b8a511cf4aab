"""Conversations: each turn knows those before it, streams, is kept, and can be said again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.images import read_column
from blip2_widget.model import Engine, conversation_text
from blip2_widget.model.prefixes import PrefixCache
from blip2_widget.run import Chats, Run, Turn
from blip2_widget.session import Session
from blip2_widget.store import Store

HOW_MANY = "how many shapes are in the picture?"
#: "a gray circle, a green circle, a brown triangle and a yellow triangle"
SCENE = str(demo.samples().image[7])
BROWN, GREEN, WHICH = "is there a brown shape?", "is there a green shape?", "what shape is it?"


def chats_over(images: Any, store: Store | None = None, **options: Any) -> Chats:
    """Conversations about a column, with runs like one over it."""
    result = blip2_widget.explore(images, **options)
    return result._asking.chats(result.board.pictures, store)


def said(chats: Chats, row: int = 0) -> list[tuple[str, str | None]]:
    assert chats.wait(row, 60)
    turns = chats.turns(row)
    assert [turn.state for turn in turns] == ["done"] * len(turns), turns
    return [(turn.question, turn.answer) for turn in turns]


def prompts_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that the model is given from now on."""
    read: list[str] = []
    real = Engine.stream

    def noting(self: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        read.extend(prompts)
        return real(self, features, prompts, *rest, **named)

    monkeypatch.setattr(Engine, "stream", noting)
    return read


def hold_streams(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Answers stop after their first token until the event is set, looking at cancels."""
    free = threading.Event()
    real = Engine.stream

    def held(self: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        for step in real(self, features, prompts, *rest, **named):
            yield step
            while step.running and not free.wait(0.01):
                named["between"]()

    monkeypatch.setattr(Engine, "stream", held)
    return free


# --- what is asked --------------------------------------------------------------------------------


def test_a_turn_knows_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read = prompts_read(monkeypatch)
    chats = chats_over([SCENE])
    chats.say(0, f" {BROWN}\n")
    assert said(chats) == [(BROWN, "yes")]
    chats.say(0, WHICH)
    assert said(chats) == [(BROWN, "yes"), (WHICH, "triangle")]
    assert read == [
        f"Question: {BROWN} Answer:",
        f"Question: {BROWN} Answer: yes. Question: {WHICH} Answer:",
    ]
    turns = chats.turns(0)
    assert all(turn.logprob is not None and -1 < turn.logprob <= 0 for turn in turns)


def test_a_turn_that_is_edited_takes_all_behind_it_along() -> None:
    chats = chats_over([SCENE])
    for text in (BROWN, WHICH, HOW_MANY):
        chats.say(0, text)  # they wait for each other
    assert [question for question, _ in said(chats)] == [BROWN, WHICH, HOW_MANY]
    chats.say(0, GREEN, at=0)
    assert said(chats) == [(GREEN, "yes")]
    chats.say(0, WHICH)
    assert said(chats)[1] == (WHICH, "circle")


def test_what_was_asked_before_comes_from_the_store_unless_it_is_asked_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said_once = chats_over([SCENE])
    said_once.say(0, HOW_MANY)
    before = said(said_once)
    read = prompts_read(monkeypatch)
    chats = chats_over([SCENE])
    chats.say(0, HOW_MANY)
    assert said(chats) == before and read == []
    for count in (1, 2):
        chats.say(0, HOW_MANY, at=0)
        assert said(chats) == before and len(read) == count
    chats.say(0, HOW_MANY)
    assert len(said(chats)) == 2 and len(read) == 3


def test_a_turn_goes_on_from_the_keys_and_values_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, int]] = []
    real = PrefixCache.find

    def noting(self: PrefixCache, picture: str, ids: Any) -> Any:
        found = real(self, picture, ids)
        seen.append((len(ids), 0 if found is None else found.common(ids)))
        return found

    monkeypatch.setattr(PrefixCache, "find", noting)
    chats = chats_over([SCENE])
    for text in (BROWN, WHICH):
        chats.say(0, text)
    said(chats)
    (first, none), (_, common) = seen
    assert none == 0 and common > first


@pytest.mark.parametrize("answer", ["two", "two.", " two.\n", "two\n", "two . "])
def test_a_full_stop_is_written_once(answer: str) -> None:
    text = conversation_text([("how many?\n", answer), ("say nothing", " ")], " which? ")
    assert text == "Question: how many? Answer: two. Question: which? Answer:"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused_in_one_line(text: str) -> None:
    chats = chats_over([SCENE])
    with pytest.raises(Blip2Error, match="nothing to ask; write a question"):
        chats.say(0, text)
    assert chats.turns(0) == []


@pytest.mark.parametrize("at", [-1, 1])
def test_a_turn_that_is_not_there_is_refused(at: int) -> None:
    with pytest.raises(Blip2Error, match="there is no turn"):
        chats_over([SCENE]).say(0, BROWN, at=at)


def test_braces_are_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    read = prompts_read(monkeypatch)
    chats = chats_over([SCENE])
    chats.say(0, "is {this} a {{circle?")
    said(chats)
    assert read == ["Question: is {this} a {{circle? Answer:"]


# --- what is heard --------------------------------------------------------------------------------


def test_answers_stream_to_every_row_of_the_picture() -> None:
    samples = demo.samples()
    chats = chats_over([samples.image[1], SCENE, SCENE])
    partial: list[str] = []
    rows: set[int] = set()

    def hear(row: int) -> None:
        rows.add(row)
        turn = chats.turns(row)[-1]
        if turn.state == "running" and turn.answer:
            partial.append(turn.answer)

    def broken(row: int) -> None:
        raise ZeroDivisionError("which is nobody else's concern")

    chats.subscribe(hear)
    chats.subscribe(broken)
    assert chats.turns(2) == []
    chats.say(1, "what is in the picture?")
    ((_, answer),) = said(chats, 1)
    assert rows == {1, 2} and said(chats, 2) == said(chats, 1) and chats.turns(0) == []
    assert answer is not None and all(answer.startswith(each) for each in partial)


def test_a_beginning_is_shown_while_the_rest_is_written(
    tiny_opt: Path, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = hold_streams(monkeypatch)
    chats = chats_over(noise[:1], model=str(tiny_opt), max_new_tokens=5)
    heard = threading.Event()
    chats.subscribe(lambda row: heard.set() if chats.turns(row)[-1].answer else None)
    chats.say(0, BROWN)
    assert heard.wait(60)
    (turn,) = chats.turns(0)
    assert turn.state == "running" and turn.answer and not chats.wait(0, 0.01)
    free.set()
    ((_, answer),) = said(chats)
    assert answer is not None and answer.startswith(turn.answer) and answer != turn.answer


def test_a_conversation_goes_ahead_of_a_long_run(
    tiny_opt: Path, noise: list[Image.Image], own_session: Session
) -> None:
    many = [noise[0].rotate(angle) for angle in range(300)]
    run = blip2_widget.ask(
        many, "what?", model=str(tiny_opt), max_new_tokens=5, batch_size=2, cache=False
    ).run
    chats = chats_over(noise[1:2], model=str(tiny_opt), max_new_tokens=5)
    chats.say(0, BROWN)
    said(chats)
    assert not run.wait(0), "the long run was over before the conversation"
    run.cancel()


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_cancelled_turn_says_so_and_is_said_again(
    tiny_opt: Path, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = hold_streams(monkeypatch)
    store = Store.in_memory()
    chats = chats_over(noise[:1], store, model=str(tiny_opt), max_new_tokens=5)
    heard = threading.Event()
    chats.subscribe(lambda row: heard.set() if chats.turns(row)[0].answer else None)
    chats.say(0, BROWN)
    chats.say(0, WHICH)
    assert heard.wait(60)
    chats.cancel(0)
    assert chats.wait(0, 60)
    assert [turn.state for turn in chats.turns(0)] == ["cancelled", "cancelled"]
    assert [bool(turn.answer) for turn in chats.turns(0)] == [True, False]  # what had come stays
    free.set()
    chats.say(0, BROWN, at=0)
    assert [question for question, _ in said(chats)] == [BROWN]


def test_a_turn_replaced_while_it_is_answered_leaves_nothing_behind(
    tiny_opt: Path, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = hold_streams(monkeypatch)
    chats = chats_over(noise[:1], model=str(tiny_opt), max_new_tokens=5)
    heard = threading.Event()
    chats.subscribe(lambda row: heard.set() if chats.turns(row)[0].answer else None)
    chats.say(0, BROWN)
    assert heard.wait(60)
    read = prompts_read(monkeypatch)
    chats.say(0, GREEN, at=0)
    chats.say(0, WHICH)  # which waits for the new turn, not for the one that is gone
    free.set()
    (question, answer), _ = said(chats)
    assert read == [
        conversation_text([], GREEN),
        conversation_text([(GREEN, answer or "")], WHICH),
    ]
    alone = chats_over(noise[:1], model=str(tiny_opt), max_new_tokens=5, cache=False)
    alone.say(0, GREEN)
    assert (question, answer) == (GREEN, said(alone)[0][1])


def test_a_turn_that_fails_says_why_is_no_part_of_the_talk_and_is_said_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Engine.stream

    def poisoned(self: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        if prompts[0].endswith(f"{WHICH} Answer:"):
            raise RuntimeError("a poisoned\nturn")
        return real(self, features, prompts, *rest, **named)

    monkeypatch.setattr(Engine, "stream", poisoned)
    chats = chats_over([SCENE])
    for text in (BROWN, WHICH, HOW_MANY):
        chats.say(0, text)
    assert chats.wait(0, 60)
    turns = chats.turns(0)
    assert [turn.state for turn in turns] == ["done", "error", "done"]
    assert turns[1].error == "RuntimeError: a poisoned turn" and turns[1].answer is None
    monkeypatch.setattr(Engine, "stream", real)
    read = prompts_read(monkeypatch)
    chats.say(0, WHICH, at=1)
    assert said(chats) == [(BROWN, "yes"), (WHICH, "triangle")]
    chats.say(0, HOW_MANY)
    said(chats)
    assert [text.count("Question:") for text in read] == [2, 3]


def test_a_model_that_cannot_be_loaded_fails_the_turn_in_one_line(own_session: Session) -> None:
    real = own_session.manager.hold

    def refuse(*_: Any, **__: Any) -> Any:
        raise Blip2Error("memory does not suffice")

    chats = chats_over([SCENE])
    own_session.manager.hold = refuse  # type: ignore[method-assign]
    chats.say(0, BROWN)
    assert chats.wait(0, 60)
    (turn,) = chats.turns(0)
    assert turn.state == "error" and "memory does not suffice" in (turn.error or "")
    own_session.manager.hold = real  # type: ignore[method-assign]
    chats.say(0, BROWN, at=0)
    assert said(chats) == [(BROWN, "yes")]


@pytest.mark.parametrize("error", [Blip2Error("it does not\nfit"), ValueError("it does not\nfit")])
def test_a_run_that_cannot_be_made_fails_the_turn_in_one_line(error: Exception) -> None:
    def refuse(*_: Any) -> Run:
        raise error

    column = read_column([SCENE])
    chats = Chats(column, lambda row: "key", refuse, model="demo")
    chats.say(0, BROWN)
    chats.say(0, WHICH)
    turns = chats.turns(0)
    assert [turn.state for turn in turns] == ["error", "error"]
    assert all((turn.error or "").endswith("it does not fit") for turn in turns)


def test_a_broken_picture_is_refused_in_one_line() -> None:
    chats = chats_over([SCENE, "gone.png"])
    with pytest.raises(Blip2Error, match="there is no file"):
        chats.say(1, BROWN)


# --- what is kept ---------------------------------------------------------------------------------


def test_a_conversation_is_there_again_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    chats = chats_over([SCENE], Store(path))
    chats.say(0, BROWN)
    before = said(chats)
    again = chats_over([demo.samples().image[0], Image.open(SCENE)], Store(path))
    assert again.turns(1) == chats.turns(0) and again.turns(0) == []
    again.say(1, WHICH)
    assert said(again, 1) == [*before, (WHICH, "triangle")]
    other = Chats(
        read_column([SCENE]), again._key_of, again._make_run, model="x", store=Store(path)
    )
    assert other.turns(0) == []


def test_two_galleries_over_one_picture_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    one, other = chats_over([SCENE], Store(path)), chats_over([SCENE], Store(path))
    assert one.turns(0) == other.turns(0) == []
    one.say(0, BROWN)
    first = said(one)
    # The other has its own idea of the conversation, and sees what came meanwhile.
    assert [(turn.question, turn.answer) for turn in other.turns(0)] == first
    other.say(0, WHICH)
    assert said(other) == [*first, (WHICH, "triangle")]
    assert said(one) == said(other)


def test_what_two_say_at_once_is_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    one, other = chats_over([SCENE], Store(path)), chats_over([SCENE], Store(path))
    one.say(0, BROWN)
    one.say(0, HOW_MANY)
    other.say(0, WHICH)
    assert other.wait(0, 60) and one.wait(0, 60)
    assert said(one) == said(other)
    asked = [question for question, answer in said(chats_over([SCENE], Store(path))) if answer]
    assert sorted(asked) == sorted([BROWN, HOW_MANY, WHICH])


def test_what_was_typed_is_kept_before_it_is_answered() -> None:
    store = Store.in_memory()

    def looking(*_: Any) -> Run:
        (kept,) = store.people.conversation("key", "demo")
        assert (kept["question"], kept["state"]) == (BROWN, "waiting")
        raise SystemExit  # the kernel dies

    column = read_column([SCENE])
    with pytest.raises(SystemExit):
        Chats(column, lambda row: "key", looking, model="demo", store=store).say(0, BROWN)
    again = Chats(column, lambda row: "key", looking, model="demo", store=store)
    assert again.turns(0) == [Turn(BROWN, state="cancelled")]
    assert again.wait(0, 0)


def test_an_answer_is_shown_once_the_turn_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "s.sqlite3")
    chats, real, shown = chats_over([SCENE], store), store.people.put_conversation, []

    def looking(key: str, model: str, turns: Sequence[dict[str, Any]]) -> None:
        conversation = chats._conversations[key]
        shown.append((turns[0]["state"], conversation.turns[0].state))
        real(key, model, turns)

    monkeypatch.setattr(store.people, "put_conversation", looking)
    chats.say(0, BROWN)
    assert said(chats) == [(BROWN, "yes")]
    assert shown[-1] == ("done", "running")
    assert said(chats_over([SCENE], Store(store.path))) == [(BROWN, "yes")]


def test_a_store_that_fails_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "s.sqlite3")
    store.close()
    chats = chats_over([SCENE], store)
    with caplog.at_level(logging.WARNING):
        chats.say(0, BROWN)
        assert said(chats) == [(BROWN, "yes")]
    assert len(caplog.records) == 1


# --- as code --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expression", "row", "picture"),
    [
        (lambda paths: paths, "paths", 1, "paths[1]"),
        (lambda paths: pd.Series(paths, index=["x", "y"]), "df.image", 1, "df.image.loc['y']"),
        (lambda paths: pd.Series(paths, index=[7, 9]), "df.image", 0, "df.image.loc[7]"),
        (lambda paths: pd.Series(paths, index=[7, 7]), "df.image", 1, "df.image.iloc[1]"),
    ],
)
def test_the_code_names_the_picture_and_every_question(
    make: Callable[[list[str]], Any], expression: str, row: int, picture: str
) -> None:
    chats = chats_over(make([str(demo.samples().image[0]), SCENE]))
    chats.say(row, 'is "this" a\\circle?')
    chats.say(row, "größer?")
    chats.wait(row, 60)
    line = chats.code(row, expression, "-m demo")
    assert line == f'%blip2 chat {picture} "is \\"this\\" a\\\\circle?" "größer?" -m demo'


def test_the_code_of_a_picture_in_a_folder_is_its_path(tmp_path: Path) -> None:
    Image.open(SCENE).save(tmp_path / "a.png")
    chats = chats_over(str(tmp_path / "*.png"))
    assert chats.code(0, '"x/*.png"') == f'%blip2 chat "{tmp_path / "a.png"}"'


# --- in Python ------------------------------------------------------------------------------------


def test_chat_answers_in_turn_and_begins_anew_each_time(own_session: Session) -> None:
    for _ in range(2):
        assert blip2_widget.chat(SCENE, [BROWN, WHICH]) == [(BROWN, "yes"), (WHICH, "triangle")]
    assert blip2_widget.chat(Image.open(SCENE), HOW_MANY, cache=False) == [(HOW_MANY, "4")]
    key = blip2_widget.ask(SCENE, "x", start=False).run.pictures.key_of(0)
    assert own_session.store.people.conversation(key, "demo") == []


def test_chat_asked_anew_reads_no_stored_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    blip2_widget.chat(SCENE, BROWN)
    read = prompts_read(monkeypatch)
    blip2_widget.chat(SCENE, BROWN)
    assert read == []
    blip2_widget.chat(SCENE, BROWN, refresh=True)
    assert len(read) == 1


@pytest.mark.parametrize(
    ("image", "questions", "part"),
    [
        (SCENE, [], "nothing to ask"),
        (SCENE, ["a", " "], "not empty"),
        (SCENE, [3], "must be a text"),
        ([SCENE, SCENE], "a", "about one picture, and here are 2"),
        (["gone.png"], "a", "there is no file"),
    ],
)
def test_chat_refuses_in_one_line(image: Any, questions: Any, part: str) -> None:
    with pytest.raises(Blip2Error, match=part):
        blip2_widget.chat(image, questions)


def test_chat_stops_at_the_first_question_that_is_not_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(Engine, "stream", broken)
    with pytest.raises(Blip2Error, match=r"'what\?' was not answered: RuntimeError: broken"):
        blip2_widget.chat(SCENE, ["what?", "why?"])


def test_an_interrupt_stops_a_chat_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Chats, "wait", interrupt)
    with pytest.raises(Blip2Error, match="interrupted with 0 of 2 answers"):
        blip2_widget.chat(SCENE, [BROWN, WHICH])

"""The gallery's kernel side, by the messages that js/src/protocol.ts describes."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import traitlets
from PIL import Image

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.notebook.gallery import Gallery
from blip2_widget.notebook.result import Result
from blip2_widget.run import Board
from blip2_widget.run.cells import Task
from blip2_widget.session import Session
from tests.run.test_chat import hold_streams

Sent = list[tuple[dict[str, Any], list[bytes]]]


@pytest.fixture
def pictures(tmp_path: Path, noise: list[Image.Image]) -> list[Any]:
    """Four good pictures, one of them large, and a broken one in the third place."""
    wide = tmp_path / "wide.png"
    Image.new("RGB", (900, 300), "teal").save(wide)
    return [noise[0], str(wide), b"no picture", noise[1], noise[2]]


@pytest.fixture
def make(
    own_session: Session, tiny_opt: Path, pictures: list[Any]
) -> Callable[..., tuple[Result, Gallery, Sent]]:
    """A result over the pictures, its gallery, and all that the gallery sends."""
    own_session.defaults.model = str(tiny_opt)
    own_session.defaults.max_new_tokens = 3

    def made(values: list[Any] = pictures, **options: Any) -> tuple[Result, Gallery, Sent]:
        result = blip2_widget.caption(values, **options)
        gallery = result.gallery
        sent: Sent = []
        gallery.send = lambda content, buffers=None: sent.append((content, buffers or []))
        return result, gallery, sent

    return made


def receive(gallery: Gallery, **content: Any) -> None:
    """By the way that a message of the page takes, where an exception is logged by ipywidgets."""
    gallery._handle_custom_msg(content, [])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def of_type(sent: Sent, kind: str) -> list[dict[str, Any]]:
    return [content for content, _ in sent if content["type"] == kind]


def test_synced_state_is_small_however_many_rows_there_are(make: Any) -> None:
    _, gallery, _ = make(["gone.png"] * 20_000, start=False)
    state = gallery.get_state(["row_count", "title", "prompts", "progress"])
    assert gallery.row_count == 20_000
    assert len(json.dumps(state)) < 1000


def test_how_often_compared_answers_agree_is_told_and_followed(
    own_session: Session, tiny_opt: Path, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_session.defaults.model = str(tiny_opt)
    monkeypatch.setattr("blip2_widget.notebook.gallery._COUNT_INTERVAL", 0.01)
    result = blip2_widget.compare(noise[:3], {"a": "what?", "b": "who?"}, start=False)
    gallery, run = result.gallery, result.run

    def say(row: int, *texts: str) -> None:
        for prompt, text in enumerate(texts):
            run._grid.answer(Task(row, prompt, 0), text, -0.5, cached=False)
        run._announce([row])

    assert gallery.comparing and gallery.agreement == []
    say(0, "Yes", "yes ")
    say(1, "no")
    until(lambda: gallery.agreement != [])
    (pair,) = gallery.agreement
    assert (pair["one"], pair["other"], pair["answered"], pair["agree"]) == (0, 1, 1, 1)
    say(2, "yes", "no")
    until(lambda: gallery.agreement[0]["answered"] == 2)
    (pair,) = gallery.agreement
    assert pair["agree"] == 1 and pair["low"] < 0.5 < pair["high"]
    gallery.show(filters=[{"key": "agreement:0,1", "values": ["different"]}])
    assert list(gallery.filtered) == [2]
    # A person's word is no model's: it changes nothing of what is counted.
    result.review(2, "correct", "no")
    assert result.agreement.agree[0] == 1
    # A gallery that is made later, of a run that has ended, tells it too.
    later = Gallery(result.board, result._askings, result.reviews, own_session.store)
    until(lambda: later.agreement == gallery.agreement)


def test_synced_state_stays_small_whatever_is_asked(
    own_session: Session, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "\N{DOG FACE}" * 5_000
    frame = pd.DataFrame({f"{at} {long}": ["x"] for at in range(2_000)} | {"image": noise[:1]})
    result = blip2_widget.ask(
        frame.image,
        {f"{at} {long}": f"{at} {long}?" for at in range(1_000)},
        frame=frame,
        title=long,
        start=False,
    )
    progress = dataclasses.replace(result.board.progress, note=long, model=long, variant=long)
    monkeypatch.setattr(Board, "progress", progress)
    gallery = result.gallery
    sent: Sent = []
    gallery.send = lambda content, buffers=None: sent.append((content, buffers or []))
    filters = [{"key": "label", "values": [f"{at} {long}" for at in range(3_000)]}]
    gallery.show("\N{DOG FACE}" * 1_000, filters=filters, sort=f"column:7 {long}")
    with pytest.raises(Blip2Error):
        gallery.show(sort=long)
    until(lambda: gallery._timer is None)

    code = ("_esm", "_css")
    state = {name: value for name, value in gallery.get_state().items() if name not in code}
    assert len(json.dumps(state)) < 20_000
    assert state["prompts"][0]["text"].startswith("0 ") and len(state["columns"]) > 20
    # The page is sent all of it, and a row's own texts, when it asks.
    receive(gallery, type="whole")
    (message,) = of_type(sent, "whole")
    assert message["cut"] == state["cut"] > 0
    whole = message["parts"]
    assert whole["title"] == long and whole["prompts"][-1]["text"] == f"999 {long}?"
    assert whole["columns"][7] == {"name": f"7 {long}", "kind": "text"}
    assert whole["query"]["filters"] == filters
    receive(gallery, type="rows", view="v", start=0, stop=1)
    gallery.show()
    receive(gallery, type="rows", view="v", start=0, stop=1)
    assert of_type(sent, "rows")[-1]["rows"][0]["cells"][1]["prompt"] == f"1 {long}?"


def test_what_is_short_is_synced_whole(answered: Any) -> None:
    _, gallery, _ = answered
    gallery.show("dog")
    assert gallery.cut == 0 and gallery.shown["query"]["search"] == "dog"
    numbers = set()
    for most in (5_000, 6_000):
        gallery.show(filters=[{"key": "label", "values": [str(at) for at in range(most)]}])
        assert gallery.shown["query"] is None
        numbers.add(gallery.cut)
    assert len(numbers) == 2 and 0 not in numbers
    gallery.show()
    assert gallery.cut == 0 and gallery.shown["query"]["filters"] == []


def test_rows_come_as_asked_and_within_bounds(make: Any) -> None:
    result, gallery, sent = make()
    result.wait(30)
    receive(gallery, type="rows", view="v", start=1, stop=999)
    (message,) = of_type(sent, "rows")
    assert message["start"] == 1 and len(message["rows"]) == 4
    good, broken = message["rows"][0], message["rows"][1]
    assert good["label"] == "wide.png" and good["error"] is None
    assert good["cells"] == [
        {
            "prompt": "",
            "answer": result.answers.answer[1],
            "state": "done",
            "error": None,
            "cached": False,
            "source": None,
            "confidence": pytest.approx(math.exp(result.answers.logprob[1])),
            "review": None,
        }
    ]
    assert good["id"] == 1 and good["values"] == [] and not good["selected"]
    assert "is not a picture" in broken["error"]
    assert broken["cells"][0]["state"] == "error"
    receive(gallery, type="rows", view="v", start=-5, stop=2)
    receive(gallery, type="rows", view="v", start=9, stop=20)
    assert [len(each["rows"]) for each in of_type(sent, "rows")[1:]] == [2, 0]


def test_each_choice_is_a_number_that_sorts_and_filters(
    own_session: Session, noise: list[Image.Image]
) -> None:
    frame = pd.DataFrame({"image": noise[:2], "no": ["a", "b"]})
    result = blip2_widget.ask(
        frame.image, "is it red?", frame=frame, model="demo", choices="yes,no", start=False
    )
    gallery = result.gallery
    kinds = {each["name"]: each["kind"] for each in gallery.columns}
    # The frame has a column that is called so already.
    assert kinds == {"no": "text", "yes": "probability", "no_2": "probability"}
    assert result.df.yes.isna().all()
    gallery.show(sort="column:yes", descending=True)
    assert list(gallery.filtered) == [0, 1]
    # The numbers come with the answers.
    result.run.start()
    result.wait(60)
    shares = result.probabilities()
    assert shares.yes[0] < shares.yes[1]
    until(lambda: list(gallery.filtered) == [1, 0])
    assert list(result.df.yes) == list(shares.yes) and list(result.df.no_2) == list(shares.no)
    gallery.show(filters=[{"key": "column:yes", "max": shares.yes.mean()}])
    assert list(gallery.filtered) == [0]


def test_many_choices_are_no_columns_and_several_prompts_have_their_own(
    own_session: Session, noise: list[Image.Image]
) -> None:
    how: dict[str, Any] = {"model": "demo", "start": False}
    many = blip2_widget.ask(noise[:1], "how many?", choices=[*map(str, range(13))], **how)
    assert many.gallery.columns == [] and list(many.df) == ["image", "answer"]
    variants = ["cpu-fp32", "cpu-int8"]
    two = blip2_widget.compare(noise[:1], "red?", choices="yes,no", variants=variants, **how)
    names = [each["name"] for each in two.gallery.columns]
    assert names == list(two.probabilities()) and names[0] == "answer · cpu-fp32: yes"


def test_choices_asked_of_pictures_that_were_looked_at_are_columns_too(
    own_session: Session, noise: list[Image.Image]
) -> None:
    gallery = blip2_widget.explore(noise[:1], model="demo", choices="yes,no").gallery
    receive(gallery, type="ask_many", prompt="red?", scope="all")
    until(lambda: [each["name"] for each in gallery.columns] == ["yes", "no"])
    receive(gallery, type="ask_many", prompt="blue?", scope="all")
    more = ["blue?: yes", "blue?: no"]
    until(lambda: [each["name"] for each in gallery.columns] == ["yes", "no", *more])


def test_choices_and_alternatives_are_sent_where_there_are_any(
    own_session: Session, noise: list[Image.Image]
) -> None:
    def cell_of(**options: Any) -> dict[str, Any]:
        result = blip2_widget.ask(noise[:1], "how many?", model="demo", **options).wait(60)
        sent: Sent = []
        result.gallery.send = lambda content, buffers=None: sent.append((content, []))
        receive(result.gallery, type="rows", view="v", start=0, stop=1)
        cell: dict[str, Any] = of_type(sent, "rows")[0]["rows"][0]["cells"][0]
        json.dumps(cell)
        return cell

    ranked = cell_of(choices=[*map(str, range(30))])
    shares = [share for _, share in ranked["choices"]]
    assert len(shares) == 20 and shares == sorted(shares, reverse=True)
    assert ranked["choices"][0] == (ranked["answer"], pytest.approx(ranked["confidence"]))
    assert "alternatives" not in ranked
    several = cell_of(k=3)
    texts = [text for text, _ in several["alternatives"]]
    assert several["answer"] in texts and len(set(texts)) == len(texts) > 1
    assert all(0 < share <= 1 for _, share in several["alternatives"])
    assert "choices" not in several


def test_thumbnails_come_as_binary_in_the_size_asked_for(make: Any) -> None:
    _, gallery, sent = make()
    receive(gallery, type="thumbs", view="v", rows=[1, 2, 0], pixels=128)
    until(lambda: len(of_type(sent, "thumbs")) > 0)
    content, buffers = next(each for each in sent if each[0]["type"] == "thumbs")
    assert (content["rows"], content["pixels"]) == ([1, 2, 0], 128)
    assert content["mime"] == "image/webp"
    wide = Image.open(io.BytesIO(buffers[0]))
    assert wide.size == (128, 43)
    assert wide.convert("RGB").getpixel((60, 20)) == pytest.approx((0, 128, 128), abs=4)
    assert buffers[1] == b"" and "is not a picture" in content["errors"][1]
    assert content["errors"][0] is None is content["errors"][2]


def test_thumbnails_are_made_off_the_thread_that_asks(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def noting(*_: Any) -> bytes:
        threads.append(threading.current_thread().name)
        return b""

    monkeypatch.setattr("blip2_widget.notebook.thumbnails.thumbnail", noting)
    _, gallery, sent = make()
    receive(gallery, type="thumbs", view="v", rows=[0], pixels=128)
    until(lambda: len(of_type(sent, "thumbs")) > 0)
    assert threads[0].startswith("blip2-thumbnail")


def test_a_newer_wish_replaces_the_one_before(make: Any, pictures: list[Any]) -> None:
    _, gallery, sent = make(pictures[:1] * 400, start=False)
    receive(gallery, type="thumbs", view="v", rows=list(range(300)), pixels=256)
    receive(gallery, type="thumbs", view="v", rows=[399], pixels=256)
    until(lambda: not gallery._thumbnails._working)
    made = [row for content in of_type(sent, "thumbs") for row in content["rows"]]
    assert made[-1] == 399 and len(made) < 100


def test_a_closed_view_gets_no_more_thumbnails(make: Any, pictures: list[Any]) -> None:
    _, gallery, sent = make(pictures[:1] * 400, start=False)
    receive(gallery, type="thumbs", view="v", rows=list(range(400)), pixels=256)
    receive(gallery, type="close", view="v")
    until(lambda: not gallery._thumbnails._working)
    assert sum(len(content["rows"]) for content in of_type(sent, "thumbs")) < 100


def test_a_prompt_asked_on_the_page_is_answered_there(make: Any) -> None:
    result, gallery, sent = make()
    result.wait(30)
    until(lambda: gallery.progress["state"] == "done")
    receive(gallery, type="rows", view="v", start=0, stop=5)
    sent.clear()
    receive(gallery, type="ask", row=3, prompt_index=0, prompt="what is it?")
    result.wait(30)
    until(lambda: bool(of_type(sent, "changed")) and gallery.progress["state"] == "done")
    changed = [pair for content in of_type(sent, "changed") for pair in content["rows"]]
    assert {row for row, _ in changed} == {3}
    assert changed[-1][1]["cells"][0]["prompt"] == "what is it?"
    assert changed[-1][1]["cells"][0]["state"] == "done"


def test_retry_and_cancel_act_on_the_run(make: Any, pictures: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "late.png"
    result, gallery, _ = make([str(path), pictures[0]])
    result.wait(30)
    assert len(result.errors) == 1
    pictures[0].save(path)
    receive(gallery, type="retry", row=0)
    assert len(result.wait(30).errors) == 0
    waiting, gallery, _ = make(pictures, start=False)
    waiting.run._pending.extend(waiting.run._grid.tasks(range(5), "waiting"))
    receive(gallery, type="cancel")
    until(lambda: waiting.progress.state == "cancelled")


def test_a_retry_of_all_goes_on_with_a_stopped_run_and_mends_what_failed(
    make: Any, pictures: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "late.png"
    result, gallery, _ = make([str(path), *pictures], start=False)
    result.cancel()
    assert result.progress.state == "cancelled"
    receive(gallery, type="retry", row=None)
    until(lambda: result.progress.state == "done")
    assert list(result.errors.kind) == ["not-found", "not-an-image"]
    pictures[0].save(path)
    receive(gallery, type="retry", row=None)
    until(lambda: list(result.errors.kind) == ["not-an-image"])


def test_a_retry_of_all_looks_again_at_broken_pictures_where_nothing_was_asked(
    own_session: Session, noise: list[Image.Image], tmp_path: Path
) -> None:
    result = blip2_widget.explore([str(tmp_path / "late.png"), noise[0]])
    gallery = result.gallery
    with pytest.raises(Blip2Error):
        result.board.pictures.look(0)
    assert list(result.errors.kind) == ["not-found"] and result.errors.name.isna().all()
    receive(gallery, type="retry", row=None)
    until(lambda: not len(result.errors))


def test_numbers_that_are_computed_later_are_shown_and_sorted_by(make: Any) -> None:
    result, gallery, sent = make()
    result.wait(30)
    receive(gallery, type="rows", view="v", start=0, stop=5)
    result.board.put("score", [3.0, 1.0, None, 2.0, 0.5].__getitem__)
    until(lambda: {"name": "score", "kind": "computed"} in gallery.columns)
    until(lambda: bool(of_type(sent, "changed")) and of_type(sent, "changed")[-1]["rows"] != [])
    assert list(gallery.show(sort="column:score").filtered) == [4, 1, 3, 0, 2]
    result.board.put("score", [0.0, 1.0, 2.0, 3.0, 4.0].__getitem__)
    until(lambda: list(gallery.filtered) == [0, 1, 2, 3, 4])
    values = dict(of_type(sent, "changed")[-1]["rows"])
    assert values[3]["values"][-1] == "3"


def test_a_cancel_of_many_cells_keeps_no_message_waiting(make: Any) -> None:
    waiting, gallery, sent = make(start=False)
    waiting.run._pending.extend(waiting.run._grid.tasks(range(5), "waiting"))
    free = threading.Event()
    ended: list[bool] = []
    waiting.run.subscribe(lambda rows: ended.append(free.wait(5)) if rows else None)
    receive(gallery, type="cancel")
    receive(gallery, type="rows", view="v", start=0, stop=1)
    assert ended == [] and len(of_type(sent, "rows")) == 1
    free.set()
    until(lambda: ended == [True] and waiting.progress.state == "cancelled")


def test_rows_that_nobody_looked_at_are_not_sent(make: Any) -> None:
    result, gallery, sent = make()
    receive(gallery, type="rows", view="v", start=0, stop=2)
    result.wait(30)
    until(lambda: gallery.progress["state"] == "done")
    changed = {row for content in of_type(sent, "changed") for row, _ in content["rows"]}
    assert changed <= {0, 1}


def test_many_changes_go_in_few_messages(make: Any) -> None:
    _, gallery, sent = make(["gone.png"] * 1200, start=False)
    for start in (0, 600):
        receive(gallery, type="rows", view="v", start=start, stop=start + 600)
    for row in range(1200):
        gallery._rows_changed([row])
    until(lambda: sum(len(each["rows"]) for each in of_type(sent, "changed")) == 1200)
    assert len(of_type(sent, "changed")) <= 6


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"type": "rows"},
        {"type": "rows", "view": "v", "start": "x", "stop": None},
        {"type": "thumbs", "view": "v", "rows": None, "pixels": 1},
        {"type": "ask", "row": 99, "prompt_index": 0, "prompt": "?"},
        {"type": "ask", "row": 0, "prompt_index": -1, "prompt": "?"},
        {"type": "retry", "row": -1},
        {"type": "no such"},
    ],
)
def test_what_makes_no_sense_is_let_pass(make: Any, content: dict[str, Any]) -> None:
    result, gallery, sent = make()
    receive(gallery, **content)
    assert len(result.wait(30).answers) == 5
    receive(gallery, type="rows", view="v", start=0, stop=1)
    assert len(of_type(sent, "rows")) == 1


@pytest.mark.parametrize("content", [{"type": "rows"}, {"type": "ask", "row": 0}, ["x"]])
def test_garbage_prints_no_traceback(
    shell: Any, make: Any, capsys: pytest.CaptureFixture[str], content: Any
) -> None:
    _, gallery, _ = make(start=False)
    gallery._handle_custom_msg(content, [])
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_closed_comm_ends_neither_thumbnails_nor_changes(make: Any, pictures: list[Any]) -> None:
    _, gallery, sent = make(pictures[:1] * 5, start=False)

    def closed(*_: Any, **__: Any) -> None:
        raise RuntimeError("the comm is closed")

    receive(gallery, type="rows", view="v", start=0, stop=5)
    works, gallery.send = gallery.send, closed
    receive(gallery, type="thumbs", view="v", rows=[0], pixels=64)
    gallery._rows_changed([0])
    until(lambda: not gallery._thumbnails._working and gallery._timer is None)
    gallery.send = works
    receive(gallery, type="thumbs", view="v", rows=[1], pixels=64)
    gallery._rows_changed([1])
    until(lambda: bool(of_type(sent, "thumbs")) and bool(of_type(sent, "changed")))


def test_hostile_texts_go_as_plain_texts(make: Any, pictures: list[Any]) -> None:
    text = "<img src=x onerror=alert(1)>"
    result = blip2_widget.ask([pictures[0]], {text: text}, title=text)
    gallery = result.gallery
    assert gallery.title == text and gallery.prompts == [{"name": text, "text": text}]


# --- what is shown, selected, said ----------------------------------------------------------------


@pytest.fixture
def answered(make: Any, noise: list[Image.Image]) -> tuple[Result, Gallery, Sent]:
    """Four pictures, the last equal to the first, with answers that a test can tell apart."""
    result, gallery, sent = make([*noise[:3], noise[0]])
    result.wait(30)
    until(lambda: gallery.progress["state"] == "done")
    for row, answer in enumerate(["a dog", "a cat", "a dog", "an owl"]):
        result.board.cell(row, 0).answer = answer
    gallery._rows_changed(range(4))
    until(lambda: gallery._timer is None)
    receive(gallery, type="rows", view="v", start=0, stop=4)
    return result, gallery, sent


def shown_rows(gallery: Gallery, sent: Sent) -> list[int]:
    sent.clear()
    receive(gallery, type="rows", view="v", start=0, stop=10)
    (message,) = of_type(sent, "rows")
    assert message["version"] == gallery.shown["version"]
    return [row["id"] for row in message["rows"]]


def query(**parts: Any) -> dict[str, Any]:
    return {"search": "", "filters": [], "sort": None, "unique": False} | parts


def test_a_query_of_the_page_chooses_and_orders_rows(answered: Any) -> None:
    _, gallery, sent = answered
    receive(gallery, type="query", query=query(search="dog"))
    until(lambda: gallery.shown["count"] == 2)
    assert shown_rows(gallery, sent) == [0, 2] and list(gallery.filtered) == [0, 2]
    receive(gallery, type="query", query=query(sort={"key": "answer:0", "descending": False}))
    until(lambda: gallery.shown["count"] == 4)
    assert shown_rows(gallery, sent) == [1, 0, 2, 3]
    receive(gallery, type="query", query=query(unique=True))
    until(lambda: gallery.shown["count"] == 3)
    assert shown_rows(gallery, sent) == [0, 1, 2]


def test_a_row_is_told_where_it_stands(answered: Any) -> None:
    _, gallery, sent = answered
    gallery.show("dog")
    for row in (2, 1, 99):
        receive(gallery, type="place", row=row)
    version = gallery.shown["version"]
    assert of_type(sent, "place") == [
        {"type": "place", "row": 2, "version": version, "position": 1},
        {"type": "place", "row": 1, "version": version, "position": None},
    ]


def test_facets_count_what_is_shown(answered: Any) -> None:
    _, gallery, sent = answered
    receive(gallery, type="facets", id="f", keys=["answer:0"])
    until(lambda: bool(of_type(sent, "facets")))
    (message,) = of_type(sent, "facets")
    (facet,) = message["facets"]
    assert message["id"] == "f" and facet["distinct"] == 3
    assert facet["values"][0] == {"value": "a dog", "count": 2}


def test_a_query_that_makes_no_sense_is_told_on_the_page(answered: Any) -> None:
    _, gallery, sent = answered
    receive(gallery, type="query", query=query(filters=[{"key": "answr:0", "values": ["x"]}]))
    until(lambda: bool(of_type(sent, "notice")) or bool(gallery.shown["error"]))
    assert gallery.shown["count"] == 4


def test_python_asks_the_same_and_hears_of_it(answered: Any) -> None:
    _, gallery, _ = answered
    heard: list[Any] = []
    gallery.observe(lambda change: heard.append(list(change.new)), "filtered")
    gallery.show("cat")
    assert heard == [[1]] and gallery.shown["query"]["search"] == "cat"
    with pytest.raises(Blip2Error):
        gallery.show(sort="no such key")


def test_selecting_on_the_page_and_in_python_is_one(answered: Any) -> None:
    _, gallery, sent = answered
    receive(gallery, type="select", how="add", rows=[2, 99, -1])
    receive(gallery, type="select", how="add", positions=[0, 2])
    assert gallery.selected == [0, 1, 2] and gallery.selected_count == 3
    until(lambda: len(of_type(sent, "changed")) == 2)
    sent.clear()
    gallery.selected = [3, 10**6, -5]
    assert gallery.selected == [3]
    until(lambda: bool(of_type(sent, "changed")))
    (message,) = of_type(sent, "changed")
    assert {row: each["selected"] for row, each in message["rows"]} == {
        0: False,
        1: False,
        2: False,
        3: True,
    }


def test_selected_can_be_linked_with_another_widget(answered: Any) -> None:
    from traitlets import HasTraits, List, link

    class Other(HasTraits):  # type: ignore[misc]
        rows: List[int] = List()

    _, gallery, _ = answered
    other = Other()
    link((gallery, "selected"), (other, "rows"))
    receive(gallery, type="select", how="set", rows=[1])
    assert other.rows == [1]
    other.rows = [2, 3]
    assert gallery.selected == [2, 3]


@pytest.mark.parametrize(("scope", "asked"), [("all", 4), ("shown", 2), ("selected", 1)])
def test_the_prompt_bar_asks_the_rows_it_says(answered: Any, scope: str, asked: int) -> None:
    result, gallery, sent = answered
    gallery.show("dog")
    gallery.selected = [1]
    receive(gallery, type="ask_many", prompt="is it small?", scope=scope)
    until(lambda: len(gallery.prompts) == 2)
    result.wait(60)
    states = [result.board.cell(row, 1).state for row in range(4)]
    assert states.count("done") == asked and states.count("unasked") == 4 - asked
    assert "is it small?" in result.df.columns
    receive(gallery, type="prompts")
    until(lambda: bool(of_type(sent, "prompts")))
    assert of_type(sent, "prompts")[-1]["prompts"][0] == "is it small?"


def test_a_prompt_that_names_no_column_is_told_on_the_page(answered: Any) -> None:
    _, gallery, sent = answered
    receive(gallery, type="ask_many", prompt="is it a {knd}?", scope="all")
    until(lambda: bool(of_type(sent, "notice")))
    assert "knd" in of_type(sent, "notice")[0]["text"] and len(gallery.prompts) == 1


def test_a_correction_counts_on_every_equal_picture_and_can_be_undone(answered: Any) -> None:
    result, gallery, sent = answered
    receive(gallery, type="review", row=0, prompt_index=0, action="correct", text="a wolf")
    until(lambda: gallery.history["undo"] == 1)
    # The last picture is the same one; it has the same prompt.
    assert list(result.df.caption) == ["a wolf", "a cat", "a dog", "a wolf"]
    line = result.answers.iloc[0]
    assert (line.answer, line.corrected, line.review) == ("a dog", "a wolf", "corrected")
    receive(gallery, type="undo")
    until(lambda: gallery.history == {"undo": 0, "redo": 1})
    assert result.df.caption[0] == "a dog"
    receive(gallery, type="redo")
    until(lambda: gallery.history == {"undo": 1, "redo": 0})
    assert result.df.caption[0] == "a wolf"
    until(lambda: bool(of_type(sent, "changed")))


def test_reviews_come_back_with_the_same_pictures(answered: Any, make: Any, noise: Any) -> None:
    _, gallery, _ = answered
    receive(gallery, type="review", row=1, prompt_index=0, action="reject")
    receive(gallery, type="review", row=1, prompt_index=0, action="flag")
    until(lambda: gallery.history["undo"] == 2)
    again, other, sent = make([noise[1]])
    again.wait(30)
    receive(other, type="rows", view="v", start=0, stop=1)
    review = of_type(sent, "rows")[0]["rows"][0]["cells"][0]["review"]
    assert review["status"] == "rejected" and review["flagged"]


def test_a_large_picture_comes_with_its_own_size(make: Any) -> None:
    _, gallery, sent = make()
    receive(gallery, type="picture", row=1, pixels=600)
    until(lambda: bool(of_type(sent, "picture")))
    content, (data,) = next(each for each in sent if each[0]["type"] == "picture")
    assert (content["width"], content["height"], content["error"]) == (900, 300, None)
    assert Image.open(io.BytesIO(data)).size == (600, 200)
    receive(gallery, type="picture", row=2, pixels=600)
    until(lambda: len(of_type(sent, "picture")) == 2)
    assert "is not a picture" in of_type(sent, "picture")[1]["error"]


def test_a_conversation_streams_to_the_view_that_shows_it(make: Any) -> None:
    _, gallery, sent = make(start=False)
    receive(gallery, type="chat_open", view="v", row=0)
    until(lambda: bool(of_type(sent, "chat")))
    assert of_type(sent, "chat")[0]["turns"] == []
    receive(gallery, type="chat_say", row=0, text="what is it?")
    until(lambda: of_type(sent, "chat")[-1]["turns"][0:1] != [])
    until(lambda: of_type(sent, "chat")[-1]["turns"][0]["state"] == "done")
    receive(gallery, type="chat_say", row=0, text="and where?")
    until(lambda: [t["state"] for t in of_type(sent, "chat")[-1]["turns"]] == ["done"] * 2)
    receive(gallery, type="chat_say", row=0, text="what colour?", at=0)
    until(lambda: [t["question"] for t in of_type(sent, "chat")[-1]["turns"]] == ["what colour?"])


def test_a_conversation_is_stopped_on_the_page(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    free = hold_streams(monkeypatch)
    _, gallery, sent = make(start=False, max_new_tokens=5)

    def last() -> dict[str, Any]:
        turns = of_type(sent, "chat")[-1:]
        return turns[0]["turns"][0] if turns and turns[0]["turns"] else {"answer": None}

    receive(gallery, type="chat_open", view="v", row=0)
    receive(gallery, type="chat_say", row=0, text="what is it?")
    until(lambda: bool(last()["answer"]))
    receive(gallery, type="chat_stop", row=0)
    until(lambda: last()["state"] == "cancelled")
    assert last()["answer"]
    free.set()
    receive(gallery, type="chat_say", row=0, text="what is it?", at=0)
    until(lambda: last()["state"] == "done")


def test_a_conversation_as_code_says_the_options_that_are_of_one_picture(make: Any) -> None:
    _, gallery, sent = make(start=False, n=2, sample=2, num_beams=2, on_error="raise", cache=False)
    receive(gallery, type="chat_open", view="v", row=0)
    until(lambda: bool(of_type(sent, "chat")))
    assert of_type(sent, "chat")[0]["code"] == "%blip2 chat images[0] --num-beams 2 --no-cache"


def codes_of(gallery: Gallery, sent: Sent, row: int = 0) -> list[str]:
    sent.clear()
    receive(gallery, type="codes", row=row)
    until(lambda: bool(of_type(sent, "codes")))
    (message,) = of_type(sent, "codes")
    assert message["row"] == row
    codes: list[str] = message["codes"]
    return codes


def test_a_column_as_code_is_what_a_line_asks(make: Any, tiny_opt: Path) -> None:
    _, gallery, sent = make(start=False, n=3, num_beams=2)
    assert codes_of(gallery, sent) == ["%blip2 caption images -n 3 --num-beams 2"]
    _, gallery, sent = make(start=False, prompt="a photo of", expression="df.image")
    assert codes_of(gallery, sent) == ['%blip2 caption df.image "a photo of"']
    receive(gallery, type="ask", row=1, prompt_index=0, prompt='a "{b}"?')
    assert codes_of(gallery, sent) == ['%blip2 caption df.image "a photo of"']
    assert codes_of(gallery, sent, 1) == [r'%blip2 ask df.image "a \"{{b}}\"?"']
    receive(gallery, type="ask_many", prompt="why?", scope="all")
    until(lambda: len(gallery.prompts) == 2)
    assert codes_of(gallery, sent)[1] == '%blip2 ask df.image "why?"'


def test_compared_columns_as_code_say_who_answers_each(make: Any, noise: Any) -> None:
    made = blip2_widget.compare(noise[:1], variants=["cpu-fp32", "auto"], start=False)
    sent: Sent = []
    made.gallery.send = lambda content, buffers=None: sent.append((content, buffers or []))
    assert codes_of(made.gallery, sent) == [
        "%blip2 caption images --variant cpu-fp32",
        "%blip2 caption images",
    ]


def test_positions_of_rows_that_have_moved_select_nothing(answered: Any) -> None:
    _, gallery, sent = answered
    version = gallery.shown["version"]
    gallery.show("dog")
    receive(gallery, type="select", how="set", positions=[0, 1], version=version)
    assert gallery.selected == [] and "moved" in of_type(sent, "notice")[0]["text"]


def test_a_long_search_holds_up_neither_reviews_nor_cancel(answered: Any) -> None:
    result, gallery, _sent = answered
    held = threading.Event()
    gallery._later(lambda: held.wait(30), gallery._searcher)
    receive(gallery, type="query", query={"search": "cat"})
    receive(gallery, type="review", row=1, prompt_index=0, action="flag")
    until(lambda: gallery.history["undo"] == 1)
    cancelled = threading.Event()
    result.board.cancel = cancelled.set
    receive(gallery, type="cancel")
    assert cancelled.wait(10) and gallery.shown["query"]["search"] == ""
    held.set()
    until(lambda: gallery.shown["query"]["search"] == "cat")


def test_what_is_shown_is_not_set_by_a_list(answered: Any) -> None:
    _, gallery, _ = answered
    with pytest.raises(traitlets.TraitError, match="read-only"):
        gallery.filtered = [1]
    assert list(gallery.filtered) == [0, 1, 2, 3]


def test_a_review_is_of_the_answer_that_was_seen(answered: Any) -> None:
    result, gallery, _ = answered
    held = threading.Event()
    gallery._later(lambda: held.wait(30))
    receive(gallery, type="review", row=1, prompt_index=0, action="accept")
    receive(gallery, type="ask", row=1, prompt_index=0, prompt="what colour is it?")
    held.set()
    until(lambda: gallery.history["undo"] == 1)
    result.wait(60)
    assert gallery.review_of(1, 0) is None  # nothing was said of the new question's answer
    receive(gallery, type="ask", row=1, prompt_index=0, prompt="")
    result.wait(60)
    assert gallery.review_of(1, 0).status == "accepted"


def test_half_an_emoji_costs_neither_itself_nor_what_comes_after(answered: Any) -> None:
    result, gallery, _ = answered
    receive(gallery, type="review", row=0, prompt_index=0, action="correct", text="a dog \ud83d")
    receive(gallery, type="review", row=1, prompt_index=0, action="flag")
    until(lambda: gallery.history["undo"] == 2)
    assert result.df.caption[0] == "a dog \ufffd"
    receive(gallery, type="ask_many", prompt="is it \ud83d?", scope="all")
    until(lambda: len(gallery.prompts) == 2)


def test_exploring_learns_equal_and_broken_pictures_by_looking(
    own_session: Session, noise: list[Image.Image]
) -> None:
    gallery = blip2_widget.explore([noise[0], b"no picture", noise[1], noise[0]]).gallery
    sent: Sent = []
    gallery.send = lambda content, buffers=None: sent.append((content, buffers or []))
    receive(gallery, type="thumbs", view="v", rows=[0, 1, 2, 3], pixels=64)
    until(lambda: len(gallery._board.pictures.keys) == 3)
    until(lambda: gallery._timer is None and not gallery._thumbnails._working)
    gallery.show(unique=True)
    assert list(gallery.filtered) == [0, 1, 2]
    gallery.show(filters=[{"key": "error", "values": ["true"]}])
    assert list(gallery.filtered) == [1]


def test_many_rows_are_made_ready_for_searches_once_a_page_is_there(
    make: Any, pictures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blip2_widget.notebook.gallery._MANY_ROWS", 5)
    monkeypatch.setattr("blip2_widget.notebook.gallery._WARM_AFTER", 0.01)
    _, gallery, _ = make(start=False)
    assert not gallery._view._table.search.built
    receive(gallery, type="rows", view="v", start=0, stop=5)
    until(lambda: gallery._view._table.search.built)


def test_a_closed_gallery_is_not_made_ready(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blip2_widget.notebook.gallery._MANY_ROWS", 5)
    monkeypatch.setattr("blip2_widget.notebook.gallery._WARM_AFTER", 0.01)
    _, gallery, _ = make(start=False)
    receive(gallery, type="rows", view="v", start=0, stop=5)
    gallery.close()
    gallery._warmer.join(30)
    assert not gallery._view._table.search.built

"""The gallery's kernel side, by the messages that js/src/protocol.ts describes."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import blip2_widget
from blip2_widget.notebook.gallery import Gallery
from blip2_widget.notebook.result import Result
from blip2_widget.session import Session

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
        }
    ]
    assert "is not a picture" in broken["error"]
    assert broken["cells"][0]["state"] == "error"
    receive(gallery, type="rows", view="v", start=-5, stop=2)
    receive(gallery, type="rows", view="v", start=9, stop=20)
    assert [len(each["rows"]) for each in of_type(sent, "rows")[1:]] == [2, 0]


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

    monkeypatch.setattr("blip2_widget.notebook.gallery.thumbnail", noting)
    _, gallery, sent = make()
    receive(gallery, type="thumbs", view="v", rows=[0], pixels=128)
    until(lambda: len(of_type(sent, "thumbs")) > 0)
    assert threads[0].startswith("blip2-thumbnail")


def test_a_newer_wish_replaces_the_one_before(make: Any, pictures: list[Any]) -> None:
    _, gallery, sent = make(pictures[:1] * 400, start=False)
    receive(gallery, type="thumbs", view="v", rows=list(range(300)), pixels=256)
    receive(gallery, type="thumbs", view="v", rows=[399], pixels=256)
    until(lambda: not gallery._thumbnailing)
    made = [row for content in of_type(sent, "thumbs") for row in content["rows"]]
    assert made[-1] == 399 and len(made) < 100


def test_a_closed_view_gets_no_more_thumbnails(make: Any, pictures: list[Any]) -> None:
    _, gallery, sent = make(pictures[:1] * 400, start=False)
    receive(gallery, type="thumbs", view="v", rows=list(range(400)), pixels=256)
    receive(gallery, type="close", view="v")
    until(lambda: not gallery._thumbnailing)
    assert sum(len(content["rows"]) for content in of_type(sent, "thumbs")) < 100


def test_a_prompt_asked_on_the_page_is_answered_there(make: Any) -> None:
    result, gallery, sent = make()
    result.wait(30)
    until(lambda: gallery.progress["state"] == "done")
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
    assert waiting.progress.state == "cancelled"


def test_many_changes_go_in_few_messages(make: Any) -> None:
    _, gallery, sent = make(["gone.png"] * 1200, start=False)
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

    works, gallery.send = gallery.send, closed
    receive(gallery, type="thumbs", view="v", rows=[0], pixels=64)
    gallery._rows_changed([0])
    until(lambda: not gallery._thumbnailing and gallery._timer is None)
    gallery.send = works
    receive(gallery, type="thumbs", view="v", rows=[1], pixels=64)
    gallery._rows_changed([1])
    until(lambda: bool(of_type(sent, "thumbs")) and bool(of_type(sent, "changed")))


def test_hostile_texts_go_as_plain_texts(make: Any, pictures: list[Any]) -> None:
    text = "<img src=x onerror=alert(1)>"
    result = blip2_widget.ask([pictures[0]], {text: text}, title=text)
    gallery = result.gallery
    assert gallery.title == text and gallery.prompts == [{"name": text, "text": text}]

"""The static page: what it shows, within which bounds, and that text stays text."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

import blip2_widget
from blip2_widget.images import still
from blip2_widget.notebook.snapshot import settled, snapshot_html
from blip2_widget.run import Board, Run
from blip2_widget.session import Session

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</td></table></div><h1>out",
    "line one\nline two\r\n\ttab",
    "\u202eright to left\u202c",
    "null\0byte and \ud800 half a letter",
    "&lt;b&gt;&amp;",
    "javascript:alert(1)' style='position:fixed",
)


class Page(HTMLParser):
    """The elements of a page, its attributes and what a person reads on it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value or "" for each, value in self.attributes if each == name]


@pytest.fixture(autouse=True)
def tiny(own_session: Session, tiny_opt: Path) -> None:
    own_session.defaults.model = str(tiny_opt)
    own_session.defaults.max_new_tokens = 2


def run_of(images: Sequence[object], prompts: dict[str, str] | None = None) -> Board:
    """A run that was never started; its cells are filled in by the tests."""
    return blip2_widget.ask(images, prompts or {"answer": "what is it?"}, start=False).board


def answer(board: Board, *answers: str) -> Board:
    for run in cast("list[Run]", board.runs):
        for task in run._grid.tasks(range(len(board)), "waiting"):
            run._grid.answer(task, answers[task.row % len(answers)], None, cached=False, at=None)
    return board


def test_it_shows_pictures_with_labels_prompts_and_answers(
    noise: list[Image.Image], tmp_path: Path
) -> None:
    paths = []
    for at in range(2):
        noise[at].save(tmp_path / f"{at}.png")
        paths.append(str(tmp_path / f"{at}.png"))
    board = answer(run_of(paths, {"a": "who is it?", "b": "where?"}), "a cat", "a dog")
    page = Page(snapshot_html(board))
    assert page.open == []
    assert page.tags.count("img") == page.tags.count("figure") == 2
    assert page.values("alt") == ["0.png", "1.png"]  # an answer describes no picture by itself
    for text in ("2 pictures", "0.png", "1.png", "a: who is it?", "b: where?", "a dog"):
        assert text in page.text
    assert "more" not in page.text and "Run this cell" in page.text
    data = base64.b64decode(page.values("src")[0].partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == noise[0].size


def test_a_caption_is_what_the_picture_is_called(noise: list[Image.Image]) -> None:
    board = answer(blip2_widget.caption(noise[:1], start=False).board, 'a "big" cat')
    assert Page(snapshot_html(board)).values("alt") == ['a "big" cat']


def test_it_counts_on_no_script_and_fixes_no_colour(noise: list[Image.Image]) -> None:
    page = Page(snapshot_html(answer(run_of(noise[:1]), "a cat")))
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not any(part.startswith("color") for s in page.values("style") for part in s.split(";"))


def test_the_same_answers_give_the_same_bytes(noise: list[Image.Image]) -> None:
    first, again = (snapshot_html(answer(run_of(list(noise)), "a cat")) for _ in range(2))
    assert first == again
    assert "image/webp" not in first and "image/png" not in first


def test_rows_and_bytes_are_bounded(noise: list[Image.Image]) -> None:
    board = answer(run_of([noise[0]] * 1000), "a cat")
    page = Page(snapshot_html(board))
    assert page.tags.count("figure") == 24 and "and 976 more" in page.text
    assert page.tags.count("tr") == 6  # where no styles are left, four stand in a row
    few = snapshot_html(board, most_bytes=20_000)
    assert len(few.encode()) <= 20_000
    shown = Page(few).tags.count("figure")
    assert 1 < shown < 24 and f"and {1000 - shown} more" in few
    without = Page(snapshot_html(board, most_bytes=3500))
    assert without.tags.count("figure") == 1 and "img" not in without.tags


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_is_written_stays_text(noise: list[Image.Image], text: str) -> None:
    plain = Page(snapshot_html(answer(run_of([noise[0]], {"q": "q", "r": "r"}), "x")))
    board = answer(run_of([noise[0]], {text: "q", "r": "r"}), text)
    board.title = text
    object.__setattr__(board.column, "index", [text])
    board.cell(0, 0).prompt = text
    html = snapshot_html(board)
    page = Page(html)
    assert page.tags == plain.tags and page.open == []
    names = [name for name, _ in page.attributes]
    assert names == [name for name, _ in plain.attributes]
    assert page.values("style") == plain.values("style")
    assert "\0" not in html
    html.encode()
    assert page.text.count(text.split()[0].split("\0")[0]) >= 4


def test_errors_and_what_has_not_come_are_said_in_words(noise: list[Image.Image]) -> None:
    board = answer(run_of([noise[0], None, *noise[:2]]), "a cat")
    board.cell(0, 0).answer, board.cell(0, 0).error = None, "memory <does> not suffice"
    board.cell(1, 0).answer, board.cell(1, 0).error = None, "there is no picture in this row"
    board.cell(2, 0).answer, board.cell(2, 0).state = None, "cancelled"
    board.cell(3, 0).answer, board.cell(3, 0).state = None, "waiting"
    assert not settled(board)
    page = Page(snapshot_html(board))
    assert page.tags.count("img") == 3 and page.tags.count("figure") == 4
    for text in ("memory <does> not suffice", "there is no picture", "cancelled", "no answer yet"):
        assert page.text.count(text) == 1
    board.cell(3, 0).state = "error"
    assert settled(board)


def test_nothing_is_fetched_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    board = answer(run_of(["https://example.org/cat.jpg", {"path": "http://x.org/b.png"}]), "a cat")
    monkeypatch.setattr(board.pictures, "load", lambda row: pytest.fail("it was read"))
    page = Page(snapshot_html(board))
    assert "img" not in page.tags and "cat.jpg" in page.text and "a cat" in page.text


@pytest.mark.parametrize("colours", [1, 2, 17, 255, 256])
def test_drawings_are_kept_exactly(colours: int) -> None:
    generator = np.random.default_rng(colours)
    palette = generator.integers(0, 256, (colours, 3), dtype=np.uint8)
    drawing = Image.fromarray(palette[generator.integers(0, colours, (90, 120))])
    data, mime = still(drawing, 160)
    assert mime == "image/gif"
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), np.asarray(drawing)
    )


def test_photographs_are_small(noise: list[Image.Image]) -> None:
    data, mime = still(noise[0].resize((2000, 1000), Image.Resampling.BICUBIC), 160)
    assert mime == "image/jpeg" and len(data) < 10_000
    assert Image.open(io.BytesIO(data)).size == (160, 80)

"""The static page beside a living gallery: drawn once all is there, and again with what is said."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import blip2_widget
from blip2_widget.notebook import saved
from blip2_widget.run import target_of
from blip2_widget.session import Session


class _Place:
    """Where the page is displayed."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        self.pages.append(bundle["text/html"])


def until(holds: Any) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_the_page_is_drawn_when_all_is_answered_and_again_after_a_review(
    own_session: Session,
    tiny_opt: Path,
    noise: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_session.defaults.model, own_session.defaults.max_new_tokens = str(tiny_opt), 2
    place = _Place()
    monkeypatch.setattr(saved, "display", lambda *_, **__: place)
    monkeypatch.setattr(saved, "_is_hidden_by_galleries", lambda: True)
    monkeypatch.setattr(saved, "_FIRST", 0.0)
    monkeypatch.setattr(saved, "_LATER", 0.01)
    result = blip2_widget.ask(noise[:2], "what is it?").wait(60)
    page = saved.SavedPage(result.board, result._review_of)
    result._saved_page = page
    page.show()
    until(lambda: place.pages)
    assert "said by a person" not in place.pages[-1]
    result.reviews.act(target_of(result.board, 1, 0)(), "correct", "said by a person")
    until(lambda: "said by a person" in place.pages[-1])
    result.reviews.undo()
    until(lambda: "said by a person" not in place.pages[-1])

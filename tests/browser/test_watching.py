"""A job's folder in a real JupyterLab, while somebody else adds to it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from playwright.sync_api import expect

from blip2_widget.demo.scenes import draw_scene
from tests.browser.conftest import TIMEOUT
from tests.browser.test_gallery import SETUP, NotebookOf
from tests.jobs.made import Maker

pytestmark = pytest.mark.browser


def test_a_folder_fills_by_itself(notebook_of: NotebookOf, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{at}.png") for at in range(6)]
    for at, path in enumerate(paths):
        draw_scene(random.Random(at), count=2, size=96).image.save(path)
    maker = Maker(str(tmp_path / "answers"), paths)
    maker.make(0)
    notebook = notebook_of(SETUP, f"%blip2 explore {str(tmp_path / 'answers')!r}")
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator(".status")).to_contain_text("3 of 6", timeout=TIMEOUT)
    expect(gallery.locator(".status")).to_contain_text("looked for every 1 s")
    expect(gallery.locator(".answer-done")).to_have_count(3)
    maker.make(1)
    expect(gallery.locator(".status")).to_contain_text("6 answered", timeout=TIMEOUT)
    expect(gallery.locator(".answer-done")).to_have_count(6)
    expect(gallery.locator(".tile img")).to_have_count(6, timeout=TIMEOUT)

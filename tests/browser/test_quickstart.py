"""quickstart in a real JupyterLab: the captions on the page are the right ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from blip2_widget import demo
from tests.browser.conftest import TIMEOUT, Notebook

pytestmark = pytest.mark.browser


def read_tiles(gallery: Locator) -> dict[str, str]:
    """Every tile's label with the answer that stands on it, by scrolling through the gallery."""
    found: dict[str, str] = {}
    count = int(gallery.get_by_role("listitem").first.get_attribute("aria-setsize") or 0)
    for row in range(count):
        tile = gallery.locator(f'[data-index="{row}"]')
        while not tile.count():
            gallery.locator(".scroller").evaluate("grid => grid.scrollBy(0, 150)")
            gallery.page.wait_for_timeout(50)
        expect(tile.locator("img")).to_be_visible(timeout=TIMEOUT)
        expect(tile.locator(".answer-done")).to_be_visible(timeout=TIMEOUT)
        found[tile.locator(".label").inner_text()] = tile.locator(".answer-done").inner_text()
    return found


def test_quickstart_shows_the_right_captions(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("quickstart.ipynb")
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator(".status")).to_contain_text("32 answered", timeout=TIMEOUT)
    samples = demo.samples()
    shown = read_tiles(gallery)
    assert list(shown) == [Path(image).name for image in samples.image]
    right = sum(mine == known for mine, known in zip(shown.values(), samples.caption, strict=True))
    # One was asked something else by the notebook itself.
    assert right >= len(samples) - 2

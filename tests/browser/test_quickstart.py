"""quickstart in a real JupyterLab, as a person would use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from blip2_widget import demo

pytestmark = pytest.mark.browser
TIMEOUT = 120_000


def write_notebook(folder: Path, name: str, *cells: str) -> str:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, folder / name)
    return name


def test_quickstart_shows_the_right_captions(
    page: Page, open_notebook: Callable[[str], None], run_all: Callable[[], None]
) -> None:
    open_notebook("quickstart.ipynb")
    run_all()
    samples = demo.samples()
    gallery = page.locator(".blip2-gallery").first
    expect(gallery).to_be_visible(timeout=TIMEOUT)
    right = 0
    for label, caption in zip(samples.file, samples.caption, strict=True):
        tile = gallery.get_by_role("listitem").filter(has_text=label)
        for _ in range(40):  # the list holds only what is on screen
            if tile.count():
                break
            gallery.get_by_role("list").evaluate("list => list.scrollBy(0, 200)")
            page.wait_for_timeout(50)
        tile.scroll_into_view_if_needed()
        expect(tile.locator("img")).to_be_visible(timeout=TIMEOUT)
        right += tile.get_by_text(caption, exact=True).count() > 0
    assert right >= 0.95 * len(samples)

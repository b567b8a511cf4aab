"""The gallery in Notebook 7 and in marimo: what a person does in JupyterLab is done there too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from blip2_widget import demo
from tests.browser.conftest import TIMEOUT
from tests.browser.lab import (
    Notebook,
    open_notebook,
    running_lab,
    running_marimo,
    write_marimo,
    write_notebook,
)
from tests.browser.test_explore import SAMPLES
from tests.browser.test_gallery import SETUP

pytestmark = pytest.mark.browser

MARIMO = """
import blip2_widget
import marimo as mo
from blip2_widget import demo

df = demo.samples()[["image", "source"]]
runs = []
"""


def use(gallery: Locator) -> None:
    """Read captions, ask a picture something else, and search."""
    expect(gallery.locator(".status")).to_contain_text("12 answered", timeout=TIMEOUT)
    gallery.scroll_into_view_if_needed()
    for row, caption in enumerate(demo.samples().caption[:3]):
        tile = gallery.locator(f'[data-index="{row}"]')
        expect(tile.locator(".answer-done")).to_have_text(caption, timeout=TIMEOUT)
        expect(tile.locator("img")).to_be_visible(timeout=TIMEOUT)
        assert tile.locator("img").evaluate("each => each.naturalWidth") > 0  # it came as bytes
    tile = gallery.locator('[data-index="2"]')
    tile.locator(".prompt").click()
    tile.get_by_role("textbox").fill("how many shapes are in the picture?")
    tile.get_by_role("textbox").press("Enter")
    expect(tile.locator(".answer-done")).to_have_text("1", timeout=TIMEOUT)
    gallery.get_by_role("searchbox").press_sequentially("yellow")
    tiles = gallery.get_by_role("listitem")
    expect(tiles.first).not_to_have_attribute("aria-setsize", "12", timeout=TIMEOUT)
    expect(tiles.filter(has_not_text="yellow")).to_have_count(0, timeout=TIMEOUT)


@pytest.fixture(scope="module")
def notebook_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a running Notebook 7, and the folder it serves."""
    home, root = tmp_path_factory.mktemp("notebook-7"), tmp_path_factory.mktemp("work")
    with running_lab(home, root, "notebook") as address:
        yield address, root


@pytest.fixture
def notebook_7(
    notebook_server: tuple[str, Path], page: Page, request: pytest.FixtureRequest
) -> Callable[..., Notebook]:
    """Opens a new notebook with the given cells."""
    address, root = notebook_server

    def write(*cells: str) -> Notebook:
        name = f"{request.node.name}.ipynb"
        write_notebook(root / name, *cells)
        return open_notebook(page, address, name, "notebooks")

    return write


def test_notebook_7(notebook_7: Callable[..., Notebook]) -> None:
    notebook = notebook_7(SAMPLES, "%blip2 caption df.image -n 12")
    notebook.run_all()
    use(notebook.gallery())


def test_notebook_7_answers_the_gallery_while_a_cell_runs(
    notebook_7: Callable[..., Notebook],
) -> None:
    notebook = notebook_7(
        SETUP + "images = scenes(3000)", "%blip2 caption images --batch-size 4 --no-cache --wait"
    )
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator("img").first).to_be_visible(timeout=TIMEOUT)
    gallery.get_by_role("button", name="Cancel").click()
    expect(gallery.locator(".status")).to_contain_text("cancelled", timeout=TIMEOUT)


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """What is entered here ends after the page has, which reports a server that is gone."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def marimo(servers: ExitStack, page: Page, tmp_path: Path) -> Callable[..., Locator]:
    """Opens a marimo notebook of the given cells, which run; gives its galleries."""

    def write(*cells: str, **how: str) -> Locator:
        file = tmp_path / "notebook.py"
        write_marimo(file, *cells)
        page.goto(servers.enter_context(running_marimo(tmp_path, file, **how)))
        galleries = page.locator(".blip2-gallery")
        expect(galleries.first.locator("img").first).to_be_visible(timeout=TIMEOUT)
        return galleries

    return write


def test_marimo(marimo: Callable[..., Locator]) -> None:
    use(marimo(MARIMO, 'result = blip2_widget.caption(df.image, n=12, model="demo")\nresult'))


def test_marimo_runs_a_cell_when_the_selection_changes(
    marimo: Callable[..., Locator], page: Page
) -> None:
    galleries = marimo(
        MARIMO,
        "result = blip2_widget.explore(df.image)\nresult",
        "gallery = mo.ui.anywidget(result.gallery)\n"
        "get_selected, set_selected = mo.state([])\n"
        'gallery.observe(lambda change: set_selected(change.new), "selected")\n'
        "gallery",
        'print("selected:", get_selected())',
    )
    expect(galleries).to_have_count(2, timeout=TIMEOUT)
    galleries.last.get_by_role("listitem").first.focus()
    page.keyboard.press("x")
    expect(page.get_by_text("selected: [0]")).to_be_visible(timeout=TIMEOUT)
    # Both are views of one gallery.
    expect(galleries.first.get_by_text("1 selected")).to_be_visible(timeout=TIMEOUT)


def test_marimo_keeps_the_gallery_when_the_cell_that_shows_it_runs_again(
    marimo: Callable[..., Locator], page: Page
) -> None:
    gallery = marimo(
        MARIMO,
        "result = blip2_widget.explore(df.image, frame=df)",
        'runs.append("a run")\nprint("runs:", len(runs))\nresult',
    )
    page.locator(".cm-content", has_text="runs.append").click()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("runs: 2")).to_be_visible(timeout=TIMEOUT)
    gallery.get_by_role("searchbox").fill("drawn")
    expect(gallery.get_by_text("16 of 32")).to_be_visible(timeout=TIMEOUT)


def test_a_marimo_app_has_marimo_s_theme(marimo: Callable[..., Locator]) -> None:
    gallery = marimo(MARIMO, "blip2_widget.explore(df.image)", mode="run", theme="dark")
    expect(gallery).to_have_css("background-color", "rgb(23, 25, 28)")
    expect(gallery).to_have_css("color", "rgb(228, 230, 233)")

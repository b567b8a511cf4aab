"""What readers without a kernel see: nbconvert's page, and a notebook that is opened again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.sign import NotebookNotary
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import TIMEOUT, Notebook
from tests.browser.test_gallery import SETUP, NotebookOf

pytestmark = pytest.mark.browser

HOSTILE = "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>"
CELLS = (
    SETUP + "df = pd.DataFrame({'image': scenes(30)}); df.loc[3, 'image'] = 'no/such/file.png'",
    f'%%blip2 ask df.image\nshapes: how many shapes are there?\nodd: what is "{HOSTILE}"?',
)


@functools.cache
def executed(*, saves_widgets: bool) -> NotebookNode:
    """The cells run by a program, without `--wait`."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    NotebookClient(notebook, store_widget_state=saves_widgets).execute()
    return notebook


@pytest.mark.parametrize("width", [430, 1200])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nbconvert_shows_pictures_and_answers(
    browser: Browser, tmp_path: Path, width: int, theme: str
) -> None:
    html, _ = HTMLExporter(theme=theme).from_notebook_node(executed(saves_widgets=False))
    (tmp_path / "page.html").write_text(html)
    # No script runs: neither nbconvert's, which a reader may not have, nor one of ours.
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri(), wait_until="domcontentloaded")
    static = page.locator(".blip2-static")
    expect(static.locator("figure")).to_have_count(24)
    expect(static.locator("img").first).to_be_visible()
    assert static.locator("img").evaluate_all("all => all.every(each => each.naturalWidth > 0)")
    expect(static.get_by_text("there is no file")).to_be_visible()
    expect(static.get_by_text("and 6 more")).to_be_visible()
    expect(static.get_by_text(HOSTILE).first).to_be_visible()
    assert page.evaluate("window.hurt") is None
    assert static.evaluate("each => each.scrollWidth <= each.clientWidth + 1")
    static.screenshot(path=tmp_path / "static.png")
    context.close()


@pytest.mark.parametrize("saves_widgets", [False, True])
def test_a_notebook_opened_again_shows_it_until_its_cell_is_run(
    lab: tuple[str, Path],
    page: Page,
    open_notebook: Callable[[str], Notebook],
    saves_widgets: bool,
) -> None:
    _, root = lab
    file = root / f"again-{saves_widgets}.ipynb"
    nbformat.write(executed(saves_widgets=saves_widgets), file)
    NotebookNotary().sign(nbformat.read(file, as_version=4))  # as the person's own is
    notebook = open_notebook(file.name)
    static = page.locator(".blip2-static")
    expect(static.locator("img").first).to_be_visible(timeout=TIMEOUT)
    notebook.command("notebook:run-cell")  # the first, where a notebook is opened
    button = static.get_by_role("button", name="Run this cell to bring the gallery back")
    button.scroll_into_view_if_needed()
    button.click()
    expect(page.locator(".blip2-gallery .answer-done").first).to_be_visible(timeout=TIMEOUT)
    expect(page.locator(".blip2-gallery")).to_have_count(1)
    expect(static).to_be_hidden()


def test_what_a_person_saves_has_the_answers_and_the_gallery_stays_as_it_is(
    lab: tuple[str, Path], notebook_of: NotebookOf
) -> None:
    notebook = notebook_of(*CELLS)
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator(".answer-done").first).to_be_visible(timeout=TIMEOUT)
    gallery.evaluate("root => { root.dataset.mark = 'mine' }")
    gallery.locator(".scroller").evaluate("grid => { grid.scrollTop = 120 }")
    static = notebook.page.locator(".blip2-static")
    expect(static.locator("figure")).to_have_count(24, timeout=TIMEOUT)
    expect(static).to_be_hidden()
    assert gallery.get_attribute("data-mark") == "mine"
    assert gallery.locator(".scroller").evaluate("grid => grid.scrollTop") == 120
    notebook.page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    file = next(lab[1].glob("test_what_a_person_saves*.ipynb"))
    saved = nbformat.read(file, as_version=4)
    html = saved.cells[1].outputs[1].data["text/html"]
    assert html.count("<figure") == 24
    assert html == executed(saves_widgets=False).cells[1].outputs[1].data["text/html"]

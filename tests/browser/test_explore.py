"""What a person does in the gallery: find, review, ask and look, in a real JupyterLab."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import TIMEOUT, Notebook
from tests.browser.test_gallery import SETUP, NotebookOf

pytestmark = pytest.mark.browser

#: The samples are 32 pictures that the demo model knows well, half of them drawn scenes.
SAMPLES = SETUP + "from blip2_widget import demo\ndf = demo.samples()[['image', 'source']]"
CAPTION = "%blip2 caption df.image -o result"
AXE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"


def in_kernel(notebook: Notebook, expression: str) -> Any:
    """The value of an expression in the notebook's kernel, which no cell shows."""
    code = f"import json\nprint(json.dumps({expression}, default=int))"
    printed: str = notebook.page.evaluate(
        """async code => {
            const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
            const future = kernel.requestExecute({ code, store_history: false });
            let text = "";
            future.onIOPub = ({ header, content }) => {
                if (header.msg_type === "stream") text += content.text;
                if (header.msg_type === "error") text += content.traceback.join("\\n");
            };
            await future.done;
            return text;
        }""",
        code,
    )
    return json.loads(printed)


def cells_of(notebook: Notebook) -> list[str]:
    """What stands in the cells: keys that come to the notebook change it."""
    sources: list[str] = notebook.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.model.toJSON()"
        ".cells.map(cell => [].concat(cell.source).join(''))"
    )
    return sources


def rows_on_page(gallery: Locator) -> list[int]:
    """The row numbers of the drawn tiles, in the order shown."""
    drawn: list[list[int]] = gallery.locator("[data-row]").evaluate_all(
        "all => all.map(each => [+each.dataset.index, +each.dataset.row])"
    )
    return [row for _, row in sorted(drawn)]


def answered(notebook: Notebook, status: str = "32 answered") -> Locator:
    gallery = notebook.gallery()
    expect(gallery.locator(".status")).to_contain_text(status, timeout=TIMEOUT)
    return gallery


def tile_of(gallery: Locator, position: int) -> Locator:
    return gallery.locator(f'[data-index="{position}"]')


def test_what_is_shown_is_narrowed_and_ordered_and_python_knows(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SAMPLES, CAPTION)
    notebook.run_all()
    gallery = answered(notebook)
    count = gallery.locator(".shownline .count")
    yellow = in_kernel(
        notebook, "[n for n, c in enumerate(result.df.iloc[:, -1]) if 'yellow' in c.split()]"
    )
    drawn = in_kernel(notebook, "[int(n) for n in df.index[df.source == 'drawn scene']]")
    both = sorted(set(yellow) & set(drawn))
    assert 0 < len(both) < len(yellow) < 32

    gallery.get_by_role("searchbox").fill("yellow")
    expect(count).to_have_text(f"{len(yellow)} of 32")
    assert in_kernel(notebook, "list(result.gallery.filtered)") == yellow

    gallery.get_by_role("button", name="filters", exact=True).click()
    facets = gallery.get_by_role("complementary", name="filters")
    facets.get_by_role("button", name="source").click()
    facets.get_by_role("button", name="drawn scene").click()
    expect(count).to_have_text(f"{len(both)} of 32")
    expect(facets.get_by_role("button", name="drawn scene")).to_have_attribute(
        "aria-pressed", "true"
    )

    gallery.get_by_label("sort by").select_option(label="Answer")
    expect(gallery.locator(".search-busy")).to_have_count(0)
    texts = in_kernel(notebook, "list(result.df.iloc[list(result.gallery.filtered), -1])")
    assert texts == sorted(texts, key=str.casefold)
    expect(gallery.locator("[data-row]")).to_have_count(len(both))
    assert rows_on_page(gallery) == in_kernel(notebook, "list(result.gallery.filtered)")

    gallery.get_by_role("button", name="remove search: yellow").click()
    expect(count).to_have_text(f"{len(drawn)} of 32")
    expect(gallery.get_by_role("searchbox")).to_have_value("")
    gallery.get_by_role("button", name="remove source: drawn scene").click()
    expect(count).to_have_text("32 pictures")
    gallery.get_by_label("sort by").select_option(label="Row order")
    expect(tile_of(gallery, 0)).to_have_attribute("data-row", "0")

    # What is selected on either side is on the other.
    for position in (0, 1):
        tile_of(gallery, position).hover()
        tile_of(gallery, position).get_by_role("checkbox").click()
    expect(gallery.locator(".selection")).to_contain_text("2 selected")
    assert in_kernel(notebook, "result.gallery.selected") == [0, 1]
    assert in_kernel(notebook, "setattr(result.gallery, 'selected', [1])") is None
    expect(gallery.locator(".selection")).to_contain_text("1 selected")
    expect(tile_of(gallery, 0).get_by_role("checkbox")).to_have_attribute("aria-checked", "false")


def test_everything_is_done_by_keyboard_and_none_of_it_reaches_the_notebook(
    notebook_of: NotebookOf,
) -> None:
    notebook = notebook_of(SAMPLES, CAPTION)
    notebook.run_all()
    gallery = answered(notebook)
    before = cells_of(notebook)
    keys = notebook.page.keyboard
    tile_of(gallery, 0).focus()  # as the Tab key does

    keys.press("/")
    expect(gallery.get_by_role("searchbox")).to_be_focused()
    keys.type("scene")
    expect(gallery.locator(".shownline .count")).to_contain_text("of 32")
    keys.press("ArrowDown")
    expect(tile_of(gallery, 0)).to_be_focused()
    keys.press("ArrowRight")
    tile = tile_of(gallery, 1)
    expect(tile).to_be_focused()
    row = tile.get_attribute("data-row")

    keys.press("Enter")
    panel = gallery.locator(".detail")
    expect(panel).to_be_focused()
    expect(panel.locator(".detail-place")).to_contain_text("2 of")
    keys.press("Escape")
    expect(panel).to_have_count(0)
    expect(tile).to_be_focused()

    mark = tile.locator(".mark")
    for key, word in {"a": "accepted", "r": "rejected"}.items():
        keys.press(key)
        expect(mark).to_have_count(1)
        expect(mark).to_have_attribute("aria-label", word)
    keys.press("f")
    expect(tile.locator(".mark-flagged")).to_be_visible()
    said = tile.locator(".answer-done").inner_text()
    keys.press("e")
    expect(tile.get_by_role("textbox", name="answer")).to_be_focused()
    keys.type("a blip in a box")  # over what stands there
    keys.press("Enter")
    expect(tile.locator(".answer-done")).to_have_text("a blip in a box")
    expect(tile).to_be_focused()
    assert in_kernel(notebook, f"result.df.iloc[{row}, -1]") == "a blip in a box"
    keys.press("Control+z")
    expect(tile.locator(".answer-done")).to_have_text(said)
    keys.press("Control+Shift+z")
    expect(tile.locator(".answer-done")).to_have_text("a blip in a box")

    keys.press("x")
    expect(gallery.locator(".selection")).to_contain_text("1 selected")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.press("Shift+X")
    expect(gallery.locator(".selection")).to_contain_text("3 selected")
    keys.press("Escape")
    expect(gallery.locator(".selection")).to_have_count(0)
    expect(tile_of(gallery, 3)).to_be_focused()

    keys.press("?")
    help_page = gallery.get_by_role("dialog")
    expect(help_page).to_be_visible()
    keys.press("Escape")
    expect(help_page).to_have_count(0)
    expect(tile_of(gallery, 3)).to_be_focused()
    assert cells_of(notebook) == before

    # With a mouse, Shift takes all from the last one as well.
    tile_of(gallery, 0).hover()
    tile_of(gallery, 0).get_by_role("checkbox").click()
    tile_of(gallery, 2).get_by_role("checkbox").click(modifiers=["Shift"])
    expect(gallery.locator(".selection")).to_contain_text("3 selected")


def test_a_hundred_thousand_rows(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(
        SETUP
        + """
import tempfile
folder = tempfile.mkdtemp()
for n, image in enumerate(scenes(50)):
    image.save(f"{folder}/{n:02}.png")
paths = [f"{folder}/{n % 50:02}.png" for n in range(100_000)]""",
        "%blip2 explore paths -o result",
    )
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator(".shownline .count")).to_have_text("100,000 pictures")
    expect(tile_of(gallery, 0).locator("img")).to_be_visible(timeout=TIMEOUT)
    tile_of(gallery, 0).focus()
    notebook.page.keyboard.press("End")
    last = tile_of(gallery, 99_999)
    expect(last).to_be_focused()
    expect(last).to_be_in_viewport(ratio=0.5)
    expect(last.locator("img")).to_be_visible(timeout=TIMEOUT)
    expect(last.locator(".label")).to_have_text("49.png")
    assert gallery.locator("[data-index]").count() < 200
    synced = "{k: v for k, v in result.gallery.get_state().items() if k not in ('_esm', '_css')}"
    assert in_kernel(notebook, f"len(json.dumps({synced}))") < 20_000


def problems_in(page: Page, selector: str = ".blip2-gallery") -> list[str]:
    """What axe-core finds serious or worse, in one line each."""
    found: dict[str, Any] = page.evaluate(
        """async selector => await window.axe.run(document.querySelector(selector), {
            resultTypes: ["violations"],
        })""",
        selector,
    )
    # It has looked, and at what is drawn.
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    return list(_problems(found["violations"]))


def _problems(violations: list[dict[str, Any]]) -> Iterable[str]:
    for violation in violations:
        if violation["impact"] in ("serious", "critical"):
            for node in violation["nodes"]:
                why = node["failureSummary"].replace("\n", " ")
                yield f"{violation['id']}: {node['html'][:200]} — {why}"


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing_serious(notebook_of: NotebookOf, theme: str) -> None:
    assert AXE.exists(), "run npm ci in js/"
    notebook = notebook_of(SAMPLES + "\ndf.loc[3, 'image'] = 'no/such/file.png'", CAPTION)
    page = notebook.page
    if theme == "Dark":
        notebook.command("apputils:change-theme", theme="JupyterLab Dark")
        page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached")
    notebook.run_all()
    gallery = answered(notebook, "31 answered")
    page.evaluate(AXE.read_text())
    page.emulate_media(reduced_motion="reduce")  # nothing is measured half faded
    found: dict[str, list[str]] = {}

    tile_of(gallery, 0).focus()
    page.keyboard.press("a")
    page.keyboard.press("x")
    expect(tile_of(gallery, 0).locator(".mark")).to_be_visible()
    expect(gallery.locator("img").first).to_be_visible(timeout=TIMEOUT)
    found["grid"] = problems_in(page)

    gallery.get_by_role("button", name="filters", exact=True).click()
    expect(gallery.locator(".bin").first).to_be_visible(timeout=TIMEOUT)
    gallery.locator(".bin").first.click()
    expect(gallery.locator(".chip")).to_be_visible()
    found["facets"] = problems_in(page)
    gallery.get_by_role("button", name="Show all").click()
    gallery.get_by_role("button", name="close the filters").click()

    gallery.get_by_role("button", name="table", exact=True).click()
    expect(gallery.locator(".line").first).to_be_visible()
    found["table"] = problems_in(page)
    gallery.get_by_role("button", name="grid", exact=True).click()

    tile_of(gallery, 1).focus()
    page.keyboard.press("Enter")
    panel = gallery.locator(".detail")
    panel.get_by_label("ask about this picture").fill("how many shapes are in the picture?")
    page.keyboard.press("Enter")
    expect(panel.locator(".turn-done")).to_be_visible(timeout=TIMEOUT)
    found["panel"] = problems_in(page)
    panel.focus()
    page.keyboard.press("z")
    expect(gallery.get_by_role("dialog")).to_be_visible()
    found["lightbox"] = problems_in(page)
    page.keyboard.press("Escape")
    panel.focus()
    page.keyboard.press("Escape")

    gallery.get_by_role("button", name="keys").click()
    expect(gallery.get_by_role("dialog")).to_be_visible()
    found["help"] = problems_in(page)
    assert {where: what for where, what in found.items() if what} == {}

"""What a person does in the gallery: find, review, ask and look, in a real JupyterLab."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterable
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
#: The demo model counts.
NUMBER = re.compile(r"^\d$")
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
    # The status may come before the rows themselves.
    expect(gallery.locator(".answer-done").first).to_be_visible()
    coming = gallery.locator(".answer-waiting, .answer-running, .answer-writing, .bone")
    expect(coming).to_have_count(0)
    return gallery


def width_of(picture: Locator) -> float:
    width: float = picture.evaluate("each => each.getBoundingClientRect().width")
    return width


def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something holds that no locator can tell."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
    expect(gallery.locator(".shownline .chiptext")).to_have_text("scene")
    expect(gallery.locator(".shownline .count")).to_have_text("16 of 32")
    expect(gallery.locator(".search-busy")).to_have_count(0)
    keys.press("ArrowDown")
    expect(tile_of(gallery, 0)).to_be_focused()
    keys.press("ArrowRight")
    tile = tile_of(gallery, 1)
    expect(tile).to_be_focused()
    # The second drawn scene: until its row comes, the place shows the row that stood there before.
    expect(tile).to_have_attribute("data-row", "3")

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
    assert in_kernel(notebook, "result.df.iloc[3, -1]") == "a blip in a box"
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


# What is said of a picture stays, so each speaks of another one.
@pytest.mark.parametrize(("theme", "reviewed"), [("Light", 0), ("Dark", 1), ("high contrast", 2)])
def test_axe_finds_nothing_serious(notebook_of: NotebookOf, theme: str, reviewed: int) -> None:
    assert AXE.exists(), "run npm ci in js/"
    notebook = notebook_of(SAMPLES + "\ndf.loc[3, 'image'] = 'no/such/file.png'", CAPTION)
    page = notebook.page
    if theme == "Dark":
        notebook.command("apputils:change-theme", theme="JupyterLab Dark")
        page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached")
    if theme == "high contrast":
        page.emulate_media(forced_colors="active")
    notebook.run_all()
    gallery = answered(notebook, "31 answered")
    page.evaluate(AXE.read_text())
    page.emulate_media(reduced_motion="reduce")  # nothing is measured half faded
    found: dict[str, list[str]] = {}

    tile_of(gallery, reviewed).focus()
    page.keyboard.press("a")
    page.keyboard.press("x")
    expect(tile_of(gallery, reviewed).locator(".mark")).to_be_visible()
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
    expect(panel.locator(".turn-done").last).to_be_visible(timeout=TIMEOUT)
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


def test_the_bar_asks_what_is_shown_and_fills_in_columns(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(
        SAMPLES + "\ndf['shape'] = ['triangle' if n % 2 else 'circle' for n in range(32)]", CAPTION
    )
    notebook.run_all()
    gallery = answered(notebook)
    keys = notebook.page.keyboard
    gallery.get_by_role("searchbox").fill("yellow")
    count = gallery.locator(".shownline .count")
    expect(count).to_contain_text("of 32")
    expect(gallery.locator(".search-busy")).to_have_count(0)
    shown = in_kernel(notebook, "list(result.gallery.filtered)")

    gallery.get_by_label("which pictures to ask").select_option("shown")
    bar = gallery.get_by_role("textbox", name="ask", exact=True)
    bar.fill("how many shapes are in the picture?")
    bar.press("Enter")
    expect(bar).to_have_value("")
    first = gallery.locator("[data-row]").first
    answer = first.locator('[data-cell="1"] .answer-done')
    expect(answer).to_have_text(NUMBER, timeout=TIMEOUT)
    asked = "[n for n, a in enumerate(result.df.iloc[:, -1]) if isinstance(a, str)]"
    until(lambda: bool(in_kernel(notebook, asked) == shown))
    gallery.get_by_role("button", name="Show all").click()
    others = next(n for n in range(32) if n not in shown)
    expect(gallery.locator(f'[data-row="{others}"] [data-cell="1"]')).to_contain_text("not asked")

    gallery.get_by_label("which pictures to ask").select_option("all")
    bar.focus()
    keys.type("how many {sh")
    option = gallery.locator(".completions").get_by_role("option", name="shape")
    expect(option).to_have_attribute("aria-selected", "true")
    keys.press("Enter")
    expect(bar).to_have_value("how many {shape}")
    keys.type("s are in the picture?")
    keys.press("Enter")
    for row, shape in enumerate(("circle", "triangle")):
        cell = tile_of(gallery, row).locator('[data-cell="2"]')
        expect(cell.locator(".prompttext")).to_have_text(
            f"how many {shape}s are in the picture?", timeout=TIMEOUT
        )
        expect(cell.locator(".answer-done")).to_have_text(NUMBER, timeout=TIMEOUT)

    bar.focus()
    keys.press("ArrowUp")
    expect(bar).to_have_value("how many {shape}s are in the picture?")
    keys.press("ArrowUp")
    expect(bar).to_have_value("how many shapes are in the picture?")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    expect(bar).to_have_value("")


def test_a_picture_is_talked_about_and_looked_at(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SAMPLES, CAPTION)
    page = notebook.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    notebook.run_all()
    gallery = answered(notebook)
    keys = page.keyboard
    tile_of(gallery, 3).locator(".picture").click()
    panel = gallery.locator(".detail")
    expect(panel.locator(".detail-place")).to_have_text("4 of 32")

    # Two turns; the first is edited, and the second goes with it.
    field = panel.get_by_label("ask about this picture")
    turns = panel.locator(".turn")
    done = panel.locator(".turn-done")
    for number, question in enumerate(("how many shapes are in the picture?", "what is it?"), 1):
        field.fill(question)
        field.press("Enter")
        expect(done).to_have_count(number, timeout=TIMEOUT)
    expect(done.first).to_have_text("2")
    panel.get_by_role("button", name="edit question 1").click()
    editor = panel.get_by_role("textbox", name="edit question 1")
    expect(editor).to_be_focused()
    editor.fill("how many circles are in the picture?")
    expect(panel.locator(".turn-warning")).to_contain_text("the turn behind it go")
    editor.press("Enter")
    expect(turns).to_have_count(1, timeout=TIMEOUT)
    expect(panel.locator(".turn-question")).to_have_text("how many circles are in the picture?")
    expect(done).to_have_text("0", timeout=TIMEOUT)
    panel.get_by_role("button", name="answer question 1 anew").click()
    expect(done).to_have_text("0", timeout=TIMEOUT)
    panel.get_by_role("region", name="answers").get_by_role("button", name="copy as code").click()
    expect(panel.locator(".review").get_by_role("status").first).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == "%blip2 caption df.image"
    panel.get_by_role("region", name="conversation").get_by_text("Copy as code").click()
    expect(panel.get_by_role("button", name="Copied")).to_be_visible()
    expect(panel.locator(".talk .copycode").get_by_role("status")).to_have_text("copied")
    code = page.evaluate("navigator.clipboard.readText()")
    assert code == '%blip2 chat df.image.loc[3] "how many circles are in the picture?"'

    panel.get_by_role("button", name="next picture").click()
    expect(panel.locator(".detail-place")).to_have_text("5 of 32")
    expect(turns).to_have_count(0)
    panel.get_by_role("button", name="previous picture").click()
    expect(panel.locator(".detail-place")).to_have_text("4 of 32")
    expect(turns).to_have_count(1)

    panel.get_by_role("button", name="look at it large").click()
    lightbox = gallery.get_by_role("dialog")
    picture = lightbox.locator(".zoom-picture").last
    expect(picture).to_be_visible()
    whole = width_of(picture)
    keys.press("+")
    until(lambda: width_of(picture) > whole)
    nearer = width_of(picture)
    picture.hover()
    page.mouse.wheel(0, -240)
    until(lambda: width_of(picture) > nearer)
    keys.press("0")
    until(lambda: width_of(picture) == whole)
    keys.press("Escape")
    expect(lightbox).to_have_count(0)
    expect(panel.get_by_role("button", name="look at it large")).to_be_focused()
    panel.get_by_role("button", name="close", exact=True).click()
    expect(panel).to_have_count(0)
    expect(tile_of(gallery, 3)).to_be_focused()

    keys.press("x")
    keys.press("ArrowRight")
    keys.press("x")
    gallery.get_by_role("button", name="Side by side").click()
    expect(lightbox.locator("figure")).to_have_count(2)
    expect(lightbox.locator(".pictures-differs")).to_have_count(2)
    assert lightbox.locator("figure img").evaluate_all("all => all.every(i => i.naturalWidth > 0)")
    keys.press("Escape")
    expect(lightbox).to_have_count(0)


def test_what_a_person_said_survives_a_killed_kernel(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SAMPLES, CAPTION)
    notebook.run_all()
    gallery = answered(notebook)
    tile_of(gallery, 2).focus()
    notebook.page.keyboard.press("e")
    notebook.page.keyboard.type("kept for good")
    notebook.page.keyboard.press("Enter")
    expect(tile_of(gallery, 2).locator(".answer-done")).to_have_text("kept for good")
    expect(gallery.locator(".selection")).to_have_count(0)
    # What is shown comes from the kernel, so the kernel has it now. Killed, it can save nothing.
    assert in_kernel(notebook, "result.df.iloc[2, -1]") == "kept for good"
    pid = in_kernel(notebook, "__import__('os').getpid()")
    os.kill(pid, signal.SIGKILL)
    # JupyterLab sees it within seconds, starts another, and says so in a dialog.
    died = notebook.page.get_by_role("dialog").filter(has_text="appears to have died")
    died.get_by_role("button", name="Ok").click(timeout=TIMEOUT)
    assert in_kernel(notebook, "__import__('os').getpid()") != pid
    notebook.run_all()
    gallery = answered(notebook)
    tile = tile_of(notebook.gallery(), 2)
    expect(tile.locator(".answer-done")).to_have_text("kept for good", timeout=TIMEOUT)
    expect(tile.locator(".mark-corrected")).to_be_visible()
    assert in_kernel(notebook, "'result' in dir() and result.df.iloc[2, -1]") == "kept for good"


def test_pictures_are_looked_at_without_a_model(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SAMPLES, "%blip2 explore df -o result")
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator(".shownline .count")).to_have_text("32 pictures")
    expect(tile_of(gallery, 0).locator("img")).to_be_visible(timeout=TIMEOUT)
    gallery.get_by_role("searchbox").fill("drawn")
    expect(gallery.locator(".shownline .count")).to_contain_text("of 32")
    assert in_kernel(notebook, "'torch' in __import__('sys').modules") is False


def test_answers_are_compared_and_those_that_differ_are_found(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(
        SAMPLES,
        "%blip2 compare df.image -o result "
        '"how many circles are in the picture?" "how many triangles are in the picture?"',
    )
    notebook.run_all()
    gallery = answered(notebook, "64 answered")
    same = in_kernel(
        notebook, "[n for n in range(32) if result.df.iloc[n, -1] == result.df.iloc[n, -2]]"
    )
    assert 0 < len(same) < 32
    expect(gallery.locator(".tile .bone")).to_have_count(0)
    for row in rows_on_page(gallery):
        marks = tile_of(gallery, row).get_by_role("img", name="answers differ")
        assert marks.count() == (0 if row in same else 2), row
    gallery.get_by_role("button", name="filters", exact=True).click()
    facets = gallery.get_by_role("complementary", name="filters")
    facets.get_by_role("button", name="agreement").click()
    facets.locator(".facet", has_text="agreement").locator(".bin", has_text="same").click()
    expect(gallery.locator(".shownline .count")).to_have_text(f"{len(same)} of 32")
    assert in_kernel(notebook, "list(result.gallery.filtered)") == same
    expect(gallery.locator(".mark-differs")).to_have_count(0)
    # Above them stands how many differ, which shows them.
    gallery.get_by_role("button", name="Show all").click()
    gallery.get_by_role("button", name=f"{32 - len(same)} differ").click()
    expect(gallery.locator(".shownline .count")).to_have_text(f"{32 - len(same)} of 32")
    differ = [row for row in range(32) if row not in same]
    assert in_kernel(notebook, "list(result.gallery.filtered)") == differ


def test_two_views_of_a_gallery_stay_in_step(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SAMPLES, CAPTION, "result")
    notebook.page.set_viewport_size({"width": 1280, "height": 2200})
    notebook.run_all()
    one = answered(notebook)
    two = notebook.page.locator(".blip2-gallery").nth(1)
    expect(two.locator("img").first).to_be_visible(timeout=TIMEOUT)
    one.get_by_role("searchbox").fill("yellow")
    expect(one.locator(".shownline .count")).to_contain_text("of 32")
    expect(two.get_by_role("searchbox")).to_have_value("yellow")
    expect(two.locator(".shownline .count")).to_have_text(
        one.locator(".shownline .count").inner_text()
    )
    tile_of(two, 1).focus()
    notebook.page.keyboard.press("x")
    notebook.page.keyboard.press("a")
    for each in (one, two):
        expect(each.locator(".selection")).to_contain_text("1 selected")
        expect(tile_of(each, 1).locator(".mark-accepted")).to_be_visible()
        expect(tile_of(each, 1).get_by_role("checkbox")).to_have_attribute("aria-checked", "true")


def test_nothing_stands_out_at_the_side(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SAMPLES, CAPTION)
    notebook.page.set_viewport_size({"width": 2000, "height": 1000})
    notebook.run_all()
    gallery = answered(notebook)

    def overflow() -> int:
        wide: int = gallery.evaluate("root => root.scrollWidth - root.clientWidth")
        return wide

    for width in (400, 1600):
        gallery.evaluate("(root, px) => { root.parentElement.style.width = `${px}px` }", width)
        until(lambda: abs(width_of(gallery) - width) < 20)  # noqa: B023
        assert overflow() <= 0, f"grid at {width}"
        gallery.get_by_role("button", name="filters", exact=True).click()
        expect(gallery.locator(".bin").first).to_be_visible(timeout=TIMEOUT)
        assert overflow() <= 0, f"filters at {width}"
        gallery.get_by_role("button", name="close the filters").click()
        gallery.get_by_role("button", name="table", exact=True).click()
        expect(gallery.locator(".line").first).to_be_visible()
        assert overflow() <= 0, f"table at {width}"
        gallery.get_by_role("button", name="grid", exact=True).click()
        tile_of(gallery, 0).focus()
        notebook.page.keyboard.press("Enter")
        expect(gallery.locator(".detail")).to_be_visible()
        assert overflow() <= 0, f"panel at {width}"
        notebook.page.keyboard.press("Escape")
        expect(gallery.locator(".detail")).to_have_count(0)

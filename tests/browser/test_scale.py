"""One person's way through galleries of a thousand, a hundred thousand and a million rows."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import TIMEOUT
from tests.browser.test_explore import NUMBER, in_kernel, tile_of
from tests.browser.test_gallery import SETUP, NotebookOf

pytestmark = pytest.mark.browser

#: A frame over few files: what is counted is rows.
FRAME = """
import tempfile
folder = tempfile.mkdtemp()
for n, image in enumerate(scenes(50)):
    image.save(f"{folder}/{n:02}.png")
rows = range(ROWS)
df = pd.DataFrame({
    "image": [f"{folder}/{n % 50:02}.png" for n in rows],
    "place": [f"place {n % 40}" for n in rows],
    "size": rows,
})"""


# What is said of a picture stays, so each speaks of another one.
@pytest.mark.parametrize(("rows", "asked"), [(1_000, 3), (100_000, 5), (1_000_000, 7)])
def test_a_gallery_of_many_rows(notebook_of: NotebookOf, rows: int, asked: int) -> None:
    notebook = notebook_of(
        SETUP + FRAME.replace("ROWS", str(rows)), "%blip2 explore df -m demo -o result"
    )
    notebook.run_all()
    gallery, keys = notebook.gallery(), notebook.page.keyboard
    count = gallery.locator(".shownline .count")
    expect(count).to_have_text(f"{rows:,} pictures", timeout=TIMEOUT)
    expect(tile_of(gallery, 0).locator("img")).to_be_visible(timeout=TIMEOUT)

    # To the end and back: only what is on the screen is on the page.
    tile_of(gallery, 0).focus()
    keys.press("End")
    last = tile_of(gallery, rows - 1)
    expect(last).to_be_focused()
    expect(last).to_be_in_viewport(ratio=0.5)
    expect(last.locator("img")).to_be_visible(timeout=TIMEOUT)
    expect(last.locator(".label")).to_have_text("49.png")
    assert gallery.locator("[data-index]").count() < 200
    keys.press("Home")
    expect(tile_of(gallery, 0)).to_be_focused()

    # Filter by a facet, sort, and search; at a million the first search indexes for a minute.
    gallery.get_by_role("button", name="filters", exact=True).click()
    facets = gallery.get_by_role("complementary", name="filters")
    facets.get_by_role("button", name="place").click()
    facets.locator(".facet", has_text="place").locator(".bin").first.click(timeout=TIMEOUT)
    expect(count).to_have_text(f"{rows // 40:,} of {rows:,}", timeout=TIMEOUT)
    expect(tile_of(gallery, 1)).to_have_attribute("data-row", "40", timeout=TIMEOUT)
    gallery.get_by_label("sort by").select_option(label="size")
    gallery.get_by_role("button", name="ascending").click()
    expect(tile_of(gallery, 0)).to_have_attribute("data-row", str(rows - 40), timeout=TIMEOUT)
    gallery.get_by_role("button", name="Show all").click()
    gallery.get_by_role("button", name="close the filters").click()
    gallery.get_by_label("sort by").select_option(label="Row order")
    expect(tile_of(gallery, 0)).to_have_attribute("data-row", "0", timeout=TIMEOUT)
    expect(count).to_have_text(f"{rows:,} pictures")
    if rows < 1_000_000:
        gallery.get_by_role("searchbox").fill('"place 17"')
        expect(count).to_have_text(f"{rows // 40:,} of {rows:,}", timeout=TIMEOUT)
        gallery.get_by_role("button", name="Show all").click()
        expect(count).to_have_text(f"{rows:,} pictures", timeout=TIMEOUT)

    # Select all, then two, and ask these.
    tile_of(gallery, 0).focus()
    keys.press("Control+a")
    expect(gallery.locator(".selection")).to_contain_text(f"{rows:,} selected", timeout=TIMEOUT)
    gallery.locator(".selection").get_by_role("button", name="clear the selection").click()
    expect(gallery.locator(".selection")).to_have_count(0, timeout=TIMEOUT)
    for position in (1, asked):
        tile_of(gallery, position).focus()
        keys.press("x")
    expect(gallery.locator(".selection")).to_contain_text("2 selected")
    gallery.get_by_label("which pictures to ask").select_option("selected")
    bar = gallery.get_by_role("textbox", name="ask", exact=True)
    bar.fill("how many shapes are in the picture?")
    bar.press("Enter")
    for position in (1, asked):
        answer = tile_of(gallery, position).locator(".answer-done")
        expect(answer).to_have_text(NUMBER, timeout=TIMEOUT)
    expect(tile_of(gallery, 0)).to_contain_text("not asked")

    # Say something of an answer, and look at the table.
    tile_of(gallery, asked).focus()
    keys.press("a")
    expect(tile_of(gallery, asked).locator(".mark-accepted")).to_be_visible()
    assert in_kernel(notebook, f"result.gallery.review_of({asked}, 0).status") == "accepted"
    gallery.get_by_role("button", name="table", exact=True).click()
    expect(gallery.locator(".line").first).to_be_visible()
    assert gallery.locator("[data-index]").count() < 200
    synced = "{k: v for k, v in result.gallery.get_state().items() if k not in ('_esm', '_css')}"
    assert in_kernel(notebook, f"len(json.dumps({synced}))") < 20_000

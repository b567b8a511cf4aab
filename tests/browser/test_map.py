"""The map beside the gallery, in a real JupyterLab."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import TIMEOUT
from tests.browser.test_explore import (
    AXE,
    SAMPLES,
    in_kernel,
    problems_in,
    tile_of,
    until,
)
from tests.browser.test_gallery import SETUP, NotebookOf

pytestmark = pytest.mark.browser

#: Where the points are drawn, as the page's camera does it.
PLACES = """
import numpy as np
def drawn(width, height):
    places = result.coordinates
    low, high = np.nanmin(places, 0), np.nanmax(places, 0)
    scale = min((width - 48) / (high - low)[0], (height - 48) / (high - low)[1])
    middle = (low + high) / 2
    return ((places - middle) * [scale, -scale] + [width / 2, height / 2]).tolist()
"""

#: How many pixels of the map have each colour that is whole.
COLOURS = """canvas => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const found = {};
    for (let k = 0; k < data.length; k += 4)
        if (data[k + 3] > 250) {
            const colour = data.slice(k, k + 3).join();
            found[colour] = (found[colour] ?? 0) + 1;
        }
    return found;
}"""


def around(stage: Locator, left: float, top: float, right: float, bottom: float) -> None:
    """Draw a line around a part of the map."""
    box = stage.bounding_box()
    assert box is not None
    mouse = stage.page.mouse
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    (x, y), *rest = [(box["x"] + x, box["y"] + y) for x, y in corners]
    mouse.move(x, y)
    mouse.down()
    for x, y in rest:
        mouse.move(x, y, steps=8)
    mouse.up()


def test_a_line_around_points_selects_their_rows(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SAMPLES, "%blip2 map df.image -o result", PLACES)
    notebook.run_all()
    gallery = notebook.gallery()
    stage = gallery.get_by_role("img", name="map of 32 pictures by PCA")
    expect(stage).to_be_visible(timeout=TIMEOUT)
    until(lambda: len(stage.locator("canvas").evaluate(COLOURS)) == 1)
    box = stage.bounding_box()
    assert box is not None
    width, height = box["width"], box["height"]
    places = in_kernel(notebook, f"drawn({width}, {height})")
    cut = sorted(x for x, _ in places)[8]
    wanted = [row for row, (x, _) in enumerate(places) if x < cut - 1]
    assert wanted

    around(stage, 2, 2, cut - 1, height - 2)
    expect(gallery.locator(".selection")).to_contain_text(f"{len(wanted)} selected")
    assert in_kernel(notebook, "result.gallery.selected") == wanted
    # And back: what is selected on a tile, or in Python, stands out in the map at once.
    ringed = stage.locator("canvas").evaluate(COLOURS)
    assert len(ringed) == 2
    notebook.page.keyboard.press("Escape")
    expect(gallery.locator(".selection")).to_have_count(0)
    until(lambda: len(stage.locator("canvas").evaluate(COLOURS)) == 1)
    assert in_kernel(notebook, "setattr(result.gallery, 'selected', [3])") is None
    until(lambda: len(stage.locator("canvas").evaluate(COLOURS)) == 2)

    # Coloured by a column, filtered, and looked at.
    gallery.get_by_label("colour by").select_option(label="source")
    expect(gallery.get_by_role("list", name="colours: source").get_by_role("listitem")).to_have_text(
        ["drawn scene", "easy-VQA test"]
    )
    assert in_kernel(notebook, "setattr(result.gallery, 'selected', [])") is None
    until(lambda: len(stage.locator("canvas").evaluate(COLOURS)) == 2)
    gallery.get_by_role("searchbox").fill("scene")
    until(lambda: len(stage.locator("canvas").evaluate(COLOURS)) == 1)
    row = in_kernel(notebook, "int(result.gallery.filtered[5])")
    x, y = places[row]
    stage.hover(position={"x": x, "y": y})
    glance = gallery.locator(".mapglance")
    expect(glance.locator("img")).to_be_visible(timeout=TIMEOUT)
    notebook.page.evaluate(AXE.read_text())
    assert problems_in(notebook.page) == []
    label = glance.locator(".mapname").inner_text()
    stage.click(position={"x": x, "y": y})
    expect(gallery.locator(".detail-title")).to_have_text(label)
    notebook.page.keyboard.press("Escape")

    gallery.get_by_role("button", name="close the map").click()
    expect(stage).to_have_count(0)
    gallery.get_by_role("button", name="map", exact=True).click()
    expect(stage).to_be_visible()
    until(lambda: len(stage.locator("canvas").evaluate(COLOURS)) == 1)


def test_a_hundred_thousand_points_never_hold_the_page_up(notebook_of: NotebookOf) -> None:
    """Measured where nothing else runs: here only that no task is long enough to be felt."""
    notebook = notebook_of(
        SETUP
        + "import blip2_widget\nimport numpy as np\nfrom blip2_widget.run import Projecting\n"
        + "result = blip2_widget.explore(['gone.png'] * 100_000, model='demo')\n"
        + "class There(Projecting):\n"
        + "    def __init__(self): pass\n"
        + "there = There()\n"
        + "there.method, there.note = 'pca', ''\n"
        + "there.coordinates = np.random.default_rng(0).normal(size=(100_000, 2)).astype('f4')\n"
        + "measuring = type('Pass', (), {'has_ended': True})()\n"
        + "result.board.map = (measuring, there)\n",
        "result",
    )
    notebook.run_all()
    stage = notebook.gallery().get_by_role("img", name="map of 100,000 pictures by PCA")
    expect(stage).to_be_visible(timeout=TIMEOUT)
    box = stage.bounding_box()
    assert box is not None
    page = notebook.page
    page.wait_for_timeout(2000)
    page.evaluate(
        "() => { window.tasks = []; new PerformanceObserver(list => window.tasks.push("
        "...list.getEntries().map(each => each.duration))).observe({ type: 'longtask' }); }"
    )
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    for _ in range(10):
        page.mouse.wheel(0, -60)
        page.wait_for_timeout(40)
    for _ in range(10):
        page.mouse.wheel(0, 60)
        page.wait_for_timeout(40)
    page.mouse.down(button="middle")
    for step in range(20):
        page.mouse.move(box["x"] + 200 + 4 * step, box["y"] + 200 + 2 * step)
        page.wait_for_timeout(20)
    page.mouse.up(button="middle")
    print("pan and zoom", page.evaluate("window.tasks"))
    page.evaluate("window.tasks.length = 0")
    around(stage, 60, 60, box["width"] - 60, box["height"] - 60)
    page.wait_for_timeout(1500)
    print("lasso", page.evaluate("window.tasks"))
    page.screenshot(path="/tmp/map-many.png")

"""The map beside the gallery, in a real JupyterLab."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import TIMEOUT, Notebook
from tests.browser.test_explore import (
    AXE,
    SAMPLES,
    in_kernel,
    problems_in,
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

#: A gallery whose map is there, of pictures that nobody opens.
MANY = """
import blip2_widget
import numpy as np
from types import SimpleNamespace
result = blip2_widget.explore(["gone.png"] * 100_000, model="demo")
places = np.random.default_rng(0).normal(size=(100_000, 2)).astype("f4")
there = SimpleNamespace(method="pca", note="", coordinates=places)
result.board.map = (SimpleNamespace(has_ended=True), there)
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


def drawn(notebook: Notebook, stage: Locator) -> tuple[list[list[float]], float]:
    """Where each row's point is drawn, and how high the map is."""
    box = stage.bounding_box()
    assert box is not None
    return in_kernel(notebook, f"drawn({box['width']}, {box['height']})"), box["height"]


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
    places, height = drawn(notebook, stage)
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
    expect(
        gallery.get_by_role("list", name="colours: source").get_by_role("listitem")
    ).to_have_text(["drawn scene", "easy-VQA test"])
    assert in_kernel(notebook, "setattr(result.gallery, 'selected', [])") is None
    until(lambda: len(stage.locator("canvas").evaluate(COLOURS)) == 2)
    gallery.get_by_role("searchbox").fill("scene")
    until(lambda: len(stage.locator("canvas").evaluate(COLOURS)) == 1)
    row = in_kernel(notebook, "int(result.gallery.filtered[5])")
    x, y = drawn(notebook, stage)[0][row]  # the legend has taken some of its height
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


def test_a_hundred_thousand_points_are_drawn_moved_and_selected(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SETUP + MANY, PLACES, "result")
    notebook.run_all()
    gallery = notebook.gallery()
    stage = gallery.get_by_role("img", name="map of 100,000 pictures by PCA")
    expect(stage).to_be_visible(timeout=TIMEOUT)
    canvas = stage.locator("canvas")
    until(lambda: sum(canvas.evaluate(COLOURS).values()) > 20_000, 60)
    # Zoomed in fewer are seen, and all again.
    whole = canvas.evaluate(COLOURS)
    stage.hover(position={"x": 2, "y": 2})
    notebook.page.mouse.wheel(0, -400)
    until(lambda: canvas.evaluate(COLOURS) != whole)
    gallery.get_by_role("button", name="see all points").click()
    until(lambda: canvas.evaluate(COLOURS) == whole)

    box = stage.bounding_box()
    assert box is not None
    width, height = box["width"], box["height"]
    around(stage, 2, 2, width / 2, height - 2)
    # But for what lies under the line itself.
    x = f"np.array(drawn({width}, {height}))[:, 0] - {width / 2}"
    inner, outer = in_kernel(notebook, f"[int(({x} < at).sum()) for at in (-1.5, 1.5)]")
    assert 40_000 < inner < outer < 60_000
    until(lambda: inner <= in_kernel(notebook, "len(result.gallery.selected)") <= outer, 60)
    assert in_kernel(notebook, f"({x})[result.gallery.selected].max()") < 1.5

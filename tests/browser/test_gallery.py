"""The gallery in a real JupyterLab: what a person sees and does while a run goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import TIMEOUT, Notebook

pytestmark = pytest.mark.browser

NotebookOf = Callable[..., Notebook]

SETUP = """
import random
import pandas as pd
from blip2_widget.demo.scenes import draw_scene

%load_ext blip2_widget
%config Blip2Magics.model = "demo"

def scenes(count):
    name = "browser"
    return [draw_scene(random.Random(f"{name}-{n}"), count=2, size=96).image for n in range(count)]
"""


def test_a_prompt_is_edited_on_a_picture_and_asked_again(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(
        SETUP + "df = pd.DataFrame({'image': scenes(4)})", "%blip2 caption df.image"
    )
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator(".status")).to_contain_text("4 answered", timeout=TIMEOUT)
    tile = gallery.locator('[data-index="2"]')
    tile.locator(".prompt").click()
    tile.get_by_role("textbox").fill("how many shapes are in the picture?")
    tile.get_by_role("textbox").press("Enter")
    expect(tile.locator(".answer-done")).to_have_text("2", timeout=TIMEOUT)
    expect(tile.locator(".prompttext")).to_have_text("how many shapes are in the picture?")
    # Its neighbour keeps its caption.
    expect(gallery.locator('[data-index="1"] .answer-done')).to_contain_text("a ")


def test_errors_stand_on_their_own_tile(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(
        SETUP + "images = [scenes(1)[0], 'no/such/file.png', None, b'no picture']",
        "%blip2 caption images",
    )
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator(".status")).to_contain_text("1 answered", timeout=TIMEOUT)
    expect(gallery.locator(".failures")).to_have_text("3 errors")
    messages = gallery.locator(".tile-error .message")
    expect(messages).to_have_count(3)
    expect(messages.nth(0)).to_contain_text("there is no file")
    expect(gallery.locator('[data-index="0"] .answer-done')).to_be_visible()


def test_the_kernel_is_free_while_a_run_goes_on_and_cancel_stops_it(
    notebook_of: NotebookOf,
) -> None:
    notebook = notebook_of(
        SETUP + "images = scenes(3000)",
        "%blip2 caption images --batch-size 4 --no-cache -o run",
        "print('the kernel', 'is free:', run.progress.done < 3000)",
    )
    notebook.run_all()
    gallery = notebook.gallery()
    expect(notebook.page.get_by_text("the kernel is free: True")).to_be_attached(timeout=TIMEOUT)
    expect(gallery.locator(".status")).to_contain_text("of 3,000", timeout=TIMEOUT)
    expect(gallery.locator(".status")).to_contain_text("left", timeout=TIMEOUT)
    expect(gallery.locator(".answer-done").first).to_be_visible(timeout=TIMEOUT)
    gallery.get_by_role("button", name="Cancel").click()
    expect(gallery.locator(".status")).to_contain_text("cancelled", timeout=TIMEOUT)
    # What was answered before stays on its tile.
    expect(gallery.locator(".answer-done").first).to_be_visible()


def test_the_gallery_lives_while_its_own_cell_waits(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(
        SETUP + "images = scenes(3000)", "%blip2 caption images --batch-size 4 --no-cache --wait"
    )
    notebook.run_all()
    gallery = notebook.gallery()
    # Thumbnails and answers come by messages to and from a kernel that is busy with the cell.
    expect(gallery.locator("img").first).to_be_visible(timeout=TIMEOUT)
    expect(gallery.locator(".answer-done").first).to_be_visible(timeout=TIMEOUT)
    gallery.get_by_role("button", name="Cancel").click()
    expect(gallery.locator(".status")).to_contain_text("cancelled", timeout=TIMEOUT)


def test_the_gallery_follows_the_theme(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SETUP + "images = scenes(2)", "%blip2 caption images")
    notebook.run_all()
    gallery = notebook.gallery()

    def brightness() -> float:
        colour: str = gallery.evaluate("root => getComputedStyle(root).color")
        numbers = colour[colour.index("(") + 1 : -1].split(",")[:3]
        return sum(float(number) for number in numbers) / 3

    # The server remembers a theme, so another test may have left it dark.
    notebook.command("apputils:change-theme", theme="JupyterLab Light")
    notebook.page.wait_for_selector('body[data-jp-theme-light="true"]', state="attached")
    assert brightness() < 100  # dark letters
    notebook.command("apputils:change-theme", theme="JupyterLab Dark")
    notebook.page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached")
    assert brightness() > 150
    notebook.command("apputils:change-theme", theme="JupyterLab Light")
    notebook.page.wait_for_selector('body[data-jp-theme-light="true"]', state="attached")

"""Words from data, people and the model are words in every part of the gallery, never its HTML."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import TIMEOUT
from tests.browser.test_explore import answered, in_kernel, tile_of
from tests.browser.test_gallery import SETUP, NotebookOf

pytestmark = pytest.mark.browser

#: As a file's name, a column's name, a value, a prompt, an answer, an error and a title.
EVIL = "<img src=x onerror='window.hurt = 1'><script>window.hurt = 2</script>{{}}&lt;b&gt;"
FRAME = f"""
from pathlib import Path
evil = {EVIL!r}
name = evil.replace("/", "\\N{{FRACTION SLASH}}")
paths = []
for number, picture in enumerate(scenes(3)):
    paths.append(f"{{number}} {{name}}.png")
    picture.save(paths[-1])
paths.append(f"gone {{name}}.png")
df = pd.DataFrame({{"image": paths, evil: [evil, evil + "2", "good", evil]}})
"""


def nothing_came_of_it(gallery: Locator) -> None:
    assert gallery.page.evaluate("window.hurt") is None
    assert gallery.locator("script, [onerror], .blip2-gallery b").count() == 0


def test_hostile_words_are_words_everywhere(notebook_of: NotebookOf) -> None:
    ask = "import blip2_widget\nresult = blip2_widget.ask(df.image, {evil: evil}, frame=df, "
    notebook = notebook_of(SETUP + FRAME, ask + "title=evil, max_new_tokens=3)\nresult")
    notebook.run_all()
    gallery = answered(notebook, "3 answered")
    # A model can be made to say anything: its words are set as a person would set them.
    tile = tile_of(gallery, 0)
    tile.focus()
    notebook.page.keyboard.press("e")
    tile.get_by_role("textbox").fill(EVIL)
    tile.get_by_role("textbox").press("Enter")
    expect(tile.locator(".answer")).to_contain_text("<script>")
    expect(gallery.locator(".title")).to_have_text(EVIL)
    expect(tile.locator(".prompttext")).to_have_text(EVIL.replace("{{}}", "{}"))
    expect(tile_of(gallery, 3).locator(".message").first).to_contain_text("there is no file")
    expect(tile_of(gallery, 3)).to_contain_text("onerror")
    nothing_came_of_it(gallery)

    gallery.get_by_role("button", name="filters", exact=True).click()
    facet = gallery.locator(".facet", has_text="onerror").last
    facet.locator(".facettoggle").click()
    expect(gallery.locator(".bintext", has_text="onerror").first).to_be_visible()
    nothing_came_of_it(gallery)
    gallery.get_by_role("button", name="table").click()
    expect(gallery.locator(".line").first).to_contain_text("<script>")
    nothing_came_of_it(gallery)
    gallery.get_by_role("searchbox").fill(EVIL[:20])
    expect(gallery.locator(".shownline .chiptext").first).to_have_text(EVIL[:20])
    gallery.get_by_role("button", name="Show all").click()

    line = gallery.locator('[data-index="1"]')
    line.focus()
    notebook.page.keyboard.press("Enter")
    panel = gallery.locator(".detail")
    expect(panel).to_contain_text("onerror", timeout=TIMEOUT)
    box = panel.get_by_label("ask about this picture")
    box.fill(EVIL)
    box.press("Enter")
    expect(panel).to_contain_text("window.hurt = 2")
    nothing_came_of_it(gallery)
    assert in_kernel(notebook, f"result.df.iloc[0, -1] == {EVIL!r}")


def test_a_stopped_run_goes_on_and_errors_are_tried_again(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(
        SETUP + "import blip2_widget\nimages = [*scenes(40), 'late.png']",
        "result = blip2_widget.caption(images, start=False)\nresult.cancel()\nresult",
    )
    notebook.run_all()
    gallery = notebook.gallery()
    expect(gallery.locator(".status")).to_contain_text("0 of 41", timeout=TIMEOUT)
    gallery.get_by_role("button", name="Go on").click()
    expect(gallery.locator(".status")).to_contain_text("40 answered", timeout=TIMEOUT)
    assert in_kernel(notebook, "images[0].save('late.png')") is None
    gallery.get_by_role("button", name="Retry errors").click()
    expect(gallery.locator(".status")).to_contain_text("41 answered", timeout=TIMEOUT)
    expect(gallery.get_by_role("button", name="Retry errors")).to_have_count(0)

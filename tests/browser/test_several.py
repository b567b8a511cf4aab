"""Choices with their probabilities, and answers to pick from, in a real JupyterLab."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import TIMEOUT
from tests.browser.test_explore import (
    AXE,
    SAMPLES,
    answered,
    in_kernel,
    problems_in,
    rows_on_page,
    tile_of,
)
from tests.browser.test_gallery import NotebookOf

pytestmark = pytest.mark.browser


def opened(gallery: Locator, position: int) -> Locator:
    """The panel of a row, opened with the keyboard."""
    tile_of(gallery, position).focus()
    gallery.page.keyboard.press("Enter")
    return gallery.locator(".detail")


def test_choices_sort_by_their_probability(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(
        SAMPLES, '%blip2 ask df.image "is there a big shape?" --choices yes,no -o result'
    )
    notebook.run_all()
    gallery = answered(notebook)
    gallery.get_by_label("sort by").select_option(label="yes")
    order = in_kernel(notebook, "[int(n) for n in result.df.yes.argsort(kind='stable')]")
    expect(tile_of(gallery, 0)).to_have_attribute("data-row", str(order[0]))
    drawn = rows_on_page(gallery)
    assert drawn == order[: len(drawn)] != list(range(len(drawn)))

    panel = opened(gallery, 0)
    lines = panel.get_by_role("list", name="choices").get_by_role("button")
    expect(lines).to_have_count(2, timeout=TIMEOUT)
    share = round(100 * in_kernel(notebook, f"result.df.no[{order[0]}]"))
    expect(lines.first).to_have_text(f"no{share} %")
    expect(lines.first).to_have_attribute("aria-pressed", "true")
    # What is a column is not told twice.
    expect(panel.locator(".detail-values dt")).to_have_text(["image", "source"])

    # Scored, it says of which confidence how many are right, and shows them.
    curve = in_kernel(notebook, "result.score(['yes'] * 32).reliability.frame.values.tolist()")
    counts = [line for line in curve if line[2]]
    bins = gallery.get_by_role("group", name="reliability").get_by_role("button")
    expect(bins).to_have_count(len(counts), timeout=TIMEOUT)
    assert len(counts) > 1
    notebook.page.evaluate(AXE.read_text())
    assert problems_in(notebook.page) == []
    low, _, count, _, right = counts[-1]
    label = f"confidence {low:.1f} to 1: {count:.0f} answers, {100 * right:.0f} % right"
    expect(bins.last).to_have_attribute("aria-label", re.compile(f"^{re.escape(label)}"))
    bins.last.click()
    expect(gallery.locator(".shownline .count")).to_have_text(f"{count:.0f} of 32")


def test_an_alternative_is_picked_and_taken_back(notebook_of: NotebookOf) -> None:
    notebook = notebook_of(SAMPLES, "%blip2 caption df.image -k 3 -o result")
    notebook.run_all()
    gallery = answered(notebook)
    before = in_kernel(notebook, "result.df.caption[3]")
    panel = opened(gallery, 3)
    lines = panel.get_by_role("list", name="alternatives").get_by_role("button")
    expect(lines).to_have_count(3, timeout=TIMEOUT)
    expect(panel.locator(".candidate[aria-pressed=true]")).to_contain_text(before)
    other = panel.locator(".candidate[aria-pressed=false]").first
    notebook.page.evaluate(AXE.read_text())
    assert problems_in(notebook.page) == []
    text = other.locator(".candidate-text").inner_text()
    other.focus()
    notebook.page.keyboard.press("Enter")
    expect(panel.locator(".review-text")).to_have_text(text)
    expect(tile_of(gallery, 3).locator(".answer")).to_have_text(text)
    assert in_kernel(notebook, "result.df.caption[3]") == text != before
    expect(panel.locator(".candidate[aria-pressed=true]")).to_contain_text(text)
    panel.locator(".candidate", has_text=before).first.click()
    expect(panel.locator(".review-text")).to_have_text(before)
    assert in_kernel(notebook, "result.df.caption[3]") == before

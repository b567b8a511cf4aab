"""A real JupyterLab in Chromium, for tests that do what a person does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.lab import (
    TIMEOUT,
    Notebook,
    running_chromium,
    running_lab,
    write_notebook,
)
from tests.browser.lab import (
    open_notebook as open_in,
)

__all__ = ["TIMEOUT", "Notebook"]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

#: What the places themselves report as an error, and is none of the gallery's.
_NOT_OURS = (
    "favicon",
    "Failed to load resource",
    "webpack-dev-server",
    "widget model not found",
    "Could not restore the debugger state",  # of a kernel that was killed
    "reading 'schema'",  # Notebook 7, where one of its settings loads before its shortcuts
)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a running JupyterLab, and the folder it serves."""
    home = tmp_path_factory.mktemp("lab")
    root = home / "work"
    shutil.copytree(NOTEBOOKS, root)
    with running_lab(home, root) as address:
        yield address, root


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with running_chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails its test on any error the page reports."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: _note(f"page error: {error}", problems))
    opened.on(
        "console",
        lambda message: (
            _note(f"console: {message.text}", problems) if message.type == "error" else None
        ),
    )
    opened.on(
        "response",
        lambda answer: (
            problems.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
        ),
    )
    yield opened
    context.close()
    assert problems == []


def _note(text: str, problems: list[str]) -> None:
    if not any(part in text for part in _NOT_OURS):
        problems.append(text)


@pytest.fixture
def open_notebook(lab: tuple[str, Path], page: Page) -> Callable[[str], Notebook]:
    """Opens a notebook by its file name and waits until its kernel can run cells."""
    return lambda name: open_in(page, lab[0], name)


@pytest.fixture
def notebook_of(
    lab: tuple[str, Path], open_notebook: Callable[[str], Notebook], request: pytest.FixtureRequest
) -> Callable[..., Notebook]:
    """Opens a new notebook with the given cells."""

    def write(*cells: str) -> Notebook:
        name = f"{request.node.name}.ipynb"
        write_notebook(lab[1] / name, *cells)
        return open_notebook(name)

    return write

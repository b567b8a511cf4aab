"""A real JupyterLab in Chromium, for tests that do what a person does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
#: Milliseconds; the first answer waits for torch to be imported.
TIMEOUT = 120_000

#: Chromium calls home at its start unless told not to.
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: What JupyterLab itself logs as an error, and is none of the gallery's.
_NOT_OURS = ("favicon", "Failed to load resource", "webpack-dev-server", "widget model not found")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a running JupyterLab, and the folder it serves."""
    home = tmp_path_factory.mktemp("lab")
    root = home / "work"
    shutil.copytree(NOTEBOOKS, root)
    notices = home / "settings" / "@jupyterlab" / "apputils-extension"
    notices.mkdir(parents=True)
    (notices / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (home / "lab.log").open("wb")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--expose-app-in-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
            *("--IdentityProvider.token=", f"--ServerApp.root_dir={root}"),
        ],
        env=os.environ
        | {
            "BLIP2_WIDGET_CACHE": str(home / "cache"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "HF_HUB_OFFLINE": "1",
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, server, home / "lab.log")
        yield address, root
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{address}/api", timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        pytest.fail("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=_QUIET)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails its test on any error the page reports."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    opened.on("console", lambda message: _note(message, problems))
    opened.on(
        "response",
        lambda answer: (
            problems.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
        ),
    )
    yield opened
    context.close()
    assert problems == []


def _note(message: Any, problems: list[str]) -> None:
    if message.type == "error" and not any(part in message.text for part in _NOT_OURS):
        problems.append(f"console: {message.text}")


class Notebook:
    """A notebook that is open in JupyterLab, and what a person does with it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def command(self, name: str, **arguments: Any) -> None:
        """Start one of JupyterLab's commands; does not wait for it to end."""
        self.page.evaluate(
            "([name, args]) => { window.jupyterapp.commands.execute(name, args) }",
            [name, arguments],
        )

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def cell(self, number: int) -> Locator:
        """One cell with its outputs; JupyterLab draws it when it comes near the screen."""
        cell = self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{number}"]')
        return cell.first

    def gallery(self) -> Locator:
        """The first gallery, once it is on the screen."""
        gallery = self.page.locator(".blip2-gallery").first
        expect(gallery).to_be_visible(timeout=TIMEOUT)
        gallery.scroll_into_view_if_needed()
        return gallery


@pytest.fixture
def open_notebook(lab: tuple[str, Path], page: Page) -> Callable[[str], Notebook]:
    """Opens a notebook by its file name and waits until its kernel can run cells."""
    address, _ = lab

    def open_it(name: str) -> Notebook:
        page.goto(f"{address}/lab/tree/{name}?reset")
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context")
        page.evaluate(
            """async () => {
                const panel = window.jupyterapp.shell.currentWidget;
                await panel.context.ready;
                await panel.sessionContext.ready;
                await panel.sessionContext.session.kernel.info;
            }"""
        )
        return Notebook(page)

    return open_it


@pytest.fixture
def notebook_of(
    lab: tuple[str, Path], open_notebook: Callable[[str], Notebook], request: pytest.FixtureRequest
) -> Callable[..., Notebook]:
    """Opens a new notebook with the given cells."""
    _, root = lab

    def write(*cells: str) -> Notebook:
        name = f"{request.node.name}.ipynb"
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, root / name)
        return open_notebook(name)

    return write

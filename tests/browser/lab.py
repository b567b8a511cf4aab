"""Servers and a Chromium of one's own, and what a person does with a notebook in them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

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


def running_lab(home: Path, root: Path, app: str = "jupyterlab") -> AbstractContextManager[str]:
    """The address of a JupyterLab that serves `root` and keeps all of its own in `home`.

    `app` is "notebook" for Notebook 7.
    """
    notices = home / "settings" / "@jupyterlab" / "apputils-extension"
    notices.mkdir(parents=True)
    (notices / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    command = [
        *(app, "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port={port}"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={root}"),
    ]
    environment = {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
    }
    return _running(command, home, environment)


def running_marimo(
    home: Path, file: Path, mode: str = "edit", theme: str = "light"
) -> AbstractContextManager[str]:
    """The address of a marimo with a notebook to edit, or with mode="run" as an app.

    Its cells run when a page opens it.
    """
    config = home / "config" / "marimo" / "marimo.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[runtime]\nauto_instantiate = true\n[display]\ntheme = "{theme}"\n')
    command = [
        *("marimo", mode, "--headless", "--no-token", "--host=127.0.0.1", "--port={port}"),
        str(file),
    ]
    environment = {
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "MARIMO_SKIP_UPDATE_CHECK": "1",
    }
    return _running(command, home, environment)


@contextmanager
def _running(command: list[str], home: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address of a server, started as a module of this Python at a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port) for part in command)],
            env=os.environ
            | {"BLIP2_WIDGET_CACHE": str(home / "cache"), "HF_HUB_OFFLINE": "1"}
            | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(address, server, log)
            yield address
        finally:
            server.terminate()
            server.wait(20)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-3000:]}")


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A Chromium without a window. Raises RuntimeError where none is installed."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        raise RuntimeError("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=_QUIET)
        yield opened
        opened.close()


class Notebook:
    """A notebook that is open in JupyterLab or Notebook 7, and what a person does with it."""

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


def open_notebook(page: Page, address: str, name: str, place: str = "lab/tree") -> Notebook:
    """Open a notebook by its file name and wait until its kernel can run cells.

    `place` is "notebooks" for Notebook 7.
    """
    page.goto(f"{address}/{place}/{name}?reset")
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


def write_notebook(file: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, file)


def write_marimo(file: Path, *cells: str) -> None:
    """Write a marimo notebook. What a cell takes and gives, marimo finds out by itself."""
    head = "import marimo\napp = marimo.App(width='full')"
    functions = (f"@app.cell\ndef _():\n{textwrap.indent(cell, '    ')}" for cell in cells)
    file.write_text("\n\n".join([head, *functions]))

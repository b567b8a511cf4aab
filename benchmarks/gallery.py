"""The gallery in a real JupyterLab and Chromium, and what people show pictures with today.

At full size 100,000 rows over 200 files that `%blip2 explore` shows: no model is loaded.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.record import Record, Unit, median_of, not_measured
from benchmarks.setting import Setting

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.lab import Notebook

NAME = "gallery"
FIRST = "first picture on screen"
TASK, BLANK = "longest task over 50 ms, scrolling", "longest a tile is blank, scrolling"
FRAMES, SCREEN = "frames a second, scrolling", "bytes a screen"
JUMP = "pictures after a jump"
MEMORY, MEMORY_SEARCHED = "kernel memory, shown", "kernel memory, searched"
SEARCH_FIRST, SEARCH = "first search", "from a key to the filtered view"
STATE, CODE = "synced state", "the widget's code"
RECEIVED, SAVED = "bytes to the page", "notebook on disk"
OURS, GRID, HTML = "%blip2 explore", "a GridBox of ipywidgets.Image", "an HTML table of thumbnails"
#: The row that the bars are about.
AT_SIZE = "100,000 rows"

_FILES = 200
_PEER_ROWS = 1000
_VIEWPORT: Final[Any] = {"width": 1280, "height": 1000}
#: Seconds of each of the three stretches that are scrolled: at the top, amid and at the end.
_STRETCH = 4.0
_WORDS = "red blue green small large round square dog cat house tree car street sky water person"
#: Typed up to the last letter, whose key is then timed.
_TYPED = ("dog47", "sky12", "red30", "cat8", "water55", "place 71", "person9", "tree26")

_SETUP = """
import gc, json, random, psutil
import pandas as pd
import blip2_widget
%load_ext blip2_widget
def memory():
    gc.collect()
    return psutil.Process().memory_info().rss
def synced():
    from ipywidgets import Widget
    from ipywidgets.widgets import widget
    found = [one for one in widget._instances.values() if type(one).__name__ == "Gallery"][-1]
    state = found.get_state()
    code = {name: state.pop(name) for name in ("_esm", "_css") if name in state}
    return [len(json.dumps(one, default=str).encode()) for one in (state, code)]
files = json.loads(FILES)
chance = random.Random(1)
words = [f"{word}{at}" for word in WORDS.split() for at in range(99)]
df = pd.DataFrame({
    "image": [files[row % len(files)] for row in range(ROWS)],
    "place": [f"place {row % 100}" for row in range(ROWS)],
    "note": [" ".join(chance.choices(words, k=6)) for _ in range(ROWS)],
})
"""
_GRID = """from pathlib import Path
import ipywidgets
ipywidgets.GridBox(
    [ipywidgets.Image(value=Path(file).read_bytes(), format=file.rpartition(".")[2], width=160)
     for file in df.image],
    layout=ipywidgets.Layout(grid_template_columns="repeat(6, 1fr)"),
)"""
_HTML = """import base64, io
from IPython.display import HTML
from PIL import Image
def thumbnail(file):
    with Image.open(file) as image:
        image.thumbnail((160, 160))
        out = io.BytesIO()
        image.convert("RGB").save(out, "JPEG")
    return base64.b64encode(out.getvalue()).decode()
HTML("<table>" + "".join(
    f"<tr><td><img src='data:image/jpeg;base64,{thumbnail(row.image)}'></td>"
    f"<td>{row.place}</td><td>{row.note}</td></tr>" for row in df.itertuples()
) + "</table>")"""


def measure(setting: Setting) -> list[Record]:
    """The gallery at full size, and beside what people use today at 1,000 rows."""
    rows = 2_000 if setting.quick else 100_000
    peers = {OURS: "%blip2 explore df", GRID: _GRID, HTML: _HTML}
    try:
        with _opened() as place:
            records: list[Record] = []
            firsts, found = [], None
            for _ in range(setting.rounds):
                found = _full_size(place, rows, setting.quick)
                firsts.append(found.pop(FIRST)[0])
                records = [median_of(NAME, f"{rows:,} rows", FIRST, "s", firsts)]
            for figure, (value, unit, rounds) in (found or {}).items():
                records.append(Record(NAME, f"{rows:,} rows", figure, value, unit, rounds))
            for subject, code in peers.items():
                shown = _small(place, code)
                subject = f"{subject}, {_PEER_ROWS:,} rows"
                for each, (amount, unit) in shown.items():
                    why = "" if amount is not None else "no picture within two minutes"
                    records.append(Record(NAME, subject, each, amount, unit, note=why))
            return records
    except (ImportError, RuntimeError) as error:
        return [not_measured(NAME, f"{rows:,} rows", FIRST, "s", str(error).splitlines()[0])]


# --- JupyterLab and Chromium ------------------------------------------------------------------


@dataclass
class _Place:
    browser: Browser
    address: str
    root: Path
    files: list[str]
    notebooks: int = 0


@dataclass
class _Open:
    """A notebook on a page of its own, of whose messages the bytes are counted."""

    notebook: Notebook
    file: Path
    frames: list[int] = field(default_factory=list)

    @property
    def page(self) -> Page:
        return self.notebook.page

    @property
    def received(self) -> int:
        return sum(self.frames)

    def run(self, code: str) -> str:
        """What the kernel prints."""
        printed: str = self.page.evaluate(_EXECUTE, code)
        return printed.strip()

    def wait_until_quiet(self) -> None:
        """Until nothing more has come for two seconds."""
        before = -1
        while before != self.received:
            before = self.received
            self.page.wait_for_timeout(2000)


@contextmanager
def _opened() -> Iterator[_Place]:
    from tests.browser.lab import running_chromium, running_lab

    home = Path(tempfile.mkdtemp(prefix="blip2-gallery-"))
    try:
        root = home / "work"
        root.mkdir()
        files = _pictures(home / "pictures")
        with running_lab(home, root) as address, running_chromium() as browser:
            yield _Place(browser, address, root, files)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _pictures(folder: Path) -> list[str]:
    """Soft colours with some grain, about as large as photographs of their size, and drawings."""
    import numpy as np
    from PIL import Image

    from benchmarks.pictures import scenes

    folder.mkdir()
    chance = np.random.default_rng(1)
    files = []
    for number, drawn in enumerate(scenes(_FILES // 2, NAME)):
        coarse = Image.fromarray(chance.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        soft = np.asarray(coarse.resize((480, 360), Image.Resampling.BICUBIC), dtype=np.float32)
        grainy = soft + chance.normal(0, 6, soft.shape)
        photograph = Image.fromarray(grainy.clip(0, 255).astype(np.uint8))
        for image, kind in ((photograph, "jpeg"), (drawn, "png")):
            file = folder / f"{number:03}.{kind}"
            image.save(file)
            files.append(str(file))
    return files


@contextmanager
def _notebook(place: _Place, rows: int, code: str) -> Iterator[_Open]:
    """A fresh kernel that has the frame, and one cell that is not yet run."""
    import blip2_widget
    from tests.browser.lab import open_notebook, write_notebook

    place.notebooks += 1
    file = place.root / f"gallery-{place.notebooks}.ipynb"
    write_notebook(file, code)
    context = place.browser.new_context(viewport=_VIEWPORT)
    context.set_default_timeout(60_000)
    page = context.new_page()
    frames: list[int] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda payload: frames.append(len(payload))),
    )
    try:
        opened = _Open(open_notebook(page, place.address, file.name), file, frames)
        names = {"FILES": json.dumps(place.files), "ROWS": rows, "WORDS": _WORDS}
        opened.run("\n".join(f"{name} = {value!r}" for name, value in names.items()) + _SETUP)
        where = opened.run("print(blip2_widget.__file__)")
        if Path(where) != Path(blip2_widget.__file__):
            raise RuntimeError(f"the kernel uses {where!r}, and not what is to be measured")
        page.wait_for_timeout(2000)  # JupyterLab is still busy with itself
        frames.clear()
        yield opened
    finally:
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        context.close()


# --- what is measured -------------------------------------------------------------------------

Figure = tuple[float, Unit, tuple[float, ...]]


def _full_size(place: _Place, rows: int, quick: bool) -> dict[str, Figure]:
    with _notebook(place, rows, "%blip2 explore df") as opened:
        page = opened.page
        before = int(opened.run("print(memory())"))
        first: float | None = page.evaluate(_FIRST_PICTURE)
        if first is None:
            raise RuntimeError("there was no picture within two minutes")
        opened.wait_until_quiet()
        shown = int(opened.run("print(memory())"))
        page.evaluate("() => document.querySelector('.blip2-gallery').scrollIntoView()")
        stretch = 1.0 if quick else _STRETCH
        page.evaluate(_OBSERVE)
        parts, jumps = [], []
        for at in (0.0, 0.5, 1.0):
            if at:
                jumps.append(float(page.evaluate(_JUMP, [at, stretch])))
                page.wait_for_timeout(1000)
            started = opened.received
            part = page.evaluate(_SCROLL, stretch)
            page.wait_for_timeout(500)  # the last frames are told of a little later
            parts.append(part | {"bytes": opened.received - started})
        search_first, searches = _searches(page)
        searched = int(opened.run("print(memory())"))
        state, code = json.loads(opened.run("print(json.dumps(synced()))"))
    screens = sum(part["screens"] for part in parts)
    return {
        FIRST: (first, "s", ()),
        TASK: (max(part["task"] for part in parts), "s", ()),
        BLANK: (max(part["blank"] for part in parts), "s", ()),
        FRAMES: (round(statistics.mean(part["frames"] for part in parts) / stretch, 1), "", ()),
        SCREEN: (sum(part["bytes"] for part in parts) / screens, "bytes", ()),
        JUMP: (max(jumps), "s", ()),
        SEARCH_FIRST: (search_first, "s", ()),
        SEARCH: (statistics.median(searches), "s", tuple(searches)),
        MEMORY: (shown - before, "bytes", ()),
        MEMORY_SEARCHED: (searched - before, "bytes", ()),
        STATE: (state, "bytes", ()),
        CODE: (code, "bytes", ()),
    }


def _searches(page: Page) -> tuple[float, Sequence[float]]:
    """Seconds from a real key to another count on the screen: the first, and later ones."""
    page.evaluate(_WATCH_COUNT)
    search = page.locator(".blip2-gallery .searchfield").first
    taken = []
    for word in ("b", *_TYPED):
        search.fill(word[:-1])
        page.wait_for_timeout(1000)
        page.evaluate("() => { window.blip2Count.took = window.blip2Count.key = null }")
        search.press(word[-1])
        page.wait_for_function("() => window.blip2Count.took !== null")
        taken.append(float(page.evaluate("() => window.blip2Count.took / 1000")))
        page.wait_for_timeout(500)
    return taken[0], taken[1:]


def _small(place: _Place, code: str) -> dict[str, tuple[float | None, Unit]]:
    with _notebook(place, _PEER_ROWS, code) as opened:
        before = int(opened.run("print(memory())"))
        opened.frames.clear()
        first: float | None = opened.page.evaluate(_FIRST_PICTURE)
        opened.wait_until_quiet()
        received = opened.received
        shown = int(opened.run("print(memory())"))
        opened.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        time.sleep(1)
        return {
            FIRST: (first, "s"),
            MEMORY: (shown - before, "bytes"),
            RECEIVED: (received, "bytes"),
            SAVED: (opened.file.stat().st_size, "bytes"),
        }


# --- in the page ------------------------------------------------------------------------------

_EXECUTE = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    let printed = "";
    const future = kernel.requestExecute({ code, store_history: false });
    future.onIOPub = message => {
        if (message.header.msg_type === "stream") printed += message.content.text;
        if (message.header.msg_type === "error") printed += message.content.evalue;
    };
    const reply = await future.done;
    if (reply.content.status !== "ok") throw new Error(printed);
    return printed;
}"""

# A picture counts once a frame with it has been drawn.
_FIRST_PICTURE = """() => new Promise(resolve => {
    const began = performance.now();
    window.jupyterapp.commands.execute("notebook:run-all-cells");
    const isSeen = image => {
        const { top, bottom, height } = image.getBoundingClientRect();
        return image.complete && image.naturalWidth > 0
            && height > 8 && top < innerHeight && bottom > 0;
    };
    const look = () => {
        const images = document.querySelectorAll(".jp-Notebook .jp-OutputArea img");
        if ([...images].some(isSeen)) {
            requestAnimationFrame(() => resolve((performance.now() - began) / 1000));
        } else if (performance.now() - began > 120000) resolve(null);
        else requestAnimationFrame(look);
    };
    look();
})"""

_OBSERVE = """() => {
    window.blip2Tasks = [];
    new PerformanceObserver(list => {
        for (const { startTime, duration } of list.getEntries())
            window.blip2Tasks.push([startTime, duration]);
    }).observe({ type: "longtask" });
    const scroller = document.querySelector(".blip2-gallery .scroller");
    // What is in sight and has no picture: tiles by position, and room where there is no tile.
    window.blip2Blank = () => {
        const { top, bottom } = scroller.getBoundingClientRect();
        const blank = [];
        let lowest = top;
        for (const tile of scroller.querySelectorAll(".tile")) {
            const place = tile.getBoundingClientRect();
            lowest = Math.max(lowest, place.bottom);
            if (place.bottom <= top || place.top >= bottom) continue;
            const image = tile.querySelector("img");
            if (!image || !image.complete || !image.naturalWidth) blank.push(tile.dataset.index);
        }
        if (lowest < bottom - 40) blank.push("no tile");
        return blank;
    };
}"""

_JUMP = """([at, stretch]) => new Promise(resolve => {
    const scroller = document.querySelector(".blip2-gallery .scroller");
    const far = scroller.scrollHeight - scroller.clientHeight;
    const began = performance.now();
    scroller.scrollTop = at * far - (at === 1 ? (stretch + 0.5) * scroller.clientHeight : 0);
    const look = () => {
        if (performance.now() - began > 50 && window.blip2Blank().length === 0)
            resolve((performance.now() - began) / 1000);
        else if (performance.now() - began > 60000) resolve(60);
        else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})"""

# A screen a second.
_SCROLL = """stretch => new Promise(resolve => {
    const scroller = document.querySelector(".blip2-gallery .scroller");
    const began = performance.now();
    const screen = scroller.clientHeight;
    const since = new Map();
    let frames = 0, before = began, part = 0, longest = 0, moved = 0;
    const frame = () => {
        const now = performance.now();
        const blank = new Set(window.blip2Blank());
        for (const [index, at] of since) {
            longest = Math.max(longest, now - at);
            if (!blank.has(index)) since.delete(index);
        }
        for (const index of blank) if (!since.has(index)) since.set(index, now);
        frames++;
        if (now - began >= stretch * 1000) {
            setTimeout(() => {
                const tasks = window.blip2Tasks.filter(
                    ([start]) => start >= began - 50 && start < now);
                resolve({
                    frames, blank: longest / 1000, screens: moved / screen,
                    task: Math.max(0, ...tasks.map(([, duration]) => duration)) / 1000,
                });
            }, 200);
            return;
        }
        // Whole pixels are scrolled; what is left of one is for the next frame.
        part += screen * (now - before) / 1000;
        before = now;
        const step = Math.floor(part);
        part -= step;
        moved += step;
        scroller.scrollTop += step;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
})"""

_WATCH_COUNT = """() => {
    const watch = window.blip2Count = { key: null, took: null };
    const gallery = document.querySelector(".blip2-gallery");
    gallery.addEventListener("keydown", event => { watch.key = event.timeStamp; }, true);
    const count = () => gallery.querySelector(".count")?.textContent;
    let before = count();
    new MutationObserver(() => {
        if (count() === before) return;
        before = count();
        const { key } = watch;
        if (key === null || watch.took !== null) return;
        requestAnimationFrame(() => { watch.took = performance.now() - key; });
    }).observe(gallery, { subtree: true, childList: true, characterData: true });
}"""

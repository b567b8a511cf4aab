"""A checkpoint comes from a Hub: a small server that speaks as much of its protocol as is needed.

The Hub's client reads its address when it is imported, so what is tested runs in a process of its
own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

from blip2_widget.model import gigabytes
from tests.serving import serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: What the Hub answers about repositories that cannot be had.
REFUSED = {
    "who/gone": (401, "RepoNotFound"),
    "who/gated": (403, "GatedRepo"),
}


class Hub(BaseHTTPRequestHandler):
    """`who/tiny` has the files of a folder, `who/pickled` the same without its weights."""

    folder: ClassVar[Path]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        repository = "/".join(path.removeprefix("/api/models").split("/")[1:3])
        if repository in REFUSED:
            status, code = REFUSED[repository]
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "no"})
        elif "no-such-revision" in path:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif f"/tree/{COMMIT}" in path:
            tree = [
                {
                    "type": "file",
                    "path": name,
                    "size": (self.folder / name).stat().st_size,
                    "oid": name,
                }
                for name in self._names(repository)
            ]
            self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        elif path.startswith("/api/models/"):
            files = [{"rfilename": name} for name in self._names(repository)]
            info = {"id": repository, "sha": COMMIT, "siblings": files, "private": False}
            self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})
        else:
            name = path.rpartition("/")[2]
            if name not in self._names(repository):
                self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
                return
            data = (self.folder / name).read_bytes()
            headers = {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if asked:
                start, stop = int(asked[1]), int(asked[2] or len(data) - 1) + 1
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
                self._send(206, data[start:stop], headers)
            else:
                self._send(200, data, headers)

    def _names(self, repository: str) -> list[str]:
        names = sorted(file.name for file in self.folder.iterdir())
        return [n for n in names if repository == "who/tiny" or not n.endswith(".safetensors")]

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub(tiny_opt: Path) -> Iterator[str]:
    Hub.folder = tiny_opt
    with serving(Hub) as address:
        yield address


SCRIPT = """
import json, sys
from blip2_widget.errors import Blip2Error
from blip2_widget.model import ModelManager, locate, parse
try:
    located = locate(parse(sys.argv[1]))
    notes, manager = [], ModelManager()
    before = located.folder
    engine = manager.load(located, manager.choose(located, "cpu-fp32"), notes.append).result()
    again = locate(parse(sys.argv[1]))
    said = {
        "commit": located.commit, "total": located.sizes.total, "notes": notes,
        "parameters": sum(p.numel() for p in engine.model.parameters()),
        "before": before, "after": again.folder is not None,
    }
except Blip2Error as error:
    said = {"error": str(error)}
print(json.dumps(said))
"""


def from_hub(address: str, name: str, home: Path) -> dict[str, Any]:
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.parametrize("name", ["who/tiny", f"who/tiny@{COMMIT}"])
def test_a_checkpoint_is_downloaded_with_progress_and_then_is_there(
    hub: str, tmp_path: Path, name: str
) -> None:
    said = from_hub(hub, name, tmp_path)
    assert said["commit"] == COMMIT
    assert said["total"] == said["parameters"]
    assert said["before"] is None and said["after"]
    downloads = [note for note in said["notes"] if note.startswith(f"downloading {name} ")]
    size = sum(file.stat().st_size for file in Hub.folder.iterdir())
    assert downloads and downloads[-1].endswith(f" 100% of {gigabytes(size)}")
    loads = [note for note in said["notes"] if note.startswith(f"loading {name} · cpu-fp32 ")]
    assert loads and loads[-1].endswith("100%")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("who/gone", "the Hub has no who/gone"),
        ("who/gated", "asks for a licence to be accepted"),
        ("who/tiny@no-such-revision", "has no revision 'no-such-revision'"),
        ("who/pickled", "has no safetensors weights, and pickled ones may run code"),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub: str, tmp_path: Path, name: str, part: str) -> None:
    said = from_hub(hub, name, tmp_path)
    assert part in said["error"] and "\n" not in said["error"]

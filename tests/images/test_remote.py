"""Pictures that fsspec reads: in memory, in archives, in buckets; and what is not read."""

from __future__ import annotations

import io
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from blip2_widget.errors import Blip2Error
from blip2_widget.images import ImageError, Limits, load_image, read_column


def png(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(data, "PNG")
    return data.getvalue()


FILES = {"10.png": png("red"), "2.png": png("lime"), "B.JPG": png("blue"), "notes.txt": b"none"}


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system in memory with a folder `pics`."""
    system = fsspec.filesystem("memory")
    for name, data in FILES.items():
        system.pipe(f"/pics/{name}", data)
    yield system
    system.rm("/pics", recursive=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in FILES.items():
            file.writestr(f"pics/{name}", data)
        file.writestr("large.png", bytes(1_000_000))
    return path


@pytest.mark.usefixtures("memory")
def test_a_file_in_memory() -> None:
    assert load_image("memory://pics/10.png").getpixel((0, 0)) == (255, 0, 0)
    assert load_image({"bytes": None, "path": "memory://pics/2.png"}).getpixel((0, 0)) == (
        0,
        255,
        0,
    )


@pytest.mark.parametrize("end", ["{}", "file://{}"])
def test_a_file_in_a_zip(archive: Path, end: str) -> None:
    url = f"zip://pics/10.png::{end.format(archive)}"
    assert load_image(url).getpixel((0, 0)) == (255, 0, 0)


def test_a_file_in_a_tar_and_a_zip_in_memory(tmp_path: Path, archive: Path, memory: Any) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        entry = tarfile.TarInfo("a.png")
        entry.size = len(FILES["10.png"])
        file.addfile(entry, io.BytesIO(FILES["10.png"]))
    assert load_image(f"tar://a.png::{tmp_path / 'a.tar'}").size == (3, 2)
    memory.pipe("/pics/a.zip", archive.read_bytes())
    assert load_image("zip://pics/10.png::memory://pics/a.zip").size == (3, 2)


@pytest.mark.usefixtures("memory")
def test_patterns_and_folders_are_sorted_as_a_person_would(archive: Path) -> None:
    assert list(read_column("memory://pics/*.png").labels) == ["2.png", "10.png"]
    assert list(read_column("memory://pics").labels) == ["2.png", "10.png", "B.JPG"]
    assert list(read_column("memory://pics/").values)[:1] == ["memory://pics/2.png"]
    for inside in ("pics/*.png", "pics"):
        column = read_column(f"zip://{inside}::{archive}")
        assert [load_image(each).getpixel((0, 0)) for each in column.values][:2] == [
            (0, 255, 0),
            (255, 0, 0),
        ]
        assert list(column.labels)[:2] == ["2.png", "10.png"]
    assert len(read_column("memory://pics/gone.png").values) == 1  # opening it tells


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("memory://pics/*.gif", "there is no picture at memory://pics/*.gif"),
        ("zip://*.png::gone.zip", "there is no file gone.zip"),
        ("s3://bucket/*.png", "to read s3://bucket/*.png, pip install s3fs"),
        ("gs://bucket/", "to read gs://bucket/, pip install gcsfs"),
        ("ftp://example.org/*.png", "only http, https, file, data and s3"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_what_cannot_be_listed_is_one_line(
    url: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Blip2Error) as caught:
        read_column(url)
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind", "part"),
    [
        ("memory://pics/gone.png", "not-found", "there is no file"),
        ("memory://pics/notes.txt", "not-an-image", "is not a picture"),
        ("zip://gone.png::{archive}", "not-found", "there is no file"),
        ("zip://a.png::gone.zip", "not-found", "there is no file gone.zip"),
        ("zip://a.png::{archive}/..", "not-found", "there is no file"),
        ("zip://a.png::{notes}", "url", "cannot be read: BadZipFile"),
        ("zip://large.png::{archive}", "too-large", "larger than 0.5 MB"),
        ("s3://bucket/a.png", "url", "pip install s3fs"),
        ("az://box/a.png", "url", "pip install adlfs"),
        # What could reach into a network, or run or keep something, is not even looked at.
        ("ftp://example.org/a.png", "url", "URLs are read"),
        ("sftp://10.0.0.1/a.png", "url", "URLs are read"),
        ("zip://a.png::http://127.0.0.1/a.zip", "url", "URLs are read"),
        ("zip://a.png::simplecache::memory://pics/a.zip", "url", "URLs are read"),
        ("simplecache::http://127.0.0.1/a.png", "url", "URLs are read"),
        ("filecache://::memory://pics/10.png", "url", "URLs are read"),
        ("reference://a::memory://pics/10.png", "url", "URLs are read"),
        ("github://owner:repo@/a.png", "url", "URLs are read"),
        ("local:///etc/passwd", "url", "URLs are read"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_what_cannot_be_read_is_one_line_of_a_known_kind(
    url: str, kind: str, part: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("s3fs", "adlfs"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "notes.txt").write_text("no archive")
    given = url.format(archive=archive, notes=tmp_path / "notes.txt")
    with pytest.raises(ImageError) as caught:
        load_image(given, Limits(bytes=500_000))
    message = str(caught.value)
    assert caught.value.kind == kind, message
    assert part in message and "\n" not in message


def test_without_fsspec_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImageError, match="pip install fsspec"):
        load_image("memory://pics/10.png")


def test_what_is_too_slow_is_left(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(memory), "open", lambda *_: time.sleep(2))
    began = time.monotonic()
    with pytest.raises(ImageError, match=r"within 0\.1 s") as caught:
        load_image("memory://pics/10.png", Limits(seconds=0.1))
    assert caught.value.kind == "too-slow" and time.monotonic() - began < 1


def test_a_bucket_that_cannot_be_reached_is_one_line(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no\ncredentials")

    monkeypatch.setattr(type(memory), "open", fail)
    with pytest.raises(ImageError, match="cannot be read: RuntimeError: no credentials") as caught:
        load_image("memory://pics/10.png")
    assert caught.value.kind == "url"

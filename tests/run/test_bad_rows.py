"""Every kind of bad input costs its own row: the good ones keep theirs, and a retry mends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import blip2_widget
from blip2_widget.session import Session
from tests.images.made import boxes
from tests.serving import serving


class Slow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow.png":
            time.sleep(2)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(10**9))
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with serving(Slow) as address:
        yield address


def test_every_kind_of_bad_row_costs_itself_and_is_told(
    tmp_path: Path, server: str, own_session: Session, tiny_opt: Path, noise: list[Image.Image]
) -> None:
    own_session.defaults.model = str(tiny_opt)
    own_session.defaults.max_seconds = 0.5
    own_session.defaults.max_pixels = 100_000
    own_session.defaults.allow_private_urls = True
    noise[0].save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.png").write_text("<html>")
    (tmp_path / "more.png").mkdir()
    Image.new("1", (4000, 4000)).save(tmp_path / "bomb.png")
    bad: dict[str, object] = {
        "there is no picture in this row": None,
        "empty.png is not a picture": str(tmp_path / "empty.png"),
        "half.png is damaged": str(tmp_path / "half.png"),
        "page.png is not a picture": str(tmp_path / "page.png"),
        "pixels, more than 100,000": str(tmp_path / "bomb.png"),
        "there is no file": str(tmp_path / "gone.png"),
        "more.png is a folder": str(tmp_path / "more.png"),
        "has not come within 0.5 s": f"{server}/slow.png",
        "is larger than 100 MB": f"{server}/large.png",
        "cannot be fetched: ": "http://127.0.0.1:9/a.png",
        "s3fs": "s3://bucket/a.png",
        "URLs are read": "ftp://example.org/a.png",
        "JPEG XL": b"\xff\x0a" + bytes(40),
        "bytes of 0.0 kB is not a picture": boxes(b"heic"),
    }
    good = [str(tmp_path / f"{at}.png") for at in range(len(bad))]
    for at, path in enumerate(good):
        noise[at % len(noise)].save(path)
    rows = [value for pair in zip(good, bad.values(), strict=True) for value in pair]
    index = [f"row {at}" for at in range(len(rows))]
    frame = pd.DataFrame({"image": pd.Series(rows, dtype=object)}).set_index(pd.Index(index))

    result = blip2_widget.caption(frame.image, frame=frame, max_new_tokens=3).wait(60)
    alone = blip2_widget.caption(good, max_new_tokens=3, cache=False).wait(60)
    assert list(result.df.caption[::2]) == list(alone.df.caption)
    assert result.df.caption[1::2].isna().all() and list(result.df.index) == index
    assert list(result.errors.row) == index[1::2]
    assert " ".join(result.errors.kind) == (
        "missing not-an-image truncated not-an-image too-many-pixels not-found is-a-folder "
        "too-slow too-large url url url unsupported not-an-image"
    )
    for error, part in zip(result.errors.error, bad, strict=True):
        assert part in error and "\n" not in error and len(error) < 300

    noise[0].save(tmp_path / "gone.png")
    mended = result.retry().wait(60)
    assert mended.df.caption.iloc[11] == alone.df.caption[0]
    assert len(mended.errors) == len(bad) - 1

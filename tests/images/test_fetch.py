"""Pictures by URL: fetched where that is safe, and a typed error where it is not."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from blip2_widget.images import ImageError, load_image
from blip2_widget.images import fetch as fetching


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.png")
        elif self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
        elif self.path in ("/a.png", "/page"):
            self.send_response(200)
        else:
            self.send_response(404)
        self.end_headers()
        if self.path == "/a.png":
            data = io.BytesIO()
            Image.new("RGB", (3, 2), "blue").save(data, "PNG")
            self.wfile.write(data.getvalue())
        elif self.path == "/page":
            self.wfile.write(b"<html>not a picture</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


@pytest.fixture
def reachable(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server, as if it stood in public."""
    real = fetching._require_public

    def local_is_public(url: str) -> None:
        if not url.startswith(server):
            real(url)

    monkeypatch.setattr(fetching, "_require_public", local_is_public)
    return server


@pytest.mark.parametrize("path", ["/a.png", "/moved"])
def test_a_url_gives_its_picture(reachable: str, path: str) -> None:
    assert load_image(reachable + path).getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("path", "kind", "part"),
    [
        ("/gone.png", "url", "answers 404"),
        ("/page", "not-an-image", "is not a picture"),
        ("/round", "url", "302"),
        ("/elsewhere", "url", "is not allowed"),
    ],
)
def test_a_url_without_a_picture_is_one_line(
    reachable: str, path: str, kind: str, part: str
) -> None:
    with pytest.raises(ImageError) as caught:
        load_image(reachable + path)
    assert caught.value.kind == kind
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_too_large_is_not_read_to_its_end(
    reachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 20)
    with pytest.raises(ImageError, match="is larger than") as caught:
        load_image(reachable + "/a.png")
    assert caught.value.kind == "too-large"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254"]
)
def test_private_addresses_are_not_read_from(host: str) -> None:
    with pytest.raises(ImageError, match="private network"):
        load_image(f"http://{host}/a.png")


@pytest.mark.parametrize("url", ["http://[bad/a.png", "http://", "http://example.org:99999/a"])
def test_a_text_that_is_no_url_is_told_as_one(url: str) -> None:
    with pytest.raises(ImageError) as caught:
        load_image(url)
    assert caught.value.kind == "url" and url in str(caught.value)


def test_a_server_that_is_not_there_is_one_line(reachable: str) -> None:
    with pytest.raises(ImageError) as caught:
        load_image("http://no-such-host.invalid/a.png")
    assert "there is no host" in str(caught.value)

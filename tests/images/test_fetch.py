"""Pictures by URL: fetched where that is safe, and a typed error where it is not."""

from __future__ import annotations

import base64
import contextlib
import io
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme
from PIL import Image

from blip2_widget.images import ImageError, Limits, load_image
from blip2_widget.images import fetch as fetching
from tests.serving import serving


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (3, 2), "blue").save(data, "PNG")
    return data.getvalue()


class Handler(BaseHTTPRequestHandler):
    #: The Host header of every request, in order.
    hosts: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        Handler.hosts.append(self.headers["Host"])
        path = self.path.partition("?")[0]
        moved = {
            "/moved": "/a.png",
            "/round": "/round",
            "/elsewhere": "file:///etc/passwd",
            "/inside": "http://10.0.0.1/a.png",
            "/nowhere": None,
        }
        if path in moved:
            self.send_response(302)
            if moved[path] is not None:
                self.send_header("Location", str(moved[path]))
            self.end_headers()
        elif path.startswith("/steps/"):
            left = int(path.removeprefix("/steps/"))
            self.send_response(307)
            self.send_header("Location", f"/steps/{left - 1}" if left > 1 else "/a.png")
            self.end_headers()
        else:
            self.respond(path)

    def respond(self, path: str) -> None:
        data = png()
        if path not in ("/a.png", "/page", "/long", "/short", "/%C3%BC%20b.png", "/drip", "/stall"):
            return self.send_error(404)
        if path == "/stall":  # says nothing at all
            time.sleep(2)
            return None
        self.send_response(200)
        if path == "/long":
            self.send_header("Content-Length", str(10**12))
        if path == "/short":
            self.send_header("Content-Length", str(len(data) + 10))
        if path == "/drip":  # header after header, each in time
            try:
                for number in range(40):
                    self.send_header(f"X-{number}", "x")
                    self.flush_headers()
                    time.sleep(0.05)
            except OSError:
                return None
        self.end_headers()
        self.wfile.write(b"<html>not a picture</html>" if path == "/page" else data)
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(Handler) as address:
        yield address


@pytest.fixture
def reachable(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server, as if it stood in public."""
    real = fetching.is_public
    monkeypatch.setattr(fetching, "is_public", lambda text: text == "127.0.0.1" or real(text))
    Handler.hosts.clear()
    return server


def failure(url: str, limits: Limits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        load_image(url, limits)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "path", ["/a.png", "/moved", "/steps/5", "/ü b.png", "/%C3%BC%20b.png", "/a.png?q=ü&r=1#there"]
)
def test_a_url_gives_its_picture(reachable: str, path: str) -> None:
    assert load_image(reachable + path).getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("path", "kind", "part"),
    [
        ("/gone.png", "url", "answers 404"),
        ("/page", "not-an-image", "is not a picture"),
        ("/round", "url", "redirects more than 5 times"),
        ("/steps/6", "url", "redirects more than 5 times"),
        ("/nowhere", "url", "answers 302"),
        ("/elsewhere", "url", "only http and https URLs are fetched"),
        ("/inside", "url", "lies in a private network"),
        ("/long", "too-large", "is larger than 100 MB; raise it by %config Blip2Magics.max_bytes"),
        ("/short", "truncated", "ended after"),
    ],
)
def test_a_url_without_a_picture_is_one_line(
    reachable: str, path: str, kind: str, part: str
) -> None:
    error = failure(reachable + path)
    assert error.kind == kind and part in str(error)


def test_what_is_too_large_is_not_read_to_its_end(reachable: str) -> None:
    assert failure(reachable + "/a.png", Limits(bytes=20)).kind == "too-large"


@pytest.mark.parametrize("path", ["/stall", "/drip"])
def test_what_is_too_slow_is_left(reachable: str, path: str) -> None:
    began = time.monotonic()
    error = failure(reachable + path, Limits(seconds=0.3))
    assert time.monotonic() - began < 1.5
    assert error.kind == "too-slow" and "raise it by %config Blip2Magics.max_seconds" in str(error)


def test_a_name_that_takes_too_long_to_look_up_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2))
    assert failure("http://example.org/a.png", Limits(seconds=0.1)).kind == "too-slow"


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("[::1]", "[::ffff:10.0.0.1]", "[2002:a00:1::]", "[64:ff9b::a00:1]", "[fe80::1]"),
        *("2130706433", "0x7f.1", "224.0.0.1", "user:word@127.0.0.1"),
    ],
)
def test_private_addresses_are_not_read_from(host: str) -> None:
    error = failure(f"http://{host}/a.png")
    assert error.kind == "url" and "private network" in str(error)
    assert "Blip2Magics.allow_private_urls = True" in str(error)


def test_they_are_where_that_is_allowed(server: str) -> None:
    assert load_image(f"{server}/a.png", Limits(private_urls=True)).size == (3, 2)


@pytest.mark.parametrize("text", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_public_addresses_are_public(text: str) -> None:
    assert fetching.is_public(text)


def renamed(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names stand for these addresses, those of the first look-up first; returns those asked."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_is_looked_up_once_and_connected_to_as_it_was_checked(
    reachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = reachable.rpartition(":")[2]
    asked = renamed(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    assert load_image(f"http://pictures.example:{port}/a.png").size == (3, 2)
    assert asked == ["pictures.example"] and Handler.hosts == [f"pictures.example:{port}"]


def test_a_name_with_one_private_address_is_private(
    reachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed(monkeypatch, ["127.0.0.1", "10.0.0.1"])
    assert "private network" in str(failure("http://pictures.example/a.png"))


def test_a_redirect_to_a_name_is_checked_anew(
    reachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = reachable.rpartition(":")[2]
    asked = renamed(monkeypatch, ["127.0.0.1"], ["192.168.0.1"])
    assert "private network" in str(failure(f"http://pictures.example:{port}/moved"))
    assert len(asked) == 2


def test_the_next_address_is_tried(reachable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = reachable.rpartition(":")[2]
    real = fetching.is_public
    monkeypatch.setattr(fetching, "is_public", lambda text: text.startswith("127.") or real(text))
    renamed(monkeypatch, ["127.0.0.99", "127.0.0.1"])
    assert load_image(f"http://pictures.example:{port}/a.png").size == (3, 2)


@pytest.fixture
def secure(
    reachable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[trustme.CA], str]]:
    """Starts a server that shows an authority's certificate for pictures.example, and returns the
    picture's address there; the system trusts one authority, `TRUSTED`."""
    TRUSTED.cert_pem.write_to_path(tmp_path / "trusted.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    fetching._tls.cache_clear()
    renamed(monkeypatch, ["127.0.0.1"])
    with contextlib.ExitStack() as stack:

        def start(authority: trustme.CA) -> str:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("pictures.example").configure_cert(context)
            port = stack.enter_context(serving(Handler, context)).rpartition(":")[2]
            return f"https://pictures.example:{port}/a.png"

        yield start
    fetching._tls.cache_clear()


TRUSTED = trustme.CA()


def test_https_is_read_from_who_the_certificate_names(
    secure: Callable[[trustme.CA], str],
) -> None:
    url = secure(TRUSTED)
    assert load_image(url).size == (3, 2)
    assert Handler.hosts == [url.split("/")[2]]
    assert "certificate verify failed" in str(failure(url.replace("pictures", "others")))


def test_https_with_a_certificate_that_nobody_trusts_is_not_read(
    secure: Callable[[trustme.CA], str],
) -> None:
    error = failure(secure(trustme.CA()))
    assert error.kind == "url" and "certificate verify failed" in str(error)
    assert Handler.hosts == []


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that connects to wherever it is told, and what it was told."""
    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += one.recv(4096)
            asked.append(head)
            host, _, port = head.split()[1].decode().rpartition(":")
            host = "127.0.0.1" if host == "pictures.example" else host
            other = socket.create_connection((host, int(port)))
            one.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                (ready, *_), *_ = select.select([one, other], [], [])
                data = ready.recv(4096)
                if not data:
                    break
                (other if ready is one else one).sendall(data)
            one.close()
            other.close()

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{listening.getsockname()[1]}", asked
    listening.close()


def test_a_proxy_is_asked_for_the_address_that_was_checked(
    reachable: str, proxy: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = reachable.rpartition(":")[2]
    monkeypatch.setenv("http_proxy", f"http://me:my%20word@{proxy[0]}")
    monkeypatch.delenv("no_proxy", raising=False)
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *a, **b: real("127.0.0.1" if host == "pictures.example" else host, *a, **b),
    )
    url = f"http://pictures.example:{port}/a.png"
    assert load_image(url).size == (3, 2)
    assert load_image(url, Limits(private_urls=True)).size == (3, 2)
    by_address, by_name = proxy[1]
    assert by_address.startswith(b"CONNECT 127.0.0.1:" + port.encode())
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:my word") in by_address
    assert by_name.startswith(b"CONNECT pictures.example:" + port.encode())
    assert Handler.hosts == [f"pictures.example:{port}"] * 2


@pytest.mark.parametrize(
    "url",
    ["http://[bad/a.png", "http://", "http://example.org:99999/a", "http://example.org:0/a.png"],
)
def test_a_text_that_is_no_url_is_told_as_one(url: str) -> None:
    error = failure(url)
    assert error.kind == "url" and url in str(error)


def test_a_server_that_is_not_there_is_one_line(reachable: str) -> None:
    assert "there is no host" in str(failure("http://no-such-host.invalid/a.png"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}/a.png")
    assert error.kind == "url" and "cannot be fetched: " in str(error)


def test_a_header_cannot_be_smuggled_in(reachable: str) -> None:
    load_image(reachable + "/a.png?x=1 HTTP/1.1\r\nHost: other")
    assert Handler.hosts == [reachable.partition("//")[2]]

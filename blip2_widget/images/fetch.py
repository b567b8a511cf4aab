"""Pictures by URL, from public addresses only: a data set must not reach into a network.

A host's name is looked up once and its addresses are checked; then the connection goes to the
checked address itself, since the name may stand for another one a moment later. Every redirect is
checked in the same way. Where the system has a proxy, it is asked for that address.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from blip2_widget.images.errors import ImageError, message_of, shortly
from blip2_widget.images.limits import Limits, within

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
#: Bytes read at a time.
_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}
#: What may stand in a path or query as it is; all else is written in percents.
_PLAIN = "%/:=&?~#+!$,;'@()*[]|"

#: A family and an address, as sockets take them.
_Address = tuple[socket.AddressFamily, Any]


def fetch(url: str, limits: Limits) -> bytes:
    """What lies at an http or https URL.

    Raises ImageError where it is private, takes more bytes or seconds than the limits allow, or is
    not there.
    """
    deadline = time.monotonic() + limits.seconds
    try:
        data = _fetch(url, limits, deadline)
    except (ImageError, OSError, HTTPException, ValueError) as error:
        if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
            raise limits.too_slow(shortly(url)) from None
        if isinstance(error, ImageError):
            raise
        raise ImageError("url", f"{shortly(url)} cannot be fetched: {message_of(error)}") from None
    if time.monotonic() >= deadline:  # a connection that was cut ends like one that has ended
        raise limits.too_slow(shortly(url))
    return data


def _fetch(url: str, limits: Limits, deadline: float) -> bytes:
    at = url
    for _ in range(_MAX_REDIRECTS + 1):
        parts = _parts(at, url)
        with _answer(parts, url, limits, deadline) as answer:
            if answer.status == 200:
                return _body(answer, url, limits)
            onward = answer.getheader("Location")
            if answer.status not in _REDIRECTS or not onward:
                raise ImageError("url", f"{shortly(url)} answers {answer.status} {answer.reason}")
        at = urllib.parse.urljoin(at, onward)
    raise ImageError("url", f"{shortly(url)} redirects more than {_MAX_REDIRECTS} times")


def _parts(url: str, asked: str) -> urllib.parse.SplitResult:
    """The parts of a URL that may be fetched. `asked` is what the person knows it by."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ImageError("url", f"{shortly(asked)} is no URL: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise ImageError("url", f"{shortly(asked)}: only http and https URLs are fetched")
    return parts


def _body(answer: HTTPResponse, url: str, limits: Limits) -> bytes:
    length = answer.length  # None where the server does not say
    if length is not None and length > limits.bytes:
        raise limits.too_large(shortly(url))
    pieces, size = [], 0
    while piece := answer.read1(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > limits.bytes:
            raise limits.too_large(shortly(url))
    if length is not None and size < length:
        raise ImageError("truncated", f"{shortly(url)} ended after {size:,} of {length:,} bytes")
    return b"".join(pieces)


@contextlib.contextmanager
def _answer(
    parts: urllib.parse.SplitResult, url: str, limits: Limits, deadline: float
) -> Iterator[HTTPResponse]:
    """The server's answer; the connection is cut at the deadline, whatever it waits for."""
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    target = urllib.parse.quote(parts.path or "/", _PLAIN)
    if parts.query:
        target += "?" + urllib.parse.quote(parts.query, _PLAIN)
    connection = _Connection(parts.scheme, host, port, deadline)
    proxy = _proxy(parts.scheme, host)
    if proxy is None or not limits.private_urls:
        connection.addresses = _addresses(host, port, url, limits, deadline)
    if proxy is not None:
        connection.go_through(proxy)
    timer = threading.Timer(max(deadline - time.monotonic(), 0), connection.cut)
    timer.daemon = True
    timer.start()
    try:
        headers = {"User-Agent": "blip2-widget", "Host": connection.known_as}
        connection.request("GET", target, headers=headers)
        yield connection.getresponse()
    finally:
        timer.cancel()
        connection.close()


class _Connection(HTTPConnection):
    """A connection to one of a host's `addresses`, under the host's name."""

    def __init__(self, scheme: str, host: str, port: int, deadline: float) -> None:
        super().__init__(host, port)
        self.addresses: list[_Address] = []
        self.known_as = _ascii(f"[{host}]" if ":" in host else host)
        if port != _PORTS[scheme]:
            self.known_as += f":{port}"
        self._name, self._deadline, self._secure = host, deadline, scheme == "https"
        self._through_proxy = False

    def go_through(self, proxy: urllib.parse.SplitResult) -> None:
        """Have a proxy connect to the first address, or to the name where none was looked up."""
        address = str(self.addresses[0][1][0]) if self.addresses else self._name
        headers = {}
        if proxy.username is not None:
            user = f"{proxy.username}:{proxy.password or ''}"
            plain = urllib.parse.unquote_to_bytes(user)
            headers["Proxy-Authorization"] = "Basic " + base64.b64encode(plain).decode()
        port = self.port
        self.host, self.port = str(proxy.hostname), proxy.port or _PORTS["http"]
        self.set_tunnel(f"[{address}]" if ":" in address else address, port, headers)
        self._through_proxy = True

    def connect(self) -> None:
        seconds = max(self._deadline - time.monotonic(), 0.001)
        if self._through_proxy:
            self.timeout = seconds
            super().connect()
        else:
            self.sock = self._connected(seconds)
        if time.monotonic() >= self._deadline:  # when nothing was there to be cut
            raise TimeoutError
        if self._secure:
            self.sock = _tls().wrap_socket(self.sock, server_hostname=self._name)

    def _connected(self, seconds: float) -> socket.socket:
        failure = OSError("it has no address")
        for family, address in self.addresses:
            made = socket.socket(family, socket.SOCK_STREAM)
            try:
                made.settimeout(seconds)
                made.connect(address)
            except OSError as error:
                failure = error
                made.close()
            else:
                return made
        raise failure

    def cut(self) -> None:
        """End whatever waits for the server, from another thread."""
        sock = self.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS' own would wait for it


def _ascii(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode()


def _proxy(scheme: str, host: str) -> urllib.parse.SplitResult | None:
    """The system's proxy for that host."""
    text = urllib.request.getproxies().get(scheme)
    if not text or urllib.request.proxy_bypass(host):
        return None
    proxy = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    return proxy if proxy.hostname else None


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _addresses(host: str, port: int, url: str, limits: Limits, deadline: float) -> list[_Address]:
    """What a host's name stands for; ImageError where any of that is private."""
    try:
        found = within(
            deadline - time.monotonic(),
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
        )
    except TimeoutError:
        raise
    except (OSError, ValueError):
        raise ImageError("url", f"{shortly(url)}: there is no host {host}") from None
    if not limits.private_urls and not all(is_public(str(each[4][0])) for each in found):
        raise ImageError(
            "url",
            f"{shortly(url)} lies in a private network, which is not read from; allow it by "
            "%config Blip2Magics.allow_private_urls = True",
        )
    return [(family, address) for family, _, _, _, address in found]


#: Addresses that hold another one: those of NAT64, in their last four bytes.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether anybody on the internet can reach an address, whatever it is wrapped in."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast

"""Pictures by URL, from public addresses only: a data set must not reach into a network."""

from __future__ import annotations

import ipaddress
import socket
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from typing import Any

from blip2_widget.images.errors import ImageError, shortly

TIMEOUT_SECONDS = 20.0
MAX_BYTES = 50_000_000
_MAX_REDIRECTS = 5


def fetch(url: str) -> bytes:
    """What lies at an http or https URL. Raises ImageError where it is private, slow, too large
    (MAX_BYTES) or not there."""
    _require_public(url)
    request = urllib.request.Request(url, headers={"User-Agent": "blip2-widget"})
    try:
        with urllib.request.build_opener(_CheckedRedirects).open(
            request, timeout=TIMEOUT_SECONDS
        ) as answer:
            data: bytes = answer.read(MAX_BYTES + 1)
    except ImageError:
        raise
    except urllib.error.HTTPError as error:
        raise ImageError("url", f"{shortly(url)} answers {error.code} {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ImageError("url", f"{shortly(url)} cannot be fetched: {reason}") from None
    if len(data) > MAX_BYTES:
        raise ImageError("too-large", f"{shortly(url)} is larger than {MAX_BYTES / 1e6:.0f} MB")
    return data


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MAX_REDIRECTS

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> Any:
        _require_public(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_public(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise ImageError("url", f"{shortly(url)} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ImageError("url", f"{shortly(url)}: only http and https URLs are fetched")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, proto=socket.IPPROTO_TCP)
    except (OSError, ValueError):
        raise ImageError("url", f"{shortly(url)}: there is no host {parts.hostname}") from None
    for *_, address in found:
        if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
            raise ImageError(
                "url", f"{shortly(url)} lies in a private network, which is not read from"
            )

"""How much one picture may take before it is refused, and a bound on how long others may take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from blip2_widget.images.errors import ImageError

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What one picture may take: pixels when decoded, bytes as a file or download, and seconds to
    be fetched in. With `private_urls` addresses in a private network are read from, too."""

    #: Pillow's own bound on a picture that is no decompression bomb: half a GB in RGB.
    pixels: int = 178_956_970
    bytes: int = 100_000_000
    seconds: float = 20.0
    private_urls: bool = False

    def too_large(self, name: str) -> ImageError:
        """The error for what has more bytes."""
        return ImageError(
            "too-large",
            f"{name} is larger than {self.bytes / 1e6:,.6g} MB; raise it by "
            "%config Blip2Magics.max_bytes",
        )

    def too_slow(self, name: str) -> ImageError:
        """The error for what takes more seconds."""
        return ImageError(
            "too-slow",
            f"{name} has not come within {self.seconds:g} s; raise it by "
            "%config Blip2Magics.max_seconds",
        )


def within(seconds: float, action: Callable[[], T]) -> T:
    """What the action returns or raises; TimeoutError where it takes longer, and is left to itself.

    For what cannot be told to stop by itself, such as looking a name up.
    """
    done: Future[Any] = Future()

    def act() -> None:
        try:
            done.set_result(action())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=act, name="blip2-fetch", daemon=True).start()
    return done.result(max(seconds, 0))  # type: ignore[no-any-return]

"""Pictures for the page, made on threads of their own: thumbnails by wish, one large one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images import thumbnail
from blip2_widget.run import Pictures

#: Thumbnails in one message.
_A_MESSAGE = 8
#: The longest sides, in pixels, of a thumbnail and of a picture that is looked at alone.
_MOST_THUMBNAIL = 1024
_MOST_PICTURE = 4096

_makers = ThreadPoolExecutor(2, thread_name_prefix="blip2-thumbnail")
#: Of the picture that a person opened, which does not stand in line behind thumbnails.
_openers = ThreadPoolExecutor(1, thread_name_prefix="blip2-picture")

#: Sends a message with its buffers to the page.
Send = Callable[[dict[str, Any], list[bytes]], None]


class Thumbnails:
    """What the views of a gallery want to see, most wanted first, a few at a time."""

    def __init__(
        self, pictures: Pictures, send: Send, learned: Callable[[list[int]], None]
    ) -> None:
        """`learned` is called with rows of whose pictures something is known that was not."""
        self._pictures = pictures
        self._send = send
        self._learned = learned
        self._lock = threading.Lock()
        self._wishes: dict[str, tuple[list[int], int]] = {}
        self._working = False

    def wish(self, view: str, rows: list[int], pixels: int) -> None:
        """What a view wants now, in place of what it wanted before."""
        with self._lock:
            self._wishes.pop(view, None)
            if rows:
                self._wishes[view] = (rows, min(max(pixels, 1), _MOST_THUMBNAIL))
            if self._working or not self._wishes:
                return
            self._working = True
        _makers.submit(self._grant)

    def open(self, row: int, pixels: int) -> None:
        """Send a row's picture, at most `pixels` on its longest side."""
        _openers.submit(self._open, row, min(max(pixels, 1), _MOST_PICTURE))

    def _grant(self) -> None:
        while True:
            with self._lock:
                if not self._wishes:
                    self._working = False
                    return
                view, (rows, pixels) = next(iter(self._wishes.items()))
                now, later = rows[:_A_MESSAGE], rows[_A_MESSAGE:]
                del self._wishes[view]
                if later:
                    self._wishes[view] = (later, pixels)  # behind the other views' wishes
            made = [self._make(row, pixels) for row in now]
            self._send(
                {
                    "type": "thumbs",
                    "rows": now,
                    "pixels": pixels,
                    "mime": "image/webp",
                    "errors": [error for _, _, error in made],
                },
                [data for data, _, _ in made],
            )

    def _open(self, row: int, pixels: int) -> None:
        data, (width, height), error = self._make(row, pixels)
        message = {"type": "picture", "row": row, "pixels": pixels, "mime": "image/webp"}
        self._send(message | {"width": width, "height": height, "error": error}, [data])

    def _make(self, row: int, pixels: int) -> tuple[bytes, tuple[int, int], str | None]:
        """A row's picture as WebP, its own size, and why there is none."""
        try:
            image, is_new = self._pictures.look(row)
            if is_new:
                self._learned([row])
            return thumbnail(image, pixels), image.size, None
        except Blip2Error as error:
            if self._pictures.errors.get(row) is error:
                self._learned([row])
            return b"", (0, 0), str(error)
        except Exception as error:  # one picture must not end the thread that makes the others
            return b"", (0, 0), f"{type(error).__name__}: {error}"

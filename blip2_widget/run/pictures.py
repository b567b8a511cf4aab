"""A run's pictures: opened on threads of their own, some ahead of need, and known by their keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images import (
    Column,
    ImageError,
    Limits,
    file_identity,
    image_key,
    load_image,
    reason_of,
)
from blip2_widget.model import Cancelled
from blip2_widget.run.worker import wait_for
from blip2_widget.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_decoders = ThreadPoolExecutor(max(4, os.cpu_count() or 1), thread_name_prefix="blip2-decode")
#: Those of what a person waits for, which does not stand in line behind what nobody does.
_urgent_decoders = ThreadPoolExecutor(2, thread_name_prefix="blip2-decode-urgent")

#: Larger pictures are opened once more when the model is there: until then a batch of them would
#: fill the memory that it needs.
_KEPT_PIXELS = 1 << 20

#: Files looked up and pictures opened at a time where only their keys are wanted.
_LOOKED_UP, _OPENED = 2000, 64


@dataclass
class Picture:
    """A row's picture. `image` is what the model reads, a fraction of the picture's size, once the
    model is there to say it; None where the picture is too large to be kept until then, or could
    not be opened, as `error` says."""

    key: str | None = None
    image: Image | NDArray[np.float32] | None = None
    identity: tuple[str, int, int] | None = None
    error: ImageError | None = None


class Pictures:
    """The pictures of a column by row. `keys` holds the image keys of those that are known, and
    `errors` what is wrong with those that could not be opened."""

    def __init__(
        self,
        column: Column,
        store: Store,
        limits: Limits | None = None,
        beside: Pictures | None = None,
    ) -> None:
        """What is known of the pictures `beside`, which are the same, is shared with them."""
        self.keys: dict[int, str] = {} if beside is None else beside.keys
        self.errors: dict[int, ImageError] = {} if beside is None else beside.errors
        #: Whether keys and errors are learned by looking, since no run does.
        self.learns = False
        #: Gives a row's key where somebody else has it, without the picture.
        self.told: Callable[[int], str | None] | None = None if beside is None else beside.told
        #: Makes a picture ready for the model, once there is one.
        self.prepare: Callable[[Image], NDArray[np.float32]] | None = None
        self._column = column
        self._store = store
        self._limits = limits
        self._ahead: dict[int, Future[Picture]] = {}

    def load(self, row: int) -> Image:
        """A row's picture in RGB; raises ImageError where it has none that can be read."""
        return load_image(self._value(row), self._limits)

    def look_up(self, rows: Iterable[int]) -> None:
        """Learn the keys of files that were seen before, opening none of them."""
        identities = {row: self._identity(row) for row in rows if not self._is_told(row)}
        known: dict[tuple[str, int, int], str] = {}
        with suppress(Blip2Error):  # a store that cannot be read costs time, no answers
            known = self._store.aliases([each for each in identities.values() if each is not None])
        for row, identity in identities.items():
            if identity in known:
                self.keys[row] = known[identity]

    def look(self, row: int) -> tuple[Image, bool]:
        """A row's picture for the eye, and whether it taught its key: a run learns keys by itself,
        but nobody does where nothing is asked. Raises ImageError, which is then kept."""
        if not self.learns or row in self.keys:
            return self.load(row), False
        if self._is_told(row):
            return self.load(row), True
        identity = self._identity(row)  # before the file is read
        try:
            image = self.load(row)
        except ImageError as error:
            self.errors[row] = error
            raise
        self.errors.pop(row, None)
        self.keys[row] = image_key(image)
        if identity is not None:
            with suppress(Blip2Error):
                self._store.put_aliases({identity: self.keys[row]})
        return image, True

    def key_of(self, row: int) -> str:
        """A row's image key, from its decoded picture where it was never seen before.

        Raises ImageError where it has none that can be read.
        """
        with suppress(Blip2Error):  # a store that cannot be read costs time
            if row not in self.keys:
                self.look_up([row])
        known = self.keys.get(row)
        if known is not None:
            return known
        identity = self._identity(row)  # before the file is read
        key = self.keys[row] = image_key(self.load(row))
        if identity is not None:
            with suppress(Blip2Error):
                self._store.put_aliases({identity: key})
        return key

    def open(
        self, rows: Iterable[int], urgent: bool, between: Callable[[], None]
    ) -> dict[int, Picture]:
        """Open those of the rows whose keys are not known, and learn their keys.

        Raises Cancelled where `between` does, which is called while this waits.
        """
        opening: dict[int, Future[Picture]] = {}
        for row in rows:
            if row in self.keys:
                continue
            ahead = self._ahead.pop(row, None)
            if ahead is None or (urgent and ahead.cancel()):
                ahead = self._decoders(urgent).submit(self._open, row)
            opening[row] = ahead
        try:
            pictures = {row: wait_for(future, between) for row, future in opening.items()}
        except Cancelled:
            for future in opening.values():
                future.cancel()
            raise
        aliases = {}
        for row, picture in pictures.items():
            if picture.key is not None:
                self.keys[row] = picture.key
                if picture.identity is not None:
                    aliases[picture.identity] = picture.key
        if aliases:
            with suppress(Blip2Error):  # a store that cannot be written costs time, no answers
                self._store.put_aliases(aliases)
        return pictures

    def learn(self, rows: Sequence[int]) -> dict[int, str]:
        """Learn the rows' keys, and keep no picture: files that were seen before are not opened,
        and the others by the decoders, some at a time. Returns what is wrong with those that
        cannot be read."""
        wrong: dict[int, str] = {}
        for start in range(0, len(rows), _LOOKED_UP):
            self.look_up(rows[start : start + _LOOKED_UP])
        unknown = [row for row in rows if row not in self.keys]
        for start in range(0, len(unknown), _OPENED):
            opened = self.open(unknown[start : start + _OPENED], False, lambda: None)
            wrong |= {
                row: str(each.error) for row, each in opened.items() if each.error is not None
            }
        return wrong

    def open_ahead(self, rows: Iterable[int]) -> None:
        """Begin to open what will be asked for next."""
        for row in rows:
            if row not in self.keys and row not in self._ahead:
                self._ahead[row] = _decoders.submit(self._open, row)

    def image(
        self, rows: Iterable[int], key: str, pictures: Mapping[int, Picture], urgent: bool
    ) -> Future[Image | NDArray[np.float32]]:
        """What the model reads of rows with equal pictures, opened now where their key was known
        without."""
        rows = list(dict.fromkeys(rows))
        for row in rows:
            image = pictures[row].image if row in pictures else None
            if image is not None:
                opened: Future[Image | NDArray[np.float32]] = Future()
                opened.set_result(image)
                return opened
        return self._decoders(urgent).submit(self._open_any, rows, key)

    def forget(self, row: int) -> None:
        """The row may hold another picture by now."""
        self.keys.pop(row, None)

    def leave(self) -> None:
        """Open no more of what was to come next."""
        ahead, self._ahead = self._ahead, {}
        for future in list(ahead.values()):
            future.cancel()

    def _is_told(self, row: int) -> bool:
        key = None if self.told is None else self.told(row)
        if key is not None:
            self.keys[row] = key
        return key is not None

    @staticmethod
    def _decoders(urgent: bool) -> ThreadPoolExecutor:
        return _urgent_decoders if urgent else _decoders

    def _open(self, row: int) -> Picture:
        """Decode one row's picture; an error is kept, not raised."""
        # Before the file is read: a change after that must not go by the pixels from before it.
        identity = self._identity(row)
        try:
            image = self.load(row)
            key, prepared = image_key(image), self._prepared(image)
        except ImageError as error:
            self.errors[row] = error
            return Picture(error=error)
        except Exception as error:  # one picture must not end the run
            return Picture(error=ImageError("unexpected", reason_of(error)))
        if self.prepare is None and image.width * image.height > _KEPT_PIXELS:
            return Picture(key, None, identity)
        return Picture(key, prepared, identity)

    def _value(self, row: int) -> Any:
        """What the column holds; raises ImageError where that cannot even be had."""
        try:
            return self._column.values[row]
        except ImageError:
            raise
        except Exception as error:  # whatever a data set raises that decodes what it holds
            raise ImageError("truncated", f"this row cannot be read: {reason_of(error)}") from None

    def _identity(self, row: int) -> tuple[str, int, int] | None:
        try:
            return file_identity(self._column.head(row))
        except Exception:  # which opening it will tell
            return None

    def _open_any(self, rows: Sequence[int], key: str) -> Image | NDArray[np.float32]:
        """The first of equal pictures that can be opened still."""
        for row in rows[:-1]:
            with suppress(Exception):
                return self._open_known(row, key)
        return self._open_known(rows[-1], key)

    def _open_known(self, row: int, key: str) -> Image | NDArray[np.float32]:
        image = self.load(row)
        if image_key(image) != key:
            label = self._column.labels[row]
            raise Blip2Error(f"{label} was changed while it was read; try again")
        return self._prepared(image)

    def _prepared(self, image: Image) -> Image | NDArray[np.float32]:
        prepare = self.prepare
        return image if prepare is None else prepare(image)

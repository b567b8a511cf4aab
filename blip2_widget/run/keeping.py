"""A store in nobody's way: what it cannot give is computed, what it cannot keep is shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from blip2_widget.store import Store

if TYPE_CHECKING:
    import torch

Key = TypeVar("Key")
Value = TypeVar("Value")

_log = logging.getLogger(__name__)


class Keeping:
    """A run's way to the store. What is wrong with that is said once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._warned = False

    def read(
        self, read: Callable[[Sequence[str]], dict[Key, Value]], keys: Sequence[str]
    ) -> dict[Key, Value]:
        """What is stored under the keys; where it cannot be read, for whatever reason, it counts
        as not stored."""
        try:
            return read(keys)
        except Exception as error:
            self._warn(f"{error}; what is stored is computed again")
            return {}

    def keep(self, put: Callable[[], None]) -> None:
        """Store what was computed; where that fails, for whatever reason, it is still shown."""
        try:
            put()
        except Exception as error:
            self._warn(f"{error}; answers are shown, but not kept for the next time")

    def features(self, keys: Sequence[str]) -> dict[str, torch.Tensor]:
        """The features that are stored under keys, and whole."""
        return self.read(self._features, keys)

    def _features(self, keys: Sequence[str]) -> dict[str, torch.Tensor]:
        from blip2_widget.run.features import unpack

        found = {}
        for key, packed in self._store.features(keys).items():
            try:
                found[key] = unpack(packed)
            except Exception as error:
                self._warn(f"stored features are damaged ({error}); they are computed again")
        return found

    def _warn(self, line: str) -> None:
        if not self._warned:
            _log.warning("%s", line)
        self._warned = True

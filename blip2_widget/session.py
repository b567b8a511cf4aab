"""What one Python process shares: its defaults, its models, its store, its worker."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Limits
from blip2_widget.model import (
    DEFAULT,
    DEFAULT_RETRIEVAL,
    KeptWeights,
    ModelManager,
    locate,
    names,
    parse,
)
from blip2_widget.run import KeptVectors, Worker
from blip2_widget.store import Store, default_path, open_store


@dataclass
class Defaults:
    """What a call takes where it names nothing else. `matching_model` is for `match` and `search`,
    empty for what goes with `model`. `batch_size` None: what suits the device.

    `max_pixels` bounds a picture before it is decoded, `max_bytes` its file or download, and
    `max_seconds` its download; None takes the loader's own bound. URLs in a private network are
    read only where `allow_private_urls`, so that a data set cannot reach into it. `max_resident`
    variants stay in memory; features on disk take up to `store_gigabytes`.
    """

    model: str = DEFAULT
    matching_model: str = ""
    variant: str = "auto"
    max_new_tokens: int = 30
    num_beams: int = 1
    batch_size: int | None = None
    max_pixels: int | None = None
    max_bytes: int | None = None
    max_seconds: float | None = None
    allow_private_urls: bool = False
    max_resident: int = 2
    store_gigabytes: float = 4.0

    @property
    def matching(self) -> str:
        """The checkpoint that matches: the one that was set, or what goes with `model`, which may
        be one that matches itself."""
        if self.matching_model:
            return self.matching_model
        if self.model == "demo":
            return "demo-retrieval"
        with suppress(Blip2Error):
            checkpoint = parse(self.model)
            if checkpoint.source.removeprefix("Salesforce/blip2-") in names("match"):
                return self.model
            if checkpoint.is_folder and locate(checkpoint, None).task == "match":
                return self.model
        return DEFAULT_RETRIEVAL

    @property
    def limits(self) -> Limits:
        """What one picture may take."""
        given: dict[str, Any] = {
            "pixels": self.max_pixels,
            "bytes": self.max_bytes,
            "seconds": self.max_seconds,
            "private_urls": self.allow_private_urls,
        }
        return Limits(**{name: value for name, value in given.items() if value is not None})


@dataclass
class Session:
    """The process's shared parts, each made when first needed."""

    defaults: Defaults = field(default_factory=Defaults)
    manager: ModelManager = field(default_factory=lambda: ModelManager(weights=_weights()))
    worker: Worker = field(default_factory=Worker)
    vectors: KeptVectors = field(default_factory=KeptVectors)

    @cached_property
    def store(self) -> Store:
        """The store on disk, shared by all kernels of this user; one of its own in memory, with a
        warning, where that cannot be used."""
        return open_store(max_bytes=int(self.defaults.store_gigabytes * 1e9))

    def set_default(self, name: str, value: object) -> None:
        """Set one of the defaults; what is already made by it follows."""
        setattr(self.defaults, name, value)
        self.manager.max_resident = self.defaults.max_resident
        if "store" in vars(self):
            self.store.max_bytes = int(self.defaults.store_gigabytes * 1e9)


def _weights() -> KeptWeights:
    return KeptWeights(default_path().parent / "weights")


_lock = threading.Lock()
_session: Session | None = None


def current() -> Session:
    """The process's session."""
    global _session
    with _lock:
        if _session is None:
            _session = Session()
        return _session

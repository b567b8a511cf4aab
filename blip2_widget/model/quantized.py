"""Quantised weights on disk: quantising takes a minute, mapping what it gave a second."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from blip2_widget.model.catalogue import Located
from blip2_widget.model.variants import Variant, weight_bytes

if TYPE_CHECKING:
    from transformers import Blip2ForConditionalGeneration

#: Part of every name. Change it when what is quantised changes.
_VERSION = 1
#: Smaller models are quantised in the time that it takes to find them here.
_WORTH_KEEPING = 100_000_000


class QuantizedWeights:
    """Models as they were after quantising, under one folder; shared by all kernels of a user."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, located: Located, variant: Variant) -> Path:
        """Where a checkpoint's weights in a quantised variant are, or would be, kept."""
        device = "cuda" if variant.is_cuda else "cpu"
        parts = [located.identity, variant.language, device, _VERSION]
        # Its own format may change with its version.
        parts.append(importlib.metadata.version("bitsandbytes"))
        return self.root / hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def find(self, located: Located, variant: Variant) -> Path | None:
        """The folder of weights that are kept, None where there are none."""
        if variant.quantization is None:
            return None
        folder = self.folder(located, variant)
        return folder if folder.is_dir() else None

    def keep(
        self, model: Blip2ForConditionalGeneration, located: Located, variant: Variant
    ) -> None:
        """Save a model that was just quantised, where that pays and the disk has the room.

        Call it before the model is first used: bitsandbytes packs weights anew in use.
        """
        from blip2_widget.model.loading import save_model

        size = weight_bytes(located.sizes, variant)
        if variant.quantization is None or size < _WORTH_KEEPING:
            return
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(self.root).free < 2 * size:
            return
        unfinished = Path(tempfile.mkdtemp(dir=self.root, prefix="unfinished-"))
        try:
            save_model(model, unfinished)
            # Whole or not at all; where another kernel was first, its own stays.
            unfinished.replace(self.folder(located, variant))
        except OSError:
            return
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def drop(self, folder: Path) -> None:
        """Delete weights that `find` gave and that could not be loaded."""
        shutil.rmtree(folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())

    def clear(self) -> None:
        """Delete what is kept. A model in memory that maps such a file goes on."""
        shutil.rmtree(self.root, ignore_errors=True)

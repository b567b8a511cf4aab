"""Weights kept on disk in the form that a variant needs, so that a later load only maps them.

Quantising a checkpoint takes a minute, and converting one from fp32 reads twice its bytes and holds
them; mapping what either gave takes a second. Each side is kept by itself under its own precision,
so variants that share one share its file and, on a processor, the memory that it is mapped to, as
far as its kernels can read it there: `packing` and `int8_vision` lay out copies of their own.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from blip2_widget.model.catalogue import Located
from blip2_widget.model.loading import packs_nf4, save_side
from blip2_widget.model.sides import NOTHING_KEPT, Files, Side, convert, is_stored_as
from blip2_widget.model.variants import Variant, language_bytes, vision_bytes, weight_bytes

if TYPE_CHECKING:
    from transformers import Blip2ForConditionalGeneration

#: Part of every name. Change it when what is kept changes.
_VERSION = 2
#: Smaller models are made in the time that it takes to find them here.
_WORTH_KEEPING = 100_000_000
_UNFINISHED = "unfinished-"
#: Seconds after which nobody goes on writing: one who does writes many times a minute. A process id
#: would say less, since a folder may be shared by machines.
_ABANDONED = 3600.0

_log = logging.getLogger(__name__)


class KeptWeights:
    """Checkpoints' sides by precision, under one folder; shared by all kernels of a user."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, located: Located, variant: Variant, side: Side) -> Path:
        """Where a side of a checkpoint in a variant is, or would be, kept."""
        parts = [located.identity, side, getattr(variant, side), _VERSION]
        if side == "language" and variant.quantization:
            # Its own format may change with its version, and its values with the device.
            parts += ["cuda" if variant.is_cuda else "cpu"]
            parts += [importlib.metadata.version("bitsandbytes"), packs_nf4(variant)]
        name = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
        return self.root / f"{name}.safetensors"

    def prepare(
        self,
        located: Located,
        folder: Path,
        variant: Variant,
        sides: Collection[Side] = ("vision", "language"),
    ) -> Files:
        """The files to load `sides` of a checkpoint from in place of its own in `folder`.

        A side that is not quantised and that the checkpoint stores in another type is converted
        now. A quantised one is there after `keep`.
        """

        def prepared(side: Side) -> Path | None:
            if side not in sides:
                return None
            file = self.file(located, variant, side)
            if file.is_file():
                return file
            if _is_quantized(variant, side) or is_stored_as(folder, side, variant.dtype):
                return None
            return self._write(
                located, variant, side, lambda to: convert(folder, side, variant.dtype, to)
            )

        if weight_bytes(located.sizes, variant) < _WORTH_KEEPING:
            return NOTHING_KEPT
        self._sweep()
        return Files(prepared("vision"), prepared("language"))

    def keep(
        self,
        model: Blip2ForConditionalGeneration,
        located: Located,
        variant: Variant,
        files: Files,
        sides: Collection[Side] = ("vision", "language"),
    ) -> Files:
        """Save what was quantised while `sides` of a model were loaded from `files`, where that
        pays and the disk has the room; gives the files to load it from the next time.

        Call it before the model is first used: bitsandbytes and the engine change weights in use.
        """

        def saved(side: Side, file: Path | None) -> Path | None:
            if file is not None or side not in sides or not _is_quantized(variant, side):
                return file
            return self._write(located, variant, side, lambda to: save_side(model, side, to))

        if weight_bytes(located.sizes, variant) < _WORTH_KEEPING:
            return files
        return Files(saved("vision", files.vision), saved("language", files.language))

    def drop(self, files: Files) -> None:
        """Delete files that could not be loaded."""
        for file in files:
            if file is not None:
                file.unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())

    def clear(self) -> None:
        """Delete what is kept. A model in memory that maps such a file goes on."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what processes that were killed left half written."""
        for folder in self.root.glob(f"{_UNFINISHED}*"):
            with suppress(OSError):  # another process sweeps too, or writes
                changed = max(each.stat().st_mtime for each in (folder, *folder.iterdir()))
                if time.time() - changed > _ABANDONED:
                    shutil.rmtree(folder, ignore_errors=True)

    def _write(
        self, located: Located, variant: Variant, side: Side, save: Callable[[Path], None]
    ) -> Path | None:
        """Have `save` write a side's file; None where the disk has not the room, or
        where that fails, which costs only the next load its time."""
        size = (vision_bytes if side == "vision" else language_bytes)(located.sizes, variant)
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if shutil.disk_usage(self.root).free < 2 * size:
                return None
            unfinished = Path(tempfile.mkdtemp(dir=self.root, prefix=_UNFINISHED))
        except OSError:
            return None
        try:
            save(unfinished / "weights")
            # Whole or not at all.
            return (unfinished / "weights").replace(self.file(located, variant, side))
        except Exception as error:
            _log.warning("weights are not kept: %s: %s", type(error).__name__, error)
            return None
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _is_quantized(variant: Variant, side: Side) -> bool:
    return variant.int8_vision if side == "vision" else variant.quantization is not None

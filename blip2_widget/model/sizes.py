"""How many parameters a checkpoint has, told from the headers of its safetensors files."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blip2_widget.errors import Blip2Error


@dataclass(frozen=True)
class Sizes:
    """Parameter counts by what happens to them when a checkpoint is loaded.

    `vision` is the image encoder, `bridge` the Q-Former with its queries and the projection,
    `language_linear` the language model's linear layers (what int8 and int4 shrink), and
    `language_other` its embeddings, output head and norms.
    """

    vision: int
    bridge: int
    language_linear: int
    language_other: int

    @property
    def total(self) -> int:
        return self.vision + self.bridge + self.language_linear + self.language_other


#: In bytes, as the format has it.
_LONGEST_HEADER = 100_000_000


def sizes_of_folder(folder: Path) -> Sizes:
    """Sizes of the checkpoint in `folder`; Blip2Error where it has no safetensors weights."""
    files = weights_in(folder)
    if not files:
        raise Blip2Error(
            f"{folder} has no complete safetensors weights; save the model again with "
            "save_pretrained (pickled weights may run code and are not read)"
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        try:
            shapes |= {name: tuple(entry["shape"]) for name, entry in header(file).items()}
        except (struct.error, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Blip2Error(
                f"{file} is no safetensors file, whatever its name; save the model again with "
                "save_pretrained"
            ) from None
    return sizes_of_tensors(shapes)


def weights_in(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint's folder; empty where one of them is missing."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        files = [folder / shard for shard in shards]
    else:
        files = [folder / "model.safetensors"]
    return files if all(file.is_file() for file in files) else []


def sizes_of_tensors(shapes: Mapping[str, tuple[int, ...]]) -> Sizes:
    """Sizes from tensor names and shapes, as they stand in a checkpoint's files."""
    counts = {"vision": 0, "bridge": 0, "language_linear": 0, "language_other": 0}
    for name, shape in shapes.items():
        count = 1
        for side in shape:
            count *= side
        counts[_part(name, shape)] += count
    return Sizes(**counts)


def _part(name: str, shape: tuple[int, ...]) -> str:
    if name.startswith("vision_model."):
        return "vision"
    if not name.startswith("language_model."):
        return "bridge"
    # Embedding tables and the output head are matrices too, but no quantised linear layers.
    is_table = any(word in name for word in ("embed", "shared", "lm_head", "relative_attention"))
    return "language_linear" if len(shape) == 2 and not is_table else "language_other"


def header(file: Path) -> dict[str, Any]:
    """What a safetensors file holds, by tensor name: 8 bytes of little-endian length, then JSON.

    Source: the format's specification in the safetensors documentation.
    """
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(min(length, _LONGEST_HEADER)))
    header.pop("__metadata__", None)
    return header

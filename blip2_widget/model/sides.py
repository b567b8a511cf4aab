"""The two sides of a checkpoint, and their tensors in safetensors files.

The vision side is all that turns a picture into what the language model reads: the image encoder,
the Q-Former with its queries, and the projection. The language side is the language model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from blip2_widget.model.sizes import header, weights_in
from blip2_widget.model.variants import Dtype

if TYPE_CHECKING:
    import torch

Side = Literal["vision", "language"]

#: The vision side's parts, as attributes of transformers' model.
VISION_PARTS = ("vision_model", "qformer", "query_tokens", "language_projection")

#: The names of types in a safetensors header.
_CODES = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_NAMES = {code: name for name, code in _CODES.items()}


def side_of(name: str) -> Side:
    """The side that a tensor of that name belongs to."""
    return "language" if name.startswith("language_model.") else "vision"


class Files(NamedTuple):
    """Kept files that stand for a checkpoint's own; None where its own are read."""

    vision: Path | None = None
    language: Path | None = None


#: The checkpoint's own files for both sides.
NOTHING_KEPT = Files()


@contextmanager
def opened(folder: Path, files: Files, sides: Iterable[Side]) -> Iterator[dict[str, Any]]:
    """The tensors of some sides, by name, as slices that are read (or mapped) when indexed."""
    from safetensors import safe_open

    found: dict[str, Any] = {}
    with ExitStack() as stack:
        for side in sides:
            kept: Path | None = getattr(files, side)
            for file in [kept] if kept else weights_in(folder):
                tensors = stack.enter_context(safe_open(file, framework="pt"))
                names = [name for name in sorted(tensors.keys()) if side_of(name) == side]
                found |= {name: tensors.get_slice(name) for name in names}
        yield found


def is_stored_as(folder: Path, side: Side, dtype: Dtype) -> bool:
    """Whether a checkpoint's own files hold a side in that type, so that they can be mapped.

    The Q-Former's is not asked for beside fp16, where it is kept in fp32.
    """
    codes = {
        entry["dtype"]
        for file in weights_in(folder)
        for name, entry in header(file).items()
        if side_of(name) == side and not (dtype == "float16" and _is_q_former(name))
    }
    return {code for code in codes if "float" in _NAMES[code]} <= {_CODES[dtype]}


def convert(folder: Path, side: Side, dtype: Dtype, file: Path) -> None:
    """Write a side of a checkpoint in another type, tensor by tensor, so that little is held."""
    import torch

    def converted(name: str, one: Any) -> Stored:
        to: str = _NAMES[one.get_dtype()]
        if "float" in to:
            to = "float32" if dtype == "float16" and _is_q_former(name) else dtype
        return Stored(to, tuple(one.get_shape()), lambda: one[...].to(getattr(torch, to)))

    with opened(folder, NOTHING_KEPT, [side]) as slices:
        write(file, {name: converted(name, one) for name, one in slices.items()})


class Stored(NamedTuple):
    """A tensor to be written: its type, its shape, and what gives it."""

    dtype: str
    shape: tuple[int, ...]
    tensor: Callable[[], torch.Tensor]


def stored(tensors: Mapping[str, torch.Tensor]) -> dict[str, Stored]:
    """Tensors in memory, to be written."""

    def entry(one: torch.Tensor) -> Stored:
        return Stored(str(one.dtype).removeprefix("torch."), tuple(one.shape), lambda: one)

    return {name: entry(one) for name, one in tensors.items()}


def notes(file: Path) -> dict[str, str]:
    """What was written into a file beside its tensors."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        return dict(tensors.metadata() or {})


def write(
    file: Path, tensors: Mapping[str, Stored], notes: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, one tensor in memory at a time; safetensors' own writer wants all.

    Source: the format's specification in the safetensors documentation.
    """
    import torch

    entries: dict[str, Any] = {"__metadata__": {"format": "pt", **(notes or {})}}
    end = 0
    for name, one in tensors.items():
        begin = end
        size = getattr(torch, one.dtype).itemsize
        for length in one.shape:
            size *= length
        end = begin + size
        entries[name] = {
            "dtype": _CODES[one.dtype],
            "shape": list(one.shape),
            "data_offsets": [begin, end],
        }
    head = json.dumps(entries).encode()
    head += b" " * (-len(head) % 64)  # so that tensors are aligned where they are mapped
    with file.open("wb") as stream:
        stream.write(len(head).to_bytes(8, "little") + head)
        for one in tensors.values():
            flat = one.tensor().detach().cpu().contiguous().reshape(-1)
            stream.write(memoryview(flat.view(torch.uint8).numpy()))


def _is_q_former(name: str) -> bool:
    return name.startswith(("qformer.", "query_tokens"))

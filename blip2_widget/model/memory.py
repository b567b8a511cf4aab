"""Giving freed memory back to the system, which Python and the C library keep otherwise."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def give_memory_back() -> None:
    """Collect what nothing refers to, and return free memory to the system and the GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim()


def trim() -> None:
    """Have the C library return what it holds free, where it is glibc."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short, as Python, torch on a GPU, or torch on a processor say it."""
    return isinstance(error, MemoryError) or any(
        words in str(error)
        for words in (
            "out of memory",
            "can't allocate memory",
            "not enough memory",
            "bad_alloc",
            "ALLOC_FAILED",
        )
    )


def mapped_at(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Bytes of tensors that are mapped from safetensors files, by address. The system counts their
    memory as free, since it can read them again. Source: Linux's documentation of
    /proc/PID/maps."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:  # no Linux
        return {}
    ranges = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in lines
        if line.endswith(".safetensors")
    ]
    return {
        each.data_ptr(): each.nbytes
        for each in tensors
        if not each.is_mkldnn  # packed tensors have no address
        if any(begin <= each.data_ptr() < end for begin, end in ranges)
    }


@cache
def _glibc() -> Any:
    try:
        library = ctypes.CDLL("libc.so.6")
        library.malloc_trim  # noqa: B018 - looked up to see whether it is there
    except (OSError, AttributeError):
        return None
    return library

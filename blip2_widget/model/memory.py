"""Giving freed memory back to the system, which Python and the C library keep otherwise."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache
from typing import Any


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


@cache
def _glibc() -> Any:
    try:
        library = ctypes.CDLL("libc.so.6")
        library.malloc_trim  # noqa: B018 - looked up to see whether it is there
    except (OSError, AttributeError):
        return None
    return library

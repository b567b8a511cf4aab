"""TF32 for what stays in fp32 on a GPU, while it is computed.

In fp16 the Q-Former stays in fp32, and TF32 multiplies it several times as fast where the GPU has
it (from Ampere on; before, this changes nothing). The switch is the whole process's, so it is put
back: what a person computes in fp32 is not to lose digits by it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_users = 0
_before = False


@contextmanager
def tf32_allowed() -> Iterator[None]:
    """Allow it until the last of those who want it at the same time has ended."""
    global _users, _before
    import torch

    matmul = torch.backends.cuda.matmul
    with _lock:
        if not _users:
            _before, matmul.allow_tf32 = matmul.allow_tf32, True
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                matmul.allow_tf32 = _before

"""Features between torch and the store: bytes with a type and a shape, bit for bit."""

from __future__ import annotations

import torch

from blip2_widget.store import Features


def pack(tensor: torch.Tensor) -> Features:
    """A CPU tensor's bytes; numpy has no bfloat16, so the bytes are taken as they are."""
    data = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    return Features(data, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def unpack(features: Features) -> torch.Tensor:
    """The tensor that was packed."""
    raw = torch.frombuffer(bytearray(features.data), dtype=torch.uint8)
    return raw.view(getattr(torch, features.dtype)).reshape(features.shape)

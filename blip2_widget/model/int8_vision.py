"""The image encoder's layers in int8, on a processor.

Weights are quantised once, symmetrically by row, and activations anew for each token, so a product
is one of integers, scaled by row and by column: vector-wise quantisation as in LLM.int8
(https://arxiv.org/abs/2208.07339), without its split of outliers. What that costs in a checkpoint's
features is measured when it is made; see `blip2_widget.model.distance`.

This module imports torch; it is imported when such a model is loaded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

#: Rows that are worked on at a time. Whole batches would leave the caches: quantising 8 pictures'
#: activations at once took 43 ms where 8 times 257 rows take 5 (2 cores of an AMD EPYC).
_ROWS = 256
#: The kernel is fast for unsigned activations alone; this is their zero. With signed ones torch
#: falls back to a reference implementation, thousands of times slower.
_ZERO = 128


class Int8Linear(nn.Module):
    """A linear layer of int8 weights. `pack` it before the first product.

    1.4 to 1.9 times as fast as a bf16 layer, at the sizes of BLIP-2's encoder and 8 pictures.
    """

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        """A layer of the same shape with nothing in it yet."""
        super().__init__()
        where = linear.weight.device
        self.register_buffer("weight", torch.empty_like(linear.weight, dtype=torch.int8))
        scale = torch.empty(linear.out_features, dtype=torch.float32, device=where)
        self.register_buffer("scale", scale)
        self.bias = linear.bias
        self._packed: torch.Tensor | None = None

    @classmethod
    def of(cls, linear: nn.Linear) -> Int8Linear:
        """The quantised form of a layer."""
        made = cls(linear)
        weight = linear.weight.detach().float()
        made.scale = _safe(weight.abs().amax(dim=1) / 127)
        made.weight = (weight / made.scale[:, None]).round_().to(torch.int8)
        return made

    def pack(self) -> None:
        """Lay the weights out as the kernel reads them: another copy, which is the one in use."""
        self._packed = torch.ops.onednn.qlinear_prepack(self.weight, None)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.reshape(-1, inputs.shape[-1])
        output = rows.new_empty(len(rows), len(self.scale))
        bias = rows.new_zeros(()) if self.bias is None else self.bias
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            scale = _safe(some.abs().amax(dim=1, keepdim=True).float() / 127)
            # Adding a half rounds, since what follows cuts off.
            quantized = torch.mul(some, 1 / scale).add_(_ZERO + 0.5).to(torch.uint8)
            product = self._product(quantized, rows.dtype)
            torch.addcmul(bias, product, scale.to(rows.dtype), out=output[start : start + _ROWS])
        return output.reshape(*inputs.shape[:-1], -1)

    def _product(self, quantized: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Rows by weights, by the weights' scales; the rows' are still to be applied."""
        zeros = torch.zeros(len(self.scale), dtype=torch.int32)
        weights = (self._packed, self.scale, zeros)
        # Nothing is added to or done with the product: scale 1, zero 0, and no "post op".
        rest: tuple[Any, ...] = (None, 1.0, 0, dtype, "none", [], "")
        product: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            quantized, 1.0, _ZERO, *weights, *rest
        )
        return product


def runs_here() -> bool:
    """Whether this torch has the kernel."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qlinear_pointwise")


def quantize(encoder: nn.Module) -> None:
    """Put the quantised form of each linear layer of an encoder in its place."""
    for parent, name, linear in _linears(encoder):
        setattr(parent, name, Int8Linear.of(linear))


def make_room(encoder: nn.Module) -> None:
    """Put an empty int8 layer in each linear layer's place, for weights that are to be read."""
    for parent, name, linear in _linears(encoder):
        setattr(parent, name, Int8Linear(linear))


def pack(encoder: nn.Module) -> None:
    """Make an encoder's int8 layers ready."""
    for module in encoder.modules():
        if isinstance(module, Int8Linear):
            module.pack()


def _linears(encoder: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    return [
        (parent, name, child)
        for parent in encoder.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]


def _safe(scale: torch.Tensor) -> torch.Tensor:
    """Scales of rows that are all zero must not divide by it."""
    return scale.clamp_(min=torch.finfo(torch.float32).tiny)

"""Products with packed NF4 weights that call bitsandbytes' kernel at once.

On the way through its own layer Python takes a fifth of a decoding step of one row: one of opt-2.7b
has 192 products. The kernel is internal to bitsandbytes: where it is absent all is left as it is.

This module imports torch; it is imported when a model is loaded.
"""

from __future__ import annotations

from ctypes import c_int64, c_void_p
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from blip2_widget.model.nf4_packing import is_packed

if TYPE_CHECKING:
    from transformers import Blip2ForConditionalGeneration


class PackedNF4Linear(nn.Module):
    """A packed layer. Takes and gives bf16, on a processor."""

    weight: torch.Tensor
    scales: torch.Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        state = layer.weight.quant_state
        self.out_features, self.in_features = state.shape
        self.register_buffer("weight", layer.weight.data, persistent=False)
        self.register_buffer("scales", state.absmax, persistent=False)
        self.bias = None if layer.bias is None else layer.bias.detach().to(torch.bfloat16)
        self._block = c_int64(state.blocksize)
        self._sizes = c_int64(self.out_features), c_int64(self.in_features)
        self._kernel = _kernel()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """As nn.Linear: (…, in) to (…, out)."""
        rows = values.reshape(-1, self.in_features).contiguous()
        output = rows.new_empty(len(rows), self.out_features)
        outer, inner = self._sizes
        self._kernel(
            c_int64(len(rows)),
            outer,
            inner,
            c_void_p(rows.data_ptr()),
            c_void_p(self.weight.data_ptr()),
            c_void_p(self.scales.data_ptr()),
            c_void_p(output.data_ptr()),
            self._block,
            inner,
            outer,
        )
        if self.bias is not None:
            output += self.bias
        return output.view(*values.shape[:-1], self.out_features)


def quicken(model: Blip2ForConditionalGeneration) -> None:
    """Put the quicker form of each packed bf16 layer in its place, where the kernel is found."""
    packed = [
        (parent, name, child)
        for parent in model.language_model.modules()
        for name, child in parent.named_children()
        if is_packed(child) and _is_bf16(child)
    ]
    if not packed or _kernel() is None:  # bitsandbytes is imported where it is used alone
        return
    for parent, name, child in packed:
        setattr(parent, name, PackedNF4Linear(child))


def _is_bf16(layer: Any) -> bool:
    state = layer.weight.quant_state
    return bool(
        layer.compute_dtype == torch.bfloat16
        and state.absmax.dtype == torch.bfloat16
        and state.dtype == torch.bfloat16
        and state.quant_type == "nf4"
        and not state.nested
    )


def _kernel() -> Any:
    """bitsandbytes' product of rows with packed NF4 weights; None where there is none."""
    try:
        from bitsandbytes.cextension import lib

        return lib.gemv_4bit_inference_cpu_nf4_bf16
    except (ImportError, AttributeError):
        return None

"""NF4 weights as bitsandbytes' processor kernel reads them, packed at load and kept so.

Left alone, bitsandbytes packs each weight in its first product: 6 s for opt-2.7b, and 1.4 GB that
were mapped become the process's own, every time that it was loaded. The functions used here are
internal to it, so files are kept under its version, and where one is absent all is left to it.
"""

from __future__ import annotations

from ctypes import c_int64, c_void_p
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from blip2_widget.model.memory import trim

if TYPE_CHECKING:
    from transformers import Blip2ForConditionalGeneration


def packs_here() -> bool:
    """Whether bitsandbytes packs weights on this processor, one with AVX512-BF16."""
    try:
        from bitsandbytes.functional import _convert_weight_packed_for_cpu, has_avx512bf16
    except ImportError:
        return False
    return callable(_convert_weight_packed_for_cpu) and bool(has_avx512bf16())


def pack(model: Blip2ForConditionalGeneration) -> None:
    """Pack the weights of a model that was just quantised."""
    from bitsandbytes.functional import _convert_weight_packed_for_cpu

    for layer in _layers(model):
        weight = layer.weight
        weight.data, weight.quant_state = _convert_weight_packed_for_cpu(
            weight.data, weight.quant_state
        )
        # Packing frees blocks that the C library keeps: 2.6 GB of them for opt-2.7b.
        trim()


def mark_packed(model: Blip2ForConditionalGeneration) -> None:
    """Tell bitsandbytes that a model's weights were packed when they were read."""
    for layer in _layers(model):
        layer.weight.quant_state.packing_format_for_cpu = True


def is_packed(module: torch.nn.Module) -> bool:
    """Whether a module is a layer whose weight is packed."""
    state = getattr(getattr(module, "weight", None), "quant_state", None)
    return bool(getattr(state, "packing_format_for_cpu", False))


def packed_state(layer: Any, prefix: str) -> dict[str, torch.Tensor]:
    """A packed layer's tensors as they are to be written; its own state_dict would unpack them."""
    weight = layer.weight
    tensors = {f"{prefix}weight": weight.data}
    for name, tensor in weight.quant_state.as_dict(packed=True).items():
        tensors[f"{prefix}weight.{name}"] = tensor
    if layer.bias is not None:
        tensors[f"{prefix}bias"] = layer.bias.data
    return tensors


class PackedNF4Linear(nn.Module):
    """A packed layer that calls bitsandbytes' kernel at once. Takes and gives bf16, on a processor.

    On the way through its own layer Python takes as long as the product of one row: a step of
    opt-2.7b has 192 of them.
    """

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
    if _kernel() is None:
        return
    for parent in list(model.language_model.modules()):
        for name, child in list(parent.named_children()):
            if is_packed(child) and _is_bf16(child):
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


def _layers(model: Blip2ForConditionalGeneration) -> list[Any]:
    from bitsandbytes.nn import Linear4bit

    return [module for module in model.modules() if isinstance(module, Linear4bit)]

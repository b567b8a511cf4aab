"""NF4 weights as bitsandbytes' processor kernel reads them, packed at load and kept so.

Left alone, bitsandbytes packs each weight in its first product: 6 s for opt-2.7b, and 1.4 GB that
were mapped become the process's own, every time that it was loaded. The functions used here are
internal to it, so files are kept under its version, and where one is absent all is left to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blip2_widget.model.memory import trim

if TYPE_CHECKING:
    import torch
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


def _layers(model: Blip2ForConditionalGeneration) -> list[Any]:
    from bitsandbytes.nn import Linear4bit

    return [module for module in model.modules() if isinstance(module, Linear4bit)]

"""The quicker way to bitsandbytes' kernel gives what its own layer gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blip2_widget.model import Variant, nf4_linear, nf4_packing
from blip2_widget.model.loading import load_model

pytestmark = pytest.mark.skipif(
    not nf4_packing.packs_here() or nf4_linear._kernel() is None,
    reason="this processor or this bitsandbytes has no such kernel",
)


def test_products_are_those_of_bitsandbytes_own_layer(tiny_opt: Path) -> None:
    model, _ = load_model(tiny_opt, Variant("cpu-int4", "cpu", "bfloat16", "int4"))
    packed = {n: m for n, m in model.named_modules() if nf4_packing.is_packed(m)}
    nf4_linear.quicken(model)
    quick = dict(model.named_modules())
    assert len(packed) == 6 * model.config.text_config.num_hidden_layers
    for name, layer in packed.items():
        assert isinstance(quick[name], nf4_linear.PackedNF4Linear)
        for rows in (1, 7, 40):
            values = torch.randn(rows, 3, layer.in_features).bfloat16().transpose(0, 1)
            with torch.inference_mode():
                assert torch.equal(quick[name](values), layer(values))


def test_what_runs_in_fp32_is_left_alone(tiny_opt: Path) -> None:
    model, _ = load_model(tiny_opt, Variant("cpu-fp32+int4", "cpu", "float32", "int4"))
    nf4_linear.quicken(model)
    assert not any(isinstance(m, nf4_linear.PackedNF4Linear) for m in model.modules())

"""The image encoder in int8: its products, what it does to features, and when it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import (
    Engine,
    GenerationSettings,
    KeptWeights,
    Machine,
    ModelManager,
    distance,
    int8_vision,
    locate,
    parse,
    read_machine,
    weights,
)
from blip2_widget.model.int8_vision import Int8Linear

ROOMY = Machine(64 * 10**9, 60 * 10**9, cpu_bf16=True)

pytestmark = pytest.mark.skipif(
    not (int8_vision.runs_here() and read_machine().cpu_int8),
    reason="needs a torch with oneDNN, and a processor whose int8 products do not saturate",
)


def load(folder: Path, variant: str, kept: KeptWeights | None = None) -> Engine:
    manager, located = ModelManager(machine=lambda: ROOMY, weights=kept), locate(parse(str(folder)))
    try:
        return manager.load(located, manager.choose(located, variant)).result(60)
    finally:
        manager.close()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 255, 256, 600])
def test_a_layers_output_is_near_the_unquantised_one(
    dtype: torch.dtype, bias: bool, rows: int
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(192, 160, bias=bias)
    inputs = torch.randn(2, rows, 192) * torch.logspace(-3, 3, rows)[:, None]
    expected = linear(inputs)
    layer = Int8Linear.of(linear.to(dtype))
    layer.pack()
    with torch.inference_mode():
        found = layer(inputs.to(dtype))
    assert found.dtype == dtype and found.shape == expected.shape
    # Row by row: each token has a scale of its own, so small ones do not drown.
    off = (found.float() - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert off.max() < 0.02


def test_rows_and_weights_of_zeros_give_the_bias() -> None:
    linear = nn.Linear(64, 64)
    with torch.no_grad():
        linear.weight[:32].zero_()
    layer = Int8Linear.of(linear)
    layer.pack()
    with torch.inference_mode():
        output = layer(torch.zeros(3, 64))
        assert torch.equal(output, linear.bias.expand(3, 64))
        assert torch.equal(layer(torch.randn(3, 64))[:, :32], linear.bias[:32].expand(3, 32))


def test_all_of_the_encoders_layers_are_int8_and_nothing_else(tiny_opt: Path) -> None:
    model = load(tiny_opt, "cpu-int8+bf16").model
    quantized = [name for name, m in model.named_modules() if isinstance(m, Int8Linear)]
    assert len(quantized) == 4 * model.config.vision_config.num_hidden_layers
    assert all(name.startswith("vision_model.encoder.layers.") for name in quantized)
    assert not any(isinstance(m, nn.Linear) for m in model.vision_model.encoder.modules())


@pytest.mark.parametrize("language", ["bf16", "int8", "int4"])
def test_what_is_kept_gives_the_same_features_and_answers(
    tiny_opt: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    noise: list[Image.Image],
    language: str,
) -> None:
    monkeypatch.setattr(weights, "_WORTH_KEEPING", 0)
    kept = KeptWeights(tmp_path / "weights")
    settings = GenerationSettings(max_new_tokens=8)
    expected = load(tiny_opt, f"cpu-int8+{language}")
    features = expected.encode(noise)
    load(tiny_opt, f"cpu-int8+{language}", kept)
    # Another time nothing is quantised.
    monkeypatch.setattr(int8_vision, "quantize", None)
    again = load(tiny_opt, f"cpu-int8+{language}", kept)
    assert torch.equal(again.encode(noise), features)
    assert again.generate(features, [""] * 6, settings) == expected.generate(
        features, [""] * 6, settings
    )


def test_the_demos_features_stay_near_and_differ() -> None:
    before = load(demo.CHECKPOINT, "cpu-bf16")
    after = load(demo.CHECKPOINT, "cpu-int8+bf16")
    moved = distance.between(
        *(distance.features(each.model, each.processor) for each in (before, after))
    )
    assert 0.001 < moved < 0.03
    # Measured at load, before the engine takes other, equally exact ways through its layers.
    assert after.model.vision_model.distance == pytest.approx(moved, rel=0.25)


def test_distance_is_of_the_picture_that_moves_most() -> None:
    before = torch.ones(3, 2, 4)
    after = before.clone()
    after[1] *= 1.5
    after[2] *= 0.9
    assert distance.between(before, after) == pytest.approx(0.5)


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_checkpoint_that_moves_too_far_is_refused(
    tiny_opt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    monkeypatch.setattr(weights, "_WORTH_KEEPING", 0)
    kept = KeptWeights(tmp_path / "weights")
    if is_kept:  # under a laxer bound
        load(tiny_opt, "cpu-int8+int8", kept)
    size = kept.size()
    monkeypatch.setattr(distance, "BOUND", 1e-4)
    with pytest.raises(Blip2Error, match=r"moves .* features by \d+%.*--variant cpu-int8$"):
        load(tiny_opt, "cpu-int8+int8", kept)
    assert kept.size() == size  # neither added to, nor blamed and dropped
    with pytest.raises(Blip2Error, match=r"--variant cpu-bf16$"):
        load(tiny_opt, "cpu-int8+bf16", kept)


def test_without_its_kernel_it_is_refused(tiny_opt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_vision, "runs_here", lambda: False)
    with pytest.raises(Blip2Error, match=r"needs a torch with oneDNN.*--variant cpu-int4$"):
        load(tiny_opt, "cpu-int8+int4")

"""Attention on a processor equals transformers' own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from transformers.models.opt.modeling_opt import eager_attention_forward

from blip2_widget.model import Engine, GenerationSettings, Variant, attention, distance
from blip2_widget.model.loading import load_model
from blip2_widget.model.packing import can_pack


@pytest.mark.parametrize("masks", [None, 1, 5])
@pytest.mark.parametrize("cached", [attention._CACHED, 2000, 1], ids=["all", "some", "one"])
def test_it_equals_eager_attention(
    monkeypatch: pytest.MonkeyPatch, masks: int | None, cached: int
) -> None:
    monkeypatch.setattr(attention, "_CACHED", cached)
    rows, heads, tokens, places, size = 5, 3, 7, 11, 16
    query = torch.randn(rows, tokens, heads, size).transpose(1, 2)  # as models have them
    key, value = torch.randn(2, rows, heads, places, size)
    mask = None
    if masks is not None:
        mask = torch.zeros(masks, 1, tokens, places).masked_fill_(
            torch.rand(masks, 1, tokens, places) > 0.7, torch.finfo(torch.float32).min
        )
    found, _ = attention.attend(nn.Identity(), query, key, value, mask, scaling=0.3)
    module = nn.Identity().eval()
    expected, _ = eager_attention_forward(module, query, key, value, mask, scaling=0.3)
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not can_pack(), reason="this torch has no packed products")
def test_features_in_bf16_are_those_of_the_model_as_it_was(
    tiny_opt: Path, noise: list[Image.Image]
) -> None:
    """Packed products, the fused activation and this attention beside transformers' own."""
    fp32 = Variant("cpu-fp32", "cpu", "float32", None)
    bf16 = Variant("cpu-bf16", "cpu", "bfloat16", None)
    exact = Engine(*load_model(tiny_opt, fp32), fp32).encode(noise)
    model, processor = load_model(tiny_opt, bf16)
    pixels = processor.image_processor(noise, return_tensors="pt").pixel_values.bfloat16()
    with torch.inference_mode():
        output = model.get_image_features(pixels, return_dict=True)
    plain = output.qformer_outputs.last_hidden_state.float()
    found = Engine(model, processor, bf16).encode(noise).float()
    assert not torch.equal(found, plain)  # it is another way
    assert distance.between(exact, found) < 1.3 * distance.between(exact, plain)


@pytest.mark.skipif(not can_pack(), reason="this torch has no packed products")
def test_answers_come_through_it_and_beams_keep_their_mask(tiny_opt: Path) -> None:
    variants = [Variant("cpu-bf16", "cpu", "bfloat16", None), Variant("", "cpu", "float32", None)]
    engine, exact = (Engine(*load_model(tiny_opt, each), each) for each in variants)
    for part in (engine.model.vision_model, engine.model.qformer, engine.model.language_model):
        assert part.config._attn_implementation == attention.NAME
    features = torch.randn(2, 32, engine.model.config.qformer_config.hidden_size)
    prompts = ["a", "how many dogs are in the picture there?"]  # so one is padded
    settings = GenerationSettings(max_new_tokens=4, num_beams=3)
    for one, other in zip(
        engine.generate(features, prompts, settings),
        exact.generate(features, prompts, settings),
        strict=True,
    ):
        assert one.logprob == pytest.approx(other.logprob, rel=0.02)

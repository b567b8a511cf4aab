"""Batch sizes: what is quickest on the device, as far as its memory goes."""

from __future__ import annotations

from types import SimpleNamespace

from blip2_widget.model import BatchSizes, Variant, batch_sizes

OPT_27B = SimpleNamespace(
    vision_config=SimpleNamespace(
        image_size=224,
        patch_size=14,
        hidden_size=1408,
        intermediate_size=6144,
        num_attention_heads=16,
    ),
    text_config=SimpleNamespace(num_hidden_layers=32, hidden_size=2560, vocab_size=50304),
    num_query_tokens=32,
)
CPU = Variant("cpu-bf16", "cpu", "bfloat16", None)
GPU = Variant("cuda-bf16", "cuda:0", "bfloat16", None)


def test_with_much_memory_sizes_are_those_of_the_device() -> None:
    assert batch_sizes(OPT_27B, CPU, 100 << 30, 30) == BatchSizes(8, 64)
    assert batch_sizes(OPT_27B, GPU, 100 << 30, 30) == BatchSizes(64, 256)


def test_short_memory_long_answers_and_beams_make_them_smaller() -> None:
    little = batch_sizes(OPT_27B, CPU, 1 << 30, 30)
    assert 1 <= little.answers < 10 and little.pictures == 8
    assert batch_sizes(OPT_27B, CPU, 1 << 30, 500).answers == 1
    assert batch_sizes(OPT_27B, CPU, 8 << 30, 30, beams=5).answers <= 64 / 4
    assert batch_sizes(OPT_27B, CPU, 0, 30) == BatchSizes(1, 1)

"""The process's TF32 switch is borrowed, by several at a time too."""

from __future__ import annotations

import torch

from blip2_widget.model.tf32 import tf32_allowed


def test_it_is_allowed_until_the_last_has_ended_and_then_as_before() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    first, second = tf32_allowed(), tf32_allowed()
    first.__enter__()
    second.__enter__()
    assert matmul.allow_tf32
    first.__exit__(None, None, None)
    assert matmul.allow_tf32
    second.__exit__(None, None, None)
    assert matmul.allow_tf32 == before

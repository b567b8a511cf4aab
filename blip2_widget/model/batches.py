"""How many pictures and answers to compute at a time: what is quickest, as far as memory goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blip2_widget.model.variants import Variant

#: The most pictures and answers: more are hardly quicker, on a processor by measurement, on a GPU
#: because its units are busy.
_ON_PROCESSOR = (64, 64)
_ON_GPU = (64, 256)
#: Bytes that the pictures of a batch may fill on a processor, where larger ones leave its caches:
#: eight pictures of the published checkpoints, which is where their time a picture is lowest.
_CACHED = 110_000_000
#: The share of free memory that a batch may take.
_SHARE = 0.25
#: Prompt tokens that are reckoned with; a longer prompt is what halving a batch is for.
_PROMPT_TOKENS = 48


@dataclass(frozen=True)
class BatchSizes:
    """`pictures` that are encoded at a time and `answers` that are generated at a time."""

    pictures: int
    answers: int


def batch_sizes(
    config: Any, variant: Variant, free: int, new_tokens: int, beams: int = 1
) -> BatchSizes:
    """Sizes for a model of this transformers configuration with `free` bytes of memory."""
    most_pictures, most_answers = _ON_GPU if variant.is_cuda else _ON_PROCESSOR
    width = 4 if variant.dtype == "float32" else 2
    room = int(free * _SHARE)
    picture_room = room if variant.is_cuda else min(room, _CACHED)
    return BatchSizes(
        max(min(most_pictures, picture_room // (_picture_values(config) * width)), 1),
        max(min(most_answers, room // (beams * _answer_values(config, new_tokens) * width)), 1),
    )


def _picture_values(config: Any) -> int:
    """Numbers that one picture has in memory at the widest point of an encoder layer."""
    vision = config.vision_config
    tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    scores = 2 * vision.num_attention_heads * tokens**2
    return int(tokens * (4 * vision.hidden_size + 2 * vision.intermediate_size) + scores)


def _answer_values(config: Any, new_tokens: int) -> int:
    """Numbers that one answer has in memory: keys, values and logits, in 16 bit as in 32."""
    text = config.text_config
    tokens = config.num_query_tokens + _PROMPT_TOKENS + new_tokens
    return int(2 * text.num_hidden_layers * text.hidden_size * tokens + 4 * text.vocab_size)

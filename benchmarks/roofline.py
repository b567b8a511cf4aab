"""The least time an answer can take: its arithmetic and its weights' way through memory.

Work is counted from a checkpoint's configuration, for decoder-only (OPT) language models. Each
phase takes the longer of its products at the measured rate and its bytes at the measured
bandwidth; phases follow each other. Norms, activations and soft-max count nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

#: What is at hand when an answer is asked for: nothing but the picture, the Q-Former's output,
#: or the language model's keys and values for it as well.
Known = Literal["nothing", "features", "prefix"]


@dataclass(frozen=True)
class Limits:
    """Products (multiply and add are two) a second by precision, and bytes read a second."""

    products: Mapping[str, float]
    bandwidth: float


@dataclass(frozen=True)
class Precision:
    """What the encoder's and the language model's products run in, and bytes a weight takes;
    `plain_bytes` are those of the output's weights and of keys and values."""

    encoder: str
    encoder_bytes: float
    language: str
    language_bytes: float
    plain_bytes: float


#: By a variant's name without its device. int4 is unpacked to bf16 to be multiplied; its bytes
#: are half a weight and a fp32 scale for each block of 64.
PRECISIONS: Mapping[str, Precision] = {
    "fp32": Precision("fp32", 4, "fp32", 4, 4),
    "bf16": Precision("bf16", 2, "bf16", 2, 2),
    "fp16": Precision("fp16", 2, "fp16", 2, 2),
    "int8": Precision("bf16", 2, "int8", 1, 2),
    "int4": Precision("bf16", 2, "bf16", 0.5 + 4 / 64, 2),
    "int8+bf16": Precision("int8", 1, "bf16", 2, 2),
    "int8+int8": Precision("int8", 1, "int8", 1, 2),
    "int8+int4": Precision("int8", 1, "bf16", 0.5 + 4 / 64, 2),
}


@dataclass(frozen=True)
class Tower:
    """A stack of equal layers: products of one picture, and its weights."""

    flops: float
    weights: int


@dataclass(frozen=True)
class Work:
    """A checkpoint's work: both image towers, and the language model by token.

    `linear` are the weights of its layers, `head` those of the output, `width` times `layers` is
    what attention costs by token and token of context.
    """

    vision: Tower
    bridge: Tower
    image_tokens: int
    linear: int
    head: int
    width: int
    layers: int

    def read_flops(self, tokens: int, before: int = 0) -> float:
        """Reading `tokens` after `before` others."""
        seen = tokens * before + tokens * (tokens + 1) / 2  # causal: each sees what precedes it
        return 2 * tokens * self.linear + 4 * seen * self.width * self.layers

    def decode_flops(self, context: int) -> float:
        """One more token after `context` others, and the output for it."""
        return self.read_flops(1, context) + 2 * self.head

    def context_values(self, context: int) -> int:
        """Keys and values that a decoding step reads for one answer."""
        return 2 * context * self.width * self.layers


def work_of(config: Any) -> Work:
    """The work of a checkpoint, from its Blip2Config."""
    vision, qformer, text = config.vision_config, config.qformer_config, config.text_config
    if not config.use_decoder_only_language_model:
        raise ValueError("the work of encoder-decoder language models is not counted")
    patches = (vision.image_size // vision.patch_size) ** 2
    tokens = patches + 1  # the class token
    layer = 4 * vision.hidden_size**2 + 2 * vision.hidden_size * vision.intermediate_size
    patch = 3 * vision.patch_size**2 * vision.hidden_size
    vision_tower = Tower(
        vision.num_hidden_layers * (2 * tokens * layer + 4 * tokens**2 * vision.hidden_size)
        + 2 * patches * patch,
        vision.num_hidden_layers * layer + patch,
    )
    own = 4 * qformer.hidden_size**2 + 2 * qformer.hidden_size * qformer.intermediate_size
    # Queries attend to the picture in every so many layers; its tokens give keys and values.
    crossing = -(-qformer.num_hidden_layers // qformer.cross_attention_frequency)
    queries, width = config.num_query_tokens, qformer.hidden_size
    from_queries, from_picture = 2 * width**2, 2 * width * qformer.encoder_hidden_size
    projection = width * text.hidden_size
    bridge = Tower(
        qformer.num_hidden_layers * (2 * queries * own + 4 * queries**2 * width)
        + crossing
        * (2 * queries * from_queries + 2 * tokens * from_picture + 4 * queries * tokens * width)
        + 2 * queries * projection,
        qformer.num_hidden_layers * own + crossing * (from_queries + from_picture) + projection,
    )
    linear = text.num_hidden_layers * (
        4 * text.hidden_size**2 + 2 * text.hidden_size * text.ffn_dim
    )
    head = text.vocab_size * text.word_embed_proj_dim
    return Work(
        vision_tower, bridge, queries, linear, head, text.hidden_size, text.num_hidden_layers
    )


def work_of_folder(folder: Path) -> Work:
    """The work of a saved checkpoint."""
    from transformers import Blip2Config

    return work_of(Blip2Config.from_pretrained(folder, local_files_only=True))


def seconds_per_answer(
    work: Work,
    precision: Precision,
    limits: Limits,
    *,
    batch: int,
    text_tokens: int,
    new_tokens: int,
    known: Known = "nothing",
    answers_a_picture: int = 1,
) -> float:
    """The least time an answer takes where `batch` of them share every reading of the weights.

    With several answers a picture, the image towers run once for all of them, and the language
    model reads the picture's tokens once.
    """
    rate = limits.products[precision.language]
    size, bandwidth = precision.language_bytes, limits.bandwidth
    # Embedding and output stay unquantised.
    weights = work.linear * size + work.head * precision.plain_bytes
    total = 0.0
    if known == "nothing":
        for tower in (work.vision, work.bridge):
            computing = batch * tower.flops / limits.products[precision.encoder]
            reading = tower.weights * precision.encoder_bytes / bandwidth
            total += max(computing, reading) / answers_a_picture
    flops = work.read_flops(text_tokens, work.image_tokens) + 2 * work.head
    if known != "prefix":
        flops += work.read_flops(work.image_tokens) / answers_a_picture
    total += max(batch * flops / rate, weights / bandwidth)
    for step in range(new_tokens - 1):  # reading the prompt has given the first
        context = work.image_tokens + text_tokens + step
        computing = batch * work.decode_flops(context) / rate
        kept = batch * work.context_values(context) * precision.plain_bytes
        total += max(computing, (weights + kept) / bandwidth)
    return total / batch

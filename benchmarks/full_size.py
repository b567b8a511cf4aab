"""opt-2.7b at full size with random weights: what its speed and memory can be measured on.

`python -m benchmarks.full_size FOLDER` writes 7.5 GB. Its answers are noise, its cost is not.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    OPTConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from blip2_widget.demo.architecture import build_tokenizer


def language_model(**more: Any) -> OPTConfig:
    """The configuration of opt-2.7b; what is not given here is the published default."""
    return OPTConfig(
        hidden_size=2560,
        ffn_dim=10240,
        num_hidden_layers=32,
        num_attention_heads=32,
        word_embed_proj_dim=2560,
        vocab_size=50304,
        **more,
    )


def save_full_size(folder: Path, seed: int = 0) -> Path:
    """Build the published architecture in bf16 with random weights and save it; returns `folder`.

    A checkpoint that is there already is left as it is; a folder that is none must be empty.
    """
    if (folder / "config.json").exists():
        return folder
    tokenizer = build_tokenizer(["Question: how many dogs are there? Answer: two", "a photo of\n"])
    image_processor = BlipImageProcessorPil(size={"height": 224, "width": 224})
    processor = Blip2Processor(image_processor, tokenizer, num_query_tokens=32)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(initializer_range=0.02),
        qformer_config=Blip2QFormerConfig(),
        # The published end token. Random weights hardly ever write it, so that every answer has the
        # length that was asked for.
        text_config=language_model(eos_token_id=50118),
        num_query_tokens=32,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = Blip2ForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(torch.float32)
    # Whole or not at all: what an interrupted run has left must not be taken for a checkpoint.
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    model.save_pretrained(unfinished)
    processor.save_pretrained(unfinished)
    unfinished.replace(folder)
    return folder


def build(folder: str) -> None:
    """The same, for a process of its own: what building takes is given back with it."""
    save_full_size(Path(folder))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    save_full_size(parser.parse_args().folder)

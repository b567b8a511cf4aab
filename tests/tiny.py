"""Tiny BLIP-2 checkpoints with random weights, in the standard format, of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    T5Config,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

QUERIES = 4
_TEXTS = [
    "Question: how many dogs are in the picture? Answer: two",
    "Question: what colour is the sky? Short answer: blue\n",
    "a photo of a cat on a red sofa beside 3 birds",
]


def save_tiny(folder: Path, family: Literal["opt", "t5"], seed: int = 0, width: int = 64) -> Path:
    """Build a random checkpoint of a family and save it; its answers are noise, but repeatable."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer(family)
    ids = tokenizer.convert_tokens_to_ids
    size = len(tokenizer)
    if family == "opt":
        newline = tokenizer("\n", add_special_tokens=False).input_ids[-1]
        text = OPTConfig(
            vocab_size=size,
            hidden_size=width,
            ffn_dim=2 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            word_embed_proj_dim=width,
            max_position_embeddings=256,
            bos_token_id=ids("</s>"),
            pad_token_id=ids("<pad>"),
            eos_token_id=newline,
        )
    else:
        text = T5Config(
            vocab_size=size,
            d_model=64,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            pad_token_id=ids("<pad>"),
            eos_token_id=ids("</s>"),
            decoder_start_token_id=ids("<pad>"),
        )
    config = Blip2Config(
        vision_config=_vision(),
        qformer_config=Blip2QFormerConfig(
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            encoder_hidden_size=64,
            initializer_range=0.2,
        ),
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config).eval()
    with torch.no_grad():  # sharper than the default, so that answers differ between pictures
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.2)
        model.query_tokens.normal_()
    model.save_pretrained(folder)
    image_processor = BlipImageProcessorPil(size={"height": 28, "width": 28})
    Blip2Processor(image_processor, tokenizer, num_query_tokens=QUERIES).save_pretrained(folder)
    return folder


def save_tiny_itm(folder: Path, seed: int = 0) -> Path:
    """As `save_tiny`, a checkpoint that matches pictures with texts, laid out as the published."""
    torch.manual_seed(seed)
    tokenizer = _bert_tokenizer()
    image_processor = BlipImageProcessorPil(size={"height": 28, "width": 28})
    processor = Blip2Processor(image_processor, tokenizer, num_query_tokens=QUERIES)
    config = Blip2Config(
        vision_config=_vision(),
        qformer_config=Blip2QFormerConfig(
            # As there, <image> has no row: it stands for the queries and is never looked up.
            vocab_size=tokenizer.convert_tokens_to_ids("<image>"),
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=128,
            encoder_hidden_size=64,
            max_position_embeddings=48,
            initializer_range=0.2,
            use_qformer_text_input=True,
        ),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForImageTextRetrieval(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.2)
        model.query_tokens.normal_()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _vision() -> Blip2VisionConfig:
    return Blip2VisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
        initializer_range=0.2,
    )


def _bert_tokenizer() -> BertTokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted(set("".join(_TEXTS).lower()) | set("<>[]!,"))
    words += letters + [f"##{letter}" for letter in letters]
    words += sorted({word for text in _TEXTS for word in text.lower().split()} - set(words))
    vocabulary = {word: at for at, word in enumerate(dict.fromkeys(words))}
    return BertTokenizer(vocab=vocabulary, bos_token="[DEC]")


def _tokenizer(family: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<pad>", "</s>", "<image>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_TEXTS, trainer)
    # OPT begins a text with </s>; T5 ends it with one.
    template = "</s> $A" if family == "opt" else "$A </s>"
    backend.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("</s>", backend.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="</s>",
        padding_side="left",
    )

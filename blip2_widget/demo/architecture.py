"""The demo's tokenizers, processors and untrained models, laid out as those of the real BLIP-2."""

import string
from collections.abc import Iterable
from typing import Any, Final

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    GenerationConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

IMAGE_SIZE: Final = 64
PATCH_SIZE: Final = 8
GRID: Final = IMAGE_SIZE // PATCH_SIZE
QUERY_TOKENS: Final = 8
# bitsandbytes quantises in blocks of 64, so every linear layer's sides are multiples of 64.
WIDTH: Final = 128
VOCABULARY: Final = 512
MAX_POSITIONS: Final = 512
RETRIEVAL_LAYERS: Final = 3
RETRIEVAL_POSITIONS: Final = 128


def build_tokenizer(texts: Iterable[str]) -> Any:
    """Train a byte-level BPE on `texts`; it can write any text, as OPT's can.

    Special tokens stand where OPT has them: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3. Every text
    starts with `</s>`.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A $B", special_tokens=[("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=MAX_POSITIONS - QUERY_TOKENS,
        clean_up_tokenization_spaces=False,
    )


def build_processor(tokenizer: Any) -> Any:
    """The processor: adds the `<image>` token, and makes pictures 64 by 64."""
    image_processor = BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return Blip2Processor(image_processor, tokenizer, num_query_tokens=QUERY_TOKENS)


def build_model(tokenizer: Any) -> Any:
    """A model with fresh weights for this tokenizer."""
    # An answer ends with a line break, as the real model's do.
    (newline,) = tokenizer.encode("\n", add_special_tokens=False)
    vision = Blip2VisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        # The class's own default, 1e-10, leaves a tower that never learns.
        initializer_range=0.02,
    )
    # The Q-Former has no words of its own here; the real one keeps BERT's vocabulary size.
    qformer = Blip2QFormerConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        cross_attention_frequency=1,
        encoder_hidden_size=WIDTH,
        max_position_embeddings=QUERY_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    text = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        word_embed_proj_dim=WIDTH,
        ffn_dim=4 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=MAX_POSITIONS,
        dropout=0.0,
        attention_dropout=0.0,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=newline,
    )
    config = Blip2Config(
        vision_config=vision,
        qformer_config=qformer,
        text_config=text,
        num_query_tokens=QUERY_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=newline,
    )
    # Queries start as zeros by default, all alike; start them apart.
    torch.nn.init.normal_(model.query_tokens, std=0.5)
    return model


def build_retrieval_tokenizer(texts: Iterable[str]) -> Any:
    """Train a WordPiece on `texts`, without case, as BERT's, which the real Q-Former reads by.

    Every text is `[CLS] … [SEP]`, and padded on its right: its embedding stands in the first place.
    """
    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=True)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY - 1,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"],
        initial_alphabet=sorted(string.ascii_lowercase + string.digits + string.punctuation),
        show_progress=False,
    )
    wordpiece.train_from_iterator(texts, trainer)
    wordpiece.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, wordpiece.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=wordpiece,
        bos_token="[DEC]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        padding_side="right",
        model_max_length=RETRIEVAL_POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def build_retrieval_model(tokenizer: Any, first: Any) -> Any:
    """A retrieval model for this tokenizer, that sees as `first`, a model of `build_model`, does.

    The image encoder, the queries and the Q-Former's first layers are its own; what reads texts,
    and one more layer, are fresh.
    """
    known = first.config.qformer_config
    qformer = Blip2QFormerConfig(
        vocab_size=VOCABULARY,
        hidden_size=known.hidden_size,
        num_hidden_layers=RETRIEVAL_LAYERS,
        num_attention_heads=known.num_attention_heads,
        intermediate_size=known.intermediate_size,
        cross_attention_frequency=known.cross_attention_frequency,
        encoder_hidden_size=known.encoder_hidden_size,
        max_position_embeddings=RETRIEVAL_POSITIONS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
        use_qformer_text_input=True,
    )
    config = Blip2Config(
        vision_config=first.config.vision_config,
        qformer_config=qformer,
        num_query_tokens=QUERY_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForImageTextRetrieval(config)
    known_weights = first.state_dict()
    own = {name: known_weights[name] for name in model.state_dict() if name in known_weights}
    model.load_state_dict(own, strict=False)
    return model

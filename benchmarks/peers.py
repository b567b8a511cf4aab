"""What people write today: the model card's loop, batches by hand, the pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from benchmarks.pictures import CAPTION_PROMPT, QUESTIONS, noise

#: Pictures and prompts to texts.
Answerer = Callable[[Sequence[Image], Sequence[str]], list[str]]

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Peer:
    """One of them: "card", "batched" or "pipeline", and how it is run."""

    kind: str
    variant: str
    checkpoint: str
    batch: int
    new_tokens: int


def time_answers(peer: Peer, task: str, count: int, seed: str) -> dict[str, Any]:
    """Seconds an answer to one prompt on each of `count` pictures, after a warm-up."""
    from transformers import AutoTokenizer

    answers = load(peer)
    prompts = [prompt_of(task, number) for number in range(count)]
    warm_up = noise(min(peer.batch, count), f"{seed}-warm-up")
    answers(warm_up, [prompts[0]] * len(warm_up))
    pictures = noise(count, seed)
    began = time.perf_counter()
    texts = answers(pictures, prompts)
    seconds = time.perf_counter() - began
    if len(texts) != count:
        raise RuntimeError(f"{len(texts)} answers to {count} prompts")
    tokenizer = AutoTokenizer.from_pretrained(peer.checkpoint, local_files_only=True)
    tokens = len(tokenizer(prompts[0]).input_ids)
    return {"seconds": seconds / count, "text_tokens": tokens, "batch": peer.batch}


def prompt_of(task: str, number: int) -> str:
    """The whole prompt of a caption, or of one of ten questions."""
    if task == "captions":
        return CAPTION_PROMPT
    return f"Question: {QUESTIONS[number % len(QUESTIONS)]} Answer:"


def load(peer: Peer) -> Answerer:
    """The peer with its model in memory."""
    return {"card": _card_loop, "batched": _batched, "pipeline": _pipeline}[peer.kind](peer)


def _card_loop(peer: Peer) -> Answerer:
    """As https://huggingface.co/Salesforce/blip2-opt-2.7b has it, one picture at a time."""
    processor, model = _load_model(peer)

    def answers(pictures: Sequence[Image], prompts: Sequence[str]) -> list[str]:
        texts = []
        for picture, prompt in zip(pictures, prompts, strict=True):
            inputs = processor(picture, prompt, return_tensors="pt").to(model.device, model.dtype)
            output = model.generate(**inputs, max_new_tokens=peer.new_tokens)
            texts.append(processor.decode(output[0], skip_special_tokens=True).strip())
        return texts

    return answers


def _batched(peer: Peer) -> Answerer:
    processor, model = _load_model(peer)

    def answers(pictures: Sequence[Image], prompts: Sequence[str]) -> list[str]:
        texts: list[str] = []
        for at in range(0, len(pictures), peer.batch):
            some = slice(at, at + peer.batch)
            inputs = processor(
                images=list(pictures[some]),
                text=list(prompts[some]),
                padding=True,
                return_tensors="pt",
            ).to(model.device, model.dtype)
            output = model.generate(**inputs, max_new_tokens=peer.new_tokens)
            texts += processor.batch_decode(output, skip_special_tokens=True)
        return texts

    return answers


def _pipeline(peer: Peer) -> Answerer:
    import torch
    from transformers import pipeline

    device, _, precision = peer.variant.partition("-")
    pipe = pipeline(
        "image-text-to-text",
        model=peer.checkpoint,
        dtype=getattr(torch, _DTYPES[precision]),
        device=device,
    )

    def answers(pictures: Sequence[Image], prompts: Sequence[str]) -> list[str]:
        found = pipe(
            images=list(pictures),
            text=list(prompts),
            batch_size=peer.batch,
            max_new_tokens=peer.new_tokens,
        )
        return [each["generated_text"] for each in found]

    return answers


def _load_model(peer: Peer) -> tuple[Any, Any]:
    import torch
    from transformers import BitsAndBytesConfig, Blip2ForConditionalGeneration, Blip2Processor

    device, _, precision = peer.variant.partition("-")
    options: dict[str, Any] = {}
    if precision in _DTYPES:
        options["dtype"] = getattr(torch, _DTYPES[precision])
    else:  # as the card has it, which leaves only the output alone
        bits = {"int8": "load_in_8bit", "int4": "load_in_4bit"}[precision]
        options["dtype"] = torch.float16 if device == "cuda" else torch.bfloat16
        options["quantization_config"] = BitsAndBytesConfig(**{bits: True})
    processor = Blip2Processor.from_pretrained(peer.checkpoint, local_files_only=True)
    model = Blip2ForConditionalGeneration.from_pretrained(
        peer.checkpoint, device_map={"": device}, local_files_only=True, **options
    )
    return processor, model.eval()

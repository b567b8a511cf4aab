"""The engine gives, token for token, what `Blip2ForConditionalGeneration.generate` gives."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import (
    Cancelled,
    Engine,
    GenerationSettings,
    Variant,
    conversation_text,
    prompt_text,
)
from blip2_widget.model.loading import load_model

CPU_VARIANTS = [
    Variant("cpu-fp32", "cpu", "float32", None),
    Variant("cpu-bf16", "cpu", "bfloat16", None),
    Variant("cpu-int8", "cpu", "bfloat16", "int8"),
    Variant("cpu-int4", "cpu", "bfloat16", "int4"),
]
_engines: dict[tuple[str, str], Engine] = {}


def engine_of(folder: Path, variant: Variant) -> Engine:
    key = (str(folder), variant.name)
    if key not in _engines:
        _engines[key] = Engine(*load_model(folder, variant), variant)
    return _engines[key]


@pytest.fixture(params=["demo", "opt", "t5"])
def checkpoint(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """A checkpoint's folder and its family."""
    if request.param == "demo":
        return demo.CHECKPOINT, "opt"
    folder: Path = request.getfixturevalue(f"tiny_{request.param}")
    return folder, request.param


def reference(
    engine: Engine, images: list[Image.Image], prompts: list[str], **settings: object
) -> list[list[int]]:
    """New tokens from transformers' own generate, end token and padding cut off."""
    # The processor pads behind the picture's tokens. OPT's positions count real tokens alone, T5's
    # all that lie between two: there padding goes behind the prompts, as in LAVIS' blip2_t5.py.
    side = "right" if engine.is_encoder_decoder else "left"
    inputs = engine.processor(
        images=images, text=prompts, return_tensors="pt", padding=True, padding_side=side
    )
    inputs["pixel_values"] = inputs["pixel_values"].to(engine.model.vision_model.dtype)
    with torch.inference_mode():
        output = engine.model.generate(**inputs, **settings)
    start = 1 if engine.is_encoder_decoder else inputs["input_ids"].shape[1]
    rows = []
    for row in output[:, start:].tolist():
        end = next((at for at, token in enumerate(row) if token in engine.end_tokens), len(row))
        rows.append(row[:end])
    return rows


def prompts_for(family: str) -> list[str]:
    """A caption, a caption with a beginning, questions, and a conversation."""
    return [
        "",
        "a picture of",
        prompt_text("what shape is in the image?", "question", family),
        prompt_text("how many red circles are in the picture?", "question", family),
        conversation_text(
            [("what colour is the shape?", "red"), ("is it a circle?", "no")], "what shape is it?"
        ),
        prompt_text("is there a triangle?", "question", family),
    ]


@pytest.mark.parametrize("variant", CPU_VARIANTS, ids=lambda variant: variant.name)
def test_single_answers_equal_generate(
    checkpoint: tuple[Path, str], variant: Variant, noise: list[Image.Image]
) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, variant)
    settings = GenerationSettings(max_new_tokens=10)
    for image, prompt in zip(noise, prompts_for(family), strict=True):
        [answer] = engine.generate(engine.encode([image]), [prompt], settings)
        assert [list(answer.tokens)] == reference(engine, [image], [prompt], max_new_tokens=10)


@pytest.mark.parametrize("variant", CPU_VARIANTS, ids=lambda variant: variant.name)
def test_batched_answers_equal_generate(
    checkpoint: tuple[Path, str], variant: Variant, noise: list[Image.Image]
) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, variant)
    prompts = prompts_for(family)
    answers = engine.generate(engine.encode(noise), prompts, GenerationSettings(max_new_tokens=10))
    assert [list(answer.tokens) for answer in answers] == reference(
        engine, noise, prompts, max_new_tokens=10
    )


@pytest.mark.parametrize("num_beams", [1, 3])
def test_who_shares_a_batch_changes_no_answer(
    checkpoint: tuple[Path, str], noise: list[Image.Image], num_beams: int
) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, CPU_VARIANTS[0])
    features, prompts = engine.encode(noise), prompts_for(family)
    settings = GenerationSettings(max_new_tokens=10, num_beams=num_beams)
    alone = [
        engine.generate(features[row : row + 1], [prompt], settings)[0]
        for row, prompt in enumerate(prompts)
    ]
    for row, answer in enumerate(engine.generate(features, prompts, settings)):
        assert answer.tokens == alone[row].tokens
        assert answer.logprob == pytest.approx(alone[row].logprob, abs=1e-3)
    alone_too = [
        reference(engine, [image], [prompt], max_new_tokens=10, num_beams=num_beams)[0]
        for image, prompt in zip(noise, prompts, strict=True)
    ]
    assert [list(answer.tokens) for answer in alone] == alone_too


def test_beams_equal_generate(checkpoint: tuple[Path, str], noise: list[Image.Image]) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, CPU_VARIANTS[0])
    prompts = prompts_for(family)
    settings = GenerationSettings(max_new_tokens=8, num_beams=3)
    answers = engine.generate(engine.encode(noise), prompts, settings)
    assert [list(answer.tokens) for answer in answers] == reference(
        engine, noise, prompts, max_new_tokens=8, num_beams=3
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.5},
        {"min_new_tokens": 7},
        {"num_beams": 3, "length_penalty": -1.0, "min_new_tokens": 2},
        {"num_beams": 3, "length_penalty": 3.0, "repetition_penalty": 1.5},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_lavis_settings_equal_generate(
    checkpoint: tuple[Path, str], noise: list[Image.Image], settings: dict[str, Any]
) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, CPU_VARIANTS[0])
    prompts, features = prompts_for(family), engine.encode(noise)
    mine = GenerationSettings(max_new_tokens=10, **settings)
    answers = engine.generate(features, prompts, mine)
    found = [list(answer.tokens) for answer in answers]
    assert found == reference(engine, noise, prompts, max_new_tokens=10, **settings)


def test_a_least_length_is_in_tokens_and_changes_answers(noise: list[Image.Image]) -> None:
    engine = engine_of(demo.CHECKPOINT, CPU_VARIANTS[0])
    prompts, features = prompts_for("opt")[2:], engine.encode(noise[2:])
    settings = GenerationSettings(max_new_tokens=8, min_new_tokens=5)
    answers = engine.generate(features, prompts, settings)
    assert all(5 <= len(answer.tokens) <= 8 for answer in answers)
    usual = engine.generate(features, prompts, GenerationSettings(max_new_tokens=8))
    assert min(len(answer.tokens) for answer in usual) < 5


def test_several_beams_equal_generate(
    checkpoint: tuple[Path, str], noise: list[Image.Image]
) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, CPU_VARIANTS[0])
    prompts, features = prompts_for(family), engine.encode(noise)
    settings = GenerationSettings(max_new_tokens=8, num_beams=4, k=3)
    answers = engine.generate(features, prompts, settings)
    several = reference(
        engine, noise, prompts, max_new_tokens=8, num_beams=4, num_return_sequences=3
    )
    for row, answer in enumerate(answers):
        texts = [engine.text(tokens) for tokens in several[3 * row : 3 * row + 3]]
        assert [text for text, _ in answer.alternatives] == list(dict.fromkeys(texts))
    # The answer is what is found where one is asked for.
    alone = engine.generate(features, prompts, GenerationSettings(max_new_tokens=8, num_beams=4))
    assert [answer.text for answer in answers] == [answer.text for answer in alone]


def test_several_samples_are_different_draws_the_likeliest_first(
    checkpoint: tuple[Path, str], noise: list[Image.Image]
) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, CPU_VARIANTS[0])
    prompts, features = prompts_for(family), engine.encode(noise)
    settings = GenerationSettings(max_new_tokens=8, temperature=1.5, top_p=0.95, seed=3, k=4)
    answers = engine.generate(features, prompts, settings)
    assert engine.generate(features, prompts, settings) == answers
    alone = engine.generate(features, prompts, replace(settings, k=1))
    for answer in answers:
        texts = [text for text, _ in answer.alternatives]
        logprobs = [logprob for _, logprob in answer.alternatives]
        assert len(set(texts)) == len(texts) <= 4
        assert logprobs == sorted(logprobs, reverse=True)
        assert (answer.text, answer.logprob) == answer.alternatives[0]
    # Logits of a batch may differ in their last bits, which can tip a draw that is that close.
    drawn = [dict(answer.alternatives) for answer in answers]
    assert sum(one.text in several for one, several in zip(alone, drawn, strict=True)) >= 5
    assert max(map(len, drawn)) > 1


def test_samples_that_say_the_same_are_one_alternative(noise: list[Image.Image]) -> None:
    engine = engine_of(demo.CHECKPOINT, CPU_VARIANTS[0])
    settings = GenerationSettings(temperature=1e-3, seed=1, k=5)
    [answer] = engine.generate(engine.encode(noise[:1]), [""], settings)
    assert answer.alternatives == ((answer.text, answer.logprob),)


def test_settings_that_are_left_alone_are_stored_as_ever() -> None:
    """Should these change, nobody's stored answers would be found again."""
    assert GenerationSettings(seed=1).stored_as() == {"max_new_tokens": 30, "num_beams": 1}
    assert GenerationSettings(10, 3, 0.5, seed=1).stored_as() == {
        "max_new_tokens": 10,
        "num_beams": 3,
        "temperature": 0.5,
        "top_p": 1.0,
    }


def test_what_decides_an_answer_is_stored_and_nothing_else() -> None:
    different: list[dict[str, Any]] = [
        {},
        {"min_new_tokens": 2},
        {"repetition_penalty": 1.5},
        {"num_beams": 2},
        {"num_beams": 2, "k": 2},
        {"num_beams": 2, "length_penalty": 2.0},
        {"choices": ("yes", "no")},
        {"choices": ("yes", "no"), "length_normalised": True},
    ]
    stored = [GenerationSettings(**settings).stored_as() for settings in different]
    assert all(one not in stored[:at] for at, one in enumerate(stored))
    assert GenerationSettings(length_penalty=2.0).stored_as() == stored[0]
    ordered = GenerationSettings(choices=("no", "yes"), max_new_tokens=7, seed=1)
    assert ordered.stored_as() == stored[6]


def test_a_seeded_sample_equals_generate(
    checkpoint: tuple[Path, str], noise: list[Image.Image]
) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, CPU_VARIANTS[0])
    settings = GenerationSettings(max_new_tokens=8, temperature=1.5, top_p=0.95, seed=3)
    for image, prompt in zip(noise, prompts_for(family), strict=True):
        [answer] = engine.generate(engine.encode([image]), [prompt], settings)
        torch.manual_seed(3)
        expected = reference(
            engine,
            [image],
            [prompt],
            max_new_tokens=8,
            do_sample=True,
            temperature=1.5,
            top_p=0.95,
            top_k=0,
        )
        assert [list(answer.tokens)] == expected


def test_a_seeded_sample_draws_the_same_numbers_whatever_its_batch(
    checkpoint: tuple[Path, str], noise: list[Image.Image]
) -> None:
    folder, family = checkpoint
    engine = engine_of(folder, CPU_VARIANTS[0])
    prompts, features = prompts_for(family), engine.encode(noise)
    settings = GenerationSettings(max_new_tokens=8, temperature=1.5, seed=3)
    together = engine.generate(features, prompts, settings)
    alone = [
        engine.generate(features[row : row + 1], prompts[row : row + 1], settings)[0]
        for row in range(len(prompts))
    ]
    # Logits of a batch may differ in their last bits, which can tip a draw that is that close.
    assert sum(a.tokens == b.tokens for a, b in zip(together, alone, strict=True)) >= 5


def test_seeded_sampling_leaves_the_callers_generator_alone(
    tiny_opt: Path, noise: list[Image.Image]
) -> None:
    engine = engine_of(tiny_opt, CPU_VARIANTS[0])
    features = engine.encode(noise[:1])
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    engine.generate(features, [""], GenerationSettings(temperature=1.0, seed=1))
    assert torch.equal(torch.rand(3), expected)


def test_different_seeds_give_different_samples(tiny_opt: Path, noise: list[Image.Image]) -> None:
    engine = engine_of(tiny_opt, CPU_VARIANTS[0])
    features = engine.encode(noise[:1])
    texts = {
        engine.generate(features, [""], GenerationSettings(temperature=2.0, seed=seed))[0].tokens
        for seed in range(6)
    }
    assert len(texts) > 1


def test_an_answer_stops_at_the_end_token_and_leaves_it_out(
    tiny_opt: Path, noise: list[Image.Image]
) -> None:
    engine = Engine(*load_model(tiny_opt, CPU_VARIANTS[0]), CPU_VARIANTS[0])
    features = engine.encode(noise[:1])
    settings = GenerationSettings(max_new_tokens=8)
    [whole] = engine.generate(features, ["a"], settings)
    at = next(at for at, token in enumerate(whole.tokens) if token not in whole.tokens[:at] and at)
    engine.end_tokens = frozenset([whole.tokens[at]])
    [cut] = engine.generate(features, ["a"], settings)
    assert cut.tokens == whole.tokens[:at]


def test_features_have_a_row_a_picture_in_the_variants_type(
    tiny_opt: Path, noise: list[Image.Image]
) -> None:
    features = engine_of(tiny_opt, CPU_VARIANTS[1]).encode(noise)
    assert features.shape == (6, 4, 64)
    assert features.dtype == torch.bfloat16


def test_unequal_counts_are_refused(tiny_opt: Path, noise: list[Image.Image]) -> None:
    engine = engine_of(tiny_opt, CPU_VARIANTS[0])
    with pytest.raises(ValueError, match="2 rows of features but 1 prompts"):
        engine.generate(engine.encode(noise[:2]), [""], GenerationSettings())


def test_cancel_stops_within_one_step(tiny_opt: Path, noise: list[Image.Image]) -> None:
    engine = engine_of(tiny_opt, CPU_VARIANTS[0])
    steps = 0
    cancel = threading.Event()

    def count(module: object, arguments: object, output: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            cancel.set()

    def between() -> None:
        if cancel.is_set():
            raise Cancelled

    hook = engine.model.language_model.register_forward_hook(count)
    try:
        with pytest.raises(Cancelled):
            engine.generate(
                engine.encode(noise[:1]), ["a"], GenerationSettings(max_new_tokens=100), between
            )
    finally:
        hook.remove()
    assert steps == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("num_beams", 0),
        ("temperature", 0.0),
        ("top_p", 1.5),
        ("min_new_tokens", 31),
        ("length_penalty", float("nan")),
        ("repetition_penalty", 0.0),
        ("k", 0),
        ("length_normalised", True),
    ],
)
def test_impossible_settings_are_refused(field: str, value: float) -> None:
    with pytest.raises(Blip2Error, match=field):
        GenerationSettings(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 5}, "5 answers cannot come of one beam; write num_beams=5"),
        ({"k": 5, "num_beams": 3}, "5 answers cannot come of 3 beams"),
        ({"choices": ("a", "b"), "k": 2, "num_beams": 2}, "choices are ranked, not generated"),
        ({"choices": ("a", "b"), "temperature": 1.0}, "choices are ranked, not generated"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(Blip2Error, match=said):
        GenerationSettings(**settings)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(
    "variant",
    [
        Variant("cuda-fp32", "cuda:0", "float32", None),
        Variant("cuda-fp16", "cuda:0", "float16", None),
        Variant("cuda-bf16", "cuda:0", "bfloat16", None),
        Variant("cuda-int8", "cuda:0", "bfloat16", "int8"),
        Variant("cuda-int4", "cuda:0", "bfloat16", "int4"),
    ],
    ids=lambda variant: variant.name,
)
def test_cuda_variants_answer_the_demos_questions(variant: Variant) -> None:
    engine = Engine(*load_model(demo.CHECKPOINT, variant), variant)
    samples = demo.samples()
    images = [Image.open(path).convert("RGB") for path in samples.image]
    prompts = [prompt_text(question, "question", "opt") for question in samples.question]
    answers = engine.generate(engine.encode(images), prompts, GenerationSettings())
    right = [
        answer.text == str(known) for answer, known in zip(answers, samples.answer, strict=False)
    ]
    assert sum(right) >= 0.95 * len(right)

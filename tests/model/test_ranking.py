"""Choices are as likely as the whole model says, whatever is read once and side by side."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Engine, GenerationSettings, Likelihood, Variant, ranked
from blip2_widget.model.loading import load_model

FP32 = Variant("cpu-fp32", "cpu", "float32", None)
CHOICES = ["red", "green", "a cat on a red sofa", "3 birds", "no"]
PROMPTS = ["Question: what colour is it? Answer:", "", "a picture of", "Question: is it? Answer:"]


@pytest.fixture(params=["demo", "opt", "t5"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "demo":
        return Engine(*load_model(demo.CHECKPOINT, FP32), FP32)
    return Engine(*load_model(request.getfixturevalue(f"tiny_{request.param}"), FP32), FP32)


def brute_force(engine: Engine, image: Image.Image, prompt: str, choice: str) -> Likelihood:
    """By transformers' whole forward over picture, prompt, choice and end, without any cache."""
    tokenizer = engine.processor.tokenizer
    inputs = engine.processor(images=[image], text=[prompt], return_tensors="pt")
    [end] = engine.end_tokens
    with torch.inference_mode():
        if engine.is_encoder_decoder:
            target = [*tokenizer(choice, add_special_tokens=False).input_ids, end]
            start = engine.model.config.text_config.decoder_start_token_id
            decoder = torch.tensor([[start, *target[:-1]]])
            logits = engine.model(**inputs, decoder_input_ids=decoder).logits[0]
        else:
            whole = tokenizer(f"{prompt} {choice}\n".lstrip()).input_ids
            target = whole[len(tokenizer(prompt).input_ids) :]
            assert target[-1] == end
            ids = torch.cat([inputs["input_ids"], torch.tensor([target])], dim=1)
            pixels = inputs["pixel_values"]
            read = engine.model(pixels, ids, attention_mask=torch.ones_like(ids)).logits[0]
            logits = read[-len(target) - 1 : -1]
    gains = logits.log_softmax(-1).gather(-1, torch.tensor(target)[:, None])
    return Likelihood(float(gains.double().sum()), len(target))


def assert_same(found: list[list[Likelihood]], expected: list[list[Likelihood]]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert [each.tokens for each in mine] == [each.tokens for each in theirs]
        assert [each.logprob for each in mine] == pytest.approx(
            [each.logprob for each in theirs], abs=1e-4
        )


def test_likelihoods_are_those_of_the_whole_model(engine: Engine, noise: list[Image.Image]) -> None:
    features = engine.encode(noise[:4])
    expected = [
        [brute_force(engine, image, prompt, choice) for choice in CHOICES]
        for image, prompt in zip(noise, PROMPTS, strict=False)
    ]
    assert len({each.tokens for each in expected[0]}) > 2
    assert_same(engine.rank(features, PROMPTS, [CHOICES] * 4), expected)
    alone = [
        engine.rank(features[at : at + 1], [prompt], [CHOICES])[0]
        for at, prompt in enumerate(PROMPTS)
    ]
    assert_same(alone, expected)
    # Rows may have choices of their own, as where many are ranked piece by piece.
    pieces = engine.rank(features, PROMPTS, [CHOICES[:1], CHOICES[1:], CHOICES, CHOICES[2:4]])
    assert_same(pieces, [expected[0][:1], expected[1][1:], expected[2], expected[3][2:4]])


def test_an_answer_is_as_likely_as_when_it_is_generated() -> None:
    engine = Engine(*load_model(demo.CHECKPOINT, FP32), FP32)
    samples = demo.samples()
    features = engine.encode([Image.open(path).convert("RGB") for path in samples.image])
    prompts = [f"Question: {question} Answer:" for question in samples.question]
    answers = engine.generate(features, prompts, GenerationSettings())
    found = engine.rank(features, prompts, [[answer.text] for answer in answers])
    for prompt, answer, [likelihood] in zip(prompts, answers, found, strict=True):
        assert engine.choice_ids(prompt, answer.text) == list(answer.tokens)
        assert likelihood.tokens == len(answer.tokens) + 1
        assert likelihood.logprob == pytest.approx(answer.logprob, abs=1e-4)


def test_a_remembered_prompt_is_not_read_again(
    engine: Engine, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.is_encoder_decoder:
        pytest.skip("nothing of a picture can be kept")
    features = engine.encode(noise[:1])
    expected = engine.rank(features, PROMPTS[:1], [CHOICES])
    read: list[int] = []
    real = engine.model.language_model.forward

    def counting(*arguments: object, **named: torch.Tensor) -> object:
        read.append(named["position_ids"].shape[1])
        return real(*arguments, **named)

    monkeypatch.setattr(engine.model.language_model, "forward", counting)
    found = [
        *engine.rank(features, PROMPTS[:1], [CHOICES[:2]], pictures=["p"], remember=True)[0],
        *engine.rank(features, PROMPTS[:1], [CHOICES[2:]], pictures=["p"], remember=True)[0],
    ]
    assert_same([found], expected)
    lengths = [len(engine.choice_ids(PROMPTS[0], choice)) for choice in CHOICES]
    # Picture, prompt, the first choices, and then only the others.
    assert len(read) == 4 and read[2:] == [sum(lengths[:2]), sum(lengths[2:])]


def test_the_distribution_is_over_the_choices_alone() -> None:
    likelihoods = {"yes": Likelihood(-800.0, 2), "no": Likelihood(-801.0, 4)}
    answer = ranked(likelihoods, length_normalised=False)
    assert answer.text == "yes" and [text for text, _ in answer.alternatives] == ["yes", "no"]
    assert math.fsum(math.exp(logprob) for _, logprob in answer.alternatives) == pytest.approx(1)
    assert math.exp(answer.logprob) == pytest.approx(1 / (1 + math.exp(-1)))
    # By the token "no" is likelier: a quarter of -801 is more than half of -800.
    assert ranked(likelihoods, length_normalised=True).text == "no"


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (["yes"], "one choice, 'yes'"),
        (["yes", " "], "a choice is empty"),
        (["yes", "no", " yes "], "'yes' is there twice"),
    ],
)
def test_choices_that_cannot_be_ranked_are_refused(choices: list[str], said: str) -> None:
    with pytest.raises(Blip2Error, match=said):
        GenerationSettings(choices=tuple(choices))


def test_a_choice_that_is_too_long_says_so(tiny_opt: Path, noise: list[Image.Image]) -> None:
    engine = Engine(*load_model(tiny_opt, FP32), FP32)
    with pytest.raises(Blip2Error, match="this model reads 256"):
        engine.rank(engine.encode(noise[:1]), ["a"], [["red", "red " * 300]])

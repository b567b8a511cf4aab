"""The engine gives what `Blip2ForImageTextRetrieval.forward` gives, batched and single."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Cancelled, ModelManager, RetrievalEngine, Variant, locate, parse
from blip2_widget.model import similarity as similarity_of
from blip2_widget.model.loading import load_model

FP32 = Variant("cpu-fp32", "cpu", "float32", None)
BF16 = Variant("cpu-bf16", "cpu", "bfloat16", None)
#: Of several lengths, so that a batch of them is padded.
TEXTS = [
    "a cat",
    "three birds beside a red sofa, and a dog that looks at them",
    "the sky is blue",
    "",
    "Two Dogs!",
    "a photo of a cat on a red sofa",
]


@pytest.fixture(scope="module", params=["tiny", "demo"])
def folder(request: pytest.FixtureRequest, tiny_itm: Path) -> Path:
    return tiny_itm if request.param == "tiny" else demo.RETRIEVAL


@pytest.fixture(scope="module")
def engine(folder: Path) -> RetrievalEngine:
    return RetrievalEngine(*load_model(folder, FP32), FP32)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    """transformers' own model and processor, loaded as its documentation shows."""
    from transformers import AutoProcessor, Blip2ForImageTextRetrieval

    model = Blip2ForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(folder)


def forward(reference: Any, image: Image.Image, text: str, matching: bool) -> Any:
    """One picture and one text at a time, where nothing is padded."""
    model, processor = reference
    inputs = processor(images=image, text=text, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs, use_image_text_matching_head=matching)


def test_vectors_and_similarity_equal_transformers(
    engine: RetrievalEngine, reference: Any, noise: list[Image.Image]
) -> None:
    features = engine.embed_images(noise)
    pictures, texts = engine.project(features), engine.embed_texts(TEXTS)
    found = similarity_of(pictures, texts)
    config = engine.model.config
    queries = config.num_query_tokens
    assert features.shape == (6, queries, config.qformer_config.hidden_size)
    assert pictures.shape == (6, queries, 256)
    assert texts.shape == (6, 256) and found.shape == (6, 6)
    for at, image in enumerate(noise):
        for place, text in enumerate(TEXTS):
            said = forward(reference, image, text, matching=False)
            assert torch.allclose(said.image_embeds[0], pictures[at], atol=1e-5)
            assert torch.allclose(said.text_embeds[0], texts[place], atol=1e-5)
            assert found[at, place] == pytest.approx(float(said.logits_per_image), abs=1e-5)
    # What is compared differs, or equality would say nothing.
    assert found.std() > 0.01 and (texts[0] - texts[1]).norm() > 0.1


def test_matching_equals_transformers(
    engine: RetrievalEngine, reference: Any, noise: list[Image.Image]
) -> None:
    expected = []
    for image, text in zip(noise, TEXTS, strict=True):
        logits = forward(reference, image, text, matching=True).logits_per_image
        expected.append(float(logits.softmax(1)[0, 1]))
    seen = engine.see(noise)
    assert engine.match(seen, TEXTS) == pytest.approx(expected, abs=1e-5)
    single = [engine.match(seen[at : at + 1], [text])[0] for at, text in enumerate(TEXTS)]
    assert single == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.01


def test_bf16_is_near(folder: Path, engine: RetrievalEngine, noise: list[Image.Image]) -> None:
    rounded = RetrievalEngine(*load_model(folder, BF16), BF16)
    assert rounded.embed_images(noise).dtype == torch.bfloat16
    for exact, near in (
        (engine.project(engine.embed_images(noise)), rounded.project(rounded.embed_images(noise))),
        (engine.embed_texts(TEXTS), rounded.embed_texts(TEXTS)),
    ):
        assert near.dtype == torch.float32
        assert (exact * near).sum(-1).min() > 0.99
        assert near.norm(dim=-1) == pytest.approx(torch.ones(near.shape[:-1]), abs=0.01)
    exact_matches = engine.match(engine.see(noise), TEXTS)
    assert rounded.match(rounded.see(noise), TEXTS) == pytest.approx(exact_matches, abs=0.05)


def test_what_looks_like_a_special_token_is_text(engine: RetrievalEngine) -> None:
    plain, marked = engine.embed_texts(["a cat", "a cat <image>[SEP]<image>"])
    assert marked.norm() == pytest.approx(1, abs=1e-5) and (plain - marked).norm() > 0.01


def test_a_text_too_long_is_said_in_one_line(engine: RetrievalEngine) -> None:
    with pytest.raises(Blip2Error, match=r"has \d+ tokens and this model reads \d+: shorten it"):
        engine.embed_texts(["fine", "cat " * 150])
    engine.check("a cat")


def test_counts_must_agree(engine: RetrievalEngine, noise: list[Image.Image]) -> None:
    with pytest.raises(ValueError, match="2 pictures but 1 texts"):
        engine.match(engine.see(noise[:2]), ["a cat"])


def test_a_batch_can_be_stopped_between_layers(
    engine: RetrievalEngine, noise: list[Image.Image]
) -> None:
    seen = engine.see(noise)
    calls = []

    def stop() -> None:
        calls.append(1)
        raise Cancelled

    for compute in (
        lambda: engine.embed_images(noise, stop),
        lambda: engine.embed_texts(TEXTS, stop),
        lambda: engine.match(seen, TEXTS, stop),
    ):
        with pytest.raises(Cancelled):
            compute()
    assert len(calls) == 3
    assert len(engine.match(seen, TEXTS)) == 6


def test_the_manager_loads_it_like_any_other(tiny_itm: Path, noise: list[Image.Image]) -> None:
    manager = ModelManager()
    try:
        located = locate(parse(str(tiny_itm)), "match")
        resident = manager.hold(located, manager.choose(located, "cpu-fp32"))
        engine = resident.retrieval.result(60)
        assert isinstance(engine, RetrievalEngine)
        assert len(engine.match(engine.see(noise), TEXTS)) == 6
        manager.release(resident)
        assert [each.name for each in manager.unload()] == [str(tiny_itm)]
    finally:
        manager.close()


@pytest.mark.parametrize("name", ["cpu-int8", "cpu-int4", "cpu-int8+bf16", "cpu-fp32+int4"])
def test_quantised_variants_are_not_offered(tiny_itm: Path, name: str) -> None:
    manager = ModelManager()
    with pytest.raises(Blip2Error, match="no language model to quantise; write --variant cpu-bf16"):
        manager.choose(locate(parse(str(tiny_itm)), "match"), name)

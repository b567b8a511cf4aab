"""Several engines used as one. They share a processor here; on GPUs each has a device."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from blip2_widget.model import Cancelled, Engine, GenerationSettings, Variant
from blip2_widget.model.loading import load_model
from blip2_widget.model.replicas import Replicas

FP32 = Variant("cpu-fp32", "cpu", "float32", None)
TEN = GenerationSettings(max_new_tokens=10)


@pytest.fixture
def engines(tiny_opt: Path) -> list[Engine]:
    return [Engine(*load_model(tiny_opt, FP32), FP32) for _ in range(2)]


def test_replicas_answer_as_one_does_and_share_the_work(
    engines: list[Engine], noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = ["a", "two dogs", "", "the sky", "red", "birds"]
    features = engines[0].encode(noise)
    expected = [answer.tokens for answer in engines[0].generate(features, prompts, TEN)]
    both = Replicas(engines)
    shares: dict[int, list[int]] = {0: [], 1: []}
    for at, engine in enumerate(engines):
        encode, stream = engine.encode, engine.stream

        def encoding(images: Any, *rest: Any, at: int = at, encode: Any = encode) -> Any:
            shares[at].append(len(images))
            return encode(images, *rest)

        def streaming(rows: Any, *rest: Any, at: int = at, stream: Any = stream, **n: Any) -> Any:
            shares[at].append(len(rows))
            return stream(rows, *rest, **n)

        monkeypatch.setattr(engine, "encode", encoding)
        monkeypatch.setattr(engine, "stream", streaming)
    assert torch.allclose(both.encode(noise), features, atol=1e-5)
    assert [answer.tokens for answer in both.generate(features, prompts, TEN)] == expected
    assert [len(each) for each in shares.values()] == [2, 2]
    assert shares[0][0] == shares[1][0] == 3 and shares[0][1] + shares[1][1] == 6
    # A picture's prompts stay together, where what was seen of it is remembered.
    for _ in range(2):
        steps = list(both.stream(features[:1], ["a"], TEN, pictures=["p"]))
        assert steps[-1].finished[0].tokens == expected[0]
    assert sorted(len(engine.prefixes._prefixes) for engine in engines) == [0, 1]


def test_replicas_rank_as_one_does(engines: list[Engine], noise: list[Image.Image]) -> None:
    prompts, choices = ["a", "two dogs", "", "the sky"], [["red", "a cat"], ["no"]] * 2
    features = engines[0].encode(noise[:4])
    expected = engines[0].rank(features, prompts, choices)
    for pictures in (None, ["p", "q", "p", "r"]):
        named = pictures and [f"{name}{at}" for at, name in enumerate(pictures)]
        found = Replicas(engines).rank(features, prompts, choices, pictures=named)
        for mine, one in zip(found, expected, strict=True):
            assert [each.tokens for each in mine] == [each.tokens for each in one]
            assert [each.logprob for each in mine] == pytest.approx(
                [each.logprob for each in one], abs=1e-4
            )


def test_what_is_urgent_does_not_wait_for_the_batch(
    engines: list[Engine], noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Replicas(engines)
    features = both.encode(noise)
    expected = [answer.tokens for answer in engines[0].generate(features, ["a"] * 6, TEN)]
    answered = threading.Event()
    for engine in engines:
        stream = engine.stream

        def held(rows: Any, *rest: Any, stream: Any = stream, **named: Any) -> Any:
            for step in stream(rows, *rest, **named):
                assert len(rows) == 1 or answered.wait(60)  # a batch goes on after what is urgent
                yield step

        monkeypatch.setattr(engine, "stream", held)
    urgent: list[Any] = []

    def between() -> None:
        if not urgent:
            urgent.append(None)
            urgent.extend(both.generate(both.encode(noise[:1]), ["a"], TEN))
            answered.set()

    found = both.generate(features, ["a"] * 6, TEN, between)
    assert urgent[1].tokens == expected[0]
    assert [answer.tokens for answer in found] == expected


def test_replicas_stop_together(engines: list[Engine], noise: list[Image.Image]) -> None:
    both = Replicas(engines)
    features = both.encode(noise)
    cancel = threading.Event()

    def between() -> None:
        if cancel.is_set():
            raise Cancelled

    long = GenerationSettings(max_new_tokens=150)
    stream = both.stream(features, ["a"] * 6, long, between=between)
    next(stream)
    cancel.set()
    with pytest.raises(Cancelled):
        list(stream)
    with pytest.raises(Cancelled):
        both.encode(noise, between)
    assert len(both.generate(features, ["a"] * 6, TEN)) == 6


def test_an_error_of_one_replica_comes_out(
    engines: list[Engine], noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Replicas(engines)
    features = both.encode(noise)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engines[1], "stream", broken)
    monkeypatch.setattr(engines[1], "encode", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        both.generate(features, ["a"] * 6, TEN)
    with pytest.raises(RuntimeError, match="out of memory"):
        both.encode(noise)


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")
def test_a_replica_on_each_gpu(noise: list[Image.Image], tiny_opt: Path) -> None:
    variants = [Variant("cuda-bf16", f"cuda:{at}", "bfloat16", None) for at in range(2)]
    engines = [Engine(*load_model(tiny_opt, each), each) for each in variants]
    both = Replicas(engines)
    features = both.encode(noise)
    assert [e.model.device.index for e in engines] == [0, 1]
    expected = [engine.generate(features, ["a"] * 6, TEN) for engine in engines]
    assert expected[0] == expected[1] == both.generate(features, ["a"] * 6, TEN)

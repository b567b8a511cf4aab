"""What the engine does beside giving right tokens: reuse, early leaving, likelihood, giving way."""

from __future__ import annotations

import copy
import math
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Answer, Cancelled, Engine, GenerationSettings, Variant
from blip2_widget.model.decoding import CausalDecoder, forward
from blip2_widget.model.engine import _gathered
from blip2_widget.model.graphs import Recording, StepGraphs
from blip2_widget.model.key_values import Buffers, KeyValues
from blip2_widget.model.loading import load_model
from blip2_widget.model.prefixes import Prefix, PrefixCache

FP32 = Variant("cpu-fp32", "cpu", "float32", None)
TEN = GenerationSettings(max_new_tokens=10)


@pytest.fixture
def engine(tiny_opt: Path) -> Engine:
    return Engine(*load_model(tiny_opt, FP32), FP32)


@pytest.fixture
def demo_engine() -> Engine:
    return Engine(*load_model(demo.CHECKPOINT, FP32), FP32)


def drain(engine: Engine, *arguments: Any, **named: Any) -> list[Answer]:
    answers: dict[int, Answer] = {}
    for step in engine.stream(*arguments, **named):
        answers |= step.finished
    return [answers[row] for row in sorted(answers)]


def tokens_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (rows, tokens) of every pass through the language model from now on."""
    passes: list[tuple[int, int]] = []
    real = CausalDecoder._forward

    def counting(self: CausalDecoder, cache: Any, mask: Any, positions: Any, **inputs: Any) -> Any:
        passes.append((positions.shape[0], positions.shape[1]))
        return real(self, cache, mask, positions, **inputs)

    monkeypatch.setattr(CausalDecoder, "_forward", counting)
    return passes


def log_probability(engine: Engine, features: torch.Tensor, ids: list[int], tokens: Any) -> float:
    """By one pass over picture, prompt and answer, without any cache."""
    with torch.inference_mode():
        embeddings, mask = engine._inputs(features, [[*ids, *tokens]])
        logits = engine.model.language_model(
            inputs_embeds=embeddings, attention_mask=mask
        ).logits.float()[0]
    likely = logits.log_softmax(-1)
    first = logits.shape[0] - len(tokens) - 1
    return math.fsum(likely[first + at, token].item() for at, token in enumerate(tokens))


def test_the_log_probability_is_that_of_the_models_own_distribution(
    engine: Engine, noise: list[Image.Image]
) -> None:
    for settings in (TEN, GenerationSettings(max_new_tokens=6, temperature=2.0, seed=1)):
        for image in noise[:3]:
            features = engine.encode([image])
            ids = engine.token_ids("a picture of")
            [answer] = engine.generate(features, [ids], settings)
            assert len(answer.tokens) == settings.max_new_tokens
            expected = log_probability(engine, features, ids, answer.tokens)
            assert answer.logprob == pytest.approx(expected, abs=1e-3)


def test_the_log_probability_counts_the_end_token(demo_engine: Engine) -> None:
    image = Image.open(demo.samples().image[0]).convert("RGB")
    features, ids = demo_engine.encode([image]), demo_engine.token_ids("")
    [answer] = demo_engine.generate(features, [ids], GenerationSettings())
    [end] = demo_engine.end_tokens
    expected = log_probability(demo_engine, features, ids, [*answer.tokens, end])
    assert answer.logprob == pytest.approx(expected, abs=1e-3)
    assert math.exp(answer.logprob) > 0.5  # the demo is sure of what it was trained on


def test_beams_come_with_their_log_probability(demo_engine: Engine) -> None:
    images = [Image.open(path).convert("RGB") for path in demo.samples().image[:4]]
    features, ids = demo_engine.encode(images), demo_engine.token_ids("")
    [end] = demo_engine.end_tokens
    answers = demo_engine.generate(features, [ids] * 4, GenerationSettings(num_beams=3))
    for row, answer in enumerate(answers):
        expected = log_probability(demo_engine, features[row : row + 1], ids, [*answer.tokens, end])
        assert answer.logprob == pytest.approx(expected, abs=1e-3)


def test_a_pictures_prompts_share_one_reading_of_it(
    engine: Engine, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = engine.encode(noise[:2])
    rows = torch.tensor([0, 1, 0, 1, 0])
    prompts = ["a photo of", "two dogs", "the sky", "a photo of a red sofa", "a cat"]
    apart = [
        engine.generate(features[r : r + 1], [p], TEN)[0]
        for r, p in zip(rows, prompts, strict=True)
    ]
    passes = tokens_read(engine, monkeypatch)
    together = drain(engine, features[rows], prompts, TEN, pictures=[f"p{int(r)}" for r in rows])
    assert [a.tokens for a in together] == [a.tokens for a in apart]
    picture = features.shape[1] + len(engine.token_ids(""))
    assert passes[0] == (2, picture)
    longest = max(len(engine.token_ids(prompt)) for prompt in prompts)
    assert passes[1] == (5, longest - len(engine.token_ids("")))
    assert set(passes[2:]) == {(5, 1)}


def test_a_picture_that_is_remembered_is_not_read_again(
    engine: Engine, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = engine.encode(noise[:1])
    caption = drain(engine, features, [""], TEN, pictures=["p"])
    expected = engine.generate(features, ["two dogs"], TEN)
    passes = tokens_read(engine, monkeypatch)
    assert [a.tokens for a in drain(engine, features, ["two dogs"], TEN, pictures=["p"])] == [
        a.tokens for a in expected
    ]
    again = drain(engine, features, [""], TEN, pictures=["p"])
    assert again == caption
    assert max(tokens for _, tokens in passes) < features.shape[1]


def test_a_conversation_goes_on_from_its_own_keys_and_values(
    engine: Engine, noise: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = engine.encode(noise[:2])
    # One row ends by itself, the other at the limit.
    prompts = ["Question: how many dogs are in the picture? Answer:", "a photo of"]
    first = [engine.token_ids(prompt) for prompt in prompts]
    whole = engine.generate(features, first, TEN)
    end = next(token for token in whole[0].tokens[:9] if token not in whole[1].tokens)
    engine.end_tokens = frozenset([end])
    rows = {"pictures": ["p", "q"], "remember": True}
    answers = drain(engine, features, first, TEN, **rows)
    assert len(answers[0].tokens) < len(answers[1].tokens) == 10
    more = engine.token_ids("the sky")[1:]
    second = [[*ids, *answer.tokens, *more] for ids, answer in zip(first, answers, strict=True)]
    expected = [a.tokens for a in engine.generate(features, second, TEN)]
    passes = tokens_read(engine, monkeypatch)
    assert [a.tokens for a in drain(engine, features, second, TEN, **rows)] == expected
    # Of a row that ended at the limit the last token was not read yet.
    assert passes[0] == (2, len(more) + 1)
    # A turn that is edited goes on from what it still has in common.
    edited = [[*ids[:-2], 7, 8] for ids in second]
    expected = [a.tokens for a in engine.generate(features, edited, TEN)]
    del passes[:]
    assert [a.tokens for a in drain(engine, features, edited, TEN, pictures=["p", "q"])] == expected
    assert passes[0] == (2, 2)


def test_rows_that_have_ended_leave_the_batch(
    demo_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = demo.samples()
    images = [Image.open(path).convert("RGB") for path in samples.image]
    features = demo_engine.encode(images)
    prompts = ["" if at % 2 else f"Question: {q} Answer:" for at, q in enumerate(samples.question)]
    alone = [
        demo_engine.generate(features[at : at + 1], [prompt], GenerationSettings())[0].tokens
        for at, prompt in enumerate(prompts)
    ]
    passes = tokens_read(demo_engine, monkeypatch)
    together = demo_engine.generate(features, prompts, GenerationSettings())
    assert [answer.tokens for answer in together] == alone
    sizes = [rows for rows, _ in passes]
    assert sizes[0] == len(images) and sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < len(images) / 2


@pytest.mark.parametrize("family", ["opt", "t5"])
def test_leaving_changes_no_other_rows_tokens(
    family: str, noise: list[Image.Image], request: pytest.FixtureRequest
) -> None:
    engine = Engine(*load_model(request.getfixturevalue(f"tiny_{family}"), FP32), FP32)
    features = engine.encode(noise)
    prompts = ["a", "two dogs", "the sky is", "red", "a photo of a cat", "3 birds"]
    whole = engine.generate(features, prompts, GenerationSettings(max_new_tokens=40))
    engine.end_tokens = frozenset([whole[0].tokens[2], whole[3].tokens[1], whole[4].tokens[7]])
    cut = engine.generate(features, prompts, GenerationSettings(max_new_tokens=40))
    for before, after in zip(whole, cut, strict=True):
        ends = [at for at, token in enumerate(before.tokens) if token in engine.end_tokens]
        assert after.tokens == before.tokens[: min(ends, default=40)]
    assert len({len(answer.tokens) for answer in cut}) > 2


def test_those_that_stay_are_gathered_with_few_moves() -> None:
    assert _gathered([True, False, True, False, True], 3) == [0, 4, 2]
    assert _gathered([False, False, True], 1) == [2]
    assert _gathered([False, True, False, False], 2) == [0, 1]


def test_recorded_steps_give_the_same_tokens_in_few_shapes(
    demo_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU nothing is recorded; the tensors and shapes are those of a recording."""
    samples = demo.samples()
    features = demo_engine.encode([Image.open(path).convert("RGB") for path in samples.image[:16]])
    prompts = ["" if at % 2 else f"Question: {samples.question[at]} Answer:" for at in range(16)]
    expected = demo_engine.generate(features, prompts, GenerationSettings())
    language_model = demo_engine.model.language_model
    demo_engine._graphs = StepGraphs(
        lambda cache, tokens, positions, mask: forward(
            language_model, cache, mask, positions, input_ids=tokens[:, None]
        )
    )
    for _ in range(2):
        again = demo_engine.generate(features, prompts, GenerationSettings())
        assert [a.tokens for a in again] == [a.tokens for a in expected]
    shapes = [shape for _, shape, _ in demo_engine._graphs._recordings]
    assert {shape[2] for shape in shapes} <= {16, 8, 4, 2, 1}
    assert len({shape[4] for shape in shapes}) == 1 and len(shapes) <= 5


class Replaying(StepGraphs):
    """Steps that are taken on the memory and layout they were recorded on, as a GPU takes them."""

    def _record(self, cache: KeyValues, *rest: torch.Tensor) -> Recording:
        recording = super()._record(cache, *rest)
        recorded = copy.copy(cache)  # its view of the memory stays

        def replay() -> None:
            recorded.length = cache.length
            with recorded.writing_at(recording.place):
                recording.logits = self._step(
                    recorded, recording.tokens, recording.positions, recording.mask
                )

        recording.graph = SimpleNamespace(replay=replay)
        return recording


def test_a_recording_serves_its_own_layout_alone(demo_engine: Engine) -> None:
    """A batch that has shrunk to one row, then one of one row in the same memory."""
    samples = demo.samples()
    features = demo_engine.encode([Image.open(path).convert("RGB") for path in samples.image[:8]])
    settings = GenerationSettings()
    expected = [demo_engine.generate(features[at : at + 1], [""], settings)[0] for at in range(8)]
    demo_engine._graphs = Replaying(demo_engine._recordable_step)
    assert [a.tokens for a in demo_engine.generate(features, [""] * 8, settings)] == [
        a.tokens for a in expected
    ]
    for at in range(8):
        again = demo_engine.generate(features[at : at + 1], [""], settings)[0]
        assert again.tokens == expected[at].tokens


def test_short_memory_while_recording_is_told_and_recording_goes_on(demo_engine: Engine) -> None:
    features = demo_engine.encode([Image.new("RGB", (64, 64), "red")])
    short = [True]

    class Short(StepGraphs):
        def _record(self, *rest: Any) -> Recording:
            if short.pop():
                raise RuntimeError("CUDA out of memory")
            short.append(False)
            return super()._record(*rest)

    demo_engine._graphs = Short(demo_engine._recordable_step)
    with pytest.raises(RuntimeError, match="out of memory"):
        demo_engine.generate(features, [""], TEN)
    demo_engine.make_room()
    short.append(False)
    demo_engine.generate(features, [""], TEN)
    assert demo_engine._graphs._recordings and not demo_engine._graphs._fails


def test_numbers_that_overflow_cost_their_row_alone(demo_engine: Engine) -> None:
    features = demo_engine.encode([Image.new("RGB", (64, 64), "red")]).repeat(4, 1, 1)
    expected = demo_engine.generate(features, [""] * 4, TEN)
    spoiled = features.clone()
    spoiled[2] = math.nan
    for settings in (TEN, GenerationSettings(temperature=1.0, seed=1)):
        with pytest.raises(Blip2Error, match=r"overflow in cpu-fp32 .*write --variant cpu-fp32"):
            demo_engine.generate(spoiled, [""] * 4, settings)
    assert demo_engine.generate(features, [""] * 4, TEN) == expected


def test_a_seeded_sample_of_beams_does_not_depend_on_its_batch(
    engine: Engine, noise: list[Image.Image]
) -> None:
    features = engine.encode(noise[:3])
    settings = GenerationSettings(max_new_tokens=8, num_beams=3, temperature=3.0, seed=1)
    together = engine.generate(features, ["a", "two dogs", ""], settings)
    for at, prompt in enumerate(["a", "two dogs", ""]):
        (alone,) = engine.generate(features[at : at + 1], [prompt], settings)
        assert alone.tokens == together[at].tokens
        assert alone.logprob == pytest.approx(together[at].logprob)
        assert alone.logprob < 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_steps_that_a_gpu_has_recorded_give_the_same_tokens(dtype: Any) -> None:
    variant = Variant("cuda", "cuda:0", dtype, None)
    engine = Engine(*load_model(demo.CHECKPOINT, variant), variant)
    samples = demo.samples()
    features = engine.encode([Image.open(path).convert("RGB") for path in samples.image[:16]])
    prompts = ["" if at % 2 else f"Question: {samples.question[at]} Answer:" for at in range(16)]
    recorded = [engine.generate(features, prompts, GenerationSettings()) for _ in range(2)]
    graphs, engine._graphs = engine._graphs, None
    expected = [
        answer.tokens for answer in engine.generate(features, prompts, GenerationSettings())
    ]
    assert graphs is not None and not graphs._fails
    assert all(recording.graph is not None for recording in graphs._recordings.values())
    for answers in recorded:
        assert [answer.tokens for answer in answers] == expected


def test_each_step_tells_the_tokens_so_far(engine: Engine, noise: list[Image.Image]) -> None:
    steps = [
        (dict(step.finished), {row: list(tokens) for row, tokens in step.running.items()})
        for step in engine.stream(engine.encode(noise[:2]), ["a", "b"], TEN)
    ]
    assert [len(running.get(0, [])) for _, running in steps] == [*range(1, 10), 0]
    answers = steps[-1][0]
    assert set(answers) == {0, 1}
    assert list(answers[0].tokens[:9]) == steps[-2][1][0]


def test_what_is_urgent_runs_between_the_layers_of_a_batch(
    engine: Engine, noise: list[Image.Image]
) -> None:
    features = engine.encode(noise)
    expected = engine.generate(features, ["a"] * 6, TEN)
    urgent = engine.generate(engine.encode(noise[:1]), ["two dogs"], TEN)
    calls: list[list[Answer]] = []

    def between() -> None:
        calls.append(engine.generate(engine.encode(noise[:1]), ["two dogs"], TEN))

    assert torch.equal(engine.encode(noise, between), features)
    in_vision = len(calls)
    assert engine.generate(features, ["a"] * 6, TEN, between) == expected
    assert in_vision > 0 and len(calls) > in_vision
    assert all(call == urgent for call in calls)


def test_a_cancel_stops_within_a_layer_of_the_image_encoder(
    engine: Engine, noise: list[Image.Image]
) -> None:
    calls = 0

    def between() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        engine.encode(noise, between)
    assert calls == 2
    assert len(engine.generate(engine.encode(noise[:1]), ["a"], TEN)) == 1


def test_threads_may_share_an_engine(engine: Engine, noise: list[Image.Image]) -> None:
    features = engine.encode(noise)
    expected = [engine.generate(features[at : at + 1], ["a"], TEN)[0].tokens for at in range(6)]
    found: dict[int, Any] = {}

    def work(at: int) -> None:
        for _ in range(5):
            found[at] = engine.generate(features[at : at + 1], ["a"], TEN)[0].tokens

    threads = [threading.Thread(target=work, args=(at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found[at] for at in range(6)] == expected


def test_a_prompt_that_is_too_long_says_so(engine: Engine, noise: list[Image.Image]) -> None:
    with pytest.raises(Blip2Error, match="this model reads 256: shorten it"):
        engine.generate(engine.encode(noise[:1]), [[5] * 250], TEN)


def prefix(tokens: tuple[int, ...], size: int = 10) -> Prefix:
    return Prefix(tokens, torch.zeros(size), torch.zeros(0))


def test_prefixes_are_kept_within_their_bytes_and_the_longest_unused_go_first() -> None:
    cache = PrefixCache(3 * 40)
    for name in "abc":
        cache.put(name, prefix((1,)))
    assert cache.find("a", (1, 2)) is not None
    cache.put("d", prefix((1,)))
    assert cache.find("b", (1,)) is None and cache.find("a", (1,)) is not None
    assert cache.nbytes == 3 * 40
    cache.put("e", prefix((1,), 100))  # larger than all the room there is
    assert cache.nbytes <= 3 * 40


def test_the_prefix_that_has_seen_most_is_found() -> None:
    cache = PrefixCache(1 << 20)
    cache.put("a", prefix((1,)))
    cache.put("a", prefix((1, 2, 3)))
    cache.put("a", prefix((1, 5)))
    cache.put("a", prefix((1, 2, 3, 4)))  # goes on from the second, in whose place it comes
    found = cache.find("a", (1, 2, 3, 9))
    assert found is not None and found.tokens == (1, 2, 3, 4) and found.common((1, 2, 3, 9)) == 3
    assert found.common((1, 2)) == 1  # the last token must be read again for what follows it
    assert found.common((1, 2, 3, 4)) == 4
    assert cache.nbytes == 3 * 40


def test_keys_and_values_grow_and_give_their_memory_back() -> None:
    buffers = Buffers()
    cache = KeyValues((2, 2, 3, 4, 5, 8), 200, torch.zeros(1), buffers)
    new = torch.randn(3, 4, 5, 8)
    for layer in range(2):
        cache.update(new, new, layer)
    cache.advance(5)
    cache.make_room(1)
    assert cache.room == 5 + 1 + 32
    assert torch.equal(cache.data[1, 0, :, :, :5], new)
    cache.select([0, 2])
    assert torch.equal(cache.data[0, 1, 1, :, :5], new[2])
    used = cache.data.data_ptr()
    cache.close()
    assert KeyValues((1, 2, 1, 1, 1, 8), 1, torch.zeros(1), buffers).data.data_ptr() == used

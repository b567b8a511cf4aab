"""What was computed of a picture is computed once: features, and what the language model read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.model import Engine
from blip2_widget.model.decoding import CausalDecoder
from blip2_widget.run.pictures import Pictures
from blip2_widget.session import Session
from blip2_widget.store import answer_key

QUESTIONS = {
    str(number): f"how many {shape} are there?"
    for number, shape in enumerate(
        [
            "circles",
            "triangles",
            "rectangles",
            "shapes",
            "red shapes",
            "blue shapes",
            "black shapes",
            "green circles",
            "gray shapes",
            "yellow shapes",
        ]
    )
}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many pictures were encoded and read in each batch, and how wide prompts were."""
    seen: dict[str, list[int]] = {"encoded": [], "read": [], "width": []}
    encode, read, prompts = Engine.encode, CausalDecoder._read_pictures, CausalDecoder._read

    def encoding(engine: Engine, images: Sequence[Any], *rest: Any) -> Any:
        seen["encoded"].append(len(images))
        return encode(engine, images, *rest)

    def reading(decoder: CausalDecoder, numbers: list[int]) -> Any:
        seen["read"].append(len(numbers))
        return read(decoder, numbers)

    def reading_prompts(decoder: CausalDecoder, left: Any, width: int) -> Any:
        seen["width"].append(width)
        return prompts(decoder, left, width)

    monkeypatch.setattr(Engine, "encode", encoding)
    monkeypatch.setattr(CausalDecoder, "_read_pictures", reading)
    monkeypatch.setattr(CausalDecoder, "_read", reading_prompts)
    return seen


@pytest.mark.parametrize("cache", [True, False])
def test_ten_questions_a_picture_encode_and_read_it_once(
    work: dict[str, list[int]], cache: bool
) -> None:
    generator = np.random.default_rng(5)
    pictures = [
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(32)
    ]
    result = blip2_widget.ask(pictures, QUESTIONS, cache=cache).wait(120)
    assert (result.progress.done, result.progress.failed) == (320, 0)
    assert sum(work["encoded"]) == 32
    assert sum(work["read"]) == 32


def test_equal_pictures_are_answered_once_also_when_stored_answers_are_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    real = Engine.stream

    def counting(engine: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        asked.append(len(prompts))
        return real(engine, features, prompts, *rest, **named)

    paths = [str(path) for path in demo.samples().image[:4]]
    blip2_widget.caption(paths).wait(60)
    monkeypatch.setattr(Engine, "stream", counting)
    result = blip2_widget.caption(paths * 3, refresh=True, batch_size=4).wait(60)
    assert sum(asked) == 4 and result.progress.done == 12


def test_a_model_at_rest_keeps_no_batchs_memory(own_session: Session) -> None:
    blip2_widget.caption([str(demo.samples().image[0])]).wait(60)
    engine = own_session.manager.resident()[0].engine
    assert engine is not None and engine._buffers._spare is None
    assert engine.prefixes._prefixes  # what a question would go on from


def test_a_conversation_reads_only_what_is_new(
    work: dict[str, list[int]], own_session: Session
) -> None:
    asked = blip2_widget.ask([str(demo.samples().image[0])], "what is in the picture?").wait(60)
    first = "how many circles are there?"
    answer = asked.ask(0, first).wait(60).answers.answer[0]
    transcript = f"Question: {first} Answer: {answer}. Question: how many shapes are there? Answer:"
    engine = own_session.manager.resident()[0].engine
    assert engine is not None
    new = engine.token_ids(transcript)[len(engine.token_ids(f"Question: {first} Answer: ")) - 1 :]
    work["width"].clear()
    asked.ask(0, transcript).wait(60)
    assert asked.progress.failed == 0
    assert sum(work["read"]) == 1 and len(work["width"]) == 1
    assert 0 < work["width"][0] <= len(new)
    engine.prefixes.clear()  # the same without what was remembered
    fresh = blip2_widget.ask([str(demo.samples().image[0])], transcript, cache=False).wait(60)
    assert fresh.answers.answer[0] == asked.answers.answer[0]


def test_pictures_of_known_files_are_opened_by_decoders_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = [str(path) for path in demo.samples().image[:6]]
    blip2_widget.caption(paths, variant="cpu-fp32").wait(60)
    threads: set[str] = set()
    real = Pictures.load

    def opening(*arguments: Any, **options: Any) -> Any:
        threads.add(threading.current_thread().name)
        return real(*arguments, **options)

    monkeypatch.setattr(Pictures, "load", opening)
    # Another precision of the vision side: the files' keys are known, their features are not.
    assert blip2_widget.caption(paths, variant="cpu-bf16").wait(60).progress.cached == 0
    assert threads and all(name.startswith("blip2-decode") for name in threads)


def test_what_t5_answered_before_its_batches_were_mended_is_not_taken(
    own_session: Session, tiny_opt: Path, tiny_t5: Path
) -> None:
    own_session.defaults.variant = "cpu-fp32"
    for model, is_taken in ((tiny_opt, True), (tiny_t5, False)):
        run = blip2_widget.ask(demo.samples().image[:1], "what?", model=str(model), start=False).run
        wanted = run._answers.want("picture", "what?", "question")
        before = answer_key(
            wanted.features_key,
            language=run.variant.language,
            prompt=wanted.prompt,
            settings=run.settings.stored_as(),
            seed=None,
        )
        assert (wanted.key == before) is is_taken

"""What is measured of pictures: equal to transformers, stored, stopped and gone on with."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Engine, RetrievalEngine
from blip2_widget.notebook.result import Result
from blip2_widget.run import Measuring
from blip2_widget.session import Session

TEXTS = ["a red circle", "two triangles and a blue rectangle"]
#: In fp32, so that it can be compared with transformers.
EXACT: dict[str, Any] = {"model": "demo-retrieval", "variant": "cpu-fp32"}


@pytest.fixture
def paths() -> list[str]:
    return [str(path) for path in demo.samples().image[:6]]


def measured(result: Result) -> np.ndarray[Any, Any]:
    """The numbers of a result, (rows, columns)."""
    frame = result.wait(120).df
    return np.asarray(frame[[name for name in frame if ": " in name]], dtype=float)


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("it was computed again")


def test_numbers_equal_transformers(paths: list[str]) -> None:
    from transformers import AutoProcessor, Blip2ForImageTextRetrieval

    model = Blip2ForImageTextRetrieval.from_pretrained(demo.RETRIEVAL, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(demo.RETRIEVAL)
    found = measured(blip2_widget.match(paths, TEXTS, batch_size=4, **EXACT))
    assert found.shape == (6, 4)
    for row, path in enumerate(paths):
        for at, text in enumerate(TEXTS):
            inputs = processor(images=Image.open(path), text=text, return_tensors="pt")
            with torch.inference_mode():
                head = model(**inputs, use_image_text_matching_head=True).logits_per_image
                near = model(**inputs, use_image_text_matching_head=False).logits_per_image
            assert found[row, 2 * at] == pytest.approx(float(head.softmax(1)[0, 1]), abs=1e-5)
            assert found[row, 2 * at + 1] == pytest.approx(float(near), abs=1e-5)
    assert found.std(axis=0).min() > 0


def test_a_repeat_computes_nothing(
    paths: list[str], own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured(blip2_widget.match(paths, TEXTS))
    monkeypatch.setattr(own_session.manager, "hold", refuse)
    again = blip2_widget.match(paths, TEXTS[::-1])
    assert (measured(again) == first[:, [2, 3, 0, 1]]).all()
    assert again.progress.cached == len(paths) and again.progress.state == "done"


def test_each_row_has_its_own_text_and_equal_pictures_are_seen_once(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame(
        {"image": [paths[0], paths[1], paths[0]], "kind": ["circle", "circle", "triangle"]}
    )
    one_by_one = [
        measured(blip2_widget.match([path], f"a {kind}", cache=False, **EXACT))[0]
        for path, kind in zip(frame.image, frame.kind, strict=True)
    ]
    seen: list[int] = []
    real = RetrievalEngine.see

    def counting(engine: RetrievalEngine, images: Any, *rest: Any) -> Any:
        seen.append(len(images))
        return real(engine, images, *rest)

    monkeypatch.setattr(RetrievalEngine, "see", counting)
    found = measured(blip2_widget.match(frame.image, "a {kind}", frame=frame, **EXACT))
    assert found == pytest.approx(np.array(one_by_one), abs=1e-5) and sum(seen) == 2


def test_bad_rows_cost_themselves_and_can_be_tried_again(paths: list[str], tmp_path: Path) -> None:
    late = tmp_path / "late.png"
    frame = pd.DataFrame(
        {"image": [paths[0], str(late), paths[1], paths[2]], "said": ["a", "b", "c " * 500, "d"]}
    )
    result = blip2_widget.match(frame.image, "{said}", frame=frame)
    found = measured(result)
    assert np.isnan(found).all(axis=1).tolist() == [False, True, True, False]
    assert list(result.errors.row) == [1, 2] and result.progress.failed == 2
    assert "tokens and this model reads" in result.errors.error[1]
    Image.open(paths[3]).save(late)
    again = measured(result.retry())
    assert np.isnan(again).all(axis=1).tolist() == [False, False, True, False]
    assert (again[[0, 3]] == found[[0, 3]]).all() and list(result.errors.row) == [2]


def test_a_text_that_is_too_long_on_every_row_stops_it_in_one_line(paths: list[str]) -> None:
    result = blip2_widget.match(paths, "a circle " * 300)
    with pytest.raises(Blip2Error, match="tokens and this model reads"):
        result.wait(60)
    assert result.progress.state == "failed"


def test_what_was_cancelled_is_gone_on_with(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = measured(blip2_widget.match(paths, TEXTS, cache=False, batch_size=2))
    real, seen = RetrievalEngine.see, []

    def stopping(engine: RetrievalEngine, images: Any, between: Any) -> Any:
        seen.append(len(images))
        if len(seen) == 2:
            result.cancel()
        return real(engine, images, between)

    monkeypatch.setattr(RetrievalEngine, "see", stopping)
    result = blip2_widget.match(paths, TEXTS, batch_size=2, start=False)
    result.board.runs[0].start()
    result.wait(60)
    assert result.progress.state == "cancelled" and result.progress.done == 2
    assert measured(result.retry()) == pytest.approx(expected, abs=1e-6)
    assert result.progress.done == len(paths) and seen == [2, 2, 2, 2]


def test_a_typed_question_goes_ahead(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = blip2_widget.ask(paths[:1], "how many circles are there?", model="demo").wait(60)
    reached, let_go, real = threading.Event(), threading.Event(), RetrievalEngine.see

    def slow(engine: RetrievalEngine, images: Any, between: Any) -> Any:
        reached.set()
        assert let_go.wait(60)
        return real(engine, images, between)

    monkeypatch.setattr(RetrievalEngine, "see", slow)
    result = blip2_widget.match(paths, TEXTS)
    assert reached.wait(60)
    done_by_then: list[int] = []
    asked.run.subscribe(lambda _: done_by_then.append(result.progress.done))
    asked.ask(0, "how many triangles are there?")
    let_go.set()
    asked.wait(60)
    result.wait(60)
    assert asked.answers.state[0] == "done" and result.progress.done == len(paths)
    assert done_by_then[-1] < len(paths)


def test_features_are_those_of_the_engine_and_of_captions(
    paths: list[str], own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [paths[0], "gone.png", paths[1], paths[0]]
    blip2_widget.caption(paths, model="demo", variant="cpu-fp32").wait(60)
    engines = [each.engine for each in own_session.manager.resident()]
    assert isinstance(engines[0], Engine)
    expected = engines[0].encode([Image.open(path).convert("RGB") for path in paths[:2]]).numpy()
    with monkeypatch.context() as patch:
        patch.setattr(own_session.manager, "hold", refuse)
        good = blip2_widget.embed(paths[:2], model="demo", variant="cpu-fp32")
    assert good.dtype == np.float32 and good == pytest.approx(expected, abs=1e-5)
    found = blip2_widget.embed(images, model="demo", variant="cpu-fp32")
    assert np.isnan(found[1]).all() and (found[[0, 2, 3]] == good[[0, 1, 0]]).all()
    pooled = blip2_widget.embed(images, pooled=True, model="demo", variant="cpu-fp32")
    assert pooled.shape == (4, expected.shape[2])
    assert pooled[[0, 2]] == pytest.approx(expected.mean(axis=1), abs=1e-5)


def test_features_of_a_checkpoint_that_matches(paths: list[str], own_session: Session) -> None:
    found = blip2_widget.embed(paths, **EXACT)
    (resident,) = own_session.manager.resident()
    images = [Image.open(path).convert("RGB") for path in paths]
    expected = resident.retrieval.result().embed_images(images)
    assert found == pytest.approx(expected.numpy(), abs=1e-5)


def test_an_interrupt_keeps_what_was_embedded(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, cancelled, encoded = threading.Event(), threading.Event(), []
    encode, cancel = Engine.encode, Measuring.cancel

    def slow(engine: Engine, images: Any, between: Any) -> Any:
        encoded.append(len(images))
        if len(encoded) == 2:
            reached.set()
            assert cancelled.wait(60)
        return encode(engine, images, between)

    def interrupted(_measuring: Measuring, _timeout: float) -> bool:
        assert reached.wait(60)
        raise KeyboardInterrupt

    def told(measuring: Measuring) -> None:
        cancel(measuring)
        cancelled.set()

    monkeypatch.setattr(Engine, "encode", slow)
    with monkeypatch.context() as patch:
        patch.setattr(Measuring, "wait", interrupted)
        patch.setattr(Measuring, "cancel", told)
        with pytest.raises(Blip2Error, match="interrupted with 2 of 6 pictures; running it again"):
            blip2_widget.embed(paths, batch_size=2)
    assert not np.isnan(blip2_widget.embed(paths, batch_size=2)).any()
    assert encoded == [2, 2, 2, 2]


def test_what_cannot_be_embedded_is_said(paths: list[str]) -> None:
    with pytest.raises(Blip2Error, match=r"1 of 1 rows failed; the first, gone\.png"):
        blip2_widget.embed(["gone.png"])
    with pytest.raises(Blip2Error, match="1 of 2 rows failed"):
        blip2_widget.embed([paths[0], None], on_error="raise")
    with pytest.raises(Blip2Error, match="write -m itm-vit-g"):
        blip2_widget.match(paths, "a circle", model="demo")
    with pytest.raises(Blip2Error, match="nothing to match"):
        blip2_widget.match(paths, [])

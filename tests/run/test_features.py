"""Features of pictures, of texts and of both together: LAVIS' `extract_features`, by transformers.

Its modes: salesforce/LAVIS, lavis/models/blip2_models/blip2_qformer.py, `extract_features`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import RetrievalEngine
from blip2_widget.session import Session

TEXTS = ["a red circle", "two triangles and a blue rectangle", "a circle"]
#: In fp32, so that it can be compared with transformers.
EXACT: dict[str, Any] = {"model": "demo-retrieval", "variant": "cpu-fp32"}
TOO_LONG = "a circle " * 300


@pytest.fixture
def paths() -> list[str]:
    return [str(path) for path in demo.samples().image[:3]]


def of_transformers(name: str, **inputs: Any) -> Any:
    """What a class of transformers makes of the demo checkpoint and one picture, text or both."""
    import transformers

    model = getattr(transformers, name).from_pretrained(demo.RETRIEVAL, dtype=torch.float32).eval()
    processor = transformers.AutoProcessor.from_pretrained(demo.RETRIEVAL)
    if "images" not in inputs:  # before a text the processor would put the picture's tokens
        processor = processor.tokenizer
    more = {"use_image_text_matching_head": True} if len(inputs) == 2 else {}
    with torch.inference_mode():
        return model(**processor(**inputs, return_tensors="pt"), **more)


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("it was computed again")


def test_pictures_equal_transformers(paths: list[str]) -> None:
    features = blip2_widget.embed(paths, **EXACT)
    projected = blip2_widget.embed(paths, projected=True, **EXACT)
    assert projected.shape == (*features.shape[:2], 256) and projected.dtype == np.float32
    for at, path in enumerate(paths):
        said = of_transformers("Blip2VisionModelWithProjection", images=Image.open(path))
        assert projected[at] == pytest.approx(said.image_embeds[0].numpy(), abs=1e-5)
    assert np.abs(projected[0] - projected[1]).max() > 0.01
    pooled = blip2_widget.embed(paths, projected=True, pooled=True, **EXACT)
    means = projected.mean(axis=1)
    assert pooled == pytest.approx(means / np.linalg.norm(means, axis=1, keepdims=True), abs=1e-5)


def test_texts_equal_transformers() -> None:
    features = blip2_widget.embed_texts(TEXTS, **EXACT)
    projected = blip2_widget.embed_texts(pl.Series(TEXTS), projected=True, **EXACT)
    assert projected.shape == (3, 256) and features.dtype == projected.dtype == np.float32
    for at, text in enumerate(TEXTS):
        said = of_transformers("Blip2TextModelWithProjection", text=text)
        assert features[at] == pytest.approx(said.last_hidden_state[0, 0].numpy(), abs=1e-4)
        assert projected[at] == pytest.approx(said.text_embeds[0, 0].numpy(), abs=1e-5)
    one = blip2_widget.embed_texts(TEXTS[0], **EXACT)
    assert one.shape == (1, features.shape[1]) and one[0] == pytest.approx(features[0], abs=1e-4)
    assert np.abs(features[0] - features[1]).max() > 0.1


def test_pictures_with_texts_equal_transformers(paths: list[str]) -> None:
    found = blip2_widget.embed(paths, TEXTS, **EXACT)
    alone = blip2_widget.embed(paths, **EXACT)
    assert found.shape == alone.shape and found.dtype == np.float32
    for at, (path, text) in enumerate(zip(paths, TEXTS, strict=True)):
        said = of_transformers("Blip2ForImageTextRetrieval", images=Image.open(path), text=text)
        # Its text_embeds are the output at the query tokens and, behind them, the text's.
        expected = said.text_embeds[0, : found.shape[1]].numpy()
        assert found[at] == pytest.approx(expected, abs=1e-4)
    assert np.abs(found - alone).max() > 0.1
    pooled = blip2_widget.embed(paths, pd.Series(TEXTS), pooled=True, **EXACT)
    assert pooled == pytest.approx(found.mean(axis=1), abs=1e-5)
    with pytest.raises(Blip2Error, match="are not projected"):
        blip2_widget.embed(paths, TEXTS, projected=True)


def test_a_text_may_name_columns_and_each_picture_is_seen_once(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ["circle", "circle", "triangle"]
    frame = pd.DataFrame({"image": [paths[0], paths[1], paths[0]], "kind": kinds})
    seen: list[int] = []
    real = RetrievalEngine.see

    def counting(engine: RetrievalEngine, images: Any, *rest: Any) -> Any:
        seen.append(len(images))
        return real(engine, images, *rest)

    monkeypatch.setattr(RetrievalEngine, "see", counting)
    found = blip2_widget.embed(frame.image, "a {kind}", frame=frame, **EXACT)
    assert sum(seen) == 2
    texts = [f"a {kind}" for kind in kinds]
    assert found == pytest.approx(
        blip2_widget.embed(frame.image, texts, cache=False, **EXACT), abs=1e-4
    )
    drawn = blip2_widget.embed(frame.image, frame.kind.radd("a "), n=2, frame=frame, **EXACT)
    assert (drawn == found[:2]).all()


def test_a_repeat_computes_nothing(
    paths: list[str], own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = blip2_widget.embed(paths, **EXACT)
    first = blip2_widget.embed(paths, "a circle", **EXACT)
    with monkeypatch.context() as patch:
        patch.setattr(RetrievalEngine, "see", refuse)  # to project them needs no picture
        assert blip2_widget.embed(paths, projected=True, **EXACT).shape == (*alone.shape[:2], 256)
    monkeypatch.setattr(own_session.manager, "hold", refuse)
    assert (blip2_widget.embed(paths, " a circle ", **EXACT) == first).all()
    with pytest.raises(Blip2Error, match="computed again"):
        blip2_widget.embed(paths, "another circle", **EXACT)


def test_what_cannot_be_read_costs_its_row(paths: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")
    images = [paths[0], str(broken), paths[1], paths[2], paths[0]]
    for pooled in (False, True):
        found = blip2_widget.embed(images, pooled=pooled, projected=True, **EXACT)
        empty = np.isnan(found).reshape(5, -1).all(axis=1)
        assert empty.tolist() == [False, True, False, False, False]
    texts = ["a circle", "a circle", None, TOO_LONG, "a square"]
    found = blip2_widget.embed(images, texts, **EXACT)
    assert np.isnan(found).reshape(5, -1).all(axis=1).tolist() == [False, True, True, True, False]
    good = blip2_widget.embed([paths[0], paths[0]], ["a circle", "a square"], **EXACT)
    assert found[[0, 4]] == pytest.approx(good, abs=1e-4)
    told = blip2_widget.embed_texts([*texts, " "], **EXACT)
    assert np.isnan(told).all(axis=1).tolist() == [False, False, True, True, False, True]


def test_what_is_wrong_is_said_in_one_line(paths: list[str]) -> None:
    for images, texts, said in [
        (paths, ["a circle"], "there are 1 texts for 3 rows"),
        (paths, TOO_LONG, "tokens and this model reads"),
        (paths, " ", "must be a text that is not empty"),
        (paths, ["a", None, "b"], "1 of 3 rows failed; the first, .*: there is no text on this"),
        (paths, "a {kind}", "needs the data frame"),
        (paths, 5, "texts are one for each row, in a list or column, not 5"),
    ]:
        with pytest.raises(Blip2Error, match=said):
            blip2_widget.embed(images, texts, on_error="raise")
    for wanted, said in [
        ([], "there is no text; give one"),
        (5, "texts are one text, or a list or column of them, not 5"),
        ([None], "1 of 1 texts failed; the first, number 0: there is no text"),
        (["a", TOO_LONG], "1 of 2 texts failed; the first, number 1: .* tokens and this model"),
    ]:
        with pytest.raises(Blip2Error, match=said):
            blip2_widget.embed_texts(wanted, on_error="raise")
    for call in (
        lambda: blip2_widget.embed(paths, projected=True, model="demo"),
        lambda: blip2_widget.embed(paths, "a circle", model="demo"),
        lambda: blip2_widget.embed_texts("a circle", model="demo"),
    ):
        with pytest.raises(Blip2Error, match="write -m itm-vit-g"):
            call()

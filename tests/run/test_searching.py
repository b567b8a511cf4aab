"""Searching: the nearest of all, exactly; the first by matching; a second search from memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.index import VectorIndex
from blip2_widget.model import RetrievalEngine, pooled, similarity
from blip2_widget.notebook.result import Result
from blip2_widget.run import Measuring
from blip2_widget.session import Session

TEXT = "a blue triangle"
EXACT: dict[str, Any] = {"model": "demo-retrieval", "variant": "cpu-fp32"}


@pytest.fixture
def frame() -> pd.DataFrame:
    return demo.samples().set_index(pd.Index([f"row {at}" for at in range(32)]))


@pytest.fixture
def vectors(frame: pd.DataFrame, own_session: Session) -> torch.Tensor:
    """What the engine itself makes of the pictures."""
    return engine_of(own_session, frame).project(
        engine_of(own_session, frame).embed_images(
            [Image.open(path).convert("RGB") for path in frame.image]
        )
    )


def engine_of(session: Session, frame: pd.DataFrame) -> RetrievalEngine:
    blip2_widget.embed(frame.image[:1], cache=False, **EXACT)
    return session.manager.resident()[0].retrieval.result()


def found_rows(result: Result) -> list[str]:
    return list(result.wait(120).found.index)


def test_a_text_finds_the_nearest_and_the_first_by_matching(
    frame: pd.DataFrame, vectors: torch.Tensor, own_session: Session
) -> None:
    asked = engine_of(own_session, frame).embed_texts([TEXT])
    near = similarity(vectors, asked)[:, 0].numpy()
    order = np.argsort(-near)
    plain = blip2_widget.search(frame.image, TEXT, n=5, rerank=False, frame=frame, **EXACT)
    assert found_rows(plain) == list(frame.index[order[:5]])
    scores = plain.found[f"similarity: {TEXT}"]
    assert list(scores) == pytest.approx(near[order[:5]], abs=1e-3)

    result = blip2_widget.search(frame.image, TEXT, n=20, frame=frame, **EXACT)
    match = blip2_widget.match(frame.image, TEXT, frame=frame, **EXACT).wait(60).df
    first = frame.index[order[:16]]
    by_match = match[f"match: {TEXT}"][first].sort_values(ascending=False, kind="stable")
    assert found_rows(result) == [*by_match.index, *frame.index[order[16:20]]]
    assert result.found[f"match: {TEXT}"].iloc[:16].is_monotonic_decreasing
    assert list(result.found[f"rank: {TEXT}"]) == list(range(1, 21))
    assert "a blue triangle" in result.found.caption.iloc[0]


def test_the_gallery_shows_what_is_found_best_first(frame: pd.DataFrame) -> None:
    result = blip2_widget.search(frame.image, TEXT, n=3, frame=frame, start=False)
    gallery = result.gallery
    assert len(gallery.filtered) == 32
    (measuring,) = result.board.runs
    assert isinstance(measuring, Measuring)
    measuring.start()
    found = found_rows(result)
    fresh = Result(result.board, result._askings).gallery
    assert list(frame.index[fresh.filtered]) == found and len(found) == 3


@pytest.mark.parametrize("how", ["row", "path", "picture"])
def test_a_picture_finds_its_like(frame: pd.DataFrame, vectors: torch.Tensor, how: str) -> None:
    query = {"row": 3, "path": frame.image.iloc[3], "picture": Image.open(frame.image.iloc[3])}[how]
    means = pooled(vectors)
    near = (means @ means[3]).numpy()
    result = blip2_widget.search(frame.image, query, n=4, frame=frame, **EXACT)
    assert found_rows(result) == list(frame.index[np.argsort(-near)[:4]])
    assert found_rows(result)[0] == "row 3" and not any("match" in each for each in result.df)


def test_a_second_search_reads_no_picture_and_no_features(
    frame: pd.DataFrame, own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [*frame.image, "gone.png"]
    expected = found_rows(blip2_widget.search(images, "a green circle", n=4, cache=False))
    first = blip2_widget.search(images, TEXT, n=4).wait(60)
    assert list(first.errors.row) == [32]

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was looked at again")

    with monkeypatch.context() as patch:
        patch.setattr(own_session.store, "features", refuse)
        patch.setattr(RetrievalEngine, "project", refuse)
        again = blip2_widget.search(images, "a green circle", n=4, rerank=False).wait(60)
    assert again.progress.cached == 32 and list(again.errors.row) == [32]
    assert found_rows(blip2_widget.search(images, "a green circle", n=4)) == expected

    # Another column is another search.
    fewer = blip2_widget.search(images[:10], TEXT, n=4).wait(60)
    assert len(fewer.found) == 4 and max(fewer.found.index) < 10


def test_where_no_model_fits_a_search_says_so_and_a_map_of_what_is_stored_is_made(
    frame: pd.DataFrame, own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    blip2_widget.search(frame.image, TEXT, **EXACT).wait(60)

    def refuse(*_: Any) -> Any:
        raise Blip2Error("nothing fits")

    monkeypatch.setattr(own_session.manager, "choose", refuse)
    # The vectors of the pictures are in memory, but what is searched for has to be read.
    for query in ("a red circle", 3):
        with pytest.raises(Blip2Error, match="nothing fits"):
            blip2_widget.search(frame.image, query, **EXACT)
    assert len(blip2_widget.map(frame.image, **EXACT).wait(60).coordinates) == 32


def test_pictures_in_memory_are_looked_at_again(frame: pd.DataFrame) -> None:
    """They may be others by then, of which nothing but their pixels tells."""
    images = [np.array(Image.open(path).convert("RGB")) for path in frame.image]
    first = list(blip2_widget.search(images, TEXT, n=2, rerank=False).wait(60).found.index)
    images[first[0]][:] = 255
    again = list(blip2_widget.search(images, TEXT, n=2, rerank=False).wait(60).found.index)
    assert again[0] == first[1] and first[0] not in again


def test_what_was_cancelled_is_gone_on_with(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found_rows(blip2_widget.search(frame.image, TEXT, n=4, frame=frame, cache=False))
    real, seen = RetrievalEngine.see, []

    def stopping(engine: RetrievalEngine, images: Any, between: Any) -> Any:
        seen.append(len(images))
        if len(seen) == 2:
            result.cancel()
        return real(engine, images, between)

    monkeypatch.setattr(RetrievalEngine, "see", stopping)
    result = blip2_widget.search(frame.image, TEXT, n=4, frame=frame, start=False)
    (measuring,) = result.board.runs
    assert isinstance(measuring, Measuring)
    measuring.start().wait(60)
    assert result.progress.state == "cancelled" and len(result.found) == 0
    result.retry()
    assert found_rows(result) == expected and result.progress.done == 32


@pytest.mark.parametrize("query", [TEXT, 3])
def test_a_search_is_cancelled_while_its_index_is_made(
    query: Any, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found_rows(blip2_widget.search(frame.image, query, n=4, frame=frame, cache=False))
    monkeypatch.setattr("blip2_widget.index.vectors._AT_A_TIME", 8)
    real, rounded = VectorIndex._round, []

    def stopping(index: VectorIndex, some: slice, vectors: torch.Tensor) -> None:
        rounded.append(some)
        if len(rounded) == 1:
            result.cancel()
        real(index, some, vectors)

    monkeypatch.setattr(VectorIndex, "_round", stopping)
    result = blip2_widget.search(frame.image, query, n=4, frame=frame, start=False)
    result.board.runs[0].start()
    result.board.runs[0].wait(60)
    assert result.progress.state == "cancelled" and len(rounded) == 1
    result.retry()
    assert found_rows(result) == expected and len(rounded) > 4


def test_what_cannot_be_searched_for_is_said(frame: pd.DataFrame) -> None:
    for query, said in (
        ("", "what is searched for must be a text that is not empty"),
        ("a {shape}", "has no {column}"),
        (32, "there is no row 32; rows go from 0 to 31"),
        (b"no picture", "no image format is recognised|picture"),
    ):
        with pytest.raises(Blip2Error, match=said):
            blip2_widget.search(frame.image, query, frame=frame)
    with pytest.raises(Blip2Error, match="n must be at least 1"):
        blip2_widget.search(frame.image, TEXT, n=0)
    with pytest.raises(Blip2Error, match="nothing was searched for"):
        _ = blip2_widget.explore(frame.image).found
    nothing = blip2_widget.search(["gone.png"], TEXT).wait(60)
    assert len(nothing.found) == 0 and len(nothing.errors) == 1

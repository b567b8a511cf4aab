"""Maps of pictures: the projection itself, what is computed for it, bad rows, another try."""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.notebook.result import Result
from blip2_widget.run import Measuring, Projecting, projecting
from blip2_widget.session import Session
from tests.run.test_measuring import refuse

needs_umap = pytest.mark.skipif(find_spec("umap") is None, reason="umap-learn is not installed")


@pytest.fixture
def paths() -> list[str]:
    return [str(path) for path in demo.samples().image[:8]]


def features(count: int = 40, size: int = 12) -> Any:
    """Features with some axes longer than others, away from the origin."""
    generator = np.random.default_rng(3)
    spread = np.linspace(5, 1, size)
    return (generator.normal(size=(count, size)) * spread + 7).astype(np.float32)


def by_svd(given: Any) -> Any:
    centred = given.astype(np.float64) - given.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T


def same_but_for_sign(one: Any, other: Any) -> bool:
    return all(
        np.allclose(one[:, at], sign * other[:, at], atol=1e-3)
        for at in range(2)
        for sign in [np.sign((one[:, at] * other[:, at]).sum())]
    )


@pytest.mark.parametrize("shape", [(40, 12), (3, 12), (200, 2)])
def test_pca_equals_the_singular_value_decomposition(shape: tuple[int, int]) -> None:
    given = features(*shape)
    found = projecting.project(given.copy(), "pca")
    assert found.shape == (shape[0], 2) and found.dtype == np.float32
    assert same_but_for_sign(found, by_svd(given))
    # Whichever way the features are turned round, the axes point the same way.
    assert projecting.project(given[::-1].copy(), "pca") == pytest.approx(found[::-1], abs=1e-3)


@needs_umap
@pytest.mark.parametrize("count", [3, 5, 40])
def test_umap_is_the_same_every_time(count: int) -> None:
    given = features(count)
    found = projecting.project(given.copy(), "umap")
    assert found.shape == (count, 2) and np.isfinite(found).all()
    assert (projecting.project(given.copy(), "umap") == found).all()
    assert not same_but_for_sign(found, by_svd(given))


def test_a_map_is_of_the_pooled_features_and_equal_pictures_share_a_place(
    paths: list[str], own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [*paths, "gone.png", paths[0]]
    result = blip2_widget.map(images, variant="cpu-fp32")
    found = result.wait(60).coordinates
    assert found.shape == (10, 2) and np.isnan(found[8]).all() and (found[9] == found[0]).all()
    monkeypatch.setattr(own_session.manager, "hold", refuse)
    pooled = blip2_widget.embed(paths, pooled=True, variant="cpu-fp32")
    assert same_but_for_sign(found[:8], by_svd(pooled))
    again = blip2_widget.map(images, variant="cpu-fp32").wait(60)
    assert np.array_equal(again.coordinates, found, equal_nan=True)
    assert again.progress.cached == 9 and list(again.errors.row) == [8]
    found[:] = 0  # a copy, with which one may do what one likes
    assert again.coordinates[0, 0] != 0


def test_a_map_of_answers_computes_nothing_anew(
    paths: list[str], own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = blip2_widget.caption(paths).wait(60)
    monkeypatch.setattr(own_session.manager, "hold", refuse)
    assert result.map() is result
    assert np.isfinite(result.coordinates).all()
    # Beside answers a map that is there is not counted as answers.
    assert result.progress.total == 8 and result.progress.state == "done"
    assert list(result.df.columns) == ["image", "caption"]


def test_a_map_of_a_gallery_that_asked_nothing_and_of_a_match(paths: list[str]) -> None:
    explored = blip2_widget.explore(paths)
    with pytest.raises(Blip2Error, match=r"no map here; write \.map\(\)"):
        _ = explored.coordinates
    assert np.isfinite(explored.map().coordinates).all()
    assert explored.progress.done == 8
    matched = blip2_widget.match(paths, "a circle").wait(60)
    matched.map()
    assert matched.board.map is not None
    measuring, _ = matched.board.map
    assert measuring.located.checkpoint.name == "demo-retrieval"
    assert np.isfinite(matched.coordinates).all()


def test_another_map_takes_the_place_of_the_first(paths: list[str]) -> None:
    result = blip2_widget.explore(paths).map()
    first = result.coordinates
    other = result.map(model="demo-retrieval").coordinates
    assert len(result.board.runs) == 1 and not np.allclose(first, other)


def test_a_row_that_is_tried_again_gets_its_place(paths: list[str], tmp_path: Path) -> None:
    late = tmp_path / "late.png"
    result = blip2_widget.map([*paths, str(late)]).wait(60)
    before = result.coordinates
    assert np.isnan(before[8]).all() and np.isfinite(before[:8]).all()
    Image.new("RGB", (64, 64), "purple").save(late)
    after = result.retry().wait(60).coordinates
    assert np.isfinite(after).all()
    whole = blip2_widget.map([*paths, str(late)]).coordinates
    assert same_but_for_sign(after, whole)


def test_what_was_stopped_before_its_map_goes_on(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, let_go, real = threading.Event(), threading.Event(), projecting.project

    def slow(*given: Any) -> Any:
        reached.set()
        assert let_go.wait(60)
        return real(*given)

    monkeypatch.setattr(projecting, "project", slow)
    result = blip2_widget.map(paths)
    assert reached.wait(60)
    # The thread that computes is free meanwhile.
    told = time.monotonic() + 30
    while "laying the map out by PCA" not in result.progress.note:
        assert time.monotonic() < told
        time.sleep(0.01)
    assert blip2_widget.caption(paths[:1], cache=False).wait(60).progress.state == "done"
    result.cancel()
    assert result.board.progress.state == "cancelled"
    with pytest.raises(Blip2Error, match=r"not finished; \.retry\(\) goes on"):
        _ = result.coordinates
    let_go.set()
    result.retry()
    assert np.isfinite(result.coordinates).all() and len(result.errors) == 0


def test_features_are_kept_while_a_row_may_be_tried_again_and_then_let_go(paths: list[str]) -> None:
    def kept(result: Result) -> int:
        found = result.wait(60).board.map
        assert found is not None
        return len(found[1]._of)

    assert kept(blip2_widget.map(paths)) == 0
    assert kept(blip2_widget.map([*paths, "gone.png"])) == 8


def test_too_little_to_lay_out_is_said(paths: list[str]) -> None:
    with pytest.raises(Blip2Error, match="needs 3 pictures, and here is only 2 pictures"):
        blip2_widget.map(paths[:2])
    with pytest.raises(Blip2Error, match="needs 3 pictures, and here is only 1 picture"):
        blip2_widget.explore(paths[:1]).map()
    for images, said in (
        (["gone.png"] * 3, "none can be read here"),
        ([paths[0]] * 3, "only one picture can be read"),
        ([paths[0], paths[1], "gone.png"], "only 2 different pictures can be read"),
    ):
        result = blip2_widget.map(images).wait(60)
        assert result.progress.state == "done"
        with pytest.raises(Blip2Error, match=said):
            _ = result.coordinates
        assert said in result.gallery.mapped["note"] and result.gallery.mapped["version"] == 0


def test_what_a_library_cannot_do_costs_the_map_alone(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise ZeroDivisionError("no distance")

    monkeypatch.setattr(projecting, "project", fails)
    result = blip2_widget.caption(paths).wait(60).map().wait(60)
    with pytest.raises(Blip2Error, match="there is no map: ZeroDivisionError: no distance"):
        _ = result.coordinates
    assert set(result.answers.state) == {"done"}


def test_methods_are_checked_before_anything_is_computed(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Blip2Error, match="made by pca or umap, not by 'tsne'"):
        blip2_widget.map(paths, method="tsne")
    monkeypatch.setattr(projecting, "find_spec", lambda _: None)
    with pytest.raises(Blip2Error, match=r'write pip install "blip2-widget\[map\]"'):
        blip2_widget.map(paths, method="umap")


def test_a_series_and_its_frame_come_along(paths: list[str]) -> None:
    frame = pd.DataFrame({"image": paths, "kind": range(8)}, index=list("abcdefgh"))
    result = blip2_widget.map(frame.image, frame=frame, start=False)
    (measuring,) = result.board.runs
    assert isinstance(measuring, Measuring) and isinstance(measuring.measure, Projecting)
    measuring.start()
    assert list(result.wait(60).df.columns) == ["image", "kind"]
    frame[["x", "y"]] = result.coordinates
    assert frame.x.notna().all()

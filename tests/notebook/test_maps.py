"""`map` as a line, and what a gallery tells its pages of a map."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

import blip2_widget
from blip2_widget import demo
from blip2_widget.notebook.gallery import Gallery
from blip2_widget.notebook.result import Result
from blip2_widget.notebook.snapshot import settled, snapshot_html
from blip2_widget.run import projecting
from blip2_widget.session import Session
from tests.notebook.conftest import RunCell
from tests.notebook.test_gallery import Sent, of_type, receive, until


@pytest.fixture
def run(run_cell: RunCell, shell: InteractiveShell, own_session: Session) -> RunCell:
    own_session.defaults.model = "demo"
    shell.user_ns["df"] = demo.samples().head(8)
    return run_cell


def test_a_line_makes_a_map_of_pictures_of_a_table_and_of_a_result(
    run: RunCell, shell: InteractiveShell
) -> None:
    outcome = run("%blip2 map df.image -o places --wait")
    places = shell.user_ns["places"]
    assert outcome.galleries == 1 and repr(places) == "8 pictures · demo"
    assert places.board.title == "map · df.image" and places.coordinates.shape == (8, 2)
    run("%blip2 map df -o whole --wait -q")
    assert np.array_equal(shell.user_ns["whole"].coordinates, places.coordinates)

    run("%blip2 caption df.image -o said --wait -q")
    outcome = run("%blip2 map said -o again --wait")
    said = shell.user_ns["said"]
    assert outcome.galleries == 1 and shell.user_ns["again"] is said
    assert np.array_equal(said.coordinates, places.coordinates)
    run("%blip2 map said -m demo-retrieval --wait -q")
    assert not np.allclose(said.coordinates, places.coordinates)
    assert "8 pictures to lay out by umap" in run("%blip2 map said --method umap --dry-run").text
    assert run("%blip2 map df.image --dry-run").text.startswith("8 pictures: 8 measured already")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("map", "map needs pictures: %blip2 map df.image"),
        ("map df.image[:2]", "needs 3 pictures, and here is only 2 pictures"),
        ('map df.image "a dog"', "map asks nothing"),
        ("map df.image --num-beams 3", "map generates nothing, so num_beams has no effect"),
        ("map df.image --method tsne", "invalid choice: 'tsne'"),
        ("caption df.image --method pca", None),
        ("caption df.image --method umap", "--method is for map"),
        ("map said -n 3", "a result has its rows, so -n has no use here"),
        ("map df.nothing", "there is no column 'nothing'"),
    ],
)
def test_errors_are_one_line(
    run: RunCell, shell: InteractiveShell, line: str, said: str | None
) -> None:
    shell.user_ns["said"] = blip2_widget.explore(demo.samples().image)
    outcome = run(f"%blip2 {line}", fails=said is not None)
    assert said is None or said in str(outcome.error)


def test_umap_that_is_missing_is_said_with_what_to_write(
    run: RunCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "find_spec", lambda _: None)
    error = run("%blip2 map df.image --method umap", fails=True).error
    assert 'pip install "blip2-widget[map]"' in str(error) and "\n" not in str(error)


# --- messages -------------------------------------------------------------------------------------


@pytest.fixture
def opened(own_session: Session) -> tuple[Result, Gallery, Sent]:
    """A gallery of eight pictures and a broken one, and all that it sends."""
    frame = demo.samples().head(9)[["image", "source"]].reset_index(drop=True)
    frame.loc[3, "image"] = "gone.png"
    result = blip2_widget.explore(frame.image, frame=frame)
    gallery = result.gallery
    sent: Sent = []
    gallery.send = lambda content, buffers=None: sent.append((content, buffers or []))
    return result, gallery, sent


def numbers(sent: Sent, kind: str, of: Any) -> Any:
    """What the last message of a kind holds in its one buffer."""
    (buffer,) = [buffers for content, buffers in sent if content["type"] == kind][-1]
    return np.frombuffer(buffer, of)


def test_places_go_by_message_and_what_is_synced_stays_small(opened: Any) -> None:
    result, gallery, sent = opened
    assert gallery.mapped == {}
    receive(gallery, type="map_open", view="v", open=True)
    result.map()
    until(lambda: gallery.mapped.get("version") == 1)
    assert gallery.mapped == {"number": 1, "version": 1, "method": "pca", "note": ""}
    assert len(json.dumps(gallery.get_state(["mapped"]))) < 200
    assert of_type(sent, "map") == []  # before it is asked for again
    receive(gallery, type="map_open", view="v", open=True)
    until(lambda: bool(of_type(sent, "map_marks")))
    places = numbers(sent, "map", np.float32).reshape(9, 2)
    assert np.array_equal(places, result.coordinates, equal_nan=True)
    assert np.isnan(places).all(axis=1).tolist() == [row == 3 for row in range(9)]
    assert numbers(sent, "map_marks", np.uint8).tolist() == [1] * 9
    # Another map is another number, and other places another version.
    result.map(model="demo-retrieval").wait(60)
    until(lambda: gallery.mapped["version"] > 1)
    assert gallery.mapped["number"] == 2


def test_marks_follow_what_is_shown_and_selected_while_a_map_is_open(opened: Any) -> None:
    result, gallery, sent = opened
    result.map().wait(60)
    gallery.selected = [1]
    receive(gallery, type="map_open", view="v", open=True)
    until(lambda: bool(of_type(sent, "map_marks")))
    assert numbers(sent, "map_marks", np.uint8).tolist() == [1, 3, 1, 1, 1, 1, 1, 1, 1]
    gallery.show(filters=[{"key": "column:source", "values": ["drawn scene"]}])
    shown = [row in gallery.filtered for row in range(9)]
    assert 0 < sum(shown) < 9
    until(lambda: len(of_type(sent, "map_marks")) == 2)
    marks = [int(is_shown) + 2 * (row == 1) for row, is_shown in enumerate(shown)]
    assert numbers(sent, "map_marks", np.uint8).tolist() == marks
    receive(gallery, type="select", how="set", rows=[0, 2])
    until(lambda: len(of_type(sent, "map_marks")) == 3)
    marks = [int(is_shown) + 2 * (row in (0, 2)) for row, is_shown in enumerate(shown)]
    assert numbers(sent, "map_marks", np.uint8).tolist() == marks
    for closing in ({"type": "map_open", "open": False}, {"type": "close"}):
        receive(gallery, view="v", **closing)
        before = len(of_type(sent, "map_marks"))
        gallery.selected = [len(gallery.selected)]
        gallery._desk.submit(lambda: None).result()
        assert len(of_type(sent, "map_marks")) == before
        receive(gallery, type="map_open", view="v", open=True)
        until(partial(lambda old: len(of_type(sent, "map_marks")) > old, before))


def test_colours_go_by_message_and_a_row_is_sent_wherever_it_stands(opened: Any) -> None:
    _, gallery, sent = opened
    gallery.show("no such thing")
    receive(gallery, type="colours", key="column:source")
    until(lambda: bool(of_type(sent, "colours")))
    (message,) = of_type(sent, "colours")
    assert message["key"] == "column:source" and set(message["values"]) == {
        "easy-VQA test",
        "drawn scene",
    }
    assert len(numbers(sent, "colours", np.uint8)) == 9
    receive(gallery, type="colours", key="column:nothing")
    until(lambda: bool(of_type(sent, "notice")))
    receive(gallery, type="row", row=5)
    assert of_type(sent, "row")[-1]["row"]["id"] == 5
    receive(gallery, type="row", row=99)
    assert len(of_type(sent, "row")) == 1


def test_a_map_that_was_stopped_says_so_and_a_saved_page_waits_for_one(
    own_session: Session,
) -> None:
    result = blip2_widget.map(demo.samples().image, start=False)
    gallery = result.gallery
    assert gallery.mapped == {"number": 1, "version": 0, "method": "pca", "note": ""}
    assert not settled(result.board)
    result.cancel()
    until(lambda: gallery.mapped["note"] == "The map was not finished.")
    assert result.retry().wait(60).progress.state == "done"
    until(lambda: gallery.mapped["version"] == 1)
    assert gallery.mapped["note"] == "" and settled(result.board)
    assert snapshot_html(result.board).count("<img") == 24


def test_what_is_asked_in_the_gallery_of_a_map_is_answered(own_session: Session) -> None:
    result = blip2_widget.map(demo.samples().image[:3]).wait(60)
    result.gallery._ask_many("how many circles are there?", None)
    assert list(result.wait(60).answers.state) == ["done"] * 3
    assert result.progress.total == 3 and np.isfinite(result.coordinates).all()

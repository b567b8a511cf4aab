"""Scores of a result against references: the numbers, and the gallery's worst first."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.notebook.result import Result
from blip2_widget.notebook.snapshot import snapshot_html
from blip2_widget.session import Session
from tests.notebook.conftest import RunCell
from tests.notebook.test_gallery import until


@pytest.fixture
def result(own_session: Session) -> Result:
    own_session.defaults.model = "demo"
    frame = demo.samples().set_index(pd.Index([f"row {at}" for at in range(32)]))
    asked = blip2_widget.ask(frame.image, {"said": "what is the color of the shape?"}, frame=frame)
    return asked.wait(60)


def test_answers_are_scored_and_the_worst_are_shown_first(result: Result) -> None:
    said = result.df.said
    wrong = ["row 3", "row 7"]
    right = said.where(~said.index.isin(wrong), "none of these")
    score = result.score(right)
    assert score.metrics[0].name == "VQA accuracy" and score.metrics[0].value == 30 / 32
    assert list(score.rows["row"][:2]) == wrong and score.reliability.ece >= 0
    assert list(result.gallery.filtered)[:2] == [3, 7]
    assert list(result.df["VQA accuracy"].loc[wrong]) == [0, 0]

    # Scored again it is the same column, by other references.
    assert result.score(said).metrics[0].value == 1.0
    assert (
        list(result.df.columns).count("VQA accuracy") == 1 and result.df["VQA accuracy"].min() == 1
    )


def test_references_stand_beside_the_answers(result: Result) -> None:
    said = list(result.df.said)
    people = [[text] * 7 + [f"dark {text} ", f"dark {text}", "odd"] for text in said]
    people[1], people[2] = [], [str(number) for number in range(25)]
    gallery = result.gallery  # shown before it is scored
    assert gallery.scored == []
    result.score(people)
    assert gallery.scored == [0] and list(gallery.filtered)[-1] == 1  # which nobody can score
    cells = [gallery._row(row)["cells"][0] for row in range(3)]
    assert cells[0]["references"] == [(said[0], 7), (f"dark {said[0]}", 2), ("odd", 1)]
    assert cells[0]["further"] == 0 and "references" not in cells[1]
    assert len(cells[2]["references"]) == 20 and cells[2]["further"] == 5
    assert f"reference: {said[0]} ×7 · dark {said[0]} ×2 · odd" in snapshot_html(result.board)


def test_the_gallery_shows_the_numbers_and_the_reliability(result: Result) -> None:
    said = list(result.df.said)
    gallery = result.gallery
    score = result.score(["none of these", *said[1:]])
    until(lambda: len(gallery.scores) == 1)
    (told,) = gallery.scores
    assert told["prompt"] == 0 and told["count"] == 32
    (name, value, low, high), _ = told["metrics"]
    assert name == "VQA accuracy" and value == 31 / 32 and 0.8 < low < value < high <= 1
    curve, drawn = score.reliability, told["reliability"]
    assert drawn["ece"] == pytest.approx(curve.ece, abs=1e-5)
    assert [count for count, _, _ in drawn["bins"]] == list(curve.count)
    for (count, confidence, correct), said_there, right in zip(
        drawn["bins"], curve.confidence, curve.correct, strict=True
    ):
        there = [said_there, right] if count else [None, None]
        assert [confidence, correct] == pytest.approx(there, abs=1e-5)
    # Scored again, it is in place of the first.
    result.score(said)
    until(lambda: gallery.scores[0]["metrics"][0][1] == 1)
    assert len(gallery.scores) == 1


def test_of_many_scores_the_last_are_synced(result: Result) -> None:
    gallery = result.gallery
    score = result.score(list(result.df.said))
    for prompt in range(9):
        gallery.show_score(prompt, score)
    until(lambda: len(gallery.scores) == 4)
    assert len(json.dumps(gallery.scores)) < 4 * 600


def test_a_score_that_was_put_in_the_place_of_another_stays(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = result.gallery
    work: list[Any] = []
    monkeypatch.setattr(
        "blip2_widget.notebook.gallery._soon", lambda _seconds, tell: work.append(tell)
    )
    said = list(result.df.said)
    result.score(["none of these"] * 32)
    result.score(said)
    tells = [tell for tell in work if tell.__qualname__.endswith("show_score.<locals>.tell")]
    for tell in reversed(tells):  # the first one's intervals took longer
        tell()
    assert len(tells) == 2 and gallery.scores[0]["metrics"][0][1] == 1


def test_what_is_answered_anew_has_no_score_of_what_was_answered_before(result: Result) -> None:
    result.score(list(result.df.said))
    result.ask(0, "how many shapes are there?").wait(60)
    scores = result.df["VQA accuracy"]
    assert pd.isna(scores.iloc[0]) and scores.iloc[1:].notna().all()
    assert "references" in result.gallery._row(0)["cells"][0]


def test_corrections_are_a_person_s_and_not_scored(result: Result) -> None:
    before = list(result.answers.answer)
    assert result.review(0, "correct", "something else").df.said.iloc[0] == "something else"
    with pytest.raises(Blip2Error, match="there is no row 32"):
        result.review(32, "accept")
    assert result.score(before).metrics[0].value == 1.0


def test_captions_are_scored_by_their_own_metrics(own_session: Session) -> None:
    own_session.defaults.model = "demo"
    frame = demo.samples()
    result = blip2_widget.caption(frame.image, frame=frame, n=4).wait(60)
    score = result.score("caption")
    names = [metric.name for metric in score.metrics]
    assert names[0] == "CIDEr-D" and "BLEU-4" in names and len(score) == 4
    gallery = result.gallery
    assert list(gallery.columns)[-1] == {"name": "CIDEr-D", "kind": "computed"}
    until(lambda: len(gallery.scores) == 1)
    assert gallery.scores[0]["metrics"][0][0] == "CIDEr-D"
    assert gallery.scores[0]["reliability"] is None


def test_references_that_do_not_fit_are_one_line(
    own_session: Session, noise: list[Image.Image]
) -> None:
    own_session.defaults.model = "demo"
    result = blip2_widget.ask(noise[:2], "what?")
    with pytest.raises(Blip2Error, match="3 references for 2 rows"):
        result.score(["a", "b", "c"])
    with pytest.raises(Blip2Error, match="names no column"):
        result.score("answer")
    with pytest.raises(Blip2Error, match="there is no column 'b'"):
        result.score(["a", "b"], "b")


def test_a_line_scores_prints_and_shows(run_cell: RunCell, shell: InteractiveShell) -> None:
    shell.user_ns["df"] = demo.samples().head(6)
    run_cell('%blip2 ask df.image "what is the color of the shape?" -m demo -o said --wait -q')
    said = shell.user_ns["said"]
    sent: list[Any] = []
    said.gallery.send = lambda content, buffers=None: sent.append(content)
    shell.user_ns["answers"] = list(shell.user_ns["df"].answer)
    outcome = run_cell("%blip2 score said --refs df.answer -o score")
    assert "VQA accuracy" in outcome.text + str(outcome.outputs[0].data["text/plain"])
    assert outcome.galleries == 1
    said.gallery._send_codes(0)
    ask = '%blip2 ask df.image "what is the color of the shape?" -m demo'
    assert sent[-1]["codes"] == [f"{ask}\n%blip2 score --refs df.answer"]
    first = shell.user_ns["score"].summary
    run_cell("%blip2 score said --refs answer -q -o score")  # a column of the result's frame
    pd.testing.assert_frame_equal(shell.user_ns["score"].summary, first)
    run_cell("%blip2 score --refs answers -q -o score")
    pd.testing.assert_frame_equal(shell.user_ns["score"].summary, first)
    # Both lines in a cell do the same, of another column as well.
    run_cell(f"{ask} -q\n%blip2 score --refs df.answer --rule gqa --column answer -q -o again")
    assert shell.user_ns["again"].metrics[0].value == first.value[0]
    for cell, part in (
        ("%blip2 score said --refs df.answer --column no", "there is no column 'no'"),
        ("%blip2 caption df.image --column a", "column is for engine='ray'"),
        ("%blip2 score said", "score needs what is right"),
        ("%blip2 score df --refs df.answer", "df is a DataFrame; give a result"),
        ("%blip2 caption df.image --refs df.answer", "--refs is for score"),
    ):
        assert part in str(run_cell(cell, fails=True).error)

"""Captions are scored as COCO's own code scores them, and without Java as near as can be."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.scores import Score, captions, score_captions
from tests.scores.made import CAPTIONS, REFERENCES

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")

#: What the published code calls them.
PUBLISHED = {
    "CIDEr-D": "CIDEr",
    **{f"BLEU-{order}": f"Bleu_{order}" for order in range(1, 5)},
    "ROUGE-L": "ROUGE_L",
    "METEOR": "METEOR",
}


@pytest.fixture
def without_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def published(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, float], list[dict[str, float]]]:
    """What COCO's evaluation says of the captions as a whole and of each, SPICE aside."""
    from pycocoevalcap import eval as whole
    from pycocotools.coco import COCO

    class NoSpice:
        def method(self) -> str:
            return "SPICE"

        def compute_score(self, gts: Any, res: Any) -> tuple[float, list[float]]:
            return 0.0, [0.0] * len(gts)

    monkeypatch.setattr(whole, "Spice", NoSpice)
    # Java would take the last character for the end of the line; pycocoevalcap knows \n alone.
    clean = [" ".join(caption.split()) for caption in CAPTIONS]
    truth = COCO()
    every = [
        {"id": 100 * image + at, "image_id": image, "caption": text}
        for image, texts in enumerate(REFERENCES)
        for at, text in enumerate(texts)
    ]
    truth.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(REFERENCES))],
        "annotations": every,
    }
    truth.createIndex()
    found = truth.loadRes(
        [{"image_id": image, "caption": caption} for image, caption in enumerate(clean)]
    )
    evaluation = whole.COCOEvalCap(truth, found)
    evaluation.evaluate()
    return evaluation.eval, evaluation.evalImgs


@needs_java
def test_every_metric_is_that_of_the_published_code(monkeypatch: pytest.MonkeyPatch) -> None:
    total, by_row = published(monkeypatch)
    score = score_captions(CAPTIONS, REFERENCES)
    assert [metric.name for metric in score.metrics] == list(PUBLISHED)
    for metric, interval in zip(score.metrics, score.intervals, strict=True):
        name = PUBLISHED[metric.name]
        assert metric.value == pytest.approx(total[name], abs=1e-6)
        np.testing.assert_allclose(metric.rows, [row[name] for row in by_row], atol=1e-6)
        # What is resampled is the same metric: of all rows, and of each alone.
        assert interval.value == pytest.approx(metric.value, abs=1e-9)
        np.testing.assert_allclose(metric.of_sums(metric.statistics), metric.rows, atol=1e-9)
        assert 0 <= interval.low <= metric.value <= interval.high
    assert score.comparable and score.tokenizer == "Stanford PTBTokenizer 3.4.1"
    assert "words by Stanford PTBTokenizer 3.4.1: as COCO's published scores" in score.notes


def test_without_java_words_are_cut_in_python_and_it_is_said(without_java: None) -> None:
    score = score_captions(CAPTIONS, REFERENCES)
    assert not score.comparable and score.tokenizer == "plain Python after PTB rules"
    assert [metric.name for metric in score.metrics] == list(PUBLISHED)[:-1]
    said = "\n".join(score.notes)
    assert "Java was not found" in said and "not to be compared with COCO's" in said
    assert "METEOR is left out" in said and "SPICE" not in said


def test_known_values_without_java(without_java: None) -> None:
    """By hand: one of two words right, and the whole caption right."""
    score = score_captions(["red dog", "a cat"], [["blue dog"], ["a cat"]])
    value = {metric.name: metric.value for metric in score.metrics}
    assert value["BLEU-1"] == pytest.approx(3 / 4) and value["BLEU-2"] == pytest.approx(
        (3 / 4 * 1 / 2) ** 0.5
    )
    assert value["ROUGE-L"] == pytest.approx((1 / 2 + 1) / 2)
    # CIDEr-D of an equal caption: 10 for each of four lengths that it has, of which it has two.
    assert score.metrics[0].rows[1] == pytest.approx(5)


@needs_java
def test_java_s_tokenizer_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert captions.tokenize(["Ein Mädchen's dog."], [["x"]]).captions == ["ein mädchen 's dog"]
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def java_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell's line in the place of Java."""

    def put(line: str) -> None:
        (tmp_path / "java").write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "java").chmod(0o700)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    return put


def test_a_tokenizer_that_cannot_run_costs_no_score(java_is: Callable[[str], None]) -> None:
    """A Java that is there and fails, as macOS has one that only says where to get it."""
    java_is("echo 'No Java runtime present' >&2; exit 1")
    score = score_captions(CAPTIONS, REFERENCES)
    said = "\n".join(score.notes)
    assert "Java's tokenizer failed (No Java runtime present), so captions" in said
    assert "METEOR is left out, since its program" in said
    assert not score.comparable and len(score.metrics) == 6
    java_is("exit 3")
    (note,) = captions.tokenize(["a dog"], [["x"]]).notes
    assert "Java's tokenizer failed (it ended in 3)" in note


@pytest.mark.parametrize("line", ["tail -n +2", "cat; echo; echo more", "head -n 1"])
def test_a_tokenizer_that_loses_a_line_is_not_believed(
    line: str, java_is: Callable[[str], None]
) -> None:
    java_is(line)
    tokens = captions.tokenize(["A dog", "a cat"], [["x"], ["y"]])
    assert tokens.captions == ["a dog", "a cat"] and tokens.tokenizer == captions.OWN_TOKENIZER


def test_java_is_given_a_line_a_caption(java_is: Callable[[str], None]) -> None:
    java_is("cat")
    tokens = captions.tokenize(["a dog .", "a\ncat"], [["x", ""], ["y"]])
    assert tokens.tokenizer == captions.JAVA_TOKENIZER
    assert (tokens.captions, tokens.references) == (["a dog", "a cat"], [["x", ""], ["y"]])


@needs_java
@pytest.mark.skipif(captions.has_spice_models(), reason="SPICE's language models are there")
def test_spice_downloads_nothing_and_says_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_meteor", captions._rouge)  # takes 10 s to start
    score = score_captions(["a dog"] * 2, [["a dog"]] * 2, spice=True)
    (note,) = [note for note in score.notes if "SPICE" in note]
    assert re.search(r"models are not there; python -m \S+ downloads them", note)


#: Answers as SPICE's program does, but for its models' part: F of a row's words, by a reference.
_SPICE_PROGRAM = """#!{python}
import json, sys
into = sys.argv[sys.argv.index("-out") + 1]
jar = next(at for at, word in enumerate(sys.argv) if word.endswith(".jar"))
assert sys.argv[1] == "-jar" and "-subset" in sys.argv
scores = []
for row in json.load(open(sys.argv[jar + 1])):
    said, right = set(row["test"].split()), set(" ".join(row["refs"]).split())
    both = len(said & right)
    all_of_it = dict(pr=both / len(said), re=both / len(right), f=2 * both / len([*said, *right]))
    part = dict(pr=None, re=None, f=None)
    scores.append(dict(image_id=row["image_id"], scores=dict(All=all_of_it, Color=part)))
json.dump(scores[::-1], open(into, "w"))
"""


def test_spice_is_the_mean_of_what_its_program_says_of_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its language models are no part of any package, so here another program answers in its form,
    in an order of its own."""
    from pycocoevalcap.spice import get_stanford_models, spice

    (tmp_path / "lib").mkdir()
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (tmp_path / "lib" / name).touch()
    java = tmp_path / "java"
    java.write_text(_SPICE_PROGRAM.replace("{python}", sys.executable))
    java.chmod(0o700)
    monkeypatch.setattr(spice, "__file__", str(tmp_path / "spice.py"))
    monkeypatch.setattr(get_stanford_models, "SPICEDIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tokens = captions.Tokenized(["red dog", "a cat"], [["blue dog"], ["a cat"]], "")
    metric = captions._spice(tokens)
    assert metric.name == "SPICE" and metric.rows.tolist() == pytest.approx([0.5, 1.0])
    assert metric.value == pytest.approx(0.75)
    assert metric.of_sums(metric.statistics) == pytest.approx(metric.rows)


@needs_java
@pytest.mark.skipif(not captions.has_spice_models(), reason="needs SPICE's language models")
def test_spice_is_that_of_the_published_code() -> None:
    from pycocoevalcap.spice.spice import Spice

    tokens = captions.tokenize(CAPTIONS, REFERENCES)
    total, _ = Spice().compute_score(
        dict(enumerate(tokens.references)), {at: [each] for at, each in enumerate(tokens.captions)}
    )
    score = score_captions(CAPTIONS, REFERENCES, spice=True)
    assert score.metrics[-1].name == "SPICE"
    assert score.metrics[-1].value == pytest.approx(total, abs=1e-6)


def test_rows_that_cannot_be_scored_are_left_out_and_counted(without_java: None) -> None:
    said = ["a dog", None, "a cat", "a cow", "a hen"]
    right = [["a dog"], ["a dog"], [], ["...", "?"], "a hen"]
    score = score_captions(said, right, index=list("abcde"))
    assert score.index == ("a", "e") and len(score) == 2
    assert score.notes[:3] == (
        "1 row without an answer left out",
        "1 row without a reference left out",
        "1 row whose references have no word left out",
    )
    with pytest.raises(Blip2Error, match="no reference has a word in it"):
        score_captions(["a dog"], [["..."]])


def test_hostile_texts_are_scored_and_shown_as_text(without_java: None) -> None:
    hostile = "<script>alert(1)</script>\ud800\x00 \x85\u2029|||" * 3
    score: Score = score_captions([hostile, "a dog"], [["a dog", hostile], [hostile, "a dog"]])
    page = score._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_without_the_library_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("pycocoevalcap")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with pytest.raises(Blip2Error, match=r"pip install 'blip2-widget\[scores\]'"):
        score_captions(["a dog"], [["a dog"]])

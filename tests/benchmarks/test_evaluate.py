"""Evaluations of checkpoints, on small data sets in the official formats."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.evaluate import as_asked, evaluate
from benchmarks.folders import read_folder
from benchmarks.retrieval import Recalls, as_read, recalls
from benchmarks.tasks import DOMAINS, TASKS, Writing
from blip2_widget import demo
from blip2_widget.demo import evaluate_retrieval
from blip2_widget.errors import Blip2Error
from blip2_widget.images import load_image
from blip2_widget.model import similarity
from blip2_widget.scores import Score, score_captions

ROOT = Path(__file__).parents[2]
SAMPLES = demo.samples().head(6)


def save(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def save_pictures(folder: Path, names: list[str]) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for source, name in zip(SAMPLES.image, names, strict=False):
        Image.open(source).convert("RGB").save(folder / name, quality=95)


def coco_file(row: int) -> str:
    return f"COCO_val2014_{row + 40:012d}.jpg"


def coco(folder: Path) -> None:
    """Caption annotations as COCO 2014 has them."""
    save_pictures(folder / "val2014", [coco_file(row) for row in range(6)])
    images = [{"id": row + 40, "file_name": coco_file(row)} for row in range(6)]
    captions = [
        {"id": 2 * row + again, "image_id": row + 40, "caption": text}
        for row, caption in enumerate(SAMPLES.caption)
        for again, text in enumerate((caption, f"There is {caption}."))
    ]
    content = {"info": {}, "licenses": [], "images": images, "annotations": captions}
    save(folder / "annotations" / "captions_val2014.json", content)


def karpathy(folder: Path) -> None:
    """The same with Karpathy's splits, of which the test split counts."""
    coco(folder)
    images = [
        {
            "filepath": "val2014",
            "filename": coco_file(row),
            "split": "test" if row < 4 else "restval",
            "cocoid": row + 40,
            "sentences": [{"raw": caption, "tokens": caption.split(), "sentid": row}],
        }
        for row, caption in enumerate(SAMPLES.caption)
    ]
    save(folder / "dataset_coco.json", {"dataset": "coco", "images": images})


def nocaps(folder: Path) -> None:
    names = [f"{row:016x}.jpg" for row in range(6)]
    save_pictures(folder / "images", names)
    images = [
        {
            "id": row,
            "file_name": name,
            "open_images_id": name[:-4],
            "coco_url": "http://x/x.jpg",
            "domain": DOMAINS[row % 3],
        }
        for row, name in enumerate(names)
    ]
    captions = [
        {"id": row, "image_id": row, "caption": caption}
        for row, caption in enumerate(SAMPLES.caption)
    ]
    save(folder / "nocaps_val_4500_captions.json", {"images": images, "annotations": captions})


def vqa(folder: Path, version: str) -> None:
    save_pictures(folder / "val2014", [coco_file(row) for row in range(6)])
    questions = [
        {"image_id": row + 40, "question": question.capitalize(), "question_id": 400 + row}
        for row, question in enumerate(SAMPLES.question)
    ]
    annotations = [
        {
            "question_id": 400 + row,
            "image_id": row + 40,
            "question_type": "what",
            "answer_type": "other",
            "multiple_choice_answer": answer,
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": number}
                for number in range(1, 11)
            ],
        }
        for row, answer in enumerate(SAMPLES.answer.astype(str))
    ]
    base = {"info": {}, "license": {}, "data_type": "mscoco", "data_subtype": "val2014"}
    name = f"{version}OpenEnded_mscoco_val2014_questions.json"
    save(folder / name, base | {"task_type": "Open-Ended", "questions": questions})
    name = f"{version}mscoco_val2014_annotations.json"
    save(folder / name, base | {"annotations": annotations})


def gqa(folder: Path) -> None:
    save_pictures(folder / "images", [f"n{row}.jpg" for row in range(6)])
    questions = {
        f"20{row}": {
            "imageId": f"n{row}",
            "question": question,
            "answer": str(answer),
            "fullAnswer": f"It is {answer}.",
            "isBalanced": True,
        }
        for row, (question, answer) in enumerate(zip(SAMPLES.question, SAMPLES.answer, strict=True))
    }
    save(folder / "questions1.2" / "testdev_balanced_questions.json", questions)


def flickr30k(folder: Path) -> None:
    """Karpathy's file, and of each picture two captions, which the demo tells from the others'."""
    save_pictures(folder / "flickr30k-images", [f"{row}.jpg" for row in range(6)])
    images = [
        {
            "filename": f"{row}.jpg",
            "split": "test" if row < 5 else "train",
            "imgid": row,
            "sentences": [{"raw": text} for text in (f"{caption.upper()}!", caption)],
        }
        for row, caption in enumerate(SAMPLES.caption)
    ]
    save(folder / "dataset_flickr30k.json", {"dataset": "flickr30k", "images": images})


def lavis_test_split(folder: Path, name: str, places: list[str]) -> None:
    """What LAVIS makes of a file of Karpathy's."""
    rows = [
        {"image": place, "caption": [caption, f"{caption}."]}
        for place, caption in zip(places, SAMPLES.caption, strict=True)
    ]
    save(folder / "annotations" / name, rows)


MAKERS: dict[str, Callable[[Path], None]] = {
    "coco": coco,
    "nocaps": nocaps,
    "vqav2": lambda folder: vqa(folder, "v2_"),
    "okvqa": lambda folder: vqa(folder, ""),
    "gqa": gqa,
}
LEADING = {"vqav2": "VQA accuracy", "okvqa": "VQA accuracy", "gqa": "GQA accuracy"}


@pytest.mark.parametrize("name", MAKERS)
def test_a_checkpoint_is_evaluated_on_a_data_set_as_published(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo checkpoint knows its own pictures, but not questions in this form."""
    monkeypatch.setenv("PATH", str(tmp_path))  # no Java, which takes long to start
    MAKERS[name](tmp_path)
    task = TASKS[name]
    rows = read_folder(name, tmp_path)
    assert len(rows) == 6 and all(picture.is_file() for picture in rows.pictures)
    found = evaluate(task, tmp_path, "demo", variant="cpu-fp32")
    assert isinstance(task, Writing) and isinstance(found.score, Score)
    leading = found.score.metrics[0]
    assert len(found.score) == 6 and leading.name == LEADING.get(name, "CIDEr-D")
    assert leading.value > (0.4 if task.kind == "answers" else 2)
    assert task.source in str(found) and f"| {leading.name} |" in str(found)
    assert (found.score.confidence is not None) == (task.kind == "answers")
    assert found.published == {}


def test_karpathy_s_split_comes_before_coco_s_and_has_published_scores(tmp_path: Path) -> None:
    karpathy(tmp_path)
    rows = read_folder("coco", tmp_path)
    assert len(rows) == 4 and rows.split == TASKS["coco"].split
    assert rows.references[0] == [SAMPLES.caption[0]]


def test_nocaps_is_scored_by_its_domains_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no Java, which takes long to start
    nocaps(tmp_path)
    (tmp_path / "images" / f"{2:016x}.jpg").write_bytes(b"broken")
    (tmp_path / "images" / f"{5:016x}.jpg").write_bytes(b"broken")
    rows = read_folder("nocaps", tmp_path)
    assert rows.domains == [*DOMAINS, *DOMAINS] and rows.sample(2).domains != rows.domains
    found = evaluate(TASKS["nocaps"], tmp_path, "demo", variant="cpu-fp32")
    assert list(found.parts) == list(DOMAINS[:2])  # of the third no picture can be opened
    assert "out-domain: " in str(found) and "2 of 6 rows failed" in str(found)
    for at, (domain, part) in enumerate(found.parts.items()):
        own = score_captions(part.texts, [[SAMPLES.caption[at]], [SAMPLES.caption[at + 3]]])
        assert len(part) == 2 and part.metrics[0].value == pytest.approx(own.metrics[0].value)
        assert f"| CIDEr-D, {domain} | {part.metrics[0].value:.4f} |" in str(found)
    assert len(found.score) == 4
    # What was published of a domain stands beside it.
    known = dataclasses.replace(found, checkpoint="flan-t5-xl-coco", split=TASKS["nocaps"].split)
    assert re.search(r"\| CIDEr-D \| .* \| 1\.2160 \|", str(known))
    assert re.search(r"\| CIDEr-D, near-domain \| .* \| 1\.2020 \|", str(known))
    assert rows.split == TASKS["nocaps"].split


def test_retrieval_is_evaluated_as_lavis_does(tmp_path: Path) -> None:
    flickr30k(tmp_path)
    rows = read_folder("flickr30k", tmp_path)
    assert len(rows) == 5 and all(picture.is_file() for picture in rows.pictures)
    found = evaluate(TASKS["flickr30k"], tmp_path, "demo-retrieval", variant="cpu-fp32")
    score = found.score
    assert isinstance(score, Recalls) and len(score.captions) == 10
    # By hand, of every pair: the match's vote for yes plus the similarity.
    engine = evaluate_retrieval.load()
    seen = engine.see([load_image(picture) for picture in rows.pictures])
    near = similarity(engine.project(engine.features(seen)), engine.embed_texts(score.captions))
    votes = [engine.votes(seen, [text] * 5)[:, 1] for text in score.captions]
    total = (torch.stack(votes, dim=1) + near).numpy()
    best = [int((line > line[2 * row : 2 * row + 2].max()).sum()) for row, line in enumerate(total)]
    found_by = [int((line > line[at // 2]).sum()) for at, line in enumerate(total.T)]
    assert score.of_captions.tolist() == best and score.of_pictures.tolist() == found_by
    value = {metric.name: metric.value for metric in score.metrics}
    assert value["image to text R@1"] == np.mean(np.array(best) < 1) > 0.5
    assert value["text to image R@5"] == 1.0 and len(score.intervals) == 6
    assert "| text to image R@10 | 1.0000 | 1.0000 to 1.0000 |  |" in str(found)
    assert score.rows["rank"].is_monotonic_decreasing and len(score.rows) == 15
    known = dataclasses.replace(found, checkpoint="itm-vit-g-coco")
    assert re.search(r"\| image to text R@1 \| .* \| 0\.9760 \|", str(known))


def test_only_the_nearest_are_judged_and_what_is_lost_is_not_found(tmp_path: Path) -> None:
    flickr30k(tmp_path)
    (tmp_path / "flickr30k-images" / "3.jpg").write_bytes(b"broken")
    rows = read_folder("flickr30k", tmp_path)
    score = recalls(rows, "demo-retrieval", "cpu-fp32", reranked=1)
    assert score.of_captions[3] == 10 and score.of_pictures[[6, 7]].tolist() == [5, 5]
    assert score.notes == ("1 of 5 pictures could not be read, and are not found",)
    others = np.delete(score.of_captions, 3)
    assert set(others) <= {0, 10}  # the one that is judged is right, or none is


def test_captions_are_read_as_lavis_reads_them() -> None:
    assert as_read(' A "red"  dog, #1: (runs).\n') == "a red dog, 1 runs"
    assert len(as_read("word " * 60).split()) == 50


@pytest.mark.parametrize(
    ("name", "file", "place"),
    [
        ("coco-retrieval", "coco_karpathy_test.json", "val2014/{}.jpg"),
        ("flickr30k", "flickr30k_test.json", "flickr30k-images/{}.jpg"),
    ],
)
def test_retrieval_reads_lavis_files_and_karpathy_s_before_them(
    tmp_path: Path, name: str, file: str, place: str
) -> None:
    places = [place.format(row) for row in range(6)]
    save_pictures((tmp_path / "images" / places[0]).parent, [Path(each).name for each in places])
    lavis_test_split(tmp_path, file, places)
    rows = read_folder(name, tmp_path)
    assert len(rows) == 6 and all(picture.is_file() for picture in rows.pictures)
    assert rows.split == TASKS[name].split and rows.references[0][0] == SAMPLES.caption[0]
    {"flickr30k": flickr30k, "coco-retrieval": karpathy}[name](tmp_path)
    assert len(read_folder(name, tmp_path)) < 6


def test_some_rows_are_drawn_and_said_to_be_some(tmp_path: Path) -> None:
    MAKERS["vqav2"](tmp_path)
    rows = read_folder("vqav2", tmp_path)
    some = rows.sample(2)
    assert some == rows.sample(2) and some.split == "2 of 6 rows of val2014"
    assert rows.sample(9) is rows


def test_settings_are_those_of_the_paper_and_what_cannot_be_set_is_said() -> None:
    vqa, coco = TASKS["vqav2"], TASKS["coco"]
    assert isinstance(vqa, Writing) and isinstance(coco, Writing)
    options, missing = vqa.options()
    assert options["num_beams"] == 5 and options["max_new_tokens"] == 10
    assert ("length_penalty" in options) != any("length_penalty" in each for each in missing)
    options, missing = coco.options()
    assert options["max_new_tokens"] == 30
    assert ("min_new_tokens" in options) != any("min_new_tokens" in each for each in missing)


def test_questions_are_asked_as_lavis_asks_them() -> None:
    assert as_asked('What is "this" (here)?  ') == "what is this here?"
    assert len(as_asked("word " * 60).split()) == 50


def test_what_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Blip2Error, match=r"holds no v2_OpenEnded_mscoco_val2014_questions\.json"):
        read_folder("vqav2", tmp_path)
    MAKERS["gqa"](tmp_path)
    for picture in (tmp_path / "images").iterdir():
        picture.unlink()
    with pytest.raises(Blip2Error, match=r"n0\.jpg is not in .* put the pictures there"):
        read_folder("gqa", tmp_path)
    (tmp_path / "nocaps_val_4500_captions.json").write_text("{")
    with pytest.raises(Blip2Error, match="is not JSON"):
        read_folder("nocaps", tmp_path)


def test_the_command_prints_a_table_and_writes_the_rows(tmp_path: Path) -> None:
    MAKERS["gqa"](tmp_path)
    (tmp_path / "images" / "n2.jpg").write_bytes(b"broken")
    command = [sys.executable, "-m", "benchmarks.evaluate", "gqa", str(tmp_path)]
    command += ["--checkpoint", "demo", "--variant", "cpu-fp32", "--rows", str(tmp_path / "r.csv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "## demo on GQA, test-dev balanced, test-dev balanced" in done.stdout
    assert "| metric | value | 95 % interval | published |" in done.stdout
    assert "1 of 6 rows failed; the first: " in done.stdout
    assert (tmp_path / "r.csv").read_text().startswith("row,answer,references,confidence,GQA")
    done = subprocess.run(
        [*command[:4], str(tmp_path / "no")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith(str(tmp_path / "no"))

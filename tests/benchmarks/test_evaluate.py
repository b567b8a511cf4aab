"""Evaluations of checkpoints, on small data sets in the official formats."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.evaluate import as_asked, evaluate
from benchmarks.folders import read_folder
from benchmarks.tasks import TASKS
from blip2_widget import demo
from blip2_widget.errors import Blip2Error

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
        {"id": row, "file_name": name, "open_images_id": name[:-4], "coco_url": "http://x/x.jpg"}
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


def test_some_rows_are_drawn_and_said_to_be_some(tmp_path: Path) -> None:
    MAKERS["vqav2"](tmp_path)
    rows = read_folder("vqav2", tmp_path)
    some = rows.sample(2)
    assert some == rows.sample(2) and some.split == "2 of 6 rows of val2014"
    assert rows.sample(9) is rows


def test_settings_are_those_of_the_paper_and_what_cannot_be_set_is_said() -> None:
    options, missing = TASKS["vqav2"].options()
    assert options["num_beams"] == 5 and options["max_new_tokens"] == 10
    assert ("length_penalty" in options) != any("length_penalty" in each for each in missing)
    options, missing = TASKS["coco"].options()
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

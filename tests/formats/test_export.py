"""Results leave in files that each format's own reader reads back, whatever stands in them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image
from pycocotools.coco import COCO

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.formats import FORMATS as KNOWN
from blip2_widget.formats.answers import COLUMNS, clean
from blip2_widget.notebook.result import Result
from blip2_widget.run import target_of
from tests.formats.made import FORMATS, NAMES, TEXTS, answered, export, pictures

WANTED = [clean(text) for text in TEXTS]


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


@pytest.fixture
def result(tmp_path: Path) -> Result:
    """Hostile texts on pictures with plain names, one of them corrected, and one without."""
    paths = pictures(tmp_path / "pictures", [f"{at:02}.png" for at in range(len(TEXTS) + 1)])
    result = answered(paths, [*TEXTS, None])
    result.reviews.act(target_of(result.board, 1, 0)(), "correct", "=corrected")
    return result


def test_halves_that_belong_together_are_one_character_and_others_none() -> None:
    assert clean("\ud83d\ude00 \ud83d \0") == "\U0001f600 \ufffd \ufffd"


#: What counts in `result`: of the row that failed nothing.
SAID = [WANTED[0], "=corrected", *WANTED[2:]]


def equal(one: Any, other: Any) -> bool:
    """Whether two pictures have the same pixels."""
    return np.array_equal(np.asarray(one), np.asarray(other))


def load(kind: str, tmp_path: Path, **options: Any) -> Any:
    return datasets.load_dataset(kind, split="train", cache_dir=str(tmp_path / "hf"), **options)


def test_the_test_knows_every_format() -> None:
    assert {*FORMATS, "sidecar"} == set(KNOWN)


def test_parquet_has_types_and_is_read_by_pyarrow_and_datasets(
    result: Result, tmp_path: Path
) -> None:
    path = result.export(tmp_path / "a.parquet")
    table = pq.read_table(path)
    assert table.column_names == list(COLUMNS)
    assert table["answer"].to_pylist() == [*SAID, None]
    assert table["model_answer"].to_pylist() == [*WANTED, None]
    assert table["row"].to_pylist() == list(range(len(TEXTS) + 1))
    frame = table.to_pandas()
    assert str(frame.answered_at[3]) == "2023-11-14 22:13:23+00:00"
    assert frame.confidence[0] == pytest.approx(np.exp(-0.5))
    assert frame.review[1] == "corrected" and frame.reviewer[1] and not frame.flagged[1]
    assert frame.error[len(TEXTS)] == "no answer" and frame.state[len(TEXTS)] == "error"
    assert set(frame.model) == {"demo"} and all(frame.revision) and all(frame.variant)
    assert load("parquet", tmp_path, data_files=str(path))["answer"][:] == [*SAID, None]


def test_csv_is_read_by_pandas_and_nothing_in_it_is_a_formula(
    result: Result, tmp_path: Path
) -> None:
    path = result.export(tmp_path / "a.csv")
    frame = pd.read_csv(path, keep_default_na=False)
    assert list(frame.columns) == list(COLUMNS) and len(frame) == len(TEXTS) + 1
    for text, known in zip(frame.answer, [*SAID, ""], strict=True):
        assert text in (known, f"'{known}")
    with path.open(newline="", encoding="utf-8") as file:
        fields = [field for line in csv.reader(file) for field in line]
    # A log-probability is a number, and no text.
    assert {field for field in fields if field and field[0] in "=+-@\t\r\n"} == {"-0.5"}


def test_json_lines_are_read_by_datasets_and_pandas(result: Result, tmp_path: Path) -> None:
    path = result.export(tmp_path / "a.jsonl")
    assert load("json", tmp_path, data_files=str(path))["answer"][:] == [*SAID, None]
    frame = pd.read_json(path, lines=True, dtype=False)
    assert list(frame.answer[:-1]) == SAID
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["row"] for line in lines if line] == list(range(len(TEXTS) + 1))


def test_coco_is_read_by_pycocotools(result: Result, tmp_path: Path) -> None:
    coco = COCO(str(result.export(tmp_path / "a.json")))
    images = coco.loadImgs(coco.getImgIds())
    assert [Path(each["file_name"]).name for each in images] == [
        f"{at:02}.png" for at in range(len(TEXTS) + 1)
    ]
    assert {(each["width"], each["height"]) for each in images} == {(8, 6)}
    said = [coco.loadAnns(coco.getAnnIds(imgIds=[each["id"]])) for each in images]
    assert [[one["caption"] for one in each] for each in said] == [*[[t] for t in SAID], []]


def test_an_imagefolder_is_read_by_datasets_with_its_pictures(
    result: Result, tmp_path: Path
) -> None:
    folder = result.export(tmp_path / "out", "imagefolder")
    read = load("imagefolder", tmp_path, data_dir=str(folder))
    assert read["answer"][:] == [*SAID, None]
    for number in (0, len(TEXTS)):
        known = Image.open(tmp_path / "pictures" / f"{number:02}.png")
        assert equal(read[number]["image"], known)
    copied = (folder / "00.png").read_bytes()
    assert copied == (tmp_path / "pictures" / "00.png").read_bytes()


def test_a_dataset_is_in_memory_and_on_disk(result: Result, tmp_path: Path) -> None:
    saved = datasets.load_from_disk(str(result.export(tmp_path / "saved", "dataset")))
    for dataset in (result.to_dataset(), saved):
        assert dataset["answer"][:] == [*SAID, None]
        assert dataset.column_names == ["image", *COLUMNS]
        assert equal(dataset[2]["image"], Image.open(tmp_path / "pictures" / "02.png"))
    # What is on disk needs the pictures no longer.
    assert saved.cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"]


def test_a_webdataset_is_read_by_its_own_package(result: Result, tmp_path: Path) -> None:
    path = result.export(tmp_path / "a.tar")
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode("pil"))
    assert [sample.get("txt") for sample in samples] == [*SAID, None]
    assert [sample["json"]["answers"][0]["model_answer"] for sample in samples[:-1]] == WANTED
    assert samples[0]["png"].size == (8, 6)


def test_a_sidecar_stands_beside_each_picture(result: Result, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    assert result.export(folder, "sidecar") == folder
    texts = sorted(folder.glob("*.txt"))
    assert [each.read_bytes().decode() for each in texts] == SAID
    assert len(list(folder.iterdir())) == 2 * len(TEXTS) + 1


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_names_of_files_columns_and_places(name: str, tmp_path: Path) -> None:
    paths = pictures(tmp_path / "=pictures", NAMES)
    index = [f"=place{at}\n" for at in range(len(paths))]
    frame = pd.DataFrame({"=image": pd.Series(paths, index, dtype=object)})
    texts = [f"text {at}" for at in range(len(paths))]
    result = answered(frame["=image"], texts, more=texts[::-1], frame=frame)
    path = export(result, tmp_path / "out", name)
    if name == "csv":
        read = pd.read_csv(path)
        assert list(read.row) == [f"'{place}" for place in index for _ in "ab"]
        assert set(read.name) == {"caption", "'=second"}
    if name == "imagefolder":
        read = load("imagefolder", tmp_path, data_dir=str(path))
        assert read["answer"][::2] == texts and read["answer"][1::2] == texts[::-1]
        assert len({each.name for each in path.iterdir()}) == len(NAMES) + 1
        assert not [each for each in path.iterdir() if set(each.name) & set('/\\\n*?"<>|:')]
    report = blip2_widget.import_answers(path, frame["=image"])
    assert (report.texts, report.pictures, report.wrong) == (2 * len(NAMES), len(NAMES), [])
    again = blip2_widget.ask(frame["=image"], {"a": "what?", "b": "how many {{x}}?"}).wait(60)
    assert (list(again.df.a), list(again.df.b)) == (texts, texts[::-1])


def test_pictures_in_memory_are_written_as_png_under_names_of_their_own(
    noise: list[Image.Image], tmp_path: Path
) -> None:
    data = io.BytesIO()
    noise[1].save(data, "JPEG")
    named = {"bytes": data.getvalue(), "path": "../../x.jpg"}
    result = answered([noise[0], named, named, b"broken"], ["a", "b", "c", None])
    folder = result.export(tmp_path / "deep" / "out", "imagefolder")
    files = {each.name for each in folder.iterdir()}
    assert files == {"0.png", "x.jpg", "x-2.jpg", "metadata.jsonl"}
    assert (folder / "x.jpg").read_bytes() == data.getvalue()
    assert equal(Image.open(folder / "0.png"), noise[0])


def test_pictures_that_lie_in_the_folder_stay_there(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "photos" / "in", ["a.png", "b.png"])
    outside = pictures(tmp_path / "elsewhere", ["a.png"])
    result = answered([*paths, *outside, *outside], ["1", "2", "3", "4"])
    folder = tmp_path / "photos"
    for _ in range(2):  # the second finds what the first has brought
        result.export(folder, "imagefolder", overwrite=True)
        lines = [json.loads(line) for line in (folder / "metadata.jsonl").open()]
        assert [line["file_name"] for line in lines] == ["in/a.png", "in/b.png", *["a.png"] * 2]
        assert {each.name for each in folder.iterdir()} == {"in", "a.png", "metadata.jsonl"}


def test_one_column_of_several_is_chosen(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "p", ["a.png", "b.png"])
    result = answered(paths, ["1", "2"], more=["3", "4"])
    path = result.export(tmp_path / "a.csv", columns="=second")
    assert list(pd.read_csv(path).answer) == [3, 4]
    with pytest.raises(Blip2Error, match="choose one: --column 'caption'"):
        result.export(tmp_path / "p", "sidecar")
    result.export(tmp_path / "p", "sidecar", columns=["caption"])
    assert (tmp_path / "p" / "b.txt").read_text() == "2"
    with pytest.raises(Blip2Error, match="no column 'colour'"):
        result.export(tmp_path / "b.csv", columns="colour")


def test_what_no_reader_could_mean_is_said(tmp_path: Path) -> None:
    result = answered(pictures(tmp_path / "p", ["a.png"]), ["1"])
    for path, format, said in [
        ("a.xlsx", None, "says no format; end it in .parquet"),
        ("a.csv", "parquett", "did you mean parquet?"),
        ("gone/a.csv", None, "there is no folder"),
    ]:
        with pytest.raises(Blip2Error, match=said):
            result.export(tmp_path / path, format)


def test_tables_and_tars_are_made_row_after_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of rows, few records are in memory at a time."""
    import blip2_widget.formats.answers as module
    import blip2_widget.formats.tables as tables

    alive, most = 0, 0

    class Counted(dict[str, Any]):
        def __init__(self, values: dict[str, Any]) -> None:
            nonlocal alive, most
            super().__init__(values)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    plain = module.Answers._plain
    monkeypatch.setattr(module.Answers, "_plain", lambda *given: Counted(plain(*given)))
    monkeypatch.setattr(tables, "_GROUP", 20)
    (path,) = pictures(tmp_path / "p", ["a.png"])
    result = answered([path] * 500, ["text"] * 500)
    for name in ("parquet", "csv", "jsonl", "coco", "webdataset", "imagefolder", "dataset"):
        most = 0
        export(result, tmp_path / "out", name)
        # A group that is written, and the next one that is made.
        assert 0 < most <= {"parquet": 40, "dataset": 65}.get(name, 2), name

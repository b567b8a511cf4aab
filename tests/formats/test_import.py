"""Earlier texts come in: a half-captioned set goes on from there, and nothing of it is lost."""

from __future__ import annotations

import csv
import json
import os
import pickle
import sys
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import clean
from blip2_widget.model import Engine
from blip2_widget.notebook.result import Result
from blip2_widget.run import Pictures, records_of, target_of
from blip2_widget.session import Session
from tests.formats.made import FORMATS, TEXTS, answered, export, pictures

NAMES = [f"{at}.png" for at in range(6)]


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return pictures(tmp_path / "p", NAMES)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many answers were computed in each batch."""
    seen: list[int] = []
    real = Engine.stream

    def counting(engine: Engine, features: Any, prompts: Sequence[Any], *a: Any, **n: Any) -> Any:
        seen.append(len(prompts))
        return real(engine, features, prompts, *a, **n)

    monkeypatch.setattr(Engine, "stream", counting)
    return seen


def write_csv(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def captions(images: Any, **options: Any) -> list[Any]:
    return list(blip2_widget.caption(images, **options).wait(60).df.iloc[:, -1])


def confidences(result: Result) -> list[float | None]:
    rows = range(len(result.board))
    return [each.confidence for row in rows for each in records_of(result.board, row)]


def test_a_half_captioned_set_goes_on_and_computes_only_what_is_missing(
    paths: list[str], tmp_path: Path, asked: list[int]
) -> None:
    lines = [{"file_name": f"p/{name}", "caption": ""} for name in NAMES]
    lines[0]["caption"], lines[3]["caption"] = "mine", "mine too"
    report = blip2_widget.import_answers(write_csv(tmp_path / "old.csv", lines), paths)
    assert repr(report) == "imported 2 texts of 2 pictures from old.csv as captions"
    result = blip2_widget.caption(paths).wait(60)
    assert sum(asked) == 4 and result.progress.cached == 2
    answers = result.answers
    assert (answers.answer[0], answers.answer[3]) == ("mine", "mine too")
    assert [each == "old.csv" for each in answers.source] == [at in (0, 3) for at in range(6)]
    assert (answers.model[0], answers.variant[0]) == ("old.csv", "imported")
    # Another prompt is another thing.
    assert captions(paths[:1], prompt="a photo of") != ["mine"]


def test_refresh_compare_chat_and_no_cache_ask_the_model(
    paths: list[str], tmp_path: Path, asked: list[int]
) -> None:
    file = write_csv(tmp_path / "a.csv", [{"image": paths[0], "text": "mine"}])
    blip2_widget.import_answers(file)
    assert captions(paths[:1]) == ["mine"] and not asked
    assert captions(paths[:1], cache=False) != ["mine"]
    assert captions(paths[:1], refresh=True) != ["mine"]
    both = blip2_widget.compare(paths[:1], variants=["cpu-fp32", "cpu-bf16"]).wait(60)
    assert "mine" not in set(both.answers.answer)
    question = write_csv(tmp_path / "b.csv", [{"image": paths[0], "question": "x?", "text": "yes"}])
    blip2_widget.import_answers(question)
    assert blip2_widget.ask(paths[:1], "x?").wait(60).df.answer[0] == "yes"
    assert blip2_widget.chat(paths[0], "x?")[0][1] != "yes"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("matched", [True, False])
def test_our_own_exports_come_back_whole(
    paths: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    matched: bool,
) -> None:
    images = pictures(tmp_path / "q", [f"{at:02}.png" for at in range(len(TEXTS))])
    texts = [clean(text) for text in TEXTS]
    result = answered(images, texts)
    reviews = result.reviews
    reviews.act(target_of(result.board, 0, 0)(), "correct", "=mine\n2")
    reviews.act(target_of(result.board, 1, 0)(), "reject")
    reviews.act(target_of(result.board, 2, 0)(), "flag")
    path = export(result, tmp_path / "out", name)
    known = result.answers
    # A person with a store of their own, who has the pictures, or only what was written.
    monkeypatch.setenv("BLIP2_WIDGET_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(blip2_widget.session, "_session", Session())
    blip2_widget.session.current().set_default("model", "demo")
    report = blip2_widget.import_answers(path, images if matched else None)
    assert (report.texts, report.reviews, report.wrong) == (len(TEXTS), 3, [])
    again = blip2_widget.caption(images).wait(60)
    back = again.answers
    assert list(back.answer) == [text.strip() for text in texts]
    for column in ("review", "flagged", "corrected", "reviewer"):
        assert list(back[column].fillna("")) == list(known[column].fillna(""))
    # The demo's folder is where it is installed: it goes by its name.
    assert set(back.model) == {"demo"} and set(back.variant) == set(known.variant)
    assert confidences(again) == pytest.approx(confidences(result))
    assert list(back.revision) == list(known.revision)
    apart = (back.reviewed_at - known.reviewed_at).dropna().abs()
    assert len(apart) == 3 and apart.max() < pd.Timedelta("2us")
    assert again.df.iloc[0, -1] == "=mine\n2"
    # Not twice, and an older word takes no newer one back.
    again.reviews.act(target_of(again.board, 0, 0)(), "correct", "newer")
    assert blip2_widget.import_answers(path, images if matched else None).reviews == 0
    assert blip2_widget.caption(images).wait(60).df.iloc[0, -1] == "newer"


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "texts"])
def test_what_the_store_knows_of_an_answer_is_no_less_after_its_export_comes_back(
    paths: list[str], tmp_path: Path, name: str
) -> None:
    path = tmp_path / ("p" if name == "texts" else name)
    result = blip2_widget.caption(paths).wait(60)
    result.export(path, "sidecar" if name == "texts" else None)
    assert blip2_widget.import_answers(path, paths).texts == 6
    again = blip2_widget.caption(paths).wait(60)
    columns = ["answer", "model", "revision", "variant", "source"]
    pd.testing.assert_frame_equal(result.answers[columns], again.answers[columns])
    assert confidences(again) == confidences(result) and None not in confidences(result)


def test_what_was_refreshed_stays_until_it_is_imported_again(
    paths: list[str], tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "a.csv", [{"image": each, "text": "mine"} for each in paths[:2]])
    blip2_widget.import_answers(file)
    refreshed = captions(paths[:1], refresh=True)
    assert refreshed != ["mine"]
    assert captions(paths[:2]) == [*refreshed, "mine"]
    blip2_widget.import_answers(file)
    assert captions(paths[:2]) == ["mine", "mine"]


def test_times_that_no_calendar_has_stop_no_export(paths: list[str], tmp_path: Path) -> None:
    times = ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2999-01-01T00:00:00"]
    lines = [
        {"image": path, "text": "x", "answered_at": at}
        for path, at in zip(paths, times, strict=False)
    ]
    assert blip2_widget.import_answers(write_csv(tmp_path / "a.csv", lines)).texts == 3
    result = blip2_widget.caption(paths[:3]).wait(60)
    assert result.answers.answered_at.dt.year.min() >= 1970
    assert result.answers.answered_at.dt.year.max() < 2999
    result.export(tmp_path / "b.parquet")


def test_texts_beside_pictures_come_back(paths: list[str], tmp_path: Path) -> None:
    answered(paths, [f"text {at}" for at in range(6)]).export(tmp_path / "p", "sidecar")
    (tmp_path / "p" / "gone.txt").write_text("nobody's")
    (tmp_path / "p" / "0.jpg").write_bytes(b"another")
    report = blip2_widget.import_answers(tmp_path / "p", paths)
    assert report.texts == 5
    assert list(report.errors.error) == [
        "0.jpg and 0.png share 0.txt",
    ]
    assert captions(paths[1:]) == [f"text {at}" for at in range(1, 6)]


def test_a_file_name_that_is_no_utf8_is_why_no_text_is_put_beside_it(tmp_path: Path) -> None:
    images = pictures(tmp_path / "p", ["no \udcff utf-8.png"])
    with pytest.raises(Blip2Error, match="is not UTF-8"):
        answered(images, ["x"]).export(tmp_path / "p", "sidecar")


def test_formats_of_other_people(paths: list[str], tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 7, "file_name": "0.png"}, {"id": 8, "file_name": "1.png"}],
        "annotations": [
            {"id": 1, "image_id": 7, "caption": "first"},
            {"id": 2, "image_id": 7, "caption": "second"},
            {"id": 3, "image_id": 9, "caption": "of nothing"},
        ],
    }
    (tmp_path / "captions.json").write_text(json.dumps(coco))
    report = blip2_widget.import_answers(tmp_path / "captions.json", paths)
    assert repr(report) == (
        "imported 1 text of 1 picture from captions.json as captions; 1 further text of the "
        "same pictures left out; 1 row did not come in (.errors)"
    )
    pd.DataFrame({"url": paths[1:3], "description": [["one", "two"], ["three"]]}).to_parquet(
        tmp_path / "a.parquet"
    )
    blip2_widget.import_answers(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(
        '\ufeff{"pic": "p/3.png", "words": "four \\ud800", "n": 4}\n'
        'no json\n[1]\n\n{"pic": "p/4.png"}\n'
    )
    report = blip2_widget.import_answers(tmp_path / "a.jsonl", column="pic", text="words")
    assert list(report.errors.row) == [1, 2]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        (tmp_path / "5.txt").write_text("five")
        tar.add(paths[5], "deep/x.png")
        tar.add(tmp_path / "5.txt", "deep/x.txt")
    blip2_widget.import_answers(tmp_path / "a.tar")
    said = captions([paths[at] for at in (0, 1, 2, 3, 5)])
    assert said == ["first", "one", "three", "four \ufffd", "five"]


def test_one_column_of_texts_is_read_and_what_is_no_text_is_told(
    paths: list[str], tmp_path: Path
) -> None:
    said: list[Any] = ["", None, float("nan"), {"a": 1}, True, ["", "listed"], [1], "mine", " "]
    lines = [
        {"file_name": f"p/{at % 6}.png", "title": "no caption"}
        | ({} if at == 0 else {"caption": x})
        for at, x in enumerate(said)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = blip2_widget.import_answers(tmp_path / "a.jsonl", paths)
    assert report.texts == 2 and list(report.errors.row) == [3, 4, 6]
    assert report.errors.error[1] == "caption holds no text, but True"
    answers = blip2_widget.caption(paths).wait(60).answers
    assert set(answers.answer[answers.source.notna()]) == {"listed", "mine"}


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.csv", "Image,Caption\np/0.png,naïve\n".encode(), "naïve"),
        ("a.csv", "image;caption\np/0.png;naïve, too\n".encode(), "naïve, too"),
        ("a.tsv", "image\tcaption\np/0.png\tnaïve, too\n".encode(), "naïve, too"),
        ("a.csv", "image,caption\r\np/0.png,naïve\r\n".encode("utf-16"), "naïve"),
        ("a.csv", "image,caption\np/0.png,naïve\n".encode("latin-1"), "naïve"),
        ("a.json", b'[{"image": "p/0.png", "caption": "na\\u00efve"}, 3]', "naïve"),
    ],
)
def test_tables_as_other_programs_write_them(
    paths: list[str], tmp_path: Path, name: str, data: bytes, text: str
) -> None:
    (tmp_path / name).write_bytes(data)
    report = blip2_widget.import_answers(tmp_path / name, paths)
    assert captions(paths[:1]) == [text]
    assert ("read as Windows-1252" in repr(report)) == (b"na\xefve" in data and data[:1] != b"\xff")


def test_a_report_says_what_the_texts_answer(paths: list[str], tmp_path: Path) -> None:
    lines = [{"image": paths[0], "question": f"how many {n}?", "text": n} for n in "abcd"]
    report = blip2_widget.import_answers(write_csv(tmp_path / "a.csv", lines))
    assert repr(report).endswith("from a.csv as answers to 'how many a?' and 3 more prompts")
    captioned = write_csv(tmp_path / "b.csv", [{"image": paths[0], "text": "x"}])
    report = blip2_widget.import_answers(captioned, prompt="a photo of")
    assert repr(report).endswith("as captions that begin 'a photo of'")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", "", "nothing in"),
        ("a.csv", "image,caption\n", "nothing in"),
        ("a.jsonl", "\n", "nothing in"),
        ("a.json", "[]", "nothing in"),
        (
            "instances.json",
            '{"images": [{"id": 1, "file_name": "0.png"}], '
            '"annotations": [{"id": 1, "image_id": 1, "bbox": [0, 0, 1, 1]}]}',
            "without captions",
        ),
        (
            "f/train/metadata.jsonl",
            '{"file_name": "0.png", "text": "x"}',
            "give the folder .*train",
        ),
        ("d/dataset_dict.json", '{"splits": ["train"]}', "several data sets"),
        ("t/requirements.txt", "torch", "holds no texts"),
    ],
)
def test_where_there_is_nothing_to_import_one_line_says_why(
    tmp_path: Path, name: str, data: str, said: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(data)
    with pytest.raises(Blip2Error, match=said):
        blip2_widget.import_answers(tmp_path / Path(name).parts[0])
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(Blip2Error, match="nothing in"):
        blip2_widget.import_answers(tmp_path / "empty.tar")


def test_pictures_are_found_by_path_and_by_name_where_that_is_clear(tmp_path: Path) -> None:
    images = pictures(tmp_path, ["a/x.png", "a/y.png", "b/x.png"])
    lines = [
        {"path": os.path.relpath(images[0], tmp_path), "caption": "by the file's folder"},
        {"path": "C:\\photos\\a\\y.png", "caption": "by name"},
        {"path": "x.png", "caption": "which?"},
        {"path": "z.png", "caption": "none"},
        {"path": images[2], "caption": "by path"},
    ]
    report = blip2_widget.import_answers(write_csv(tmp_path / "c.csv", lines), images)
    assert list(report.errors.itertuples(index=False, name=None)) == [
        (2, "x.png", "several pictures are called x.png"),
        (3, "z.png", "no picture of the column is called so"),
    ]
    assert captions(images) == ["by the file's folder", "by name", "by path"]


def test_a_picture_has_no_text_of_another_folders_and_an_exact_line_counts(
    tmp_path: Path,
) -> None:
    images = pictures(tmp_path / "d", ["train/1.png", "train/2.png", "train/3.png"])
    lines = [
        {"path": "val/1.png", "caption": "of val"},
        {"path": "train/1.png", "caption": "of train"},
        {"path": "/elsewhere/val/1.png", "caption": "of another val"},
        {"path": "2.png", "caption": "by name"},
        {"path": "/elsewhere/train/2.png", "caption": "by folder and name"},
        {"path": images[1], "caption": "exact"},
        {"path": "3.png", "caption": "bare"},
        {"path": "", "caption": "of nothing"},
    ]
    report = blip2_widget.import_answers(write_csv(tmp_path / "c.csv", lines), images)
    assert list(report.errors.row) == [0, 2, 7] and report.further == 2
    assert "names no picture that can be opened" in report.errors.error[2]
    assert captions(images) == ["of train", "exact", "bare"]


def test_a_later_import_replaces_an_earlier_one_and_no_persons_word(
    paths: list[str], tmp_path: Path
) -> None:
    for text in ("old", "new"):
        file = write_csv(tmp_path / "a.csv", [{"image": each, "text": text} for each in paths[:2]])
        blip2_widget.import_answers(file)
        result = blip2_widget.caption(paths[:2]).wait(60)
        assert set(result.answers.answer) == {text}
        if text == "old":
            result.reviews.act(target_of(result.board, 0, 0)(), "correct", "a person's")
    assert list(result.df.iloc[:, -1]) == ["a person's", "new"]


def test_bad_pictures_cost_themselves_and_a_broken_file_everything(
    paths: list[str], tmp_path: Path
) -> None:
    (tmp_path / "p" / "bad.png").write_bytes(b"no picture")
    lines = [{"image": f"p/{name}", "text": name} for name in ["0.png", "bad.png", "gone.png"]]
    report = blip2_widget.import_answers(write_csv(tmp_path / "a.csv", lines))
    assert report.texts == 1 and list(report.errors.row) == [1, 2]
    assert "bad.png is not a picture" in report.errors.error[0]
    good = export(answered(paths, list("abcdef")), tmp_path / "out", "parquet")
    good.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(Blip2Error, match="cannot be read"):
        blip2_widget.import_answers(good)
    assert captions(paths[1:2]) != ["b"]


def test_a_dry_run_keeps_nothing(paths: list[str], tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", [{"image": paths[0], "text": "mine"}])
    report = blip2_widget.import_answers(file, dry_run=True)
    assert repr(report) == "would import 1 text of 1 picture from a.csv as captions"
    assert captions(paths[:1]) != ["mine"]


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        ([{"a": "0.png", "text": "x"}], {}, "names the pictures; choose one with --column"),
        ([{"image": "0.png", "b": "x"}], {}, "holds texts; choose one with --text"),
        ([{"image": "0.png", "text": "x"}], {"text": "txt"}, "did you mean 'text'"),
        ([{"image": "0.png", "text": "x"}], {"kind": "poem"}, "not 'poem'"),
        ([{"image": "0.png", "text": "x"}], {"format": "coco"}, "is no COCO captions file"),
        ([{"image": "0.png", "text": "x"}], {"format": "webdataset"}, "cannot be read as a tar"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(
    tmp_path: Path, lines: list[dict[str, Any]], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(Blip2Error, match=said):
        blip2_widget.import_answers(write_csv(tmp_path / "a.csv", lines), **options)
    with pytest.raises(Blip2Error, match="there is no file or folder"):
        blip2_widget.import_answers(tmp_path / "gone.csv")


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_of_a_file_is_run_or_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / FORMATS[name]
    evil = pickle.dumps(_Evil())
    if name in ("dataset", "imagefolder"):
        path.mkdir()
        for each in ("dataset_info.json", "state.json", "metadata.parquet", "data.arrow"):
            (path / each).write_bytes(evil)
        (path / f"{path.name}.py").write_text("import os; os.mkdir('ran')")
    else:
        path.write_bytes(evil)
    with suppress(Blip2Error):
        assert blip2_widget.import_answers(path, format=name).texts == 0
    assert not (tmp_path / "ran").exists()


def test_a_tar_of_traps_is_read_without_unpacking(paths: list[str], tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(paths[0], "../../up.png")
        link = tarfile.TarInfo("../../up.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        (tmp_path / "x.json").write_text("[" * 100_000)
        tar.add(tmp_path / "x.json", "b.json")
    before = sorted(tmp_path.parent.iterdir())
    with pytest.raises(Blip2Error, match="holds texts"):
        blip2_widget.import_answers(tmp_path / "a.tar")
    assert sorted(tmp_path.parent.iterdir()) == before


def test_an_interrupt_imports_nothing_and_is_one_line(
    paths: list[str], tmp_path: Path, own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_csv(tmp_path / "old.csv", [{"picture": paths[0], "caption": "two dogs"}])

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Pictures, "learn", interrupted)
        with pytest.raises(Blip2Error, match="interrupted, and nothing was imported"):
            blip2_widget.import_answers(file, paths)
    assert blip2_widget.import_answers(file, paths).texts == 1


@pytest.mark.parametrize(("package", "name"), [("pyarrow", "a.parquet"), ("datasets", "a")])
def test_a_package_that_is_missing_is_named(
    paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    result = blip2_widget.caption(paths[:1], start=False)
    for module in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Blip2Error, match=f"pip install {package}"):
        result.export(tmp_path / name, None if "." in name else "dataset")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    if package == "pyarrow":
        with pytest.raises(Blip2Error, match="pip install pyarrow"):
            blip2_widget.import_answers(tmp_path / "b.parquet", paths)

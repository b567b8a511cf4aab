"""The command line does what a line of %blip2 does, and says what went wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from blip2_widget import api
from blip2_widget.command import main
from blip2_widget.demo import samples


@pytest.fixture
def folder() -> str:
    return str(Path(samples().image[0]).parent)


def test_a_folder_is_captioned(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "captions.csv"
    assert main(["caption", folder, "-o", str(out), "-m", "demo"]) == 0
    lines = pd.read_csv(out)
    expected = api.caption(folder).wait().answers
    assert list(lines.answer) == list(expected.answer)
    assert f"{len(lines)} answers in {out}" in capsys.readouterr().err


def test_a_tables_columns_fill_the_questions(tmp_path: Path) -> None:
    table = samples().head(3)
    table.assign(shape="circle").to_parquet(tmp_path / "rows.parquet")
    out = tmp_path / "answers.jsonl"
    line = ["ask", str(tmp_path / "rows.parquet"), "is it a {shape}?", "-o", str(out)]
    assert main([*line, "--column", "image", "-m", "demo", "-q"]) == 0
    lines = pd.read_json(out, lines=True)
    assert list(lines.prompt) == ["is it a circle?"] * 3 and set(lines.answer) <= {"yes", "no"}


def test_rows_that_failed_are_told_and_the_others_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [samples().image[0], "/nowhere.png"]
    pd.DataFrame({"photo": paths}).to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "out.csv"
    assert main(["caption", str(tmp_path / "rows.csv"), "-o", str(out), "-m", "demo"]) == 1
    assert pd.read_csv(out).state.tolist() == ["done", "error"]
    assert "nowhere.png: there is no file /nowhere.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["caption", "/nowhere", "-o", "x.csv"], "there is no file or folder"),
        (["caption", "FOLDER"], "-o OUT"),
        (["caption", "FOLDER", "-o", "x.docx"], "says no format"),
        (["caption", "FOLDER", "-o", "x.csv", "--column", "image"], "is no table"),
        (["caption", "FOLDER", "-o", "x.csv", "--actors", "2"], "engine='ray'"),
        (
            ["ask", "FOLDER", "a", "-o", "x.csv", "--choices", "b,c", "--num-beams", "5"],
            "num_beams has no effect; leave it out",
        ),
        (["caption", "rows.csv", "-o", "x.csv"], "there is no file rows.csv"),
        (["search", "FOLDER", "a dog", "-o", "x.csv"], "caption and ask"),
        (["kaption", "FOLDER", "-o", "x.csv"], "did you mean caption?"),
        (["caption", "FOLDER", "-o", "x.csv", "--modl", "demo"], "did you mean --model?"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str],
    told: str,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([folder if word == "FOLDER" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("blip2-widget: ") and told in error and error.count("\n") == 1


def test_a_file_that_is_there_is_not_replaced_and_nothing_computed(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "there.csv"
    out.write_text("mine")
    monkeypatch.setattr(api, "caption", lambda *_, **__: pytest.fail("something was computed"))
    assert main(["caption", folder, "-o", str(out), "-m", "demo"]) == 2
    assert out.read_text() == "mine"


def test_help_and_a_dry_run(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0 and main(["--help"]) == 0
    assert "FOLDER_OR_TABLE" in capsys.readouterr().out
    out = tmp_path / "x.csv"
    assert main(["caption", folder, "-o", str(out), "-m", "demo", "--dry-run"]) == 0
    assert "to compute with demo" in capsys.readouterr().out and not out.exists()


def test_an_interrupt_says_how_to_go_on(
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("blip2_widget.run.Board.wait", interrupted)
    out = tmp_path / "x.csv"
    assert main(["caption", folder, "-o", str(out), "-m", "demo"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err and not out.exists()

"""The command line does what a line of %blip2 does, and says what went wrong in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from blip2_widget import api
from blip2_widget.command import _line, main
from blip2_widget.demo import samples
from blip2_widget.errors import Blip2Error
from blip2_widget.run import Board, Progress, Run
from blip2_widget.run.cells import RunState


def _progress(state: RunState = "running", **told: Any) -> Progress:
    """A run's that has 1,234 answers of 10,000."""
    usual = {"note": "", "failed": 0, "cached": 0, "rate": None, "seconds_left": None}
    made: dict[str, Any] = usual | {"seconds": 60.0, "model": "demo", "variant": "cpu-fp32"} | told
    return Progress(state=state, done=1234, total=10_000, **made)


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
        (["caption", "FOLDER", "-o", "missing/x.csv"], "missing; make it first"),
        (["caption", "FOLDER", "-o", "x.csv", "--column", "image"], "is no table"),
        (["caption", "FOLDER", "-o", "x.csv", "--actors", "2"], "engine='ray'"),
        (["caption", "FOLDER", "-o", "x", "--engine", "ray", "--column", "image"], "is no table"),
        (["caption", "FOLDER", "-o", "x.csv", "--to", "y"], "-o is where the answers go"),
        (["caption", "FOLDER", "-o", "x", "--engine", "ray", "--to", "y"], "leave --to out"),
        (["caption", "FOLDER", "-o", "s3://b/x.csv"], "s3://b/x.csv is on no disk"),
        (["caption", "s3://b/rows.csv", "-o", "x.csv"], "there is no file s3://b/rows.csv"),
        (["caption", "FOLDER", "-o", "x" * 300 + ".csv"], "File name too long"),
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


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_table_is_read_here_for_ray_too(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = samples().head(3).assign(n=range(3))[["n", "image"]]
    path = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    line = ["ask", str(path), "is it a {n}?", "-o", str(tmp_path / "out"), "--engine", "ray"]
    for options in (["--dry-run"], ["--dry-run", "--column", "image"]):
        assert main([*line, *options]) == 0
        assert capsys.readouterr().out.startswith("3 pictures, 3 answers: 0 stored")


def test_parquet_is_read_where_it_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples().head(3).to_parquet(path := tmp_path / "rows.parquet")
    calls: list[tuple[Any, dict[str, Any]]] = []

    def seen(images: Any, *_: Any, **options: Any) -> None:
        calls.append((images, options))
        raise Blip2Error("seen")

    monkeypatch.setattr(api, "caption", seen)
    out = "memory://bucket/x"
    assert main(["caption", str(path), "-o", out, "--engine", "ray", "--column", "image"]) == 2
    images, options = calls[0]
    assert images == str(path) and "frame" not in options
    assert (options["column"], options["out"]) == ("image", out)


def test_without_a_terminal_there_is_a_line_now_and_then(
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    looks = 0
    wait = Board.wait

    def three_looks(board: Board, _: float | None) -> bool:
        nonlocal looks
        looks += 1
        return looks % 3 == 0 and wait(board)

    monkeypatch.setattr(Board, "wait", three_looks)
    count = len(samples())
    for seconds, before_the_last in ((1e9, 1), (0, 3)):
        monkeypatch.setattr("blip2_widget.command._EVERY", seconds)
        assert main(["caption", folder, "-o", str(tmp_path / f"{seconds}.csv"), "-m", "demo"]) == 0
        *lines, last, told = capsys.readouterr().err.splitlines()
        assert len(lines) == before_the_last and all(f" of {count}" in line for line in lines)
        assert last.startswith(f"{count} of {count}") and " answers in " in told
    assert main(["caption", folder, "-o", str(tmp_path / "q.csv"), "-m", "demo", "-q"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (
            _progress(rate=12.3, failed=2, seconds_left=170.0),
            "1,234 of 10,000 · 12/s · 2 failed · about 3 min left",
        ),
        (
            _progress(rate=0.05, seconds_left=175_326.0),
            "1,234 of 10,000 · 3.0/min · about 48 h 42 min left",
        ),
        (_progress(rate=0.01), "1,234 of 10,000 · 36/h"),
        (_progress(state="loading", note="starting Ray"), "1,234 of 10,000 · starting Ray"),
    ],
)
def test_a_line_says_how_far_it_is(progress: Progress, line: str) -> None:
    assert _line(progress) == line


@pytest.mark.parametrize(
    ("has_answers", "is_kept", "code", "told"),
    [
        (True, True, 1, "answers are kept, and the same command goes on from there"),
        (True, False, 2, "the machine is gone; --no-cache keeps none of "),
        (False, True, 2, "the machine is gone\n"),
    ],
)
def test_what_stopped_half_way_is_no_failure_of_all(
    has_answers: bool,
    is_kept: bool,
    code: int,
    told: str,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wait = Board.wait

    def stops(board: Board, _: float | None) -> bool:
        if has_answers:
            wait(board)
        raise Blip2Error("the machine is gone")

    monkeypatch.setattr(Board, "wait", stops)
    if not has_answers:
        monkeypatch.setattr(Run, "start", lambda run: run)
    line = ["caption", folder, "-o", str(tmp_path / "x.csv"), "-m", "demo", "-q"]
    assert main(line if is_kept else [*line, "--no-cache"]) == code
    error = capsys.readouterr().err
    assert error.startswith("blip2-widget: the machine is gone") and told in error
    assert error.count("\n") == 1


def test_what_another_process_stopped_is_not_done(
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def cancelled(board: Board, _: float | None) -> bool:
        board.cancel()
        return True

    monkeypatch.setattr(Board, "wait", cancelled)
    monkeypatch.setattr(Run, "start", lambda run: run)
    out = tmp_path / "x.csv"
    assert main(["caption", folder, "-o", str(out), "-m", "demo"]) == 2
    assert "stopped from elsewhere; 0 of " in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (PermissionError(13, "Permission denied"), True),
        (ImportError("Install s3fs to access S3", name="s3fs"), True),
        (ImportError("cannot import name 'x'", name="blip2_widget.model"), False),
        (TypeError("a defect"), False),
    ],
)
def test_what_a_disk_refuses_is_one_line_and_a_defect_is_not(
    error: Exception,
    is_told: bool,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raises(*_: Any, **__: Any) -> None:
        raise error

    line = ["caption", folder, "-o", str(tmp_path / "x.csv"), "-m", "demo", "-q"]
    for place in ("blip2_widget.api.caption", "blip2_widget.notebook.result.Result.write"):
        with monkeypatch.context() as patch:
            patch.setattr(place, raises)
            if not is_told:
                with pytest.raises(type(error)):
                    main(line)
                continue
            assert main(line) == 2
        told = capsys.readouterr().err
        assert told.startswith("blip2-widget: ") and told.count("\n") == 1
        assert str(error) in told


def test_a_folder_elsewhere_is_told_as_it_was_written(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    caption = api.caption
    monkeypatch.setattr(api, "caption", lambda images, *_, **__: caption(images))
    assert main(["caption", folder, "-o", "s3://bucket/x", "--engine", "ray"]) == 0
    assert capsys.readouterr().err.endswith(" answers in s3://bucket/x\n")

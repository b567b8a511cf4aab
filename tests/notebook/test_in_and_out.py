"""`%blip2 export` and `%blip2 import`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from tests.notebook.conftest import RunCell


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")


def test_a_line_writes_what_is_there_and_says_so(run_cell: RunCell) -> None:
    run_cell("%blip2 caption df.image -o dogs --wait -q")
    said = run_cell("%blip2 export dogs dogs.csv").text
    assert said == "wrote 3 answers to dogs.csv\n"
    assert len(pd.read_csv("dogs.csv")) == 3
    assert run_cell('%blip2 export dogs "my dogs.parquet" -q').text == ""
    assert Path("my dogs.parquet").is_file()
    run_cell("%blip2 export dogs folder --format imagefolder")
    assert Path("folder/metadata.jsonl").is_file()
    error = run_cell("%blip2 export dogs dogs.csv", fails=True).error
    assert "exists already; write --overwrite" in str(error)
    run_cell("%blip2 export dogs dogs.csv --overwrite --column caption")


def test_a_result_that_is_not_complete_says_what_is_missing(
    run_cell: RunCell, shell: InteractiveShell
) -> None:
    run_cell("import blip2_widget\nlate = blip2_widget.caption(df.image, start=False)")
    said = run_cell("%blip2 export late late.jsonl").text
    assert said == ("wrote 0 answers to late.jsonl; 3 are not there yet (--wait waits for them)\n")
    run_cell("late.board.runs[0].start()")
    said = run_cell("%blip2 export late late.jsonl --wait --overwrite").text
    assert said == "wrote 3 answers to late.jsonl\n"


def test_earlier_captions_come_in_and_only_the_others_are_computed(
    run_cell: RunCell, shell: InteractiveShell, frame: pd.DataFrame
) -> None:
    old = pd.DataFrame({"file": ["0.png", "2.png", "9.png"], "words": ["zero", "two", "nine"]})
    old.to_csv("old.csv", index=False)
    line = "%blip2 import old.csv df.image --column file --text words"
    assert "would import 2 texts" in run_cell(f"{line} --dry-run").text
    said = run_cell(f"{line} -o came").text
    assert said == (
        "imported 2 texts of 2 pictures from old.csv as captions; 1 row did not come in (.errors)\n"
    )
    assert list(shell.user_ns["came"].errors.picture) == ["9.png"]
    assert "2 stored already, 1 to compute" in run_cell("%blip2 caption df.image --dry-run").text
    run_cell("%blip2 caption df.image -o out --wait -q")
    out = shell.user_ns["out"]
    assert (out.df.caption.iloc[0], out.df.caption.iloc[2]) == ("zero", "two")
    assert out.gallery._rows.message(0, [], (), 0)["cells"][0]["source"] == "old.csv"
    run_cell("%blip2 cache clear imported")
    run_cell("%blip2 caption df.image -o out --wait -q")
    assert shell.user_ns["out"].df.caption.iloc[0] != "zero"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("export", "export takes a result and a path"),
        ("export a.csv", "nothing was asked in this kernel yet"),
        ("export df a.csv", "df is a DataFrame; give a result, such as -o binds"),
        ("import", "import takes a path and the column"),
        ("import gone.csv df.image", "there is no file or folder gone.csv"),
        ("import gone.csv df.imag", "did you mean 'image'"),
    ],
)
def test_mistakes_are_one_line(run_cell: RunCell, line: str, said: str) -> None:
    assert said in str(run_cell(f"%blip2 {line}", fails=True).error)

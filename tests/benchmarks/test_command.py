"""`python -m benchmarks`, as it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.process import ProcessFailed, call
from benchmarks.scaling import seconds_a_row

ROOT = Path(__file__).parents[2]


def test_two_quick_benchmarks_print_tables_and_write_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "start", "scaling", "--quick"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "| %load_ext blip2_widget | " in done.stdout
    assert "| growth from 100 to 1,000 rows | " in done.stdout
    assert "| bar | wanted | measured | met |" in done.stdout
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert {each["benchmark"] for each in content["figures"]} == {"start", "scaling"}
    assert all(each["value"] is not None for each in content["figures"])
    torch = [each for each in content["bars"] if "imports torch" in each["bar"]]
    assert torch[0]["met"] is True


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    command = [sys.executable, "-m", "benchmarks", "speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no 'speed'" in done.stderr and "captions" in done.stderr


def test_a_process_that_fails_is_told_by_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ProcessFailed, match="FileNotFoundError"):
        call(seconds_a_row, tmp_path / "cache", rows=1, folder=str(tmp_path / "absent"))


def test_quick_benchmarks_of_models_measure_every_way_that_runs_here(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "captions", "latency", "overhead", "--quick"]
    command += ["--checkpoint", "demo", "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    measured: dict[str, set[str]] = {}
    for each in content["figures"]:
        if "cuda-" in each["subject"]:
            assert "no such device" in each["note"]
        elif each["value"] is None:
            # Only what the package itself refuses on this processor.
            assert "needs a processor with int8 products" in each["note"], each
        else:
            measured.setdefault(each["benchmark"], set()).add(each["figure"])
    assert measured["latency"] == {"to the first token"}
    assert measured["overhead"] == {"seconds a picture", "of the bare time"}
    assert measured["captions"] >= {"seconds a picture", "pictures", "of the roofline at its batch"}

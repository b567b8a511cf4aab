"""docs/lavis.md: each test it names is there, each line runs, each figure is the known one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

import blip2_widget
from benchmarks.evaluate import parser
from benchmarks.tasks import DOMAINS, RECALL_AT, TASKS, Retrieval
from blip2_widget import demo
from blip2_widget.model import parse
from blip2_widget.notebook import line as grammar
from blip2_widget.session import Session
from tests.notebook.conftest import RunCell

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lavis.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`]+)`", PAGE)
LINES = [code for code in CODE if code.startswith("%blip2 ")]
CALLS = [code for code in CODE if code.startswith("blip2_widget.embed")]
COMMANDS = [code for code in CODE if code.startswith("python -m benchmarks.") and "FOLDER" in code]


def test_the_page_is_linked_and_has_its_lines() -> None:
    assert "(docs/lavis.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(LINES) >= 15 and len(CALLS) == 5 and len(COMMANDS) >= 20


def test_every_test_that_is_named_can_be_collected() -> None:
    named = sorted({code for code in CODE if "::" in code})
    assert len(named) > 20
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for row in PAGE.splitlines():
        assert "::" in row or not re.search(r"^\|.*(%blip2|blip2_widget\.)", row), row


@pytest.mark.parametrize("written", LINES)
def test_every_line_is_one_of_the_grammar_and_runs_with_the_demo(
    written: str, run_cell: RunCell, shell: InteractiveShell, own_session: Session
) -> None:
    options = grammar.parse(written.removeprefix("%blip2 "))
    grammar.check_options(options)
    own_session.defaults.model = "demo"
    shell.user_ns["df"] = demo.samples().head(3)
    if options.sub in ("use", "models"):
        run_cell(written)
        return
    run_cell(f"{written} -o found --wait -q")
    found = shell.user_ns["found"]
    if options.sub == "chat":
        assert [question for question, _ in found] == ["what shape is it?", "what colour is it?"]
    else:
        assert found.progress.state == "done" and not len(found.errors)


@pytest.mark.parametrize("call", CALLS)
def test_every_call_runs_with_the_demo(call: str) -> None:
    df = demo.samples().head(3)
    found = eval(call, {"blip2_widget": blip2_widget, "df": df})
    assert len(found) == 3 and not np.isnan(found).any()
    assert (found.shape[-1] == 256) == ("projected" in call)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_and_has_the_figures_that_are_known(command: str) -> None:
    options = parser().parse_args(shlex.split(command)[3:])
    task, checkpoint = TASKS[options.task], options.checkpoint
    assert parse(checkpoint).source == f"Salesforce/blip2-{checkpoint}"
    at = next(at for at, row in enumerate(PAGE.splitlines()) if f"`{command}`" in row)
    row, after, *_ = [*PAGE.splitlines()[at:], ""]
    told = [[cell.strip() for cell in each.split("|")[2:-1]] for each in (row, after)]
    known = {name: f"{100 * value:.1f}" for name, value in task.published[checkpoint].items()}
    if isinstance(task, Retrieval):
        for cell, way in zip(told[0], ("image to text", "text to image"), strict=True):
            assert cell == ", ".join(known[f"{way} R@{count}"] for count in RECALL_AT)
    elif task.kind == "captions":
        names = ("BLEU-4", "CIDEr-D", "SPICE")
        assert told[0] == [known.get(name, "") for name in names]
        if task.name == "nocaps":
            assert told[1][1:] == [
                ", ".join(known[f"{name}, {domain}"] for domain in DOMAINS) for name in names[1:]
            ]
    else:
        (value,) = task.published[checkpoint].values()
        paper, lavis = told[0]
        assert (lavis or paper) == f"{100 * value:.{2 if lavis else 1}f}"

"""`%blip2 chat` in a real IPython shell."""

from __future__ import annotations

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.session import Session
from tests.notebook.conftest import RunCell

BROWN, WHICH = "is there a brown shape?", "what shape is it?"
TALK = f'"{BROWN}" "{WHICH}"'
PRINTED = f"Q: {BROWN}\nA: yes\nQ: {WHICH}\nA: triangle\n"


@pytest.fixture
def shapes(run_cell: RunCell, shell: InteractiveShell, own_session: Session) -> pd.DataFrame:
    """`df` is the samples, and the demo checkpoint answers."""
    own_session.defaults.model, own_session.defaults.max_new_tokens = "demo", 30
    frame = demo.samples()
    shell.user_ns["df"] = frame
    return frame


@pytest.mark.parametrize(
    "picture", ["df.image.iloc[7]", "df.image.iloc[[7]]", "df.image.loc[7]", "list(df.image)[7]"]
)
def test_a_conversation_is_printed_the_same_each_time(
    run_cell: RunCell, shapes: pd.DataFrame, picture: str
) -> None:
    for _ in range(2):
        outcome = run_cell(f"%blip2 chat {picture} {TALK}")
        assert outcome.text == PRINTED
        assert outcome.value is None and not outcome.outputs


def test_it_is_the_python_function_with_its_options(
    run_cell: RunCell, shell: InteractiveShell, shapes: pd.DataFrame
) -> None:
    shell.user_ns["questions"] = [BROWN, WHICH]
    outcome = run_cell("%blip2 chat df.image.iloc[7] questions -o talk -q --max-new-tokens 1")
    assert outcome.text == ""
    same = blip2_widget.chat(shapes.image.iloc[7], [BROWN, WHICH], max_new_tokens=1)
    assert shell.user_ns["talk"] == same
    assert run_cell(f"%blip2 chat df.image.iloc[7] {TALK};").text == ""


def test_braces_are_no_templates(run_cell: RunCell, shapes: pd.DataFrame) -> None:
    assert run_cell('%blip2 chat df.image.iloc[7] "is {a} it?"').text.startswith("Q: is {a} it?\n")


def test_a_dry_run_asks_nothing(run_cell: RunCell, shapes: pd.DataFrame) -> None:
    outcome = run_cell(f"%blip2 chat df.image.iloc[7] {TALK} --dry-run")
    assert outcome.text == "1 picture, 2 questions in turn\n"


@pytest.mark.parametrize(
    ("cell", "part"),
    [
        ("%blip2 chat", "needs a picture"),
        ("%blip2 chat df.image.iloc[7]", "nothing to ask"),
        ("%blip2 chat df.image.iloc[7] ''", "not empty"),
        (f"%blip2 chat df.image {TALK}", "about one picture, and here are 32"),
        (f"%blip2 chat df.image.iloc[7] {TALK} -o 3", "-o takes a variable's name"),
        (f"%%blip2 chat df.image.iloc[7]\n{BROWN}", "takes no body"),
    ],
)
def test_mistakes_are_one_line(
    run_cell: RunCell, shapes: pd.DataFrame, cell: str, part: str
) -> None:
    outcome = run_cell(cell, fails=True)
    assert isinstance(outcome.error, Blip2Error) and part in str(outcome.error)
    assert outcome.text.count("\n") == 1

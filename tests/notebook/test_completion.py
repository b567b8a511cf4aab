"""Tab completion in `%blip2` lines, as the text that stands there afterwards."""

from __future__ import annotations

import warnings

import pytest
from IPython.core.interactiveshell import InteractiveShell

from blip2_widget.model import MIXED, NAMES, names
from blip2_widget.notebook.line import PARSER, SUBCOMMANDS

OPTIONS = [name for action in PARSER._actions for name in action.option_strings]

pytestmark = pytest.mark.filterwarnings("ignore::Warning")


def completed(shell: InteractiveShell, text: str, cursor: int | None = None) -> list[str]:
    """Every text that a completion at the cursor (the text's end) would make of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        offered = list(shell.Completer.completions(text, len(text) if cursor is None else cursor))
    return [text[: each.start] + each.text + text[each.end :] for each in offered]


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        ("%blip2 ", list(SUBCOMMANDS)),
        ("%%blip2 ", list(SUBCOMMANDS)),
        ("%blip2 ca", ["caption", "cache"]),
        ("    %blip2 ca", ["caption", "cache"]),
        ("%blip2 cap", ["caption"]),
        ("%blip2 ask df.image -", OPTIONS),
        ("%blip2 ask df.image --", [name for name in OPTIONS if name.startswith("--")]),
        ("%blip2 ask df.image --mo", ["--model", "--models"]),
        ('%blip2 ask df.image "how many?" --no', ["--no-cache", "--no-rerank"]),
        ("%blip2 caption df.image -m ", names()),
        ("%blip2 caption df.image --model opt-2", ["opt-2.7b", "opt-2.7b-coco"]),
        ("%blip2 match df.image -m ", names("match")),
        ("%blip2 search df.image -m itm", ["itm-vit-g", "itm-vit-g-coco"]),
        ("%blip2 use -m opt-2.7b-", ["opt-2.7b-coco"]),
        ("%blip2 use -m flan-t5-xx", ["flan-t5-xxl"]),
        ("%blip2 use -m d", ["demo", "demo-retrieval"]),
        ("%blip2 use --variant ", ["auto", *NAMES, *MIXED]),
        (
            "%blip2 use --variant cpu-i",
            ["cpu-int8", "cpu-int4", "cpu-int8+bf16", "cpu-int8+int8", "cpu-int8+int4"],
        ),
        ("%blip2 caption df.image --display t", ["table"]),
        ("%blip2 caption df.image --on-error ", ["null", "raise"]),
        ("%blip2 caption df.image --preset ", ["coco", "vqa"]),
        ("%blip2 cache ", ["stats", "path", "clear"]),
        ("%blip2 cache clear ", ["answers", "features", "imported", "weights", "all"]),
        ("%blip2 cache clear f", ["features"]),
    ],
)
def test_what_can_stand_here_is_offered_and_nothing_else(
    shell: InteractiveShell, line: str, ends: list[str]
) -> None:
    token = line[line.rfind(" ") + 1 :]
    stem = line.removesuffix(token)
    assert sorted(completed(shell, line)) == sorted(stem + end for end in ends)


def test_the_old_completion_function_offers_the_same(shell: InteractiveShell) -> None:
    _, offered = shell.complete("ca", "%blip2 ca", 9)
    assert sorted(offered) == ["cache", "caption"]


def test_a_line_further_down_is_completed_too(shell: InteractiveShell) -> None:
    text = "x = 1\n%blip2 cap\ny = 2"
    assert completed(shell, text, len("x = 1\n%blip2 cap")) == ["x = 1\n%blip2 caption\ny = 2"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zebra_cross", "zebra_crossing"),
        ("print(zebra_cross", "print(zebra_crossing"),
        ("%blip2 ask zebra_cross", "%blip2 ask zebra_crossing"),
        ("zebra_crossing.colo", "zebra_crossing.colour"),
        ("%blip2 ask zebra_crossing.colo", "%blip2 ask zebra_crossing.colour"),
    ],
)
def test_python_is_left_to_python(shell: InteractiveShell, line: str, expected: str) -> None:
    shell.user_ns["zebra_crossing"] = type("Z", (), {"colour": "striped"})()
    found = completed(shell, line)
    # A target's attribute goes to whichever of IPython's own matchers there is.
    assert expected in found


@pytest.mark.parametrize(
    "line", ["%timeit ca", "blip2 ca", "%blip2x ca", "# %blip2 ca", "%blip2 models ca", "%%time -"]
)
def test_other_lines_are_left_alone(shell: InteractiveShell, line: str) -> None:
    ours = {*SUBCOMMANDS, *OPTIONS} - {"-n", "-m", "-o", "-q"}
    assert not {each.split()[-1] for each in completed(shell, line)} & ours


def test_a_dash_inside_a_question_is_no_option(shell: InteractiveShell) -> None:
    found = completed(shell, '%blip2 ask df.image "is it red --')
    assert not any(each.endswith(tuple(OPTIONS)) for each in found)

"""`%blip2` and `%%blip2` in a real IPython shell."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Engine
from blip2_widget.notebook.code import answer_line
from blip2_widget.notebook.line import PARSER, SUBCOMMANDS, options_written
from blip2_widget.notebook.magic import Blip2Magics
from blip2_widget.notebook.result import Result
from blip2_widget.run import Run
from blip2_widget.session import Session
from tests.notebook.conftest import RunCell

WHAT = "what is it?"


def asked(shell: InteractiveShell, name: str = "out") -> list[str]:
    """The prompts that a bound result really asked."""
    result = shell.user_ns[name]
    assert isinstance(result, Result)
    return list(result.answers.prompt)


def one_line_error(run_cell: RunCell, cell: str) -> str:
    """The message of a cell that fails as a person sees it: one line, and nothing beside it."""
    outcome = run_cell(cell, fails=True)
    assert isinstance(outcome.error, Blip2Error)
    assert outcome.text == f"{type(outcome.error).__name__}: {outcome.error}\n"
    assert outcome.text.count("\n") == 1
    (line,) = outcome.error._render_traceback_()
    assert "\n" not in line
    return line


# --- looking at pictures --------------------------------------------------------------------------


def test_m_takes_a_folder_and_o_binds_the_result(
    run_cell: RunCell, shell: InteractiveShell, frame: pd.DataFrame, tiny_t5: Path
) -> None:
    outcome = run_cell(f"%blip2 caption df.image -m {tiny_t5} --wait -o out")
    result = shell.user_ns["out"]
    assert outcome.value.run is result.run and result.run.located.family == "t5"
    same = blip2_widget.caption(frame.image, model=str(tiny_t5), cache=False).wait(60)
    assert list(result.df.caption) == list(same.df.caption)


def test_the_gallery_is_shown_once_with_and_without_wait(run_cell: RunCell) -> None:
    assert run_cell("%blip2 caption df.image --wait").galleries == 1
    assert run_cell("%blip2 caption df.image").galleries == 1


def test_the_callers_frame_is_never_changed(
    run_cell: RunCell, shell: InteractiveShell, frame: pd.DataFrame
) -> None:
    before = frame.copy()
    run_cell("%blip2 caption df.image --wait -o out")
    run_cell("got = out.df\ngot.loc[:, 'a'] = 0\ngot['caption'] = 'mine'")
    assert shell.user_ns["df"] is frame
    pd.testing.assert_frame_equal(frame, before)
    assert list(shell.user_ns["out"].df.index) == list(before.index)


@pytest.mark.parametrize(
    ("setting", "words", "prompts"),
    [
        ("", '"what is it?"', [WHAT]),
        ("", "'what is it?'", [WHAT]),
        ("q = 'what is it?'", "q", [WHAT]),
        ("q = ['what is it?', 'how many?']", "q", [WHAT, "how many?"]),
        ("q = 'how many?'", '"what is it?" q', [WHAT, "how many?"]),
        ("", '"is it {{odd}} -n 3?"', ["is it {odd} -n 3?"]),
        ("animal = 'a {k}'", '"is it {@animal}?"', ["is it a {k}?"]),
    ],
)
def test_questions_are_quoted_or_named(
    run_cell: RunCell, shell: InteractiveShell, setting: str, words: str, prompts: list[str]
) -> None:
    run_cell(setting)
    run_cell(f"%blip2 ask df.image {words} -n 1 --wait -q -o out")
    assert asked(shell) == prompts


def test_a_column_fills_each_row(run_cell: RunCell, shell: InteractiveShell) -> None:
    run_cell('%blip2 ask df.image "is it a {kind}, {a}?" --wait -q -o out')
    assert asked(shell) == ["is it a cat, 1?", "is it a dog, 2?", "is it a owl, 3?"]


def test_a_caption_takes_its_beginning(run_cell: RunCell, shell: InteractiveShell) -> None:
    run_cell('%blip2 caption df.image "a photo of a {kind}" -n 1 --wait -q -o out')
    assert asked(shell) == ["a photo of a cat"]


def test_a_body_asks_a_prompt_a_line(run_cell: RunCell, shell: InteractiveShell) -> None:
    run_cell(
        "%%blip2 ask df.image -n 1 --wait -q -o out\n"
        "# about the picture\n"
        "thing: what is it?\n"
        "\n"
        "is it a {kind}?\n"
    )
    result = shell.user_ns["out"]
    assert asked(shell) == [WHAT, "is it a cat?"]
    assert list(result.df.columns[-2:]) == ["thing", "is it a {kind}?"]


@pytest.mark.parametrize(
    ("target", "rows"),
    [
        ('df["img col"]', ["x", "y", "z"]),
        ("df[df.a > 1].image", ["y", "z"]),
        ("df.image[df.a == 2]", ["y"]),
        ('[df.image["y"], df["image"].iloc[0]]', [0, 1]),
        ("list(df.image)", [0, 1, 2]),
        ("GLOB", [0, 1, 2]),
        ("df.image.iloc[0]", [0]),
    ],
)
def test_targets_are_python_expressions(
    run_cell: RunCell,
    shell: InteractiveShell,
    tmp_path: Path,
    target: str,
    rows: list[object],
) -> None:
    target = target.replace("GLOB", repr(str(tmp_path / "*.png")))
    run_cell(f"%blip2 caption {target} --wait -q -o out")
    assert list(shell.user_ns["out"].df.index) == rows


def test_a_line_in_a_function_sees_its_local_names(
    run_cell: RunCell, shell: InteractiveShell
) -> None:
    run_cell(
        "def look(mine, word):\n"
        '    %blip2 ask mine.image "is it {@word}?" -n 1 --wait -q -o out\n'
        "look(df, 'wet')"
    )
    assert asked(shell) == ["is it wet?"]


# --- options --------------------------------------------------------------------------------------


def test_a_line_copied_from_the_gallery_asks_the_same(
    run_cell: RunCell, shell: InteractiveShell
) -> None:
    shell.user_ns["WHAT"] = "no"
    first = run_cell(
        '%blip2 ask df["img col"] "is it a {kind},\\n{{or}} {@WHAT}?" -n 2 --num-beams 2 --wait'
    ).value.wait(60)
    (prompt,), cell = first.board.prompts, first.board.cell(0, 0)
    line = answer_line(first._asking, prompt, cell, 0)
    again = run_cell(f"{line} --wait").value.wait(60)
    assert list(first.answers.prompt) == [f"is it a {kind},\n{{or}} no?" for kind in ("cat", "dog")]
    columns = ["row", "prompt", "answer", "logprob"]
    pd.testing.assert_frame_equal(first.answers[columns], again.answers[columns])
    assert list(again.answers.cached) == [True, True]


def test_a_result_knows_every_option_that_is_not_the_default(run_cell: RunCell) -> None:
    rest = (
        "--variant cpu-fp32 -n 2 --sample 1 --batch-size 3 --max-new-tokens 5 --num-beams 2 "
        "--temperature 0.5 --top-p 0.9 --seed 7 --refresh --no-cache --on-error raise"
    )
    given = run_cell(f"%blip2 explore df.image {rest}").value._asking.options
    assert options_written(given) == rest
    usual = "--variant auto --max-new-tokens 4 --num-beams 1 --top-p 1 --on-error null"
    assert run_cell(f"%blip2 explore df.image {usual}").value._asking.options == {}


def test_n_and_sample_take_some_rows(run_cell: RunCell, shell: InteractiveShell) -> None:
    run_cell("%blip2 caption df.image -n 2 -q --wait -o first")
    assert list(shell.user_ns["first"].df.index) == ["x", "y"]
    drawn = []
    for name in ("one", "two"):
        run_cell(f"%blip2 caption df.image --sample 2 --seed 5 -q --wait -o {name}")
        drawn.append(list(shell.user_ns[name].df.index))
    assert drawn[0] == drawn[1] == sorted(drawn[0]) and len(drawn[0]) == 2


def test_no_cache_refresh_and_plain(
    run_cell: RunCell, shell: InteractiveShell, own_session: Session
) -> None:
    line = "%blip2 caption df.image --wait -q -o out"
    run_cell(f"{line} --no-cache")
    assert own_session.store.stats().answers == 0
    for options, cached in (("", 0), ("", 3), ("--refresh", 0), ("--no-cache", 0)):
        run_cell(f"{line} {options}")
        assert shell.user_ns["out"].progress.cached == cached


@pytest.mark.parametrize(
    ("options", "galleries", "tables"),
    [("--display table", 0, 1), ("--display none", 0, 0), ("-q", 0, 0), ("--display widget", 1, 0)],
)
def test_display_says_what_is_shown(
    run_cell: RunCell, options: str, galleries: int, tables: int
) -> None:
    outcome = run_cell(f"%blip2 caption df.image {options} --wait")
    shown = [set(output.data) for output in outcome.outputs]
    assert outcome.galleries == galleries
    assert sum("text/html" in kinds for kinds in shown) == tables
    assert len(shown) == galleries + tables


def test_a_semicolon_silences_a_line(run_cell: RunCell, shell: InteractiveShell) -> None:
    assert run_cell("df;").text == ""
    for line in ("%blip2 caption df.image -o out;", '%blip2 ask df.image "who?" -o out ;'):
        outcome = run_cell(line)
        assert (outcome.text, outcome.outputs) == ("", [])
        assert isinstance(shell.user_ns["out"], Result)


@pytest.mark.parametrize(
    "cell", ["r = %blip2 caption df.image --wait", "%blip2 caption df.image --wait -o r\npass"]
)
def test_a_result_that_was_waited_for_can_be_shown_later(run_cell: RunCell, cell: str) -> None:
    assert run_cell(cell).galleries == 1
    assert run_cell("r").galleries == 1


@pytest.mark.parametrize("options", ["-q", "--display none", "--wait -q"])
def test_a_quiet_line_and_its_result_in_one_cell(run_cell: RunCell, options: str) -> None:
    assert run_cell(f"%blip2 caption df.image {options} -o out").galleries == 0
    assert run_cell(f"%blip2 caption df.image {options} -o out\nout").galleries == 1


def test_a_dry_run_says_what_would_be_done(
    run_cell: RunCell, shell: InteractiveShell, own_session: Session
) -> None:
    run_cell("%blip2 caption df.image -n 1 --wait -q")
    own_session.manager.unload()
    outcome = run_cell("%blip2 caption df.image --dry-run -o out")
    assert outcome.text.startswith("3 pictures, 3 answers: 1 stored already, 2 to compute with ")
    assert outcome.value is None and outcome.outputs == [] and "out" not in shell.user_ns
    assert own_session.manager.resident() == []


def test_settings_reach_the_run(run_cell: RunCell, shell: InteractiveShell) -> None:
    run_cell(
        "%blip2 caption df.image --max-new-tokens 2 --num-beams 3 --temperature 0.5 --top-p 0.9 "
        "--seed 7 --batch-size 2 --variant cpu-fp32 --on-error raise --wait -q -o out"
    )
    run = shell.user_ns["out"].run
    settings = run.settings
    assert (settings.max_new_tokens, settings.num_beams, settings.seed) == (2, 3, 7)
    assert (settings.temperature, settings.top_p) == (0.5, 0.9)
    assert run.variant.name == "cpu-fp32" and run.progress.failed == 0


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("captoin df.image", "did you mean caption?"),
        ("xyzzy", "write one of caption, ask"),
        ("caption df.image --modle demo", "did you mean --model?"),
        ("caption df.image --zzz", "%blip2 help lists them"),
        ("caption", "needs pictures: %blip2 caption df.image"),
        ("ask df.image", "there is nothing to ask"),
        ('ask df.image ""', "must be a text that is not empty"),
        ("caption dff.image", "'dff' is not defined; did you mean df?"),
        ("caption df.imgae", "there is no column 'imgae'; did you mean 'image'?"),
        ('caption df["imgae"]', "did you mean 'image'?"),
        ("caption df", "this is a whole table; give one of its columns, e.g. df.image"),
        ("caption df.image[:0]", "the column is empty"),
        ("caption []", "the column is empty"),
        ('ask df.image "is it a {knid}?"', "there is no column 'knid'; did you mean 'kind'?"),
        ('ask df.image "is it {@wrod}?"', "'wrod' is not defined"),
        ('ask df.image "is it { odd?"', "a lone { in the prompt"),
        ('ask list(df.image) "is it a {kind}?"', "needs the data frame"),
        ("ask df.image how many dogs", 'write "how many dogs"'),
        ("ask df.image df", "df is a DataFrame; give a str or a list of str"),
        ("caption df.image -m dmeo", "there is no checkpoint 'dmeo'; did you mean demo?"),
        ("caption df.image -m opt-2.7b", "HF_HUB_OFFLINE is set; write -m demo"),
        ("caption df.image --variant cpu-fp61", "there is no variant 'cpu-fp61'; write auto or"),
        ("caption df.image -n many", "argument -n: invalid int value: 'many'"),
        ("caption df.image -n 0", "n must be at least 1, not 0"),
        ("caption df.image -n -2", "n must be at least 1, not -2"),
        ("caption df.image --sample 0", "sample must be at least 1"),
        ("caption df.image -n", "argument -n: expected one argument"),
        ("caption df.image --max-new-tokens 0", "at least 1"),
        ("caption df.image --num-beams 0", "at least 1"),
        ("caption df.image --batch-size -1", "at least 1"),
        ("caption df.image --temperature 0", "temperature must be above 0"),
        ("caption df.image --display gif", "invalid choice: 'gif'"),
        ('ask df.image "a" --choices b,c --temperature 0.7 -k 5', "so temperature and k have no"),
        ("map df.image --preset vqa", "map generates nothing, so preset has no effect"),
        ('ask df.image "how many', 'a quote is not closed; put " at the end'),
        ("caption df[df.a", "a bracket is not closed: ] is missing"),
        ("caption photos/*.jpg", "is no Python expression"),
        ('caption "nothing/*.jpg"', "no file matches 'nothing/*.jpg'"),
        ("caption df.image -o 3x", "-o takes a variable's name"),
        ("caption df.image -o class", "-o takes a variable's name"),
        ("models frob", "%blip2 models has no use for 'frob'"),
        ("use demo demo2", "%blip2 use has no use for 'demo2'"),
        ("cache clear answers frob", "%blip2 cache has no use for 'frob'"),
        ("unload dmeo", "did you mean demo?"),
        ("cache frob", "%blip2 cache has no 'frob'; write stats, path, or clear"),
        ("use -m dmeo", "did you mean demo?"),
    ],
)
def test_a_mistake_is_one_line_and_fails_the_cell(
    run_cell: RunCell,
    own_session: Session,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    part: str,
) -> None:
    started: list[Run] = []
    monkeypatch.setattr(own_session.worker, "submit", lambda run, **_: started.append(run))
    assert part in one_line_error(run_cell, f"%blip2 {line}")
    assert not started, "a run was started before the mistake was met"


@pytest.mark.parametrize(
    ("cell", "part"),
    [
        ("%%blip2 ask df.image\n\n# nothing\n", "holds no prompt"),
        ('%%blip2 ask df.image "who?"\nwhat is it?', "take them off the first line"),
        ("%%blip2 ask df.image\na: who?\na: what?", "two prompts are called 'a'"),
        ("%%blip2 caption df.image\na photo of\n", "use %%blip2 ask"),
        ("%%blip2 status\nnow", "takes no body"),
    ],
)
def test_a_mistake_about_a_body_is_one_line(run_cell: RunCell, cell: str, part: str) -> None:
    assert part in one_line_error(run_cell, cell)


@pytest.mark.parametrize("target", ["pick()", "df[pick()].image", "{pick(): 1}[0].image"])
def test_an_error_of_many_lines_in_a_target_is_told_in_one(run_cell: RunCell, target: str) -> None:
    run_cell("def pick():\n    raise ValueError('first\\nsecond')")
    assert "failed: ValueError: first" in one_line_error(run_cell, f"%blip2 caption {target}")


@pytest.mark.parametrize(
    "place", ["blip2_widget.model.loading.load_model", "blip2_widget.run.Run._step"]
)
def test_a_run_that_fails_while_it_is_waited_for_fails_the_cell(
    run_cell: RunCell, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("damaged\nfile")

    monkeypatch.setattr(place, broken)
    line = one_line_error(run_cell, "%blip2 caption df.image --wait -q")
    assert "ValueError: damaged" in line


def test_failed_rows_fail_the_cell_where_that_is_asked_for(run_cell: RunCell) -> None:
    run_cell("df = df.copy()\ndf.loc['y', 'image'] = 'gone.png'")
    run_cell("%blip2 caption df.image --wait -q")
    line = one_line_error(run_cell, "%blip2 caption df.image --wait -q --on-error raise")
    assert "1 of 3 answers failed; the first, gone.png" in line


# --- the other sub-commands -----------------------------------------------------------------------


def test_models_lists_every_checkpoint(
    run_cell: RunCell, tiny_opt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "CHECKPOINT", tiny_opt)
    table = run_cell("%blip2 models").value
    assert "opt-2.7b" in table.index and "demo" in table.index


def test_status_follows_what_is_done(run_cell: RunCell, tiny_opt: Path) -> None:
    before = run_cell("%blip2 status").text
    assert "model     none in memory" in before and "0 answers" in before
    run_cell("%blip2 caption df.image --wait -q --variant cpu-fp32")
    after = run_cell("%blip2 status").text
    assert f"{tiny_opt} · cpu-fp32" in after
    assert "3 answers, 0 matches and 3 features of 3 pictures" in after


def test_use_sets_what_later_lines_take(
    run_cell: RunCell, shell: InteractiveShell, tiny_t5: Path
) -> None:
    said = run_cell(f"%blip2 use -m {tiny_t5} --variant cpu-fp32 --max-new-tokens 3").text
    assert said == f"using {tiny_t5} · cpu-fp32\n"
    run_cell("%blip2 caption df.image -n 1 --wait -q -o out")
    run = shell.user_ns["out"].run
    assert (run.located.family, run.variant.name, run.settings.max_new_tokens) == (
        "t5",
        "cpu-fp32",
        3,
    )
    assert "(auto)" in run_cell("%blip2 use --variant auto").text


@pytest.mark.parametrize("line", ["-m dmeo", "--variant gpu", "--num-beams 0", "--batch-size -1"])
def test_use_changes_nothing_where_it_fails(
    run_cell: RunCell, own_session: Session, line: str
) -> None:
    before = vars(own_session.defaults).copy()
    one_line_error(run_cell, f"%blip2 use --max-new-tokens 9 {line}")
    assert vars(own_session.defaults) == before


def test_use_of_a_setting_needs_no_checkpoint(run_cell: RunCell, own_session: Session) -> None:
    own_session.defaults.model = "opt-2.7b"  # not on this disk, and the Hub is offline
    run_cell("%blip2 use --max-new-tokens 9")
    assert own_session.defaults.max_new_tokens == 9


def test_unload_gives_models_back(run_cell: RunCell, own_session: Session, tiny_opt: Path) -> None:
    assert run_cell("%blip2 unload").text == "nothing was loaded\n"
    run_cell("%blip2 caption df.image --wait -q --variant cpu-fp32")
    assert run_cell("%blip2 unload -m demo").text == "demo was not loaded\n"
    assert run_cell("%blip2 unload").text.startswith(f"unloaded {tiny_opt} · cpu-fp32 (")
    assert own_session.manager.resident() == []


def test_a_model_that_answers_is_not_unloaded(
    run_cell: RunCell, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on, real = threading.Event(), threading.Event(), Engine.stream

    def gated(*arguments: Any, **named: Any) -> Any:
        reached.set()
        assert go_on.wait(30)
        return real(*arguments, **named)

    monkeypatch.setattr(Engine, "stream", gated)
    run_cell("%blip2 caption df.image -q -o out")
    assert reached.wait(30)
    try:
        assert "is in use; cancel its run" in one_line_error(run_cell, "%blip2 unload")
    finally:
        go_on.set()
        shell.user_ns["out"].wait(30)


def test_cache_is_told_and_cleared(run_cell: RunCell, own_session: Session) -> None:
    run_cell("%blip2 caption df.image --wait -q")
    assert run_cell("%blip2 cache path").text == f"{own_session.store.path}\n"
    assert "3 answers, 0 matches, 3 features" in run_cell("%blip2 cache").text
    assert run_cell("%blip2 cache clear answers").text == "cleared answers\n"
    assert "0 answers, 0 matches, 3 features" in run_cell("%blip2 cache stats").text
    run_cell("%blip2 cache clear")
    assert "0 answers, 0 matches, 0 features" in run_cell("%blip2 cache stats").text


@pytest.mark.parametrize("line", ["%blip2 help", "%blip2"])
def test_help_covers_every_option(run_cell: RunCell, line: str) -> None:
    text = run_cell(line).text
    options = [name for action in PARSER._actions for name in action.option_strings]
    missing = [word for word in [*SUBCOMMANDS, *options] if word not in text]
    assert missing == [] and len(options) > 20
    bare = [row for row in text.splitlines() if row.startswith("  -") and len(row) < 32]
    assert bare == [], "options without a word about them"


# --- going on -------------------------------------------------------------------------------------


def test_retry_goes_on_with_the_last_result_or_a_named_one(
    run_cell: RunCell, shell: InteractiveShell, tmp_path: Path, frame: pd.DataFrame
) -> None:
    late = tmp_path / "late.png"
    shell.user_ns["paths"] = [str(late), frame.image.iloc[0]]
    run_cell("%blip2 caption paths -o out --wait")
    out = shell.user_ns["out"]
    assert list(out.errors.kind) == ["not-found"] and out.df.caption.notna().sum() == 1
    assert run_cell("%blip2 retry --dry-run").text == "1 answers to ask again\n"
    shutil.copy(frame.image.iloc[0], late)
    outcome = run_cell("%blip2 retry --wait")
    assert outcome.galleries == 1 and outcome.value.board is out.board
    assert out.df.caption.nunique() == 1 and not len(out.errors)

    run_cell("%blip2 explore df.image")
    out.cancel()
    late.unlink()
    assert run_cell("%blip2 retry out -q --wait -o again").galleries == 0
    assert shell.user_ns["again"].board is out.board


@pytest.mark.parametrize(
    ("cell", "part"),
    [
        ("%blip2 retry", "nothing was asked"),
        ("%blip2 retry df", "df is a DataFrame; give a result"),
        ("%blip2 retry out", "name 'out' is not defined"),
        ("%blip2 retry a b", "takes one result"),
        ("%%blip2 retry\nmore", "takes no body"),
    ],
)
def test_a_retry_of_nothing_is_one_line(run_cell: RunCell, cell: str, part: str) -> None:
    assert part in one_line_error(run_cell, cell)


def test_a_retry_takes_no_options_of_asking(run_cell: RunCell) -> None:
    run_cell("%blip2 explore df.image -q -o out")
    for line, part in (
        ("retry out --max-new-tokens 3", "retry has no use for --max-new-tokens"),
        ("retry out -m demo", "retry has no use for -m"),
        ("export out x.csv --no-cache", "export has no use for --no-cache"),
        ("export out x.csv --text a", "--text is for import"),
        ("import x.csv --overwrite", "--overwrite is for export"),
        ("import x.csv --num-beams 4", "import has no use for --num-beams"),
        ("caption df.image --column a", "column is for engine='ray'"),
    ):
        assert part in one_line_error(run_cell, f"%blip2 {line}")


def test_failed_rows_fail_a_retry_where_that_is_asked_for(run_cell: RunCell) -> None:
    run_cell("paths = ['gone.png']")
    run_cell("%blip2 caption paths -q --wait")
    assert "1 of 1 answers failed" in one_line_error(run_cell, "%blip2 retry -q --on-error raise")


def test_a_text_with_half_a_character_costs_nothing_else(
    run_cell: RunCell, shell: InteractiveShell, tmp_path: Path, frame: pd.DataFrame
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    shutil.copy(frame.image.iloc[0], odd)
    shell.user_ns["paths"] = [os.fsdecode(odd), os.fsdecode(odd) + "gone"]
    shell.user_ns["half"] = "is it \ud83d?"
    result = run_cell('%blip2 ask paths "{@half}" -q --wait -o out').value
    assert list(result.answers.state) == ["done", "error"] and len(result.errors) == 1
    assert result.answers.prompt[0] == "is it \ufffd?"
    result.review(0, "correct", "a \ud83d").review(0, "correct", "a dog")
    assert result.df.iloc[0, -1] == "a dog"


def test_a_frame_that_does_not_show_itself_is_shown_by_its_answers(
    run_cell: RunCell, shell: InteractiveShell
) -> None:
    import pyarrow as pa

    frame = shell.user_ns["df"]
    shell.user_ns["table"] = pa.table({"image": [str(each) for each in frame.image]})
    shown = run_cell("%blip2 caption table.image -n 1 --display table -o out")
    assert isinstance(shell.user_ns["out"].df, pa.Table)
    assert "logprob" in str(shown.outputs[0].data)


# --- configuration --------------------------------------------------------------------------------


def looked_with(run_cell: RunCell, shell: InteractiveShell) -> Any:
    run_cell("%blip2 caption df.image -n 1 --wait -q -o out")
    return shell.user_ns["out"].run


@pytest.mark.parametrize(
    ("trait", "value", "read"),
    [
        ("variant", "cpu-int8", lambda run: run.variant.name),
        ("max_new_tokens", 2, lambda run: run.settings.max_new_tokens),
        ("num_beams", 2, lambda run: run.settings.num_beams),
        ("batch_size", 5, lambda run: run._batch_size),
        ("max_pixels", 10_000, lambda run: run.pictures._limits.pixels),
        ("max_bytes", 20_000, lambda run: run.pictures._limits.bytes),
        ("max_seconds", 1.5, lambda run: run.pictures._limits.seconds),
        ("allow_private_urls", True, lambda run: run.pictures._limits.private_urls),
    ],
)
def test_config_changes_what_the_next_line_does(
    run_cell: RunCell, shell: InteractiveShell, trait: str, value: object, read: Any
) -> None:
    assert read(looked_with(run_cell, shell)) != value
    run_cell(f"%config Blip2Magics.{trait} = {value!r}")
    assert read(looked_with(run_cell, shell)) == value


def test_config_of_the_model(run_cell: RunCell, shell: InteractiveShell, tiny_t5: Path) -> None:
    run_cell(f"%config Blip2Magics.model = {str(tiny_t5)!r}")
    assert looked_with(run_cell, shell).located.family == "t5"


def test_config_of_what_is_kept(run_cell: RunCell, own_session: Session) -> None:
    run_cell("%config Blip2Magics.max_resident = 1")
    run_cell("%config Blip2Magics.store_gigabytes = 0.5")
    assert own_session.manager.max_resident == 1
    assert own_session.store.max_bytes == 500_000_000


def test_config_shows_the_values_that_hold(run_cell: RunCell, own_session: Session) -> None:
    text = run_cell("%config Blip2Magics").text
    assert float(_current(text, "store_gigabytes")) == pytest.approx(
        own_session.store.max_bytes / 1e9
    )


def _current(listing: str, trait: str) -> str:
    return listing.partition(f"Blip2Magics.{trait}=")[2].partition("Current: ")[2].split()[0]


def test_a_bad_value_in_the_config_is_told_by_the_next_line(run_cell: RunCell) -> None:
    run_cell("%config Blip2Magics.variant = 'gpu'")
    assert "there is no variant 'gpu'" in one_line_error(run_cell, "%blip2 caption df.image")


def test_configuration_before_loading_counts(shell: InteractiveShell, own_session: Session) -> None:
    shell.config.Blip2Magics.update({"max_new_tokens": 11, "num_beams": 2})
    Blip2Magics(shell=shell, parent=shell)
    assert (own_session.defaults.max_new_tokens, own_session.defaults.num_beams) == (11, 2)
    assert own_session.defaults.variant == "auto"


@pytest.mark.parametrize("again", ["%load_ext blip2_widget", "%reload_ext blip2_widget"])
def test_loading_again_is_harmless(
    run_cell: RunCell, shell: InteractiveShell, own_session: Session, tiny_t5: Path, again: str
) -> None:
    matchers = len(shell.Completer.custom_matchers)
    run_cell("%config Blip2Magics.max_new_tokens = 6")
    for _ in range(2):
        run_cell(again)
    assert len(shell.Completer.custom_matchers) == matchers
    assert own_session.defaults.max_new_tokens == 6
    # What %config reaches must be what the lines use.
    run_cell(f"%blip2 use -m {tiny_t5}")
    assert str(tiny_t5) in _current(run_cell("%config Blip2Magics").text, "model")
    run_cell("%config Blip2Magics.max_new_tokens = 2")
    assert looked_with(run_cell, shell).settings.max_new_tokens == 2


def test_kept_weights_are_told_and_cleared(
    run_cell: RunCell, own_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blip2_widget.model.weights._WORTH_KEEPING", 0)
    run_cell("%blip2 caption df.image --variant cpu-int8 --wait -q")
    assert "converted weights of checkpoints: " in run_cell("%blip2 cache").text
    assert run_cell("%blip2 cache clear weights").text == "cleared weights\n"
    assert "converted weights of" not in run_cell("%blip2 cache").text
    assert "3 answers, 0 matches, 3 features" in run_cell("%blip2 cache").text


def test_choices_are_ranked_from_a_line(run_cell: RunCell, shell: InteractiveShell) -> None:
    run_cell('%blip2 ask df.image "is it a {kind}?" --choices yes,no --wait -q -o out')
    result = shell.user_ns["out"]
    assert set(result.df.answer) <= {"yes", "no"}
    assert list(result.probabilities().index) == ["x", "y", "z"]
    # What is asked in the gallery afterwards is another question.
    assert result.gallery._asking.how.settings("opt").choices == ()


def test_a_preset_begins_a_line_s_captions(run_cell: RunCell, shell: InteractiveShell) -> None:
    run_cell("%blip2 caption df.image --preset coco --max-new-tokens 9 --wait -q -o out")
    result = shell.user_ns["out"]
    assert result.board.prompts[0].text == "a photo of"
    settings = result.run.settings
    assert (settings.num_beams, settings.max_new_tokens, settings.min_new_tokens) == (5, 9, 8)

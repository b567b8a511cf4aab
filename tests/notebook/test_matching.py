"""`match` and `search` as lines: what they show, what they bind, what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import DEFAULT_RETRIEVAL
from blip2_widget.notebook.code import measure_line
from blip2_widget.notebook.reports import models_frame
from blip2_widget.notebook.snapshot import settled, snapshot_html
from blip2_widget.session import Session
from tests.notebook.conftest import RunCell


@pytest.fixture
def run(run_cell: RunCell, shell: InteractiveShell, own_session: Session) -> RunCell:
    own_session.defaults.model = "demo"
    shell.user_ns["df"] = demo.samples().head(8).assign(kind=["circle", "triangle"] * 4)
    return run_cell


def test_a_line_matches_and_shows_the_best_first(run: RunCell, shell: InteractiveShell) -> None:
    shell.user_ns["colour"] = "teal"
    outcome = run('%blip2 match df.image "a {@colour} rectangle" "a {kind}" -o fits --wait')
    fits = shell.user_ns["fits"]
    assert outcome.galleries == 1 and repr(fits) == "8 pictures · demo-retrieval"
    columns = [
        *("match: a teal rectangle", "similarity: a teal rectangle"),
        *("match: a {kind}", "similarity: a {kind}"),
    ]
    assert list(fits.df.columns)[-4:] == columns and fits.df[columns].notna().all().all()
    assert fits.df["match: a teal rectangle"].between(0, 1).all()
    best = fits.df["match: a teal rectangle"].sort_values(ascending=False, kind="stable")
    assert list(fits.gallery.filtered) == list(best.index) == list(fits.found.index)
    cell = "%%blip2 match df.image -o again --wait -q\na {@colour} rectangle\na {kind}"
    assert run(cell).galleries == 0
    pd.testing.assert_frame_equal(shell.user_ns["again"].df, fits.df)
    assert shell.user_ns["again"].progress.cached == 8


def test_a_line_searches_by_text_and_by_picture(run: RunCell, shell: InteractiveShell) -> None:
    outcome = run('%blip2 search df.image "a teal rectangle" -n 3 -o near --wait')
    near = shell.user_ns["near"]
    assert outcome.galleries == 1 and len(near.found) == 3
    assert list(near.df.iloc[near.gallery.filtered].index) == list(near.found.index)
    run('%blip2 search df.image "a teal rectangle" -n 3 -o plain --wait -q --no-rerank')
    assert "match: a teal rectangle" not in shell.user_ns["plain"].df
    for expression in ("df.image[3]", "3"):
        run(f"%blip2 search df.image {expression} -n 2 -o like --wait -q")
        assert shell.user_ns["like"].found.index[0] == 3


def test_a_dry_run_says_what_is_left(run: RunCell, own_session: Session) -> None:
    search, match = (f'%blip2 {sub} df.image "a circle" --dry-run' for sub in ("search", "match"))
    for line in (search, match):
        printed = run(line).text
        assert printed.startswith("8 pictures: 0 measured already, 8 to measure with demo-retriev")
        assert "stored features" not in printed
    run('%blip2 match df.image "a circle" -n 3 --wait -q')
    run('%blip2 search df.image[:5] "a circle" --wait -q')
    assert "8 pictures: 5 measured already, 3 to measure" in run(match).text
    assert "8 pictures: 5 measured already, 3 to measure" in run(search).text  # in memory
    own_session.vectors.clear()
    assert ", 5 of them from stored features" in run(search).text
    assert "from stored features" not in run(f"{search} --refresh").text
    run('%blip2 search df.image "a circle" --wait -q')
    own_session.manager.unload()
    assert "8 pictures: 8 measured already, 0 to measure" in run(search).text
    assert own_session.manager.resident() == []


def test_a_saved_page_shows_the_best_with_their_numbers(own_session: Session) -> None:
    own_session.defaults.model = "demo"
    frame = demo.samples().head(8)
    result = blip2_widget.search(frame.image, "a teal rectangle", n=3, frame=frame, start=False)
    (measuring,) = result.board.runs
    assert not settled(result.board)
    measuring.start().wait(60)
    assert settled(result.board)
    page = snapshot_html(result.board)
    names = [Path(path).name for path in result.found.image]
    assert sorted(names, key=page.index) == names and page.count("<img") == 3
    assert page.count("rank: a teal rectangle") == 3 and "and 5 more" in page


def test_pictures_are_counted_where_nothing_is_answered(
    run: RunCell, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    run('%blip2 match df.image "a circle" -o fits --wait -q')
    fits = shell.user_ns["fits"]
    assert fits.progress.counted == fits.gallery.progress["counted"] == "pictures"
    assert "to measure with demo-retrieval" in run('%blip2 match df.image "a" --dry-run').text
    assert run("%blip2 retry fits --dry-run").text == "0 pictures to measure again\n"
    assert "0 answers, 8 matches and 8 features of 8 pictures" in run("%blip2 status").text

    def interrupt(_timeout: float) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fits.board, "wait", interrupt)
        with pytest.raises(Blip2Error, match="interrupted with 8 of 8 pictures; they are kept"):
            fits.wait()
    fits.gallery._ask_many("how many circles are there?", None)
    progress = fits.wait(60).progress
    assert (progress.counted, progress.done) == ("answers and pictures", 16)


def test_what_was_measured_as_code_measures_it_again(
    run: RunCell, shell: InteractiveShell, tmp_path: Path
) -> None:
    def code_of(line: str) -> str:
        run(f"{line} -o made --display none")
        made = shell.user_ns["made"]
        sent: list[dict[str, Any]] = []
        made.gallery.send = lambda content, buffers=None: sent.append(content)
        made.gallery._send_codes(0)
        (message,) = sent
        assert message["codes"] == []
        return str(message["measured"])

    shell.user_ns["colour"] = "{teal}"
    query = str(tmp_path / "a query.png")
    Image.open(demo.samples().image[2]).save(query)
    # What is no line's own words comes back in a form that gives the same again.
    for line in (
        '%blip2 match df.image "a {kind}" "a \\"b\\"" -m demo-retrieval -n 3',
        '%blip2 search df.image "a circle"',
        '%blip2 search df.image "a {{b}}" -n 3 --no-rerank',
        "%blip2 search df.image df.image[3] -n 2",
        "%blip2 search df.image 3",
        f'%blip2 search df.image "{query}"',
    ):
        assert code_of(line) == line == code_of(code_of(line))
    assert code_of('%blip2 match df.image "{@colour}"') == '%blip2 match df.image "{{teal}}"'
    result = blip2_widget.search(shell.user_ns["df"].image, Image.open(query), start=False)
    assert measure_line(result._asking, result.board.measured) == ""  # type: ignore[arg-type]


def test_what_was_asked_later_is_asked_by_a_model_that_answers(run: RunCell) -> None:
    result = blip2_widget.match(demo.samples().image[:2], "a circle", cache=False).wait(60)
    result.gallery._ask_many("how many circles are there?", None)
    assert list(result.wait(60).answers.state) == ["done", "done"]
    assert result.df.columns[1] == "how many circles are there?"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("match df.image", "nothing to match"),
        ('match df.image "a" -m demo', "write -m itm-vit-g"),
        ('match df.image "a" --num-beams 3', "match generates nothing, so num_beams has no effect"),
        ('match df.image "a" --variant cpu-int8', "no language model to quantise"),
        ('match df.image "{colour}"', "there is no column 'colour'"),
        ("search df.image", "search takes one text in quotes, or one picture"),
        ('search df.image "a" "b"', "search takes one text in quotes, or one picture"),
        ('search df.image "a {kind}"', "has no {column}"),
        ("search df.image 8", "there is no row 8"),
        ('search df.image "a" -n 0', "n must be at least 1"),
        ('ask df.image "a" --no-rerank', "--no-rerank is for search"),
    ],
)
def test_errors_are_one_line(run: RunCell, line: str, said: str) -> None:
    assert said in str(run(f"%blip2 {line}", fails=True).error)


def test_the_default_stands_for_one_that_matches(
    run: RunCell, own_session: Session, shell: InteractiveShell
) -> None:
    own_session.defaults.model, own_session.defaults.variant = str(demo.RETRIEVAL), "cpu-int4"
    run('%blip2 match df.image "a circle" -o fits --wait -q')
    assert shell.user_ns["fits"].progress.model == "retrieval"
    own_session.defaults.model = "opt-2.7b"
    assert DEFAULT_RETRIEVAL in str(run('%blip2 match df.image "a"', fails=True).error)


def test_use_sets_the_one_that_matches_beside_the_one_that_answers(
    run: RunCell, own_session: Session, shell: InteractiveShell, tiny_opt: Path, tiny_itm: Path
) -> None:
    run(f"%blip2 use -m {tiny_opt}")
    assert f"default   {tiny_opt} · auto" in run("%blip2 status").text
    assert f"matching  {DEFAULT_RETRIEVAL}\n" in run("%blip2 status").text
    said = run("%blip2 use -m demo-retrieval --variant cpu-fp32").text
    assert said == "using demo-retrieval · cpu-fp32 to match and search\n"
    status = run("%blip2 status").text
    assert f"default   {tiny_opt} · cpu-fp32" in status and "matching  demo-retrieval\n" in status
    run('%blip2 match df.image "a circle" -n 2 -o fits --wait -q')
    run("%blip2 caption df.image -n 2 -o captions --wait -q")
    assert shell.user_ns["fits"].progress.model == "demo-retrieval"
    assert shell.user_ns["captions"].run.located.family == "opt"
    # Another one that answers leaves it, and %config says and sets the same.
    run("%blip2 use -m demo")
    shown = run("%config Blip2Magics").text.partition("Blip2Magics.matching_model=")[2]
    assert shown.partition("Current: ")[2].startswith("'demo-retrieval'")
    run(f"%config Blip2Magics.matching_model = {str(tiny_itm)!r}")
    run('%blip2 search df.image "a circle" -n 1 -o near --wait -q')
    assert shell.user_ns["near"].progress.model == tiny_itm.name
    assert blip2_widget.embed_texts("a circle").shape == (1, 64)
    run('%config Blip2Magics.matching_model = ""')
    assert "default   demo · cpu-fp32" in run("%blip2 status").text
    assert "matching  demo-retrieval\n" in run("%blip2 status").text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("use -m itm-vit-g", "write -m demo-retrieval"),  # it is not here, and the Hub is offline
        ("use -m demo-retrieval --variant cpu-int8", "no language model to quantise"),
    ],
)
def test_use_of_one_that_matches_fails_in_one_line(
    run: RunCell, own_session: Session, line: str, said: str
) -> None:
    before = vars(own_session.defaults).copy()
    assert said in str(run(f"%blip2 {line}", fails=True).error)
    assert vars(own_session.defaults) == before


def test_checkpoints_that_match_are_listed(own_session: Session) -> None:
    frame = models_frame()
    assert {"itm-vit-g", "itm-vit-g-coco", "demo-retrieval"} <= set(frame.index)
    assert frame.loc["demo-retrieval", "cpu-int8"] == ""


def test_a_misspelt_file_is_no_text_and_a_table_shows_what_was_found(run: RunCell) -> None:
    assert "there is no file nothere.png" in str(
        run('%blip2 search df.image "nothere.png"', fails=True).error
    )
    shown = run('%blip2 search df.image "a red circle" -n 3 --display table').outputs[0]
    assert shown.data["text/html"].count("<tr") == 4  # three rows below their names

"""The grammar of a `%blip2` line."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blip2_widget.errors import Blip2Error
from blip2_widget.notebook.line import (
    SUBCOMMANDS,
    help_text,
    options_given,
    options_written,
    parse,
    prompts_in,
    split,
)


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ('ask df.img "how many dogs?"', ["ask", "df.img", '"how many dogs?"']),
        ('ask df["img col"] q -m demo', ["ask", 'df["img col"]', "q", "-m", "demo"]),
        ("ask df[df.a > 1].img 'x'", ["ask", "df[df.a > 1].img", "'x'"]),
        ("caption  f(a, [1, 2]) ", ["caption", "f(a, [1, 2])"]),
        (r'ask x "say \"hi\" now"', ["ask", "x", r'"say \"hi\" now"']),
        ('ask x """a "b" c"""', ["ask", "x", '"""a "b" c"""']),
        ('ask x "a ) b"', ["ask", "x", '"a ) b"']),
        ("", []),
    ],
)
def test_lines_are_cut_outside_brackets_and_quotes(line: str, pieces: list[str]) -> None:
    assert split(line) == pieces


@pytest.mark.parametrize(
    ("line", "part"),
    [("ask df[1", r"] is missing"), ('ask df "open', 'put " at the end')],
)
def test_what_is_not_closed_is_said(line: str, part: str) -> None:
    with pytest.raises(Blip2Error, match=part):
        split(line)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=5))
def test_quoted_texts_come_back_whole(texts: list[str]) -> None:
    line = " ".join(repr(text) for text in texts)
    assert [eval(piece) for piece in split(line)] == texts


@given(st.text(max_size=40))
def test_any_line_is_parsed_or_refused_in_one_line(line: str) -> None:
    with suppress(Blip2Error):
        parse(line)


@given(st.text(max_size=60))
def test_any_line_is_cut_without_losing_a_letter_or_refused(line: str) -> None:
    with suppress(Blip2Error):
        pieces = split(line)
        assert "".join("".join(pieces).split()) == "".join(line.split())
        assert all(piece.strip() == piece and piece for piece in pieces)


_NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,7}", fullmatch=True)
_TEXT = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=30)


@given(st.dictionaries(_NAME, _TEXT.map(str.strip).filter(bool), min_size=1, max_size=5))
def test_a_bodys_named_prompts_come_back(prompts: dict[str, str]) -> None:
    body = "\n".join(f"{name}: {text}" for name, text in prompts.items())
    assert prompts_in(body) == prompts


@given(st.text(max_size=80))
def test_any_body_gives_prompts_or_is_refused(body: str) -> None:
    with suppress(Blip2Error):
        found = prompts_in(body)
        assert found and all(text.strip() for text in found.values())


def test_options_stand_anywhere() -> None:
    for line in (
        'ask df.img "a" -m demo -n 3',
        '-m demo ask df.img "a" -n 3',
        'ask -n 3 df.img -m demo "a"',
    ):
        options = parse(line)
        assert (options.sub, options.words) == ("ask", ["df.img", '"a"'])
        assert (options.model, options.n) == ("demo", 3)


def test_no_word_asks_for_help() -> None:
    assert parse("").sub == "help"


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("captoin df.img", "did you mean caption"),
        ("caption df.img --modle demo", "did you mean --model"),
        ("caption df.img --num_beans 5", "did you mean --num-beams"),
        ("caption df.img -n many", "invalid int value"),
        ("caption df.img --display gif", "invalid choice"),
        ("xyz", "write one of caption, ask"),
    ],
)
def test_mistakes_are_answered_with_what_to_write(line: str, part: str) -> None:
    with pytest.raises(Blip2Error, match=part):
        parse(line)


def test_a_body_has_a_prompt_a_line() -> None:
    body = """
    # what to ask
    count: how many dogs are there?

    what colour is the sky?
    where: at what time: day or night?
    """
    assert prompts_in(body) == {
        "count": "how many dogs are there?",
        "what colour is the sky?": "what colour is the sky?",
        "where": "at what time: day or night?",
    }


def test_a_body_needs_prompts_with_names_of_their_own() -> None:
    with pytest.raises(Blip2Error, match="holds no prompt"):
        prompts_in("\n# only this\n")
    with pytest.raises(Blip2Error, match="two prompts are called 'a'"):
        prompts_in("a: x\na: y")


def test_help_names_everything() -> None:
    text = help_text()
    for word in [*SUBCOMMANDS, "--variant", "--no-cache", "--display", "{column}"]:
        assert word in text


def test_an_options_value_may_stand_in_quotes() -> None:
    options = parse("""caption df.image -m "my models/blip 2" -o 'x' --variant "auto" """)
    assert (options.model, options.out, options.variant) == ("my models/blip 2", "x", "auto")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(
                ["demo", "own/model@v1", "my models/a (b", "it's", "-x", 'a"b']
            ),
            "variant": st.sampled_from(["cpu-int8+int4", "cuda-bf16"]),
            **dict.fromkeys(
                ("n", "sample", "batch_size", "max_new_tokens", "num_beams", "k"),
                st.integers(1, 999),
            ),
            "min_new_tokens": st.integers(0, 99),
            "length_penalty": st.floats(-1e9, 1e9),
            "repetition_penalty": st.floats(1e-9, 1e9),
            "preset": st.sampled_from(["coco", "vqa"]),
            "choices": st.lists(_TEXT.map(str.strip).filter(bool), min_size=1, max_size=4),
            "length_normalised": st.booleans(),
            "seed": st.integers(-5, 5),
            "temperature": st.floats(1e-9, 1e9),
            "top_p": st.floats(1e-9, 1.0),
            "refresh": st.booleans(),
            "cache": st.booleans(),
            "on_error": st.sampled_from(["null", "raise"]),
        },
    )
)
def test_options_are_written_as_they_are_read(options: dict[str, object]) -> None:
    nothing = options_given(parse("ask x"))
    assert options_given(parse(f"ask x {options_written(options)}")) == nothing | options


@pytest.mark.parametrize(
    ("written", "choices"),
    [
        ("red,blue", ["red", "blue"]),
        ('"dark red, blue"', ["dark red", "blue"]),
        ("""["red, or so", "it's"]""", ["red, or so", "it's"]),
    ],
)
def test_choices_stand_between_commas_or_in_a_list(written: str, choices: list[str]) -> None:
    assert parse(f"ask x --choices {written} -n 2").choices == choices
    again = options_written({"choices": choices})
    assert parse(f"ask x {again}").choices == choices


@pytest.mark.parametrize("written", ["[1]", "[red]", '["red" for x in y]', "[]2"])
def test_a_list_of_choices_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(Blip2Error, match="a list of choices is written"):
        parse(f"ask x --choices {written}")


def test_what_is_left_out_is_not_written() -> None:
    assert options_written({"batch_size": None, "refresh": False, "cache": True}) == ""


def test_lavis_names_of_options_are_known() -> None:
    lavis = parse("caption df.img --num_beams 5 --max_length 30 --min_length=8 --num_captions 3")
    ours = parse("caption df.img --num-beams 5 --max-new-tokens 30 --min-new-tokens 8 -k 3")
    assert vars(lavis) == vars(ours)

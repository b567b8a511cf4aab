"""Prompt templates."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blip2_widget.errors import Blip2Error
from blip2_widget.run import columns_in, escaped, fill, no_such_column, quoted


def test_fields_are_replaced_and_double_braces_are_braces() -> None:
    assert fill("a {x} {{y}} { z }", {"x": "1", "z": 2}.__getitem__) == "a 1 {y} 2"


def test_a_value_is_never_a_template() -> None:
    assert fill("{x}", lambda _: "{y} {{") == "{y} {{"


@pytest.mark.parametrize("template", ["a { b", "a } b", "{{}", "{a{b}"])
def test_a_lone_brace_is_refused(template: str) -> None:
    with pytest.raises(Blip2Error, match="a lone"):
        fill(template, lambda _: "")


@given(st.text())
def test_an_escaped_text_comes_back(text: str) -> None:
    assert fill(escaped(text), lambda _: "never") == text


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\n\"'\\\x0b\x1c\x85\u2028\u2029")))
def test_a_quoted_text_is_one_line_of_python(text: str) -> None:
    assert len(quoted(text).splitlines()) == 1 and ast.literal_eval(quoted(text)) == text


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("{}@ ")), st.text())
def test_any_template_is_filled_or_refused(template: str, value: str) -> None:
    asked: list[str] = []

    def value_of(name: str) -> str:
        asked.append(name)
        return value

    try:
        filled = fill(template, value_of)
    except Blip2Error:
        return
    named = [name for name in asked if not name.startswith("@")]
    assert columns_in(template) == list(dict.fromkeys(named))
    assert value == "" or filled.count(value) >= bool(asked)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_texts_and_values_come_out_in_order_whatever_they_hold(
    pieces: list[tuple[str, str]],
) -> None:
    values = dict(enumerate(value for _, value in pieces))
    template = "".join(f"{escaped(text)}{{{at}}}" for at, (text, _) in enumerate(pieces))
    assert fill(template, lambda name: values[int(name)]) == "".join(
        text + value for text, value in pieces
    )


def test_columns_are_named_once_and_variables_are_none() -> None:
    assert columns_in("{b} {a} {b} {@v} {{c}}") == ["b", "a"]


def test_a_wrong_column_gets_the_close_one() -> None:
    assert "did you mean 'label'?" in str(no_such_column("lable", ["label", "x"]))
    assert "the columns are a, b" in str(no_such_column("zzz", ["a", "b"]))

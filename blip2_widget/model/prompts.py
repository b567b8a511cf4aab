"""The texts BLIP-2's language models were trained on: captions, questions, conversations.

Source: the examples of the LAVIS repository's BLIP-2 project and the model cards of
Salesforce/blip2-opt-2.7b and Salesforce/blip2-flan-t5-xl.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Kind = Literal["caption", "question"]


def prompt_text(text: str, kind: Kind, family: str, form: str | None = None) -> str:
    """What the language model reads after the picture.

    A caption's text is the beginning of the caption, empty for none. A question takes the place of
    {} in the `form`, where there is none in the family's; a text that is already wrapped is left as
    it is.
    """
    text = text.strip()
    if kind == "caption" or text.startswith("Question:"):
        return text
    form = form or f"Question: {{}} {'Short answer:' if family == 't5' else 'Answer:'}"
    return form.replace("{}", text)


def conversation_text(turns: Sequence[tuple[str, str]], question: str) -> str:
    """A question after earlier (question, answer) turns, in the form both families share.

    An answer ends in one full stop, whether the model wrote it or not; where it said nothing, the
    turn is left out.
    """
    said = [(asked.strip(), answer.strip().rstrip(".").rstrip()) for asked, answer in turns]
    earlier = [f"Question: {asked} Answer: {answer}." for asked, answer in said if answer]
    return " ".join([*earlier, f"Question: {question.strip()} Answer:"])


def kind_of(text: str, default: Kind) -> Kind:
    """Whether a prompt that a person typed over another is a question or a caption's beginning.

    A question mark settles it, as does an empty prompt; otherwise it is what stood there before.
    """
    stripped = text.strip()
    if stripped.endswith("?"):
        return "question"
    return "caption" if not stripped else default

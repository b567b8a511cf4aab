"""The tokenizer without Java cuts captions as Stanford's does."""

from __future__ import annotations

import shutil

import pytest

from blip2_widget.scores.captions import JAVA_TOKENIZER, tokenize
from blip2_widget.scores.tokenizer import words

#: What captions consist of, and what Stanford's PTBTokenizer 3.4.1 makes of it.
CUT = {
    "A man riding a wave on top of a surfboard.": "a man riding a wave on top of a surfboard",
    "A man. A dog. Two cats!": "a man a dog two cats",
    "It's a \"STOP\" sign that says 'stop'.": "it 's a stop sign that says stop",
    "a dog's bone, and two cats' toys": "a dog 's bone and two cats toys",
    "He can't see; she won't go... isn't it?": "he ca n't see she wo n't go is n't it",
    "i'd've couldn't've cannot gonna": "i 'd 've could n't 've can not gon na",
    "a well-dressed man (in a hat)": "a well-dressed man -lrb- in a hat -rrb-",
    "[sign] {x}": "-lsb- sign -rsb- -lcb- x -rcb-",
    "the U.S. flag, at 5:30 p.m. on St. Mark's": "the u.s. flag at 5:30 p.m. on st. mark 's",
    "Mr. Smith and Dr. Who vs. others etc.": "mr. smith and dr. who vs. others etc.",
    "No. 7 train; he says no.": "no. 7 train he says no",
    "a 1,000 dollar bill costs $5.50 & more": "a 1,000 dollar bill costs $ 5.50 & more",
    "50% of #1 at 2:30pm in the 1950's": "50 % of # 1 at 2:30 pm in the 1950 's",
    "and/or black&white, 1/2 a pizza": "and/or black & white 1/2 a pizza",
    "a woman--smiling - at him...": "a woman smiling at him",
    "yes!! what?! really?": "yes !! what ?! really",
    "café “quoted” ‘single’ – dash — don’t": "café quoted single dash do n't",
    "rock 'n' roll at o'clock with d'angelo": "rock 'n' roll at o'clock with d'angelo",
    "y'all ma'am 'tis": "y' all ma'am 't is",
    "dog,cat dog;cat a cat.a dog stop!sign": "dog cat dog cat a cat.a dog stop!sign",
    "": "",
}


@pytest.mark.parametrize("caption", CUT)
def test_captions_are_cut_as_stanford_s_tokenizer_does(caption: str) -> None:
    assert words(caption) == CUT[caption]


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_stanford_s_tokenizer_does_so() -> None:
    tokens = tokenize(list(CUT), [["a dog"]] * len(CUT))
    assert tokens.tokenizer == JAVA_TOKENIZER
    assert dict(zip(CUT, tokens.captions, strict=True)) == CUT

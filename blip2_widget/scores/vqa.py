"""Answers to questions: accuracy as the VQA challenge counts it, exact match, GQA's accuracy.

Source: the rules of `PythonEvaluationTools/vqaEvaluation/vqaEval.py` in
https://github.com/GT-Vision-Lab/VQA, which also scores OK-VQA. Published figures rest on what it
does, not on what it meant to do, so its quirks are kept; each is named where it stands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

#: How many annotators VQA's questions have, and how many must say an answer for full marks.
ANNOTATORS: Final = 10
_ENOUGH: Final = 3

_ARTICLES: Final = frozenset({"a", "an", "the"})
_NUMBERS: Final = {
    "none": "0",  # quirk: "none" is 0
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
_PUNCTUATION: Final = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS: Final = re.compile(r"\d,\d")
#: Quirk: a full stop before a digit stays, whatever stands before it, since the look-behind of the
#: published pattern is mistyped.
_FULL_STOP: Final = re.compile(r"\.(?!\d)")
#: Quirk: no more full stops than this are taken out of one text. The published code hands a flag
#: over where the count belongs, and the flag's number is 32.
_FULL_STOPS: Final = 32

#: Of each of these, the spelling without one of its apostrophes counts as it. The published table
#: has capitals as well ("Im"), which nothing can match, since texts are lower-case by then.
_WITH_APOSTROPHES: Final = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
    you've
"""
_CONTRACTIONS: Final = {
    word[:at] + word[at + 1 :]: word
    for word in _WITH_APOSTROPHES.split()
    for at, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}  # quirk: the one entry that is the wrong way round


@lru_cache(maxsize=100_000)
def normalise(text: str) -> str:
    """An answer as it is compared: no punctuation, lower case, digits, no articles."""
    words = without_punctuation(text.replace("\n", " ").replace("\t", " ").strip()).lower().split()
    numbers = [_NUMBERS.get(word, word) for word in words]
    kept = [word for word in numbers if word not in _ARTICLES]
    return " ".join(_CONTRACTIONS.get(word, word) for word in kept)


@lru_cache(maxsize=100_000)
def without_punctuation(text: str) -> str:
    """A text without punctuation, which becomes a space where it stands between letters.

    Quirks: whether a mark is dropped or becomes a space is decided once for all its places, by
    whether it stands beside a space anywhere. A thousands separator anywhere in the text makes
    every mark be dropped, and apostrophes and colons stay.
    """
    thousands = _THOUSANDS.search(text) is not None
    kept = text
    for mark in _PUNCTUATION:
        apart = f"{mark} " in text or f" {mark}" in text
        kept = kept.replace(mark, "" if apart or thousands else " ")
    return _FULL_STOP.sub("", kept, count=_FULL_STOPS)


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """How far annotators agree with an answer, from 0 to 1.

    With ten references this is VQA's rule: min(1, matches / 3), averaged over all ways to leave
    one reference out. Quirk: the references lose punctuation where they are not all the same, and
    are else taken as they are, so a reference "Two" is never matched.

    With fewer the same rule needs min(3, references - 1) matches, and with one that it is equal;
    these references are not VQA's, so they are normalised as the answer is.
    """
    said = normalise(answer)
    count = len(references)
    if count < ANNOTATORS:
        compared = [normalise(each) for each in references]
    elif len(set(references)) > 1:
        compared = [without_punctuation(each) for each in references]
    else:
        compared = list(references)
    matches = compared.count(said)
    if count == 1:
        return float(matches)
    enough = min(_ENOUGH, count - 1)
    # Left out is one of those that match, or one of the others.
    among_others = min(1.0, (matches - 1) / enough) if matches else 0.0
    return (matches * among_others + (count - matches) * min(1.0, matches / enough)) / count


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the answer is one of the references, both normalised; else 0."""
    said = normalise(answer)
    return float(any(normalise(each) == said for each in references))


def gqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """1 where the normalised answer is GQA's one answer as it was published; else 0.

    GQA's own evaluation (https://cs.stanford.edu/people/dorarad/gqa/evaluate.html) compares the
    texts as they are. A model that writes freely is normalised first, as BLIP-2's evaluation does
    (`lavis/tasks/vqa.py` in https://github.com/salesforce/LAVIS).
    """
    return float(normalise(answer) in references[:1])


def most_common(references: Sequence[str]) -> str:
    """The normalised reference that most annotators gave; of several the first."""
    return Counter(normalise(each) for each in references).most_common(1)[0][0]

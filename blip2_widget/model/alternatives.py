"""Several answers to one prompt, as one answer with its alternatives."""

from __future__ import annotations

import random
from collections.abc import Iterable

from blip2_widget.model.engine import Answer


def merged(answers: Iterable[Answer]) -> Answer:
    """The first answer, with all different texts in their order as its alternatives; of those that
    say the same the likeliest counts."""
    by_text: dict[str, Answer] = {}
    for each in answers:
        known = by_text.setdefault(each.text, each)
        if each.logprob > known.logprob:
            by_text[each.text] = each
    first = next(iter(by_text.values()))
    pairs = tuple((each.text, each.logprob) for each in by_text.values())
    return Answer(first.text, first.tokens, first.logprob, pairs)


def by_likelihood(answers: Iterable[Answer]) -> list[Answer]:
    """The likeliest first."""
    return sorted(answers, key=lambda each: (-each.logprob, each.tokens))


def seed_of(seed: int, number: int) -> int:
    """The seed of the number-th sample: the first is the one that is drawn alone, and those of
    two seeds have nothing in common."""
    return seed if number == 0 else random.Random(f"{seed} {number}").getrandbits(63)

"""Given answers by how likely each is: one reading of picture and prompt, and all after it at once.

An answer's likelihood is that of generating just it: the product over its tokens and the end that
the family closes an answer with, OPT its line's end and T5 its `</s>`. Its tokens are those that
generation would write there: after OPT's prompt, with the blank between them, and alone where there
is no prompt; T5's decoder begins anew, so that the answer stands alone.

LAVIS ranks T5's candidates by the same sum (`_predict_class` in blip2_t5_instruct.py, whose loss is
added up over a candidate's tokens and `</s>`); for OPT it has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from blip2_widget.model.engine import Answer

if TYPE_CHECKING:
    import torch

    from blip2_widget.model.decoding import Decoder


class Likelihood(NamedTuple):
    """The natural logarithm of an answer's probability, and over how many `tokens`, its end
    counted."""

    logprob: float
    tokens: int


def ranked(likelihoods: Mapping[str, Likelihood], length_normalised: bool) -> Answer:
    """The likeliest answer, with the distribution over all as its alternatives, in their order.

    Probabilities are those under the condition that one of these is the answer. With
    `length_normalised` an answer counts by the geometric mean of its tokens' probabilities, so that
    long ones are at no disadvantage.
    """
    scores = [
        each.logprob / each.tokens if length_normalised else each.logprob
        for each in likelihoods.values()
    ]
    highest = max(scores)
    total = highest + math.log(math.fsum(math.exp(score - highest) for score in scores))
    distribution = tuple((text, s - total) for text, s in zip(likelihoods, scores, strict=True))
    text, logprob = max(distribution, key=lambda each: each[1])
    return Answer(text, (), logprob, distribution)


def likelihoods(
    decoder: Decoder,
    first: torch.Tensor,
    rows: Sequence[int],
    texts: Sequence[Sequence[int]],
    ends: frozenset[int],
) -> list[Likelihood]:
    """How likely each text is as the whole answer of its row, whose `first` logits (rows,
    vocabulary) `decoder.begin` gave; any of `ends` ends it. Afterwards the decoder is used up."""
    import torch

    logits = decoder.read(rows, texts)
    lengths = [len(text) for text in texts]
    follows = torch.tensor([token for text in texts for token in [*text[1:], 0]])
    last = torch.tensor(list(accumulate(lengths))) - 1
    gains = _gathered(logits, follows.to(logits.device))
    stops = logits[last.to(logits.device)]
    ended = stops[:, sorted(ends)].logsumexp(-1) - stops.logsumexp(-1)
    begun = _gathered(first[list(rows)], torch.tensor([t[0] for t in texts], device=first.device))
    gains[last.to(logits.device)] = ended + begun
    each = gains.cpu().double().split(lengths)
    return [Likelihood(float(g.sum()), n + 1) for g, n in zip(each, lengths, strict=True)]


def _gathered(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The logarithm of each token's probability, of logits (tokens, vocabulary)."""
    found: torch.Tensor = logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(-1)
    return found

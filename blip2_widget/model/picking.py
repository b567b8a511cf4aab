"""Picking every row's next token from its logits, and what the model gave for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from blip2_widget.model.alternatives import seed_of
from blip2_widget.model.settings import GenerationSettings


class Picker:
    """Greedy or sampling. A sampled row has random numbers of its own, so that with a seed its
    answer does not depend on who shares its batch."""

    def __init__(
        self,
        settings: GenerationSettings,
        before: Sequence[Sequence[int]],
        ends: frozenset[int],
        device: torch.device,
    ) -> None:
        """`before` has the tokens that stand before each row's answer, and `ends` those that end
        one. Of a prompt that is answered `settings.k` times the rows stand side by side."""
        self._before = before
        self._ends = sorted(ends)
        self._left_at_least = settings.min_new_tokens
        self._penalty = settings.repetition_penalty
        #: Which tokens (rows, vocabulary) a row has already, where that is of matter.
        self._seen: torch.Tensor | None = None
        self._warpers = []
        if settings.samples:
            self._warpers.append(TemperatureLogitsWarper(settings.temperature))
            if settings.top_p < 1:
                self._warpers.append(TopPLogitsWarper(settings.top_p))
            self._generators = [torch.Generator(device) for _ in before]
            for row, generator in enumerate(self._generators):
                if settings.seed is None:
                    generator.seed()
                else:
                    generator.manual_seed(seed_of(settings.seed, row % settings.k))

    def pick(self, logits: torch.Tensor, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens (places,) picked from logits (places, vocabulary), and the natural logarithm
        of the probability of each. `rows` says which row stands at each place."""
        scores = self._processed(logits, rows)
        if self._warpers:
            for warper in self._warpers:
                scores = warper(None, scores)
            # A GPU cannot draw where a number is none: that shows in what was gained.
            likely = scores.softmax(-1).nan_to_num(1.0)
            picked = torch.cat(
                [
                    torch.multinomial(likely[place], 1, generator=self._generators[row])
                    for place, row in enumerate(rows)
                ]
            )
        else:
            picked = scores.argmax(-1)
        if self._seen is not None:
            self._seen[list(rows), picked] = True
        gained = logits.gather(-1, picked[:, None])[:, 0] - logits.logsumexp(-1)
        return picked, gained

    def _processed(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Logits with repetitions made less likely, and without an end where it is too early."""
        scores = logits
        if self._penalty != 1:
            if self._seen is None:
                shape = (len(self._before), logits.shape[-1])
                self._seen = torch.zeros(shape, dtype=torch.bool, device=logits.device)
                for row, tokens in enumerate(self._before):
                    self._seen[row, list(tokens)] = True
            penalised = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
            scores = torch.where(self._seen[list(rows)], penalised, scores)
        if self._left_at_least > 0:
            self._left_at_least -= 1
            scores = scores.clone()
            scores[:, self._ends] = -torch.inf
        return scores

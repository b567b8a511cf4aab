"""Picking every row's next token from its logits, and what the model gave for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from blip2_widget.model.engine import GenerationSettings


class Picker:
    """Greedy or sampling. A sampled row has random numbers of its own, so that with a seed its
    answer does not depend on who shares its batch."""

    def __init__(self, settings: GenerationSettings, rows: int, device: torch.device) -> None:
        self._warpers = []
        if settings.samples:
            self._warpers.append(TemperatureLogitsWarper(settings.temperature))
            if settings.top_p < 1:
                self._warpers.append(TopPLogitsWarper(settings.top_p))
            self._generators = [torch.Generator(device) for _ in range(rows)]
            for generator in self._generators:
                if settings.seed is None:
                    generator.seed()
                else:
                    generator.manual_seed(settings.seed)

    def pick(self, logits: torch.Tensor, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens (places,) picked from logits (places, vocabulary), and the natural logarithm
        of the probability of each. `rows` says which row stands at each place."""
        if self._warpers:
            scores = logits
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
            picked = logits.argmax(-1)
        gained = logits.gather(-1, picked[:, None])[:, 0] - logits.logsumexp(-1)
        return picked, gained

"""How an answer comes about: which tokens are picked, how many answers, or which are ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from blip2_widget.errors import Blip2Error, at_least_one


@dataclass(frozen=True)
class GenerationSettings:
    """How the language model picks its tokens, or which answers it ranks.

    Greedy by default; `num_beams` > 1 searches beams, whose scores are divided by their length to
    the power of `length_penalty`; a `temperature` samples, from the smallest set of tokens whose
    probabilities reach `top_p`. With a `seed` a sample can be repeated. `repetition_penalty` above
    1 makes tokens less likely that the prompt or the answer has already, and an answer has at least
    `min_new_tokens`. All are those of transformers' `generate`.

    `k` answers are given to each prompt: that many samples, or the best of the beams. With
    `choices` nothing is generated: these answers are ranked by how likely each is as a whole, or
    `length_normalised` by how likely its tokens are on average, and all else is of no matter.
    `choices_of` names the column that has each row's own choices, in place of `choices`.
    """

    max_new_tokens: int = 30
    num_beams: int = 1
    temperature: float | None = None
    top_p: float = 1.0
    seed: int | None = None
    min_new_tokens: int = 0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    k: int = 1
    choices: tuple[str, ...] = ()
    length_normalised: bool = False
    choices_of: str | None = None

    def __post_init__(self) -> None:
        at_least_one(max_new_tokens=self.max_new_tokens, num_beams=self.num_beams, k=self.k)
        if self.temperature is not None and self.temperature <= 0:
            raise Blip2Error("temperature must be above 0; leave it out for the likeliest answer")
        if not 0 < self.top_p <= 1:
            raise Blip2Error("top_p must be above 0 and at most 1")
        if not 0 <= self.min_new_tokens <= self.max_new_tokens:
            raise Blip2Error(
                f"min_new_tokens must be from 0 to max_new_tokens ({self.max_new_tokens}), "
                f"not {self.min_new_tokens}"
            )
        if not math.isfinite(self.length_penalty):
            raise Blip2Error("length_penalty must be a number; 1 is the usual one")
        if not 0 < self.repetition_penalty < math.inf:
            raise Blip2Error("repetition_penalty must be above 0; 1 is no penalty")
        object.__setattr__(self, "choices", _cleaned(self.choices))
        if self.ranks and (self.samples or self.k > 1):
            raise Blip2Error("choices are ranked, not generated; leave temperature and k out")
        if self.length_normalised and not self.ranks:
            raise Blip2Error("length_normalised is about choices; give some, or leave it out")
        if self.k > self.num_beams and not (self.samples and self.num_beams == 1):
            raise Blip2Error(
                f"{self.k} answers cannot come of {_beams(self.num_beams)}; write "
                f"num_beams={self.k}, or sample with temperature=1, top_p=0.9 and a seed"
            )

    @property
    def ranks(self) -> bool:
        """Whether answers are ranked, and none is generated."""
        return bool(self.choices) or self.choices_of is not None

    def with_choices(self, choices: Sequence[str]) -> GenerationSettings:
        """The same for a row with choices of its own. Raises Blip2Error where these cannot be
        ranked."""
        return replace(self, choices=tuple(choices), choices_of=None)

    @property
    def samples(self) -> bool:
        return self.temperature is not None

    @property
    def repeatable(self) -> bool:
        """Whether the same input gives the same answer again, so that it may be stored."""
        return not self.samples or self.seed is not None

    @property
    def rows(self) -> int:
        """How many rows of a batch one prompt takes."""
        return max(self.num_beams, self.k)

    def stored_as(self) -> Mapping[str, object]:
        """What of the settings decides an answer; the seed only does where it samples.

        Settings that came later are there only where they say something, so that answers that were
        stored before are found. The order of choices is of no matter.
        """
        if self.choices:
            return {"choices": sorted(self.choices), "length_normalised": self.length_normalised}
        settings: dict[str, object] = {
            "max_new_tokens": self.max_new_tokens,
            "num_beams": self.num_beams,
        }
        if self.samples:
            settings |= {"temperature": self.temperature, "top_p": self.top_p}
        later = ["min_new_tokens", "repetition_penalty", "k"]
        if self.num_beams > 1:
            later.append("length_penalty")
        usual, mine = asdict(GenerationSettings()), asdict(self)
        return settings | {name: mine[name] for name in later if mine[name] != usual[name]}


def _cleaned(choices: Sequence[str]) -> tuple[str, ...]:
    """Choices with single blanks, none at their ends; a line's end would end an answer."""
    cleaned = tuple(" ".join(str(choice).split()) for choice in choices)
    if cleaned and len(cleaned) < 2:
        raise Blip2Error(f"there is one choice, {cleaned[0]!r}, and nothing to rank; give two")
    if "" in cleaned:
        raise Blip2Error("a choice is empty; leave it out, or write what it says")
    for at, choice in enumerate(cleaned):
        if choice in cleaned[:at]:
            raise Blip2Error(f"the choice {choice!r} is there twice; leave one out")
    return cleaned


def _beams(count: int) -> str:
    return "one beam" if count == 1 else f"{count} beams"

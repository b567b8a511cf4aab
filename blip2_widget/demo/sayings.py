"""What may be said of a picture to find it by, and of which pictures it is true.

A saying names shapes and how many there are of them; other shapes may be there too. It is true of
every picture that has exactly that many. Bare words ("red circle") say no number: any will do.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from blip2_widget.demo.scenes import COLOURS, KINDS, MAX_SHAPES, NUMBER_WORDS, Shape
from blip2_widget.demo.texts import CAPTION_PREFIXES

_THINGS: Final = ("shape", "shape", "object", "thing")


@dataclass(frozen=True)
class Group:
    """Shapes of one look; `kind` or `colour` None: whichever. `number` None: one or more."""

    kind: str | None
    colour: str | None
    number: int | None


@dataclass(frozen=True)
class Saying:
    """A text and what it says."""

    text: str
    groups: tuple[Group, ...]


#: Every look that a group may have, the loose ones too.
_LOOKS: Final = {
    look: at for at, look in enumerate((k, c) for k in (None, *KINDS) for c in (None, *COLOURS))
}


def whole(shapes: Sequence[Shape]) -> tuple[Group, ...]:
    """The groups of everything in a picture, in the order of `scenes.caption`."""
    groups = Counter((shape.kind, shape.colour) for shape in shapes)
    return tuple(Group(*look, number) for look, number in sorted(groups.items()))


def say(rng: random.Random, shapes: Sequence[Shape]) -> Saying:
    """Something true of a picture: all that it shows, a part of it, a look, or bare words."""
    groups = list(whole(shapes))
    draw = rng.random()
    if draw < 0.4:
        if rng.random() < 0.5:
            rng.shuffle(groups)
        return _written(rng, groups)
    if draw < 0.6:
        return _written(rng, rng.sample(groups, rng.randint(1, len(groups))))
    shape = rng.choice(shapes)
    kind, colour = rng.choice(((shape.kind, None), (None, shape.colour)))
    if draw < 0.8:
        number = sum(_is_like(each, kind, colour) for each in shapes)
        return _written(rng, [Group(kind, colour, number)])
    if rng.random() < 0.6:
        kind, colour = shape.kind, shape.colour
    return _written(rng, [Group(kind, colour, None)])


def alter(rng: random.Random, saying: Saying) -> Saying:
    """The same with a colour, kind or number changed, two looks mixed up, or a group too many.

    It may still be true of the same picture, and is of others.
    """
    groups = list(saying.groups)
    at = rng.randrange(len(groups))
    group, draw = groups[at], rng.random()
    if len(groups) > 1 and draw < 0.35:
        other = rng.choice([each for each in range(len(groups)) if each != at])
        groups[at] = replace(group, colour=groups[other].colour)
        groups[other] = replace(groups[other], colour=group.colour)
    elif group.number is not None and draw < 0.6:
        groups[at] = replace(group, number=_another(rng, range(1, MAX_SHAPES + 1), group.number))
    elif group.number is not None and draw < 0.7 and len(groups) < MAX_SHAPES:
        groups.append(Group(rng.choice(KINDS), rng.choice(tuple(COLOURS)), 1))
    elif group.colour is not None and (group.kind is None or draw < 0.85):
        groups[at] = replace(group, colour=_another(rng, tuple(COLOURS), group.colour))
    else:
        groups[at] = replace(group, kind=_another(rng, KINDS, group.kind))
    return _written(rng, groups)


def looks(shapes: Sequence[Shape]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """How many shapes of every look, the loose ones too, a picture has, for `truths`."""
    counts = np.zeros(len(_LOOKS), np.int64)
    for shape in shapes:
        for kind in (None, shape.kind):
            for colour in (None, shape.colour):
                counts[_LOOKS[kind, colour]] += 1
    return counts


def truths(
    sayings: Sequence[Saying], counts: "np.ndarray[Any, np.dtype[np.int64]]"
) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Which sayings are true of which pictures: (sayings, pictures), from their stacked `looks`."""
    true = np.ones((len(sayings), len(counts)), bool)
    for row, saying in enumerate(sayings):
        for group in saying.groups:
            there = counts[:, _LOOKS[group.kind, group.colour]]
            true[row] &= there > 0 if group.number is None else there == group.number
    return true


def plainly(groups: Sequence[Group]) -> Saying:
    """A saying in the words of `scenes.caption`."""
    return Saying(_listed([_named(group, "shape") for group in groups]), tuple(groups))


def _written(rng: random.Random, groups: Sequence[Group]) -> Saying:
    """A saying in one of many wordings."""
    parts = [_named(group, rng.choice(_THINGS), digits=rng.random() < 0.15) for group in groups]
    text = " and ".join(parts) if rng.random() < 0.2 else _listed(parts)
    if groups[0].number is None:
        if rng.random() < 0.3:
            text += "s"
        elif groups[0].kind is None and rng.random() < 0.5:
            text = str(groups[0].colour)
    elif rng.random() < 0.3:
        text = f"{rng.choice(CAPTION_PREFIXES)} {text}"
    return Saying(text.replace("gray", "grey") if rng.random() < 0.1 else text, tuple(groups))


def _named(group: Group, thing: str, digits: bool = False) -> str:
    look = " ".join(word for word in (group.colour, group.kind or thing) if word)
    if group.number is None:
        return look
    if group.number == 1:
        return f"an {look}" if look[0] == "o" else f"a {look}"
    return f"{group.number if digits else NUMBER_WORDS[group.number]} {look}s"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _is_like(shape: Shape, kind: str | None, colour: str | None) -> bool:
    return kind in (None, shape.kind) and colour in (None, shape.colour)


def _another(rng: random.Random, of: Sequence[Any], than: object) -> Any:
    return rng.choice([each for each in of if each != than])

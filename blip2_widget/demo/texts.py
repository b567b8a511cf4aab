"""Say things about shapes: questions with their answers.

Every question is drawn at random from the shapes of a picture, in one of many wordings, so that a
question typed by a person is likely to look like one the model has learnt.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

from blip2_widget.demo.scenes import COLOURS, KINDS, MAX_SHAPES, NUMBER_WORDS, Shape, caption

Example = tuple[str, str]
"""A question and its answer."""

CAPTION_PREFIXES: Final = (
    "a picture of",
    "a photo of",
    "an image of",
    "a drawing of",
    "this is",
    "this is a picture of",
    "there is",
    "the picture shows",
    "the image shows",
    "the photo shows",
    "I see",
)

_PICTURES = ("image", "image", "picture", "picture", "photo", "drawing")
_ANY_SHAPE = ("shape", "shape", "shape", "object", "thing")

_EXISTS = (
    "is there {a}?",
    "is there {a} in the {picture}?",
    "does the {picture} contain {a}?",
    "is {a} present?",
    "is there {a} present?",
    "does the {picture} show {a}?",
    "does the {picture} have {a}?",
    "can you see {a}?",
    "do you see {a}?",
    "do you see {a} in the {picture}?",
    "are there any {many}?",
    "are there any {many} in the {picture}?",
    "does the {picture} contain any {many}?",
    "is there any {one}?",
    "is there any {one} in the {picture}?",
    "any {many}?",
)
_ABSENT = (
    "does the {picture} not contain {a}?",
    "is no {one} present?",
    "is there not {a}?",
    "is there not {a} in the {picture}?",
    "is there no {one}?",
    "is there no {one} in the {picture}?",
    "are there no {many}?",
    "are there no {many} in the {picture}?",
)
_COUNT = (
    "how many {many} are there?",
    "how many {many} are in the {picture}?",
    "how many {many} are there in the {picture}?",
    "how many {many} are in this {picture}?",
    "how many {many} does the {picture} contain?",
    "how many {many} does the {picture} show?",
    "how many {many} can you see?",
    "how many {many} do you see?",
    "how many {many} are shown?",
    "how many {many}?",
    "how many {many} in the {picture}?",
    "what is the number of {many}?",
    "what is the number of {many} in the {picture}?",
    "count the {many}",
    "count the {many} in the {picture}",
)
_COLOUR = (
    "what color is the {one}?",
    "what is the color of the {one}?",
    "what color is the {one} in the {picture}?",
    "what is the color of the {one} in the {picture}?",
    "which color is the {one}?",
    "which color does the {one} have?",
    "what color does the {one} have?",
    "the {one} is what color?",
    "what's the color of the {one}?",
)
_COLOUR_OF_MANY = (
    "what color are the {many}?",
    "what is the color of the {many}?",
    "which color are the {many}?",
    "what color are the {many} in the {picture}?",
)
_COLOUR_OF_ONLY = (
    "what color is it?",
    "what color is this?",
    "which color is it?",
    "what color is the {thing}?",
    "what color is shown?",
    "what color does it have?",
)
_KIND = (
    "what is the {colour} shape?",
    "what shape is the {colour} {thing}?",
    "what shape is {colour}?",
    "which shape is {colour}?",
    "what is the {colour} {thing}?",
    "what {colour} shape is there?",
    "what {colour} shape is in the {picture}?",
    "what is the shape of the {colour} {thing}?",
    "what kind of shape is the {colour} {thing}?",
)
_KIND_OF_ONLY = (
    "what shape is in the {picture}?",
    "what shape does the {picture} contain?",
    "what shape is present?",
    "what shape is it?",
    "what shape is this?",
    "what shape is there?",
    "which shape is it?",
    "which shape is in the {picture}?",
    "what is the shape?",
    "what shape is shown?",
    "what shape do you see?",
    "what kind of shape is it?",
)
_DESCRIBE = (
    "what is in the {picture}?",
    "what is in this {picture}?",
    "what do you see?",
    "what can you see?",
    "what do you see in the {picture}?",
    "what does the {picture} show?",
    "what does the {picture} contain?",
    "what is this?",
    "what is shown?",
    "what is this a {picture} of?",
    "what shapes are there?",
    "what shapes are in the {picture}?",
    "which shapes are in the {picture}?",
    "what shapes do you see?",
    "describe the {picture}",
    "describe this {picture}",
)


def vary(rng: random.Random, question: str) -> str:
    """Write a question as another person might: capital letter, British spelling, no `?`."""
    if rng.random() < 0.5:
        question = question[0].upper() + question[1:]
    if rng.random() < 0.35:
        question = question.replace("color", "colour")
    if rng.random() < 0.2:
        question = question.replace("gray", "grey")
    if question.endswith("?"):
        return question[:-1] if rng.random() < 0.15 else question
    return question + rng.choice(("", ".", "?"))


def ask_count(rng: random.Random, shapes: Sequence[Shape]) -> Example:
    """How many shapes of some look are there?"""
    kind, colour = _some_look(rng, shapes, present=rng.random() < 0.75)
    return _fill(rng, rng.choice(_COUNT), kind, colour), str(_number(shapes, kind, colour))


def ask_exists(rng: random.Random, shapes: Sequence[Shape]) -> Example:
    """Is there a shape of some look?"""
    kind, colour = _some_look(rng, shapes, present=rng.random() < 0.5, any_shape=False)
    here = _number(shapes, kind, colour) > 0
    if rng.random() < 0.35:
        return _fill(rng, rng.choice(_ABSENT), kind, colour), _yes(not here)
    return _fill(rng, rng.choice(_EXISTS), kind, colour), _yes(here)


def ask_number(rng: random.Random, shapes: Sequence[Shape]) -> Example:
    """Is the number of shapes of some look such and such?"""
    kind, colour = _some_look(rng, shapes, present=rng.random() < 0.85)
    number = _number(shapes, kind, colour)
    asked = rng.choice((number, rng.randint(1, MAX_SHAPES)))
    if asked == 0:
        return _fill(rng, "are there no {many}?", kind, colour), _yes(number == 0)
    if asked == 1:
        pattern, answer = rng.choice(
            (
                ("is there only one {one}?", number == 1),
                ("is there exactly one {one}?", number == 1),
                ("is there more than one {one}?", number > 1),
            )
        )
        return _fill(rng, pattern, kind, colour), _yes(answer)
    written = rng.choice((NUMBER_WORDS[asked], str(asked)))
    pattern = rng.choice(
        (f"are there {written} {{many}}?", f"are there {written} {{many}} in the {{picture}}?")
    )
    return _fill(rng, pattern, kind, colour), _yes(number == asked)


def ask_colour(rng: random.Random, shapes: Sequence[Shape]) -> Example | None:
    """Which colour has a shape? None if the colour would not be certain."""
    certain = [
        (kind, {shape.colour for shape in group}, len(group))
        for kind in (None, *KINDS)
        if (group := [shape for shape in shapes if kind in (None, shape.kind)])
    ]
    certain = [entry for entry in certain if len(entry[1]) == 1]
    if not certain:
        return None
    kind, (colour,), number = rng.choice(certain)
    if number > 1:
        pattern = rng.choice(_COLOUR_OF_MANY)
    elif len(shapes) == 1 and rng.random() < 0.25:
        pattern = rng.choice(_COLOUR_OF_ONLY)
    else:
        pattern = rng.choice(_COLOUR)
    return _fill(rng, pattern, kind, None), colour


def ask_kind(rng: random.Random, shapes: Sequence[Shape]) -> Example | None:
    """Which kind of shape has some colour? None if that would not be certain."""
    if len(shapes) == 1 and rng.random() < 0.6:
        return _fill(rng, rng.choice(_KIND_OF_ONLY), None, None), shapes[0].kind
    alone = [shape for shape in shapes if _number(shapes, None, shape.colour) == 1]
    if not alone:
        return None
    shape = rng.choice(alone)
    return _fill(rng, rng.choice(_KIND), None, shape.colour), shape.kind


def ask_whether(rng: random.Random, shapes: Sequence[Shape]) -> Example | None:
    """Is the circle red? Is the red shape a circle? None if no shape can be meant alone."""
    shape = rng.choice(shapes)
    colour = rng.choice((shape.colour, rng.choice(tuple(COLOURS))))
    kind = rng.choice((shape.kind, rng.choice(KINDS)))
    if len(shapes) == 1 and rng.random() < 0.4:
        return rng.choice(
            (
                (f"is it {colour}?", _yes(shape.colour == colour)),
                (f"is the shape {colour}?", _yes(shape.colour == colour)),
                (f"is it a {kind}?", _yes(shape.kind == kind)),
                (f"is this a {kind}?", _yes(shape.kind == kind)),
                (f"is the shape a {kind}?", _yes(shape.kind == kind)),
            )
        )
    questions = []
    if _number(shapes, shape.kind, None) == 1:
        questions.append((f"is the {shape.kind} {colour}?", _yes(shape.colour == colour)))
    if _number(shapes, None, shape.colour) == 1:
        questions.append((f"is the {shape.colour} shape a {kind}?", _yes(shape.kind == kind)))
    return rng.choice(questions) if questions else None


def ask_describe(rng: random.Random, shapes: Sequence[Shape]) -> Example:
    """What does the picture show?"""
    return _fill(rng, rng.choice(_DESCRIBE), None, None), caption(shapes)


Asker = Callable[[random.Random, Sequence[Shape]], Example | None]

ASKERS: Final[dict[str, tuple[Asker, float]]] = {
    "count": (ask_count, 0.38),
    "exists": (ask_exists, 0.2),
    "colour": (ask_colour, 0.13),
    "kind": (ask_kind, 0.1),
    "whether": (ask_whether, 0.07),
    "number": (ask_number, 0.06),
    "describe": (ask_describe, 0.06),
}
"""Every sort of question, and how often it is asked."""


def ask(rng: random.Random, shapes: Sequence[Shape]) -> Example:
    """A question of any sort about the shapes, with its answer."""
    askers, weights = zip(*ASKERS.values(), strict=True)
    while True:
        example = rng.choices(askers, weights)[0](rng, shapes)
        if example is not None:
            return vary(rng, example[0]), example[1]


def ask_follow_up(rng: random.Random, shapes: Sequence[Shape]) -> tuple[Example, Example] | None:
    """Two questions of which the second makes sense only after the first, or None."""
    shape = rng.choice(shapes)
    exists = rng.choice(_EXISTS)
    if rng.random() < 0.5:
        kind, colour = _some_look(rng, shapes, present=True, any_shape=False)
        follow_up, answer = "how many are there?", str(_number(shapes, kind, colour))
    elif _number(shapes, shape.kind, None) == 1:
        kind, colour = shape.kind, None
        follow_up, answer = rng.choice(_COLOUR_OF_ONLY[:3]), shape.colour
    elif _number(shapes, None, shape.colour) == 1:
        kind, colour = None, shape.colour
        follow_up, answer = rng.choice(("what shape is it?", "which shape is it?")), shape.kind
    else:
        return None
    first = _fill(rng, exists, kind, colour)
    return (vary(rng, first), "yes"), (vary(rng, _fill(rng, follow_up, None, None)), answer)


def converse(rng: random.Random, shapes: Sequence[Shape], turns: int) -> list[Example]:
    """A conversation of some questions about one picture, now and then with a follow-up."""
    talk: list[Example] = []
    while len(talk) < turns:
        pair = None
        if len(talk) + 2 <= turns and rng.random() < 0.25:
            pair = ask_follow_up(rng, shapes)
        talk.extend(pair or [ask(rng, shapes)])
    return talk


def _some_look(
    rng: random.Random, shapes: Sequence[Shape], present: bool, any_shape: bool = True
) -> tuple[str | None, str | None]:
    """A kind, a colour or both; of a shape that is present, or of none or any."""
    if present:
        shape = rng.choice(shapes)
        kind, colour = shape.kind, shape.colour
    elif rng.random() < 0.5:
        # Parts of two shapes that are there make the hardest look that is not.
        kind, colour = rng.choice(shapes).kind, rng.choice(tuple(COLOURS))
        if rng.random() < 0.5:
            kind, colour = rng.choice(KINDS), rng.choice(shapes).colour
    else:
        kind, colour = rng.choice(KINDS), rng.choice(tuple(COLOURS))
    draw = rng.random()
    if any_shape and draw < 0.15:
        return None, None
    if draw < 0.45:
        return kind, None
    if draw < 0.7:
        return None, colour
    return kind, colour


def _fill(rng: random.Random, pattern: str, kind: str | None, colour: str | None) -> str:
    """Fill a question's blanks with a look and a choice of words."""
    thing = rng.choice(_ANY_SHAPE)
    one = " ".join(word for word in (colour, kind or thing) if word)
    return pattern.format(
        one=one,
        many=one + "s",
        a=("an " if one[0] == "o" else "a ") + one,
        colour=colour,
        thing=thing,
        picture=rng.choice(_PICTURES),
    )


def _number(shapes: Sequence[Shape], kind: str | None, colour: str | None) -> int:
    return sum(kind in (None, shape.kind) and colour in (None, shape.colour) for shape in shapes)


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"

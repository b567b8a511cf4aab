"""Captions into words as COCO's evaluation has them, without Java.

COCO's scores are computed on what Stanford's PTBTokenizer 3.4.1 gives, in lower case and without
punctuation. This follows its rules for what captions consist of: contractions, numbers,
abbreviations, brackets, quotes, hyphens. It was written by looking at what that tokenizer gives;
rare things (smileys, two numbers that are a fraction, units behind a number) may differ.
"""

from __future__ import annotations

import re
from typing import Final

#: A full stop after these belongs to them, also at the end of a sentence.
_ABBREVIATIONS: Final = (
    "adm apr asst aug ave blvd bros capt cmdr co col corp cpl dec dept dr etc feb ft gen gov inc "
    "jan jr lt ltd maj mar messrs mon mr mrs ms mt nov oct ph prof pvt rd rep rev sen sept sgt sr "
    "st vs"
)

#: What a caption is cut into, the first that fits: an address, a tag, a name, an abbreviation with
#: its full stops, a decade, a number with what hangs on it, a word likewise, several marks that
#: are one, any other mark.
_PIECES: Final = re.compile(
    rf"""
    (?:https?://|www\.)\S+ | [\w.+-]+@[\w-]+(?:\.[\w-]+)+
    | </?[a-z][^<>\s]*>
    | [@#][a-z_]\w*
    | (?:[a-z]\.)+[a-z](?![\w.']) | (?:[a-z]\.)+(?!\w)
    | (?:{"|".join(_ABBREVIATIONS.split())})\.(?!\w) | no\.(?=\s*\d)
    | '\d\ds?(?![\w'])
    | \d+:\d\d(?=[ap]m\b)
    | (?:(?<!\w)\.)?\d+(?:[.,:/]\d+)*(?:\w|-(?=\w))*(?:'s\b)?
    | '(?:twas|tis|n)\b'?
    | [^\W\d](?:\w|[-/'](?=\w)|[.!](?=[^\W\d_]))*
    | \.\.+ | --+ | [?!]+ | \S
    """,
    re.VERBOSE,
)
#: The ends that a word is parted from: "couldn't've" is could, n't and 've.
_ENDING: Final = re.compile(r"(.+?)(n't|'(?:s|m|d|re|ve|ll|n))")
_PARTED: Final = {
    "cannot": ("can", "not"),
    "gimme": ("gim", "me"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "lemme": ("lem", "me"),
    "wanna": ("wan", "na"),
    "y'all": ("y'", "all"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}
_BRACKETS: Final = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
}
#: Marks that COCO's evaluation leaves out. Brackets are not among them, since its list has their
#: names in capitals and its tokenizer gives them in lower case.
_LEFT_OUT: Final = frozenset("'`.?!,:-;\"")
_TYPOGRAPHIC: Final = str.maketrans("‘’“”–—…", "''\"\"--.")


def words(caption: str) -> str:
    """The caption's words in lower case, with a space between each two."""
    text = caption.translate(_TYPOGRAPHIC).lower()
    parts = [part for piece in _PIECES.findall(text) for part in _parted(piece)]
    return " ".join(_BRACKETS.get(part, part) for part in parts if not _left_out(part))


def _parted(piece: str) -> list[str]:
    if piece in _PARTED:
        return list(_PARTED[piece])
    endings: list[str] = []
    while found := _ENDING.fullmatch(piece):
        piece, ending = found.groups()
        endings.insert(0, ending)
    return [piece, *endings]


def _left_out(part: str) -> bool:
    # Of several marks that are one only dots and dashes: "?!" is a word to COCO's evaluation.
    return part in _LEFT_OUT or not part.strip(".") or not part.strip("-")

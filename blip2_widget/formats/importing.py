"""Earlier texts in: read from a file, matched to pictures, kept in the store."""

from __future__ import annotations

import datetime
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import clean
from blip2_widget.formats.catalogue import format_to_read
from blip2_widget.formats.folders import VALUE
from blip2_widget.formats.matching import EXACT, Match, Matching
from blip2_widget.formats.names import PICTURES, QUESTIONS, TEXTS, UNDERSTOOD
from blip2_widget.formats.tables import BROKEN, NOTE
from blip2_widget.images import Column, Limits, read_column
from blip2_widget.run import Pictures, no_such_column
from blip2_widget.store import ImportedText, Review, ReviewStatus, Store

if TYPE_CHECKING:
    import pandas as pd

_KINDS = ("caption", "question")

#: Lines whose pictures are opened together.
_LINES = 64
_UNNAMED = "the line names no picture that can be opened; give the column: import PATH df.image"
#: By how many seconds a clock may be ahead.
_A_DAY = 86_400


@dataclass
class Imported:
    """What came of reading a file: how many texts came in, of how many pictures, and how many
    reviews. `further` are texts of pictures that have one from the same file already. Where it was
    only tried, nothing is `kept`. `asked` are the prompts that the texts answer, each with its
    kind; `note` is what is to be known of how the file was read."""

    source: str
    texts: int = 0
    pictures: int = 0
    reviews: int = 0
    further: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    note: str = ""
    kept: bool = True
    wrong: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def errors(self) -> pd.DataFrame:
        """The rows of the file that did not come in, counted from 0, with what is wrong in one
        line."""
        import pandas as pd

        return pd.DataFrame(self.wrong, columns=["row", "picture", "error"])

    def __repr__(self) -> str:
        parts = [f"{_count(self.texts, 'text')} of {_count(self.pictures, 'picture')}"]
        parts += [_count(self.reviews, "review")] if self.reviews else []
        done = "imported" if self.kept else "would import"
        line = f"{done} {' and '.join(parts)} from {self.source}{self._as_what()}"
        if self.note:
            line += f"; {self.note}"
        if self.further:
            line += f"; {_count(self.further, 'further text')} of the same pictures left out"
        if self.wrong:
            line += f"; {_count(len(self.wrong), 'row')} did not come in (.errors)"
        return line

    def _as_what(self) -> str:
        """What the texts answer: captions first, then the questions."""
        captions = [prompt for prompt, kind in self.asked if kind == "caption"]
        questions = [prompt for prompt, kind in self.asked if kind == "question"]
        parts = []
        if captions:
            begun = [prompt for prompt in captions if prompt]
            parts.append("captions" + (f" that begin {_first_of(begun)}" if begun else ""))
        if questions:
            parts.append(f"answers to {_first_of(questions)}")
        return f" as {' and '.join(parts)}" if parts else ""


def _first_of(prompts: list[str]) -> str:
    more = f" and {_count(len(prompts) - 1, 'more prompt')}" if prompts[1:] else ""
    return f"{prompts[0]!r}{more}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Meaning:
    """How a file's columns are read: its columns of pictures and of texts, and what the texts
    answer. What is None the file says, or its columns' names."""

    picture: str | None = None
    text: str | None = None
    kind: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in _KINDS:
            raise Blip2Error(f"a text is a caption or a question's answer, not {self.kind!r}")

    def of(self, lines: Iterable[Mapping[str, Any]]) -> Meaning:
        """The same with the column of texts chosen, for a file whose first lines these are: one
        for all of them. Raises Blip2Error where they have no such columns."""
        names = list(dict.fromkeys(name for line in lines for name in line))
        holds = VALUE in names
        names = [name for name in names if name not in (VALUE, BROKEN)]
        for wanted in (self.picture, self.text):
            if wanted is not None and wanted not in names:
                raise no_such_column(wanted, names)
        if not holds and self.picture is None and not set(PICTURES) & set(names):
            raise Blip2Error(_choose("names the pictures", "column", names))
        text = self.text or next((each for each in TEXTS if each in names), None)
        if text is None:
            raise Blip2Error(_choose("holds texts", "text", names))
        return replace(self, text=text)

    def known(self, line: dict[str, Any]) -> dict[str, Any]:
        """A line with the names that are understood in small letters, however it has them."""
        chosen = (self.picture, self.text)
        small = {name: name.strip().lower() for name in line if name not in chosen}
        return {
            small[name]
            if name in small and small[name] in UNDERSTOOD and small[name] not in line
            else name: value
            for name, value in line.items()
        }

    def names(self, line: Mapping[str, Any]) -> list[str]:
        """What a line calls its picture."""
        columns = PICTURES if self.picture is None else (self.picture,)
        values = [line.get(name) for name in columns]
        values = [value.get("path") if isinstance(value, dict) else value for value in values]
        return [clean(value) for value in values if isinstance(value, str) and value]

    def value(self, line: Mapping[str, Any]) -> Any:
        """The picture that a line holds, None where it only names one."""
        if VALUE in line:
            return line[VALUE]
        columns = PICTURES if self.picture is None else (self.picture,)
        values = (line.get(name) for name in columns)
        return next((each for each in values if isinstance(each, dict | bytes)), None)

    def text_of(self, line: Mapping[str, Any]) -> str:
        """A line's text, the first where there are several, empty where it has none. Raises
        Blip2Error for what is no text."""
        value = None if self.text is None else line.get(self.text)
        several = value if isinstance(value, list) else [value]
        said = [each for each in several if not (each is None or each != each)]  # NaN is none
        for each in said:
            if not isinstance(each, str):
                raise Blip2Error(f"{self.text} holds no text, but {_short(each)}")
        return next((clean(each).strip() for each in said if each.strip()), "")

    def asked(self, line: Mapping[str, Any]) -> tuple[str, str]:
        """The prompt that a line's text answers, and its kind. Raises Blip2Error where a question
        is not there."""
        asked = [line.get(name) for name in QUESTIONS]
        prompt = next((text for text in asked if isinstance(text, str)), "")
        prompt = clean(prompt if self.prompt is None else self.prompt).strip()
        said = line.get("kind")
        kind = self.kind or (said if said in _KINDS else None)
        if kind is None:
            kind = "question" if prompt and self.prompt is None and line.get("question") else None
        kind = kind or ("question" if prompt.endswith("?") else "caption")
        if kind == "question" and not prompt:
            raise Blip2Error("the question is not there; give it as --prompt (prompt=)")
        return prompt, kind


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:40]}…"


def _choose(does: str, option: str, names: Iterable[str]) -> str:
    listed = ", ".join(itertools.islice(names, 12)) or "none"
    return f"no column is called as one that {does}; choose one with --{option} (it has {listed})"


def import_texts(
    path: Path,
    store: Store,
    *,
    target: Column | None = None,
    format: str | None = None,
    meaning: Meaning | None = None,
    limits: Limits | None = None,
    keep: bool = True,
) -> Imported:
    """Read a file's texts into the store, of the pictures of `target` or of those that the file
    itself holds or names.

    All of it comes in or, where the file breaks off or it is not to `keep`, nothing. Raises
    Blip2Error where it cannot be read; what is wrong with a line stands in the report.
    """
    return _Import(path, store, target, format, meaning or Meaning(), limits).run(keep)


class _Import:
    """One file on its way in."""

    def __init__(
        self,
        path: Path,
        store: Store,
        target: Column | None,
        format: str | None,
        meaning: Meaning,
        limits: Limits | None,
    ) -> None:
        self._read = format_to_read(path, format).read
        self._path = path
        self._folder = path if path.is_dir() else path.absolute().parent
        self._store = store
        self._meaning = meaning
        self._limits = limits
        self._matching = None if target is None else Matching(target, self._folder)
        self._target = None if target is None else Pictures(target, store, limits)
        self._report = Imported(path.name or str(path))
        self._lines = 0
        self._texts: dict[tuple[str, str, str], ImportedText] = {}
        self._reviews: list[Review] = []
        #: How sure it is which picture is meant: of a line, and of the text that counts so far.
        self._sure: dict[int, int] = {}
        self._surest: dict[tuple[str, str, str], int] = {}

    def run(self, keep: bool) -> Imported:
        """Read the file to its end, and then keep what it says."""
        lines = enumerate(self._readable(self._read(self._path)))
        is_known = False
        while group := list(itertools.islice(lines, _LINES)):
            whole = [line for _, line in group if BROKEN not in line]
            if whole and not is_known:
                self._meaning, is_known = self._meaning.of(whole), True
            self._take(group)
        if not self._lines:
            raise Blip2Error(f"there is nothing in {self._path}: it holds no lines to import")
        reviews = self._new_reviews()
        if keep:
            self._store.people.put_imported(self._texts.values())
            self._store.people.add_reviews(reviews)
        self._report.kept = keep
        keys = {key for key, _, _ in self._texts} | {review.image_key for review in reviews}
        self._report.texts, self._report.pictures = len(self._texts), len(keys)
        self._report.reviews = len(reviews)
        self._report.asked = list(dict.fromkeys(subject[1:] for subject in self._texts))
        return self._report

    def _readable(self, lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        try:
            for line in lines:
                if NOTE in line:
                    self._report.note = line[NOTE]
                else:
                    self._lines += 1
                    yield self._meaning.known(line)
        except Blip2Error:
            raise
        except Exception as error:  # whatever a damaged file leads a reader to
            reason = " ".join(str(error).split()) or type(error).__name__
            raise Blip2Error(f"{self._path} cannot be read: {reason}") from None

    def _take(self, group: list[tuple[int, dict[str, Any]]]) -> None:
        """Look at some lines, and keep what they say of pictures that can be found."""
        said = [(number, line) for number, line in group if self._says(number, line)]
        keys = self._keys(said)
        for number, line in said:
            if number not in keys:
                continue
            try:
                self._keep(keys[number], line, self._sure.pop(number, EXACT))
            except Blip2Error as error:
                self._wrong(number, line, str(error))

    def _says(self, number: int, line: dict[str, Any]) -> bool:
        """Whether a line has a text or a review: what has none is still to be captioned."""
        try:
            if BROKEN in line:
                raise Blip2Error(line[BROKEN])
            return bool(self._meaning.text_of(line) or _text(line.get("review")) or _flagged(line))
        except Blip2Error as error:
            self._wrong(number, line, str(error))
            return False

    def _keys(self, lines: list[tuple[int, dict[str, Any]]]) -> dict[int, str]:
        """The keys of the lines' pictures, by the lines' numbers."""
        rows: dict[int, int] = {}
        own: dict[int, Any] = {}
        for number, line in lines:
            names, value = self._meaning.names(line), self._meaning.value(line)
            found = None if self._matching is None else self._matching.find(names)
            if not names and value is None:
                self._wrong(number, line, _UNNAMED)
            elif isinstance(found, Match):
                rows[number], self._sure[number] = found.row, found.sure
            # Of a picture that the file holds it is known which one is meant, whatever its name.
            elif found is None or _has_bytes(value):
                own[number] = self._placed(names) if value is None else value
            else:
                self._wrong(number, line, found)
        keys = {} if self._target is None else self._learned(self._target, rows, dict(lines))
        column = read_column(list(own.values()))
        places = {number: at for at, number in enumerate(own)}
        pictures = Pictures(column, self._store, self._limits)
        return keys | self._learned(pictures, places, dict(lines))

    def _learned(
        self, pictures: Pictures, rows: dict[int, int], lines: dict[int, dict[str, Any]]
    ) -> dict[int, str]:
        wrong = pictures.learn(list(dict.fromkeys(rows.values())))
        for number, row in rows.items():
            if row in wrong:
                self._wrong(number, lines[number], wrong[row])
        return {n: pictures.keys[row] for n, row in rows.items() if row in pictures.keys}

    def _placed(self, names: list[str]) -> str | None:
        """Where a picture lies that a file names: by its folder, if it is there."""
        for name in names:
            if "://" in name or name.startswith("data:"):
                return name
            beside = self._folder / name
            if beside.is_file():
                return str(beside)
        return names[0] if names else None

    def _keep(self, key: str, line: dict[str, Any], sure: int) -> None:
        """Keep what a line says of a picture: its text, where no surer line has one or none came
        before, and its review."""
        prompt, kind = self._meaning.asked(line)
        text = self._meaning.text_of(line)
        source, model = self._report.source, _text(line.get("model"))
        if model == _text(line.get("source")):  # where no model is known, that stood for it
            model = None
        variant = _text(line.get("variant"))
        if text:
            one = ImportedText(
                image_key=key,
                prompt=prompt,
                kind=kind,
                text=text,
                source=source,
                model=model,
                created_at=_seconds(line.get("answered_at")) or time.time(),
                revision=_text(line.get("revision")),
                variant=None if variant == "imported" else variant,
                logprob=_logprob(line.get("logprob")),
            )
            subject = key, prompt, kind
            known = self._texts.get(subject)
            self._report.further += known is not None and known.text != text
            if known is None or sure > self._surest[subject]:
                self._texts[subject], self._surest[subject] = one, sure
        status = line.get("review")
        flagged = _flagged(line)
        when = _seconds(line.get("reviewed_at"))
        if when is not None and (status in get_args(ReviewStatus) or flagged):
            status = status if status in get_args(ReviewStatus) else None
            corrected = _text(line.get("corrected")) if status == "corrected" else None
            if status == "corrected" and corrected is None:
                raise Blip2Error("a correction without its text")
            self._reviews.append(
                Review(
                    image_key=key,
                    prompt=prompt,
                    kind=kind,
                    model=_text(line.get("checkpoint")) or model or "",
                    variant=_text(line.get("variant")) or "",
                    status=status,
                    flagged=flagged,
                    text=corrected,
                    model_text=_text(line.get("model_answer")),
                    who=_text(line.get("reviewer")) or "someone",
                    when=when,
                )
            )

    def _new_reviews(self) -> list[Review]:
        """The reviews that are newer than what the store has of the same answer."""
        newest: dict[tuple[str, str, str, str], float] = {}
        for each in self._store.people.reviews(each.image_key for each in self._reviews):
            newest[_subject(each)] = max(each.when, newest.get(_subject(each), each.when))
        new = []
        for each in sorted(self._reviews, key=lambda each: each.when):
            # Files have microseconds: what is as old as that is the same.
            if each.when > newest.get(_subject(each), 0.0) + 1e-5:
                newest[_subject(each)] = each.when
                new.append(each)
        return new

    def _wrong(self, number: int, line: dict[str, Any], reason: str) -> None:
        names = self._meaning.names(line)
        self._report.wrong.append((number, names[0] if names else "", reason))


def _flagged(line: Mapping[str, Any]) -> bool:
    return str(line.get("flagged")).lower() in ("true", "1")


def _subject(review: Review) -> tuple[str, str, str, str]:
    return review.image_key, review.prompt, review.kind, review.model


def _has_bytes(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, dict) and bool(value.get("bytes")))


def _text(value: Any) -> str | None:
    return clean(value) if isinstance(value, str) and value else None


def _logprob(value: Any) -> float | None:
    """The logarithm of a probability; CSV has it as a text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if -math.inf < number <= 0 else None


def _seconds(value: Any) -> float | None:
    """A time in Unix seconds: of a datetime, or of a text in ISO 8601. None too for one that no
    answer can be of: before 1970, or more than a day from now."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime.datetime):
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    seconds = (value - datetime.datetime.fromtimestamp(0, datetime.UTC)).total_seconds()
    return seconds if 0 < seconds < time.time() + _A_DAY else None

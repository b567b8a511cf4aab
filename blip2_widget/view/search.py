"""Full-text search over all that rows say, in an index that follows their changes."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from blip2_widget.texts import whole
from blip2_widget.view.values import Mask

#: A word of its own between two texts of a row, so that no phrase is found across them.
BETWEEN = "\ue000"

#: Where SQLite keeps an index: in a file without a name, which goes when it is closed, or not.
_ON_DISK, _IN_MEMORY = "", ":memory:"
#: How much of an index on the disk is held in memory.
_CACHE_KIB = 8_000
#: Rows that are indexed while others wait for the index.
_BATCH = 2000
#: Seconds between two batches at most, of an index that is made beforehand.
_LONGEST_REST = 0.1
#: Terms of one MATCH, which SQLite takes only so many of.
_TERMS = 32

_TERM = re.compile(r'"([^"]*)("?)|([^\s"]+)')
#: Scripts that put no space between words: one "word" of the index may be a sentence.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Terms:
    """A search as it is looked for: `words` are MATCH expressions, `pieces` parts of the text."""

    words: tuple[str, ...]
    pieces: tuple[str, ...]


def parse(search: str) -> Terms:
    """What a person looks for: words, each of which may be the beginning of one, and "phrases".

    Whatever is typed is understood somehow. What has no letter or digit, like "#", and what is
    written without spaces between words is looked for as it stands.
    """
    words: list[str] = []
    pieces: list[str] = []
    for match in _TERM.finditer(clean(search).replace(BETWEEN, " ")):
        phrase, closed, word = match.groups()
        term = (word if phrase is None else phrase).strip()
        if not term:
            continue
        if _is_indexed(term):
            words.append(f'"{term}"' if closed else f'"{term}"*')
        else:
            pieces.append(term)
    return Terms(tuple(dict.fromkeys(words)), tuple(dict.fromkeys(pieces)))


def clean(text: str) -> str:
    """A text as it is indexed: without regard to case, and nothing that SQLite cannot take."""
    text = text.casefold().replace("\0", " ")
    return whole(text)


def _is_indexed(term: str) -> bool:
    """Whether the index knows all letters and digits of a term, of which there are some.

    SQLite's tokenizer goes by Unicode 6.1; what was a letter in 3.2 is one to it.
    """
    telling = [each for each in term if each.isalnum()]
    if not telling or _SPACELESS.search(term):
        return False
    return all(unicodedata.ucd_3_2_0.category(each)[0] in "LN" for each in telling)


class SearchIndex:
    """The index over rows whose texts `read` gives, each row's in turn. Built at the first search
    or by `build`."""

    def __init__(
        self, read: Callable[[Sequence[int]], Iterable[Iterable[str]]], count: int
    ) -> None:
        self._read = read
        self._count = count
        self._lock = threading.RLock()
        self._stale_lock = threading.Lock()
        self._stale: set[int] = set()
        self._built = 0  # rows before this one are in the index
        self._hashes = np.zeros(count, dtype=np.int64)
        self._found: dict[Terms, Mask] = {}
        self._database: sqlite3.Connection | None = None
        self._place = _ON_DISK

    def changed(self, rows: Iterable[int]) -> None:
        """Index these rows again before the next search; never waits for one."""
        with self._stale_lock:
            self._stale.update(rows)

    def build(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Index what is not yet indexed, letting searches in between, and others have the
        interpreter half of the time."""
        while not should_stop():
            began = time.perf_counter()
            with self._lock:
                if not self._index_batch():
                    return
            time.sleep(min(time.perf_counter() - began, _LONGEST_REST))

    @property
    def built(self) -> bool:
        """Whether there is an index, if not of the latest texts."""
        return self._built == self._count

    def find(self, search: str) -> Mask | None:
        """The rows that hold all that is looked for; None where nothing is."""
        terms = parse(search)
        if not terms.words and not terms.pieces:
            return None
        with self._lock:
            while self._index_batch():
                pass
            if terms not in self._found:
                if len(self._found) >= 4:
                    self._found.clear()
                self._found[terms] = self._find(terms)
            return self._found[terms]

    def _find(self, terms: Terms) -> Mask:
        found = np.ones(self._count, dtype=np.bool_)
        for at in range(0, len(terms.words), _TERMS):
            expression = " AND ".join(terms.words[at : at + _TERMS])
            found &= self._rows_where("texts MATCH ?", expression)
        for piece in terms.pieces:
            # Bytes, since SQLite counts the characters of a text from its start for every row.
            found &= self._rows_where("instr(CAST(text AS BLOB), ?)", piece.encode())
        return found

    def _rows_where(self, condition: str, value: str | bytes) -> Mask:
        # One text with all numbers is read several times faster than a line for each.
        lines = self._opened().execute(
            f"SELECT group_concat(rowid) FROM texts WHERE {condition}", (value,)
        )
        numbers: str | None = lines.fetchone()[0]
        found = np.zeros(self._count, dtype=np.bool_)
        if numbers:
            rows: NDArray[np.int64] = np.fromstring(numbers, dtype=np.int64, sep=",")
            found[rows] = True
        return found

    def _index_batch(self) -> bool:
        """Index some rows; False where there are none left."""
        try:
            return self._index_some()
        except sqlite3.Error:
            if self._place == _IN_MEMORY:
                raise
            # The disk is full, or there is none to write on.
            self._place, self._database, self._built = _IN_MEMORY, None, 0
            self._hashes[:] = 0
            return True

    def _index_some(self) -> bool:
        if self._built < self._count:
            stop = min(self._built + _BATCH, self._count)
            self._index(range(self._built, stop))
            self._built = stop
            return True
        with self._stale_lock:
            rows = list(islice(self._stale, _BATCH))
            self._stale.difference_update(rows)
        try:
            self._index(rows)
        except BaseException:  # an interrupt above all: they are still to be indexed
            self.changed(rows)
            raise
        return bool(rows)

    def _index(self, rows: Sequence[int]) -> None:
        """Index rows in one go, but those whose texts are what they were."""
        changes = list(self._changes(rows))
        if not changes:
            return
        database = self._opened()
        with database:
            database.execute("BEGIN")
            database.executemany(
                "INSERT OR REPLACE INTO texts(rowid, text) VALUES (?, ?)",
                [(row, text) for row, text, _ in changes],
            )
        self._hashes[[row for row, _, _ in changes]] = [number for _, _, number in changes]
        self._found.clear()

    def _changes(self, rows: Sequence[int]) -> Iterator[tuple[int, str, int]]:
        for row, texts in zip(rows, self._read(rows), strict=True):
            text = clean(f" {BETWEEN} ".join(texts))
            number = hash(text)
            if number != self._hashes[row]:
                yield row, text, number

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            database = sqlite3.connect(self._place, check_same_thread=False, isolation_level=None)
            # An interrupt takes back what it broke off, which without a journal cannot be done.
            database.execute("PRAGMA journal_mode=MEMORY")
            database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            database.execute(
                "CREATE VIRTUAL TABLE texts USING fts5"
                "(text, columnsize=0, tokenize='unicode61 remove_diacritics 2')"
            )
            self._database = database
        return self._database

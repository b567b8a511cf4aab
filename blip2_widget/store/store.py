"""The store: what was computed once and need not be again, in one SQLite file a user."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs

from blip2_widget.errors import Blip2Error
from blip2_widget.store.access import Access
from blip2_widget.store.people import People

#: A local file as it was when it was read: absolute path, bytes, time of change in ns.
Identity = tuple[str, int, int]

#: The most that features take where there is no file to keep them.
_MOST_IN_MEMORY = 1 << 30

_ANSWER = (
    "key, features_key, image_key, model, revision, variant, prompt, settings, text, seconds, "
    "created_at, logprob, alternatives"
)
_PUT_ANSWERS = (
    f"INSERT OR REPLACE INTO answers ({_ANSWER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class Features:
    """The Q-Former's output of one picture: raw bytes, torch type name, shape (queries, width)."""

    data: bytes
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StoredAnswer:
    """An answer and where it came from; `seconds` it took, `created_at` in Unix seconds.

    `logprob` is the natural logarithm of its probability under the model, None where it was not
    noted yet when the answer was stored. `alternatives` are all answers there were to choose from,
    this one too, each with such a logarithm.
    """

    key: str
    features_key: str
    image_key: str
    model: str
    revision: str
    variant: str
    prompt: str
    settings: dict[str, Any]
    text: str
    seconds: float | None = None
    created_at: float = field(default_factory=time.time)
    logprob: float | None = None
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class StoreStats:
    """What the store holds. `matches` are of texts and pictures. Bytes count features alone, and
    the file with all there is; `note` is the store's."""

    path: str
    pictures: int
    features: int
    feature_bytes: int
    answers: int
    matches: int
    imported: int
    reviews: int
    conversations: int
    file_bytes: int
    note: str = ""

    @property
    def said(self) -> str:
        """What is kept of people."""
        return (
            f"{self.imported} imported texts, {self.reviews} reviews, "
            f"{self.conversations} conversations"
        )

    def __str__(self) -> str:
        held = (
            f"{self.answers} answers, {self.matches} matches, {self.features} features "
            f"({self.feature_bytes / 1e6:.1f} MB) of {self.pictures} pictures; {self.said}; "
            f"the file takes {self.file_bytes / 1e6:.1f} MB"
        )
        return "\n".join(line for line in (self.path, self.note, held) if line)


def default_path() -> Path:
    """The user's store: in BLIP2_WIDGET_CACHE, or the system's cache folder for the user."""
    folder = os.environ.get("BLIP2_WIDGET_CACHE")
    cache = Path(folder).expanduser() if folder else platformdirs.user_cache_path("blip2_widget")
    return cache / "store.sqlite3"


def open_store(path: Path | None = None, *, max_bytes: int = 4 << 30) -> Store:
    """The store in a file, or in memory where the file cannot be used, which one warning says."""
    path = path or default_path()
    try:
        return Store(path, max_bytes=max_bytes)
    except Blip2Error as error:
        store = Store.in_memory()
        store.path, store.max_bytes = path, max_bytes
        store._access.replace_by_memory(error, path)
        return store


class Store:
    """Aliases of files, features and answers, shared by threads and processes; and, as `people`,
    what people said of them.

    Features are kept to `max_bytes`, give or take a hundredth; the least recently used go first.
    Answers are small and stay. Each put is one transaction. Where the file cannot be written now,
    answers wait, and are read with the rest, until it can; features and aliases, which are quickly
    made again, are left out.
    """

    def __init__(self, path: Path | None = None, *, max_bytes: int = 4 << 30) -> None:
        """Raises Blip2Error where the file cannot be used; a damaged one is set aside for a new
        one."""
        self.path = path or default_path()
        self._begin(Access(self.path), max_bytes)

    @classmethod
    def in_memory(cls) -> Store:
        """A store that nobody shares and that ends with the process."""
        store = cls.__new__(cls)
        store.path = Path(":memory:")
        store._begin(Access(None), _MOST_IN_MEMORY)
        return store

    def _begin(self, access: Access, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._access = access
        #: Bytes of features put here since all were added up; at first nobody knows how many.
        self._unsummed: float = math.inf
        #: What people said, asked and talked about.
        self.people = People(access.rows, access.select, access.put, access.waiting)

    @property
    def note(self) -> str:
        """Why what is put is not in the file; empty where it is."""
        return self._access.note

    # --- aliases --------------------------------------------------------------------------------

    def aliases(self, identities: Sequence[Identity]) -> dict[Identity, str]:
        """Image keys of the files that are as they were when they were last read."""
        wanted = {identity[0]: identity for identity in identities}
        found = {}
        for path, size, mtime_ns, key in self._access.select(
            "SELECT path, size, mtime_ns, image_key FROM aliases WHERE path IN", list(wanted)
        ):
            if wanted[path] == (path, size, mtime_ns):
                found[wanted[path]] = key
        return found

    def put_aliases(self, keys: Mapping[Identity, str]) -> None:
        """Remember the image keys of files; a file's earlier key is replaced."""
        rows = [(*identity, key) for identity, key in keys.items()]
        self._access.try_to(
            lambda to: to.executemany("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?, ?)", rows)
        )

    # --- features -------------------------------------------------------------------------------

    def features(self, keys: Sequence[str]) -> dict[str, Features]:
        """The features stored under keys; asking for them counts as use."""
        rows = self._access.select(
            "SELECT key, data, dtype, shape FROM features WHERE key IN", keys
        )
        found = {
            key: Features(data, dtype, tuple(json.loads(shape))) for key, data, dtype, shape in rows
        }
        if found:
            uses = [(time.time(), key) for key in found]
            # What was found is found, even where its use cannot be noted.
            with suppress(Blip2Error):
                self._access.try_to(
                    lambda to: to.executemany("UPDATE features SET used_at = ? WHERE key = ?", uses)
                )
        return found

    def has_features(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that features are stored under; reads none of these."""
        found = self._access.select("SELECT key FROM features WHERE key IN", keys)
        return {key for (key,) in found}

    def put_features(self, items: Iterable[tuple[str, str, Features]]) -> None:
        """Store (key, image key, features), and let go of the least recently used over the cap."""
        now = time.time()
        rows = [
            (key, image, one.data, one.dtype, json.dumps(one.shape), len(one.data), now)
            for key, image, one in items
        ]

        def put(to: sqlite3.Connection) -> None:
            to.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._evict(to, sum(row[5] for row in rows))

        self._access.try_to(put)

    def _evict(self, store: sqlite3.Connection, added: int) -> None:
        # Adding up reads a line for every picture there is: not after each put of a few.
        self._unsummed += added
        most = self.max_bytes
        if self._access.is_in_memory:
            most = min(most, _MOST_IN_MEMORY)
        if self._unsummed < most / 100:
            return
        self._unsummed = 0
        (total,) = store.execute("SELECT coalesce(sum(nbytes), 0) FROM features").fetchone()
        if total <= most:
            return
        # A tenth below the cap, so that not every put evicts.
        excess, going = total - int(0.9 * most), []
        for key, size in store.execute("SELECT key, nbytes FROM features ORDER BY used_at, key"):
            if excess <= 0:
                break
            going.append((key,))
            excess -= size
        store.executemany("DELETE FROM features WHERE key = ?", going)

    # --- answers --------------------------------------------------------------------------------

    def answers(self, keys: Sequence[str]) -> dict[str, StoredAnswer]:
        """The answers stored under keys."""
        # Before the file is read: what is written meanwhile is found in one of the two.
        waiting = {row[0]: row for row in self._access.waiting(_PUT_ANSWERS)}
        rows = self._access.select(f"SELECT {_ANSWER} FROM answers WHERE key IN", keys)
        found = {row[0]: row for row in rows}
        found |= {key: waiting[key] for key in keys if key in waiting}
        return {
            key: StoredAnswer(  # type: ignore[call-arg]
                *row[:7],
                json.loads(row[7]),
                *row[8:12],
                tuple((text, logprob) for text, logprob in json.loads(row[12] or "[]")),
            )
            for key, row in found.items()
        }

    def put_answers(self, answers: Iterable[StoredAnswer]) -> None:
        """Store answers; one under the same key is replaced."""
        rows = [
            (
                *(one.key, one.features_key, one.image_key, one.model, one.revision, one.variant),
                *(one.prompt, json.dumps(one.settings), one.text, one.seconds, one.created_at),
                *(one.logprob, json.dumps(one.alternatives) if one.alternatives else None),
            )
            for one in answers
        ]
        self._access.put(_PUT_ANSWERS, rows)

    # --- the whole ------------------------------------------------------------------------------

    def stats(self) -> StoreStats:
        """How much is stored, counted now."""
        rows = self._access.rows
        ((count, size),) = rows("SELECT count(*), coalesce(sum(nbytes), 0) FROM features")
        ((answers, matches),) = rows(
            "SELECT count(*), count(*) FILTER (WHERE json_extract(settings, '$.kind') = 'match') "
            "FROM answers"
        )
        ((pictures,),) = rows(
            "SELECT count(*) FROM (SELECT image_key FROM features "
            "UNION SELECT image_key FROM answers)"
        )
        ((pages,),), ((page,),) = rows("PRAGMA page_count"), rows("PRAGMA page_size")
        ((imported,),) = rows("SELECT count(*) FROM imported")
        ((reviews,),) = rows("SELECT count(*) FROM reviews")
        ((conversations,),) = rows("SELECT count(*) FROM conversations")
        return StoreStats(
            path=str(self.path),
            pictures=pictures,
            features=count,
            feature_bytes=size,
            answers=answers - matches,
            matches=matches,
            imported=imported,
            reviews=reviews,
            conversations=conversations,
            file_bytes=pages * page,
            note=self.note,
        )

    def clear(self, what: Literal["all", "answers", "features", "imported"] = "all") -> None:
        """Delete what was computed, and give the space back to the disk.

        What people said stays, since nobody can compute it again; what was imported goes only
        where it is named.
        """
        tables = ["answers", "features", "aliases"] if what == "all" else [what]

        def delete(store: sqlite3.Connection) -> None:
            for table in tables:
                store.execute(f"DELETE FROM {table}")

        if "answers" in tables:
            self._access.drop_waiting(_PUT_ANSWERS)
        self._access.do(delete)
        self._access.give_back()

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        self._access.close()

"""The store: what was computed once and need not be again, in one SQLite file a user."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs

from blip2_widget.errors import Blip2Error
from blip2_widget.store.people import People
from blip2_widget.store.schema import migrate

#: A local file as it was when it was read: absolute path, bytes, time of change in ns.
Identity = tuple[str, int, int]

#: Keys in one query; SQLite's own limit on variables was 999 before version 3.32.
_CHUNK = 500


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
    """What the store holds. Bytes count features alone, and the file with all there is."""

    path: str
    pictures: int
    features: int
    feature_bytes: int
    answers: int
    file_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.path}\n"
            f"{self.answers} answers, {self.features} features "
            f"({self.feature_bytes / 1e6:.1f} MB) of {self.pictures} pictures; "
            f"the file takes {self.file_bytes / 1e6:.1f} MB"
        )


def default_path() -> Path:
    """The user's store: in BLIP2_WIDGET_CACHE, or the system's cache folder for the user."""
    folder = os.environ.get("BLIP2_WIDGET_CACHE")
    cache = Path(folder).expanduser() if folder else platformdirs.user_cache_path("blip2_widget")
    return cache / "store.sqlite3"


class Store:
    """Aliases of files, features and answers, shared by threads and processes; and, as `people`,
    what people said of them.

    Features are kept to `max_bytes`, give or take a hundredth; the least recently used go first.
    Answers are small and stay. Each put is one transaction.
    """

    def __init__(self, path: Path | None = None, *, max_bytes: int = 4 << 30) -> None:
        self.path = path or default_path()
        self.max_bytes = max_bytes
        self._lock = threading.RLock()
        # Private, since prompts and answers say what someone looks at.
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.touch(mode=0o600)
        except OSError as error:
            raise Blip2Error(
                f"the store {self.path} cannot be made ({error.strerror}); set BLIP2_WIDGET_CACHE "
                "to a folder that you can write to, or write --no-cache"
            ) from None
        with self._one_line_errors():
            self._open(str(self.path))

    @classmethod
    def in_memory(cls) -> Store:
        """A store that nobody shares and that ends with the process."""
        store = cls.__new__(cls)
        store.path = Path(":memory:")
        store.max_bytes = 1 << 30
        store._lock = threading.RLock()
        store._open(":memory:")
        return store

    def _open(self, name: str) -> None:
        #: Bytes of features put here since all were added up; at first nobody knows how many.
        self._unsummed: float = math.inf
        self._connection = sqlite3.connect(
            name, timeout=30, isolation_level=None, check_same_thread=False
        )
        execute = self._connection.execute
        execute("PRAGMA busy_timeout = 30000")
        execute("PRAGMA auto_vacuum = INCREMENTAL")
        _switch_to_wal(self._connection)
        execute("PRAGMA synchronous = NORMAL")
        migrate(self._connection, name)
        #: What people said, asked and talked about.
        self.people = People(self._rows, self._select, self._transaction)

    # --- aliases --------------------------------------------------------------------------------

    def aliases(self, identities: Sequence[Identity]) -> dict[Identity, str]:
        """Image keys of the files that are as they were when they were last read."""
        wanted = {identity[0]: identity for identity in identities}
        found = {}
        for path, size, mtime_ns, key in self._select(
            "SELECT path, size, mtime_ns, image_key FROM aliases WHERE path IN", list(wanted)
        ):
            if wanted[path] == (path, size, mtime_ns):
                found[wanted[path]] = key
        return found

    def put_aliases(self, keys: Mapping[Identity, str]) -> None:
        """Remember the image keys of files; a file's earlier key is replaced."""
        with self._transaction() as execute_many:
            execute_many(
                "INSERT OR REPLACE INTO aliases VALUES (?, ?, ?, ?)",
                [(*identity, key) for identity, key in keys.items()],
            )

    # --- features -------------------------------------------------------------------------------

    def features(self, keys: Sequence[str]) -> dict[str, Features]:
        """The features stored under keys; asking for them counts as use."""
        rows = self._select("SELECT key, data, dtype, shape FROM features WHERE key IN", keys)
        found = {
            key: Features(data, dtype, tuple(json.loads(shape))) for key, data, dtype, shape in rows
        }
        if found:
            now = time.time()
            # What was found is found, even where its use cannot be noted.
            with suppress(Blip2Error), self._transaction() as execute_many:
                execute_many(
                    "UPDATE features SET used_at = ? WHERE key = ?", [(now, key) for key in found]
                )
        return found

    def put_features(self, items: Iterable[tuple[str, str, Features]]) -> None:
        """Store (key, image key, features), and let go of the least recently used over the cap."""
        now = time.time()
        rows = [
            (key, image, one.data, one.dtype, json.dumps(one.shape), len(one.data), now)
            for key, image, one in items
        ]
        with self._transaction() as execute_many:
            execute_many("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._evict(sum(row[5] for row in rows))

    def _evict(self, added: int) -> None:
        # Adding up reads a line for every picture there is: not after each put of a few.
        self._unsummed += added
        if self._unsummed < self.max_bytes / 100:
            return
        self._unsummed = 0
        execute = self._connection.execute
        (total,) = execute("SELECT coalesce(sum(nbytes), 0) FROM features").fetchone()
        if total <= self.max_bytes:
            return
        # A tenth below the cap, so that not every put evicts.
        excess, going = total - int(0.9 * self.max_bytes), []
        for key, size in execute("SELECT key, nbytes FROM features ORDER BY used_at, key"):
            if excess <= 0:
                break
            going.append((key,))
            excess -= size
        self._connection.executemany("DELETE FROM features WHERE key = ?", going)

    # --- answers --------------------------------------------------------------------------------

    def answers(self, keys: Sequence[str]) -> dict[str, StoredAnswer]:
        """The answers stored under keys."""
        rows = self._select(
            "SELECT key, features_key, image_key, model, revision, variant, prompt, settings, "
            "text, seconds, created_at, logprob, alternatives FROM answers WHERE key IN",
            keys,
        )
        return {
            row[0]: StoredAnswer(  # type: ignore[call-arg]
                *row[:7],
                json.loads(row[7]),
                *row[8:12],
                tuple((text, logprob) for text, logprob in json.loads(row[12] or "[]")),
            )
            for row in rows
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
        with self._transaction() as execute_many:
            execute_many(
                "INSERT OR REPLACE INTO answers (key, features_key, image_key, model, revision, "
                "variant, prompt, settings, text, seconds, created_at, logprob, alternatives) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    # --- the whole ------------------------------------------------------------------------------

    def stats(self) -> StoreStats:
        """How much is stored, counted now."""
        with self._lock, self._one_line_errors():
            execute = self._connection.execute
            count, size = execute(
                "SELECT count(*), coalesce(sum(nbytes), 0) FROM features"
            ).fetchone()
            (answers,) = execute("SELECT count(*) FROM answers").fetchone()
            (pictures,) = execute(
                "SELECT count(*) FROM (SELECT image_key FROM features "
                "UNION SELECT image_key FROM answers)"
            ).fetchone()
            (pages,) = execute("PRAGMA page_count").fetchone()
            (page,) = execute("PRAGMA page_size").fetchone()
        return StoreStats(str(self.path), pictures, count, size, answers, pages * page)

    def clear(self, what: Literal["all", "answers", "features"] = "all") -> None:
        """Delete what was computed, and give the space back to the disk.

        What people said stays, since nobody can compute it again.
        """
        tables = ["answers", "features", "aliases"] if what == "all" else [what]
        with self._transaction():
            for table in tables:
                self._connection.execute(f"DELETE FROM {table}")
        with self._lock, self._one_line_errors():
            # execute would step it once, which frees one page; executescript runs it to its end.
            self._connection.executescript("PRAGMA incremental_vacuum")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    # --- access ---------------------------------------------------------------------------------

    def _select(self, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of a query that ends in IN, for any number of keys."""
        for at in range(0, len(keys), _CHUNK):
            chunk = keys[at : at + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            yield from self._rows(f"{query} ({marks})", chunk)

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Rows of a query, read to its end."""
        with self._lock, self._one_line_errors():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """All or nothing, and the write lock from the start: a reader that turns writer halfway
        could be refused however long it is ready to wait."""
        with self._lock, self._one_line_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.executemany
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back on a full disk
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # locked for long, read-only, disk full
            raise Blip2Error(f"the store {self.path} cannot be used now: {error}") from error
        except sqlite3.ProgrammingError as error:  # closed: the file itself is well
            raise Blip2Error(f"the store {self.path} cannot be used now: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Blip2Error(
                f"the store {self.path} is damaged ({error}); move that file away and go on"
            ) from error


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work side by side.

    The switch is refused at once, whatever the busy timeout, while another process that starts
    at the same moment makes it; the file keeps it, so waiting a little is enough.
    """
    deadline = time.monotonic() + 30
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)

"""Access to a store's file, whatever becomes of the file: locked, full, damaged, moved away."""

from __future__ import annotations

import atexit
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from blip2_widget.errors import Blip2Error
from blip2_widget.store.file import (
    DamagedError,
    Place,
    ReadOnlyError,
    is_damage,
    open_file,
    open_memory,
    place_of,
)
from blip2_widget.store.rescue import read_only, rescue, set_aside

Value = TypeVar("Value")
Row = tuple[Any, ...]

#: Keys in one query; SQLite's own limit on variables was 999 before version 3.32.
_CHUNK = 500

#: Seconds that a write waits for another process to end its own; and once that was not enough,
#: until a write succeeds again, since whoever reads waits behind it.
_PATIENCE = 5.0
_NO_PATIENCE = 0.2
#: Seconds between two tries to write what could not be written, and those after which a lock that
#: another process holds is worth a word.
_RETRY = 2.0
_LONG = 30.0

_log = logging.getLogger(__name__)


class _MovedError(Exception):
    """The file that is open is not the one at its path any more."""


class Access:
    """Reads and writes rows, from any thread.

    A file that turns out damaged is set aside for a new one; one that was moved or removed is
    left for the one at its path; and where there can be none, memory takes its place. Rows that
    cannot be written now wait here and are tried again. Each of these is told in one warning.
    """

    def __init__(self, path: Path | None) -> None:
        """`path` None is memory. Raises Blip2Error where the file cannot be used."""
        self.lock = threading.RLock()
        self._path = path
        self._place: Place | None = None
        self._why_in_memory = ""
        self._waiting: deque[tuple[str, Sequence[Row]]] = deque()
        self._failure = ""
        self._failing_since: float | None = None
        self._warned = False
        self._timer: threading.Timer | None = None
        self.connection = open_memory()
        if path is not None:
            try:
                self._use(*open_file(path))
            except DamagedError as damaged:
                self._begin_anew(path, damaged)

    @property
    def is_in_memory(self) -> bool:
        return self._place is None

    @property
    def note(self) -> str:
        """Why what is put is not in the file; empty where it is."""
        if self._why_in_memory:
            return f"in memory, since {self._why_in_memory}"
        if self._failing_since is None:
            return ""
        if not self._waiting:
            return f"it could not be written last: {self._failure}"
        return f"not all of it in the file yet ({len(self._waiting)} to go): {self._failure}"

    def replace_by_memory(self, why: Blip2Error, path: Path) -> None:
        """Go on without the file, beginning with what it holds where it may be read."""
        self.connection.close()
        self._place, self._why_in_memory = None, str(why)
        self.connection = open_memory()
        found = read_only(path, self.connection) if isinstance(why, ReadOnlyError) else 0
        reads = ", with the answers that it holds" if found else ""
        _log.warning("%s; this session works in memory%s", why, reads)

    # --- reading and writing --------------------------------------------------------------------

    def select(self, query: str, keys: Sequence[str]) -> Iterator[Row]:
        """Rows of a query that ends in IN, for any number of keys."""
        for at in range(0, len(keys), _CHUNK):
            chunk = keys[at : at + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            yield from self.rows(f"{query} ({marks})", chunk)

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Rows of a query, read to its end; Blip2Error where they cannot be."""
        with self._one_line_errors():
            return self._on_a_good_file(lambda: self.connection.execute(query, values).fetchall())

    def put(self, query: str, rows: Sequence[Row]) -> None:
        """Write rows, behind those that wait, in one transaction; where that cannot be done now
        they wait. Raises Blip2Error, or what is wrong with them, for rows that never can be."""
        if rows:
            with self.lock:
                self._waiting.append((query, rows))
                self._write_waiting()

    def waiting(self, query: str) -> list[Row]:
        """The rows put by a query that are not in the file yet."""
        if not self._waiting:
            return []
        with self.lock:
            return [row for by, rows in self._waiting if by == query for row in rows]

    def drop_waiting(self, query: str) -> None:
        """Let go of the rows put by a query that are not in the file yet."""
        with self.lock:
            self._waiting = deque(each for each in self._waiting if each[0] != query)

    def try_to(self, work: Callable[[sqlite3.Connection], object]) -> bool:
        """Whether `work` could be done, all or nothing; it does not wait where it could not."""
        with self._one_line_errors():
            try:
                self._on_a_good_file(lambda: self._do(work))
            except sqlite3.OperationalError as error:
                self._has_failed(error)
                return False
            self._has_worked()
            return True

    def do(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do `work`, all or nothing; raises Blip2Error where it cannot be done now."""
        with self._one_line_errors():
            self._on_a_good_file(lambda: self._do(work))

    def give_back(self) -> None:
        """Give the space of what was deleted back to the disk."""
        with self.lock, self._one_line_errors():
            # execute would step it once, which frees one page; executescript runs it to its end.
            self.connection.executescript("PRAGMA incremental_vacuum")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Write what waits, if that can be, and close the file; nothing can be done afterwards."""
        with self.lock:
            self._end()
            if self._timer is not None:
                self._timer.cancel()
            atexit.unregister(self._end)
            self.connection.close()

    # --- the file -------------------------------------------------------------------------------

    def _on_a_good_file(self, work: Callable[[], Value]) -> Value:
        """What `work` gives, once more where the file was another's by then, or was damaged."""
        with self.lock:
            if self._is_moved:
                self._open_again()
            try:
                return work()
            except _MovedError:
                self._open_again()
            except sqlite3.DatabaseError as error:
                if self._path is None or self._place is None or not is_damage(error):
                    raise
                self._begin_anew(self._path, DamagedError(self._path, self._place, error))
            return work()

    def _do(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """A transaction that has the write lock from the start: a reader that turns writer halfway
        could be refused however long it is ready to wait."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            # Whoever sets the file aside copies it once no transaction is under way.
            if self._is_moved:
                raise _MovedError
            work(self.connection)
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # SQLite itself rolls back on a full disk
                self.connection.execute("ROLLBACK")
            raise

    @property
    def _is_moved(self) -> bool:
        path, place = self._path, self._place
        return path is not None and place is not None and place_of(path) != place

    def _use(self, connection: sqlite3.Connection, place: Place) -> None:
        self.connection.close()
        self.connection, self._place = connection, place
        self._be_patient(self._failing_since is None)

    def _open_again(self) -> None:
        """Use the file that is at the path now."""
        assert self._path is not None
        self.connection.close()
        try:
            self._use(*open_file(self._path))
        except DamagedError as damaged:
            self._begin_anew(self._path, damaged)
        except Blip2Error as error:
            self.replace_by_memory(error, self._path)

    def _begin_anew(self, path: Path, damaged: DamagedError) -> None:
        """Set the damaged file aside, unless another process has, and use a new one."""
        self.connection.close()
        try:
            aside = set_aside(path, damaged.place)
            self._use(*open_file(path))
        except Blip2Error as error:
            self.replace_by_memory(error, path)
            return
        if aside is not None:
            _log.warning(
                "the store %s was damaged (%s): the file is set aside as %s, and a new one is "
                "begun with the %d answers, reviews and conversations that could be read in it",
                *(path, damaged.reason, aside.name, rescue(aside, self.connection)),
            )

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:  # or it is closed
            raise Blip2Error(f"the store {self._name} cannot be used now: {error}") from error

    @property
    def _name(self) -> str:
        return str(self._path or "in memory")

    # --- what waits -----------------------------------------------------------------------------

    def _write_waiting(self) -> None:
        """Write what waits in its order, as far as that can be done now."""
        while self._waiting:
            query, rows = self._waiting[0]
            try:
                is_written = self.try_to(lambda to, q=query, r=rows: to.executemany(q, r))  # type: ignore[misc]
            except BaseException:  # these rows are wrong, or the file was closed
                self._waiting.popleft()
                raise
            if not is_written:
                return
            self._waiting.popleft()

    def _has_worked(self) -> None:
        if self._failing_since is not None:
            self._failing_since, self._warned = None, False
            self._be_patient(True)

    def _has_failed(self, error: sqlite3.OperationalError) -> None:
        now = time.monotonic()
        self._failure = str(error)
        if self._failing_since is None:
            self._failing_since = now
            self._be_patient(False)
            atexit.register(self._end)
        is_lock = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF == sqlite3.SQLITE_BUSY
        if not self._warned and (not is_lock or now - self._failing_since > _LONG):
            self._warned = True
            _log.warning(
                "the store %s cannot be written now: %s; answers and reviews are kept in this "
                "session, and written as soon as they can be",
                *(self._name, error),
            )
        if self._timer is None:
            self._timer = threading.Timer(_RETRY, self._try_again)
            self._timer.daemon = True
            self._timer.start()

    def _try_again(self) -> None:
        with self.lock:
            self._timer = None
            try:
                self._write_waiting()
            except Exception as error:  # a thread of our own
                _log.warning("what could not be stored: %s", error)

    def _end(self) -> None:
        """A last try, with patience: Python ends, or the store is closed."""
        with self.lock, suppress(Exception):
            if self._waiting:
                self._be_patient(True)
                self._write_waiting()
            if self._waiting:
                _log.warning(
                    "the store %s is closed with %d changes that could not be written: %s",
                    *(self._name, len(self._waiting), self._failure),
                )

    def _be_patient(self, is_patient: bool) -> None:
        seconds = _PATIENCE if is_patient else _NO_PATIENCE
        with suppress(sqlite3.Error):
            self.connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

"""The store's file: made and opened, known again by its place, and told damaged from unusable."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from blip2_widget.errors import Blip2Error
from blip2_widget.store.schema import is_current, migrate, tables_of

#: Device and number of a file: what is at a path may be another file by now.
Place = tuple[int, int]

#: Seconds to wait, while a file is opened, for another process that has locked it.
_PATIENCE = 30.0


class DamagedError(Blip2Error):
    """A file that is no database, or a broken one; `place` says which file it was."""

    def __init__(self, path: Path, place: Place, reason: object) -> None:
        super().__init__(f"the store {path} is damaged ({reason}); move that file away and go on")
        self.place = place
        self.reason = reason


class ReadOnlyError(Blip2Error):
    """A file that is there, and that this user may not write."""


def place_of(path: Path) -> Place | None:
    """Which file is at a path now; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it is the file that is broken, and not the disk, a lock or a query."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_file(path: Path) -> tuple[sqlite3.Connection, Place]:
    """A connection in autocommit to the file at a path, made where there is none, with this
    version's schema; and the file's place.

    Raises DamagedError, ReadOnlyError, or another Blip2Error where it can neither be made nor used.
    """
    while True:
        _make(path)
        place = place_of(path)
        connection = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            # Else another process has moved or removed it meanwhile.
            if place is not None and place == place_of(path):
                _prepare(connection, path, place)
                return connection, place
        except sqlite3.DatabaseError as error:
            connection.close()
            if place is not None and is_damage(error):
                raise DamagedError(path, place, error) from error
            raise Blip2Error(f"the store {path} cannot be used now: {error}") from error
        except BaseException:
            connection.close()
            raise
        connection.close()


def open_memory() -> sqlite3.Connection:
    """A connection to an empty store that ends with it."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    migrate(connection, ":memory:")
    return connection


def _make(path: Path) -> None:
    """Private, since prompts and answers say what someone looks at."""
    if path.is_dir():
        raise Blip2Error(f"the store {path} is a folder; move it away")
    if path.is_file() and not _is_writable(path):
        raise ReadOnlyError(f"the store {path} is read-only")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        remedy = "set BLIP2_WIDGET_CACHE to a folder that you can write to"
        if error.errno == errno.ENOSPC:
            remedy = "make room on the disk"
        raise Blip2Error(
            f"the store {path} cannot be made ({error.strerror or error}); {remedy}"
        ) from None


def _is_writable(path: Path) -> bool:
    """Its folder too, in which SQLite keeps a journal beside the file."""
    as_who = os.access in os.supports_effective_ids
    return all(os.access(each, os.W_OK, effective_ids=as_who) for each in (path, path.parent))


def _prepare(connection: sqlite3.Connection, path: Path, place: Place) -> None:
    # Before anything else: a newer version's file is left as it is.
    if not is_current(connection, str(path)):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _switch_to_wal(connection)
        migrate(connection, str(path))
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    with closing(open_memory()) as memory:
        missing = tables_of(memory) - tables_of(connection)
    if missing:
        raise DamagedError(path, place, f"it lacks {', '.join(sorted(missing))}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work side by side.

    The switch is refused at once, whatever the busy timeout, while another process that starts
    at the same moment makes it; the file keeps it, so waiting a little is enough.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)

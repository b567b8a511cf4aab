"""Files that cannot be used as they are: set aside, and read as far as that goes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

from blip2_widget.errors import Blip2Error
from blip2_widget.store.file import Place, place_of
from blip2_widget.store.schema import tables_of

#: What SQLite keeps beside a file, and reads with it.
_BESIDE = ("-wal", "-shm")

#: Seconds to wait for another process that sets the same file aside.
_PATIENCE = 30.0

#: Lines between two readable ends of a table that are looked for one by one.
_MOST_LOOKED_FOR = 1_000_000


def set_aside(path: Path, place: Place) -> Path | None:
    """Move a file, and what belongs to it, to a name beside it that says why and when.

    None where another process has done so: what is at the path now is not at `place`. No
    connection of this process may be open. Raises Blip2Error where it cannot be moved.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=_PATIENCE):
            if place_of(path) != place:
                return None
            to = _unused_name(path)
            # The journal first: SQLite would delete it beside a new file.
            for end in (*_BESIDE, ""):
                with suppress(FileNotFoundError):
                    Path(f"{path}{end}").rename(f"{to}{end}")
            return to
    except (OSError, Timeout) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise Blip2Error(
            f"the store {path} is damaged, and cannot be moved away ({reason}); move that file "
            "away yourself"
        ) from error


def rescue(aside: Path, to: sqlite3.Connection) -> int:
    """Copy from a damaged file into a new store what can be read and is not made again for
    nothing: what people said, and answers. Returns how many rows that were."""
    copied = 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(aside, isolation_level=None)) as damaged:
        with suppress(sqlite3.Error):  # what another process was just writing there is waited for
            damaged.execute("PRAGMA writable_schema = 1")  # one broken table costs no other
            damaged.execute("BEGIN IMMEDIATE")
        to.execute("BEGIN IMMEDIATE")
        copied = _copy(damaged, to, tables_of(to) - {"aliases", "features"})
    try:
        if to.in_transaction:
            to.execute("COMMIT")
        return copied
    except sqlite3.Error:  # no room: the rows are still where they were
        to.rollback()
        return 0


def read_only(path: Path, to: sqlite3.Connection) -> int:
    """Copy all but features from a file that may only be read into a store in memory, as it is at
    this moment. Returns how many rows that were; 0 where another process is writing it, or where
    it is another version's.

    SQLite reads a file in a folder where it cannot write only by its word that nobody changes it.
    That cannot be had for a session, but be checked for the moment of a copy.
    """
    before = _state(path)
    if before is None or (Path(f"{path}-wal").exists() and Path(f"{path}-wal").stat().st_size):
        return 0
    to.execute("BEGIN")
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as stored:
            copied = 0
            if _version(stored) == _version(to):
                copied = _copy(stored, to, tables_of(to) - {"features"})
    except sqlite3.Error:
        copied = 0
    # What was changed meanwhile may have been read half before and half after.
    is_whole = copied > 0 and _state(path) == before
    to.execute("COMMIT" if is_whole else "ROLLBACK")
    return copied if is_whole else 0


def _unused_name(path: Path) -> Path:
    now = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{path.stem}.damaged-{now}{f'-{n}' if n else ''}{path.suffix}" for n in count())
    return next(to for name in names if not (to := path.with_name(name)).exists())


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _copy(source: sqlite3.Connection, to: sqlite3.Connection, tables: set[str]) -> int:
    """Copy rows of the tables, of columns that both have; what is there already stays."""
    source.text_factory = lambda text: text.decode(errors="replace")
    before = to.total_changes
    for table in sorted(tables):
        with suppress(sqlite3.Error):
            there = _columns(source, table)
            # A number that the table gives to its rows may be another row's by now.
            shared = [name for name, is_number in _columns(to, table).items() if not is_number]
            names = [name for name in shared if name in there]
            if names:
                marks = ", ".join("?" * len(names))
                to.executemany(
                    f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})",
                    _rows(source, table, names),
                )
    return to.total_changes - before


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, bool]:
    """A table's columns, and whether each is the number that SQLite gives to rows."""
    info = connection.execute(f"PRAGMA table_info({table})").fetchall()
    keys = sum(1 for line in info if line[5])
    return {line[1]: bool(line[5]) and keys == 1 and line[2] == "INTEGER" for line in info}


def _rows(
    source: sqlite3.Connection, table: str, names: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """A table's rows in its order: those before the first damage, those behind the last, and of
    those between, where rows have numbers, each that can be read."""
    columns = ", ".join(names)
    keys = [line[1] for line in source.execute(f"PRAGMA table_info({table})") if line[5]]
    order = ["rowid"] if _is_numbered(source, table) else keys
    number_of = "rowid" if order == ["rowid"] else "0"
    query = f"SELECT {number_of}, {columns} FROM {table} ORDER BY "
    last = 0
    try:
        for number, *row in source.execute(query + ", ".join(order)):
            yield tuple(row)
            last = number
        return
    except sqlite3.DatabaseError:
        pass
    behind: list[tuple[int, list[object]]] = []
    with suppress(sqlite3.DatabaseError):
        for number, *row in source.execute(query + ", ".join(f"{key} DESC" for key in order)):
            if order == ["rowid"] and number <= last:
                break
            behind.append((number, row))
    if order == ["rowid"] and behind:
        for number in range(last + 1, min(behind[-1][0], last + _MOST_LOOKED_FOR)):
            with suppress(sqlite3.DatabaseError):
                one = f"SELECT {columns} FROM {table} WHERE rowid = ?"
                yield from source.execute(one, [number]).fetchall()
    yield from (tuple(row) for _, row in reversed(behind))


def _is_numbered(connection: sqlite3.Connection, table: str) -> bool:
    """Whether SQLite numbers a table's rows: not those of one WITHOUT ROWID."""
    try:
        connection.execute(f"SELECT rowid FROM {table} LIMIT 0")
    except sqlite3.OperationalError:
        return False
    return True

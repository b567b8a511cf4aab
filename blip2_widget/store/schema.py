"""The store's tables, and how an older file becomes a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from blip2_widget.errors import Blip2Error


def _first(connection: sqlite3.Connection) -> None:
    """Version 1: aliases, features, answers."""
    connection.execute(
        """CREATE TABLE aliases (
            path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
            image_key TEXT NOT NULL,
            PRIMARY KEY (path)
        ) WITHOUT ROWID"""
    )
    connection.execute(
        """CREATE TABLE features (
            key TEXT PRIMARY KEY, image_key TEXT NOT NULL, data BLOB NOT NULL,
            dtype TEXT NOT NULL, shape TEXT NOT NULL, nbytes INTEGER NOT NULL,
            used_at REAL NOT NULL
        )"""
    )
    connection.execute("CREATE INDEX features_by_use ON features (used_at, nbytes)")
    connection.execute(
        """CREATE TABLE answers (
            key TEXT PRIMARY KEY, features_key TEXT NOT NULL, image_key TEXT NOT NULL,
            model TEXT NOT NULL, revision TEXT NOT NULL, variant TEXT NOT NULL,
            prompt TEXT NOT NULL, settings TEXT NOT NULL, text TEXT NOT NULL,
            seconds REAL, created_at REAL NOT NULL
        )"""
    )


def _second(connection: sqlite3.Connection) -> None:
    """Version 2: answers know how likely they were; those from before do not."""
    connection.execute("ALTER TABLE answers ADD COLUMN logprob REAL")


def _third(connection: sqlite3.Connection) -> None:
    """Version 3: what people said of answers, what they asked, what they talked about."""
    # Each change of a mind is a line of its own, and the newest counts: no typed word is lost.
    connection.execute(
        """CREATE TABLE reviews (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            image_key TEXT NOT NULL, prompt TEXT NOT NULL, kind TEXT NOT NULL,
            model TEXT NOT NULL, variant TEXT NOT NULL,
            status TEXT, flagged INTEGER NOT NULL, text TEXT, model_text TEXT,
            who TEXT NOT NULL, created_at REAL NOT NULL
        )"""
    )
    connection.execute("CREATE INDEX reviews_by_picture ON reviews (image_key)")
    connection.execute(
        """CREATE TABLE prompts (
            text TEXT PRIMARY KEY, used_at REAL NOT NULL, times INTEGER NOT NULL
        ) WITHOUT ROWID"""
    )
    connection.execute(
        """CREATE TABLE conversations (
            image_key TEXT NOT NULL, model TEXT NOT NULL,
            turns TEXT NOT NULL, updated_at REAL NOT NULL,
            PRIMARY KEY (image_key, model)
        ) WITHOUT ROWID"""
    )


def _fourth(connection: sqlite3.Connection) -> None:
    """Version 4: texts about pictures that came from elsewhere."""
    connection.execute(
        """CREATE TABLE imported (
            image_key TEXT NOT NULL, prompt TEXT NOT NULL, kind TEXT NOT NULL,
            text TEXT NOT NULL, source TEXT NOT NULL, model TEXT, created_at REAL NOT NULL,
            revision TEXT, variant TEXT, logprob REAL, superseded INTEGER NOT NULL,
            PRIMARY KEY (image_key, prompt, kind)
        ) WITHOUT ROWID"""
    )


def _fifth(connection: sqlite3.Connection) -> None:
    """Version 5: an answer may have others beside it, as JSON: [[text, logprob], …]."""
    connection.execute("ALTER TABLE answers ADD COLUMN alternatives TEXT")


#: In order; a file's version is how many of them it has been through.
MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [
    *(_first, _second, _third, _fourth, _fifth),
]


def is_current(connection: sqlite3.Connection, path: str) -> bool:
    """Whether a file has this version's schema already.

    Raises Blip2Error for a file that a newer version has written.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise Blip2Error(
            f"the store {path} was written by a newer blip2_widget; upgrade this one "
            "(pip install -U blip2-widget), or move that file away"
        )
    return bool(version == len(MIGRATIONS))


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring a file up to this version's schema, in one transaction. Raises as `is_current`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not is_current(connection, path):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            for migration in MIGRATIONS[version:]:
                migration(connection)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on a full disk
            connection.execute("ROLLBACK")
        raise


def tables_of(connection: sqlite3.Connection) -> set[str]:
    """The names of a file's tables, SQLite's own aside."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return {name for (name,) in connection.execute(query)}

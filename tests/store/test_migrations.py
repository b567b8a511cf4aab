"""A file of every earlier version becomes one of this version, with all that it held."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from blip2_widget.store import Features, ImportedText, Store, StoredAnswer, open_store, schema
from tests.store.made import REVIEW

#: What each version added, statement by statement, and a row in each of its tables. This is not to
#: follow later changes: it is what lies on people's disks.
_ADDED = {
    1: """
    CREATE TABLE aliases (path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        image_key TEXT NOT NULL, PRIMARY KEY (path)) WITHOUT ROWID;
    CREATE TABLE features (key TEXT PRIMARY KEY, image_key TEXT NOT NULL, data BLOB NOT NULL,
        dtype TEXT NOT NULL, shape TEXT NOT NULL, nbytes INTEGER NOT NULL, used_at REAL NOT NULL);
    CREATE INDEX features_by_use ON features (used_at, nbytes);
    CREATE TABLE answers (key TEXT PRIMARY KEY, features_key TEXT NOT NULL, image_key TEXT NOT NULL,
        model TEXT NOT NULL, revision TEXT NOT NULL, variant TEXT NOT NULL, prompt TEXT NOT NULL,
        settings TEXT NOT NULL, text TEXT NOT NULL, seconds REAL, created_at REAL NOT NULL);
    INSERT INTO aliases VALUES ('/a.png', 10, 1, 'i');
    INSERT INTO features VALUES ('f', 'i', x'00010203', 'bfloat16', '[1, 2]', 4, 1.0);
    INSERT INTO answers VALUES ('k1', 'f', 'i', 'm', 'r', 'v', 'p', '{"num_beams": 1}', 'two', 0.5,
        1.0);
    """,
    2: """
    ALTER TABLE answers ADD COLUMN logprob REAL;
    INSERT INTO answers VALUES ('k2', 'f', 'i', 'm', 'r', 'v', 'p', '{}', 'naïve 😀', 0.5,
        1.0, -0.5);
    """,
    3: """
    CREATE TABLE reviews (id INTEGER PRIMARY KEY AUTOINCREMENT, image_key TEXT NOT NULL,
        prompt TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, variant TEXT NOT NULL,
        status TEXT, flagged INTEGER NOT NULL, text TEXT, model_text TEXT, who TEXT NOT NULL,
        created_at REAL NOT NULL);
    CREATE INDEX reviews_by_picture ON reviews (image_key);
    CREATE TABLE prompts (text TEXT PRIMARY KEY, used_at REAL NOT NULL, times INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE conversations (image_key TEXT NOT NULL, model TEXT NOT NULL, turns TEXT NOT NULL,
        updated_at REAL NOT NULL, PRIMARY KEY (image_key, model)) WITHOUT ROWID;
    INSERT INTO reviews VALUES (7, 'picture', 'how many dogs?', 'question', 'opt-2.7b', 'cpu-int4',
        'corrected', 1, 'naïve 😀' || char(10) || 'two', 'three', 'ada', 1.5);
    INSERT INTO prompts VALUES ('how many?', 1.0, 3);
    INSERT INTO conversations VALUES ('picture', 'opt-2.7b', '[{"question": "wie viele?"}]', 1.0);
    """,
    4: """
    CREATE TABLE imported (image_key TEXT NOT NULL, prompt TEXT NOT NULL, kind TEXT NOT NULL,
        text TEXT NOT NULL, source TEXT NOT NULL, model TEXT, created_at REAL NOT NULL,
        revision TEXT, variant TEXT, logprob REAL, superseded INTEGER NOT NULL,
        PRIMARY KEY (image_key, prompt, kind)) WITHOUT ROWID;
    INSERT INTO imported VALUES ('picture', '', 'caption', 'ein Hund', 'old.csv', NULL, 1.0,
        'r', 'cpu-int4', -0.5, 1);
    """,
    5: """
    ALTER TABLE answers ADD COLUMN alternatives TEXT;
    INSERT INTO answers VALUES ('k5', 'f', 'i', 'm', 'r', 'v', 'p', '{}', 'two', 0.5, 1.0, -0.5,
        '[["two", -0.5], ["three", -1.5]]');
    """,
}

VERSIONS = list(_ADDED)


def old_file(path: Path, version: int) -> Path:
    """A file as a version left it."""
    connection = sqlite3.connect(path)
    connection.executescript(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
        + "".join(_ADDED[each] for each in VERSIONS[:version])
        + f"PRAGMA user_version = {version}"
    )
    connection.close()
    return path


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def check(store: Store, version: int) -> None:
    """All that a version's file held is there."""
    assert store.aliases([("/a.png", 10, 1)]) == {("/a.png", 10, 1): "i"}
    assert store.features(["f"]) == {"f": Features(bytes([0, 1, 2, 3]), "bfloat16", (1, 2))}
    first = StoredAnswer("k1", "f", "i", "m", "r", "v", "p", {"num_beams": 1}, "two", 0.5, 1.0)
    answers = {"k1": first}
    if version >= 2:
        answers["k2"] = replace(first, key="k2", settings={}, text="naïve 😀", logprob=-0.5)
    if version >= 5:
        others = (("two", -0.5), ("three", -1.5))
        answers["k5"] = replace(first, key="k5", settings={}, logprob=-0.5, alternatives=others)
    assert store.answers(["k1", "k2", "k5"]) == answers
    people = store.people
    is_said = version >= 3
    assert people.reviews(["picture"]) == [REVIEW] * is_said
    assert people.prompts() == ["how many?"] * is_said
    assert people.conversation("picture", "opt-2.7b") == [{"question": "wie viele?"}] * is_said
    imported = ImportedText(
        *("picture", "", "caption", "ein Hund", "old.csv", None, 1.0, "r", "cpu-int4", -0.5, True)
    )
    assert people.imported(["picture"]) == [imported] * (version >= 4)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_earlier_versions_file_has_all_that_it_held(tmp_path: Path, version: int) -> None:
    path = old_file(tmp_path / "s.sqlite3", version)
    store = Store(path)
    check(store, version)
    store.people.add_reviews([replace(REVIEW, image_key="new")])
    store.close()
    assert version_of(path) == len(schema.MIGRATIONS)
    again = Store(path)
    check(again, version)
    assert again.people.reviews(["new"]) == [replace(REVIEW, image_key="new")]


def test_the_old_files_are_those_of_the_migrations(tmp_path: Path) -> None:
    """Every version that was ever on a disk is written down above, but the newest."""
    assert len(schema.MIGRATIONS) - len(VERSIONS) <= 1
    for version in VERSIONS:
        old = sqlite3.connect(old_file(tmp_path / f"{version}.sqlite3", version))
        made = sqlite3.connect(":memory:")
        for migration in schema.MIGRATIONS[:version]:
            migration(made)
        assert columns(old) == columns(made)


def columns(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: connection.execute(f"PRAGMA table_info({table})").fetchall()
        for table in schema.tables_of(connection)
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path,
    version: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        if not connection.execute("PRAGMA database_list").fetchone()[2]:
            return  # in memory, where nothing is at stake
        connection.execute("DELETE FROM answers")
        connection.execute("ALTER TABLE answers RENAME COLUMN text TO said")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    path = old_file(tmp_path / "s.sqlite3", version)
    with monkeypatch.context() as changed:
        changed.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, fails])
        store = open_store(path)
        (record,) = caplog.records
        assert "no such table: nowhere; this session works in memory" in record.getMessage()
        assert store.answers(["k1"]) == {} and store.note.startswith("in memory")
        store.close()
    assert version_of(path) == version
    check(Store(path), version)


_MIGRATING = """
import sys
from pathlib import Path
from blip2_widget.store import Store
print("ready", flush=True)
sys.stdin.readline()
store = Store(Path(sys.argv[1]))
assert store.answers(["k1"])
store.close()
"""


def test_processes_that_migrate_at_once_do_it_once(tmp_path: Path) -> None:
    path = old_file(tmp_path / "s.sqlite3", 1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _MIGRATING, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], ends
    assert version_of(path) == len(schema.MIGRATIONS)
    check(Store(path), 1)


@pytest.mark.parametrize(("version", "half"), list(itertools.product(VERSIONS, [False, True])))
def test_what_a_damaged_file_of_an_earlier_version_held_is_kept(
    tmp_path: Path, version: int, half: bool
) -> None:
    path = old_file(tmp_path / "s.sqlite3", version)
    connection = sqlite3.connect(path)
    if half:  # it says that it is this version's, and is not
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")
        connection.execute("DROP TABLE aliases")
    else:
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'features'")
    connection.commit()
    connection.close()
    store = open_store(path)
    assert store.features(["f"]) == {}
    assert list(store.answers(["k1", "k2"])) == ["k1", "k2"][: min(version, 2)]
    assert store.people.reviews(["picture"]) == [REVIEW] * (version >= 3)

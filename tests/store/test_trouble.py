"""Whatever becomes of the file: it is said in one line, and nothing is lost that can be kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.run import Reviews, Target
from blip2_widget.session import Session
from blip2_widget.store import Features, Store, access, open_store
from blip2_widget.store.schema import MIGRATIONS
from tests.store.made import REVIEW, answer, features

TURNS = [{"question": "wie viele?", "answer": "zwei"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "store.sqlite3"


@pytest.fixture
def opened() -> Iterator[Callable[..., Store]]:
    """Opens stores, and closes them in the end."""
    stores: list[Store] = []

    def open_one(*arguments: Path) -> Store:
        stores.append(open_store(*arguments))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def filled(path: Path, reviews: int = 300) -> None:
    """A store with rows in every table, many enough to take many pages, and closed."""
    store = Store(path)
    store.put_aliases({(f"/{n}.png", 1, 1): f"i{n}" for n in range(100)})
    store.put_features((f"f{n}", f"i{n}", features(5000)) for n in range(20))
    store.put_answers(answer(f"k{n}", f"text {n}") for n in range(reviews))
    store.people.add_reviews(replace(REVIEW, image_key=f"i{n}") for n in range(reviews))
    for n in range(reviews):
        store.people.put_conversation(f"i{n}", "demo", TURNS)
    store.people.add_prompts(["what is it?"])
    store.close()


def line(caplog: pytest.LogCaptureFixture) -> str:
    """The one warning there was."""
    (record,) = caplog.records
    caplog.clear()
    message = record.getMessage()
    assert record.levelname == "WARNING" and "\n" not in message
    return message


def aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("store.damaged-*.sqlite3"))


# --- damaged --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 3000, 100_000])
def test_a_file_that_is_no_database_is_set_aside(
    path: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture, size: int
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else".ljust(size, b"."))
    store = opened(path)
    message = line(caplog)
    (old,) = aside(path)
    assert str(path) in message and "not a database" in message and old.name in message
    assert old.read_bytes().startswith(b"something else")
    store.put_answers([answer()])
    assert opened(path).answers(["k"]) and not store.note and not caplog.records


@pytest.mark.parametrize("is_open", [False, True], ids=["before", "while it is open"])
@pytest.mark.parametrize("damage", ["second half", "a page of each table", "truncated"])
def test_what_can_be_read_in_a_damaged_file_is_in_the_new_one(
    path: Path,
    opened: Callable[..., Store],
    caplog: pytest.LogCaptureFixture,
    damage: str,
    is_open: bool,
) -> None:
    filled(path)
    before = opened(path) if is_open else None
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        if damage == "truncated":
            file.truncate(pages // 2 * 4096)
        elif damage == "second half":
            file.seek(pages // 2 * 4096)
            file.write(b"\xff" * (pages - pages // 2) * 4096)
        else:
            for page in leaves(path):
                file.seek((page - 1) * 4096)
                file.write(b"\xff" * 4096)
    store = before or opened(path)
    keys = [f"i{n}" for n in range(300)]
    # Whatever meets the damage first, it gets its answer.
    reviews = store.people.reviews(keys)
    answers = store.answers([f"k{n}" for n in range(300)])
    conversations = [store.people.conversation(key, "demo") for key in keys]
    store.put_answers([answer("new")])
    assert "damaged" in line(caplog)
    assert len(aside(path)) == 1 and store.answers(["new"])
    assert all(each.text == REVIEW.text for each in reviews)
    assert all(each.text == f"text {key[1:]}" for key, each in answers.items())
    if damage == "a page of each table":
        assert len(reviews) > 250 and len(answers) > 250 and conversations.count(TURNS) > 150
        assert [int(each.image_key[1:]) for each in reviews] == sorted(
            int(each.image_key[1:]) for each in reviews
        )
    again = opened(path)
    assert again.people.reviews(keys) == reviews
    assert again.people.prompts() in ([], ["what is it?"]) and not caplog.records


def leaves(path: Path) -> list[int]:
    """A leaf in the middle of each of three tables. Each table's pages come in its order."""
    connection = sqlite3.connect(path)
    found = []
    for table in ("reviews", "answers", "conversations"):
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", [table]
        ).fetchone()
        page = path.read_bytes()[(root - 1) * 4096 : root * 4096]
        assert page[0] in (2, 5)  # it has children
        cells = int.from_bytes(page[3:5], "big")
        begin = 12 + 2 * (cells // 2)
        cell = int.from_bytes(page[begin : begin + 2], "big")
        found.append(int.from_bytes(page[cell : cell + 4], "big"))
    connection.close()
    return found


def test_a_file_without_the_tables_of_its_version_is_set_aside(
    path: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    filled(path, 10)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE prompts")
    other.close()
    store = opened(path)
    assert "it lacks prompts" in line(caplog)
    assert len(store.answers([f"k{n}" for n in range(10)])) == 10


def test_the_second_kernel_that_meets_the_damage_uses_the_first_ones_new_file(
    path: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    filled(path, 10)
    one, other = opened(path), opened(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    one.put_answers([answer("one")])
    assert "damaged" in line(caplog)
    other.put_answers([answer("other")])
    assert set(one.answers(["one", "other"])) == {"one", "other"}
    assert len(aside(path)) == 1 and not caplog.records


_TURNED = """
import sys
from pathlib import Path
from blip2_widget.store import open_store
from tests.store.made import answer
name = sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
store = open_store(Path(sys.argv[1]))
store.put_answers([answer(name)])
store.close()
"""


def test_kernels_that_open_a_damaged_file_at_once_set_it_aside_once(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\xff" * 50_000)
    kernels = [
        subprocess.Popen(
            [sys.executable, "-c", _TURNED, str(path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for kernel in kernels:
        assert kernel.stdout is not None and kernel.stdout.readline() == "ready\n"
    for kernel in kernels:
        assert kernel.stdin is not None
        kernel.stdin.write("\n")
        kernel.stdin.flush()
    ends = [kernel.communicate(timeout=60) for kernel in kernels]
    assert [kernel.returncode for kernel in kernels] == [0, 0, 0, 0], ends
    assert len(aside(path)) == 1
    assert len(Store(path).answers(["0", "1", "2", "3"])) == 4
    assert sum("was damaged" in stderr for _, stderr in ends) == 1


def test_a_damaged_file_that_cannot_be_moved_is_left_for_memory(
    path: Path,
    opened: Callable[..., Store],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path.parent.mkdir()
    path.write_bytes(b"\xff" * 5000)
    monkeypatch.setattr(Path, "rename", refuse)
    store = opened(path)
    message = line(caplog)
    assert "cannot be moved away (Permission denied)" in message and "in memory" in message
    store.put_answers([answer()])
    assert store.answers(["k"]) and path.read_bytes() == b"\xff" * 5000


def test_a_file_that_was_removed_is_begun_anew(path: Path, opened: Callable[..., Store]) -> None:
    store = opened(path)
    store.put_answers([answer("before")])
    shutil.rmtree(path.parent)
    store.put_answers([answer("after")])
    assert set(store.answers(["before", "after"])) == {"after"}
    assert set(opened(path).answers(["after"])) == {"after"}


# --- another version, no folder, no right to write ------------------------------------------------


def test_a_newer_versions_file_is_left_as_it_is(
    path: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    newer = sqlite3.connect(path)
    newer.executescript(f"CREATE TABLE t (x); PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(Blip2Error, match="newer blip2_widget; upgrade this one"):
        Store(path)
    store = opened(path)
    assert "newer blip2_widget; upgrade this one" in line(caplog)
    store.put_answers([answer()])
    assert store.answers(["k"]) and store.note.startswith("in memory, since the store")
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_folder_in_its_place_and_a_file_in_its_folders(
    path: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir(parents=True)
    store = opened(path)
    assert "is a folder" in line(caplog)
    store.put_answers([answer()])
    (path / "file").touch()
    opened(path / "file" / "store.sqlite3")
    assert "cannot be made (" in line(caplog)
    assert store.answers(["k"])


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder for one who may not write everywhere, as root may."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for each in [folder, *folder.rglob("*")]:
            each.chmod(0o755)


def as_nobody(work: Callable[[], Store]) -> Store:
    if os.geteuid() != 0:
        return work()
    os.seteuid(65534)
    try:
        return work()
    finally:
        os.seteuid(0)


needs_rights = pytest.mark.skipif(sys.platform == "win32", reason="rights there are others")


@needs_rights
def test_a_read_only_folder_costs_no_answer(
    nobody: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    nobody.chmod(0o555)
    store = as_nobody(lambda: opened(nobody / "cache" / "store.sqlite3"))
    message = line(caplog)
    assert "cannot be made (Permission denied); set BLIP2_WIDGET_CACHE" in message
    assert message.endswith("this session works in memory")
    store.put_answers([answer()])
    assert store.answers(["k"]) and list(nobody.iterdir()) == []


@needs_rights
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_only_be_read_is_read(
    nobody: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture, what: str
) -> None:
    path = nobody / "store.sqlite3"
    filled(path, 10)
    path.chmod(0o444)
    nobody.chmod(0o755 if what == "file" else 0o555)
    before = path.read_bytes()
    store = as_nobody(lambda: opened(path))
    assert line(caplog).endswith(
        "is read-only; this session works in memory, with the answers that it holds"
    )
    assert len(store.answers([f"k{n}" for n in range(10)])) == 10
    assert store.people.reviews(["i1"]) and store.aliases([("/1.png", 1, 1)])
    store.put_answers([answer("new")])
    assert store.answers(["new"]) and path.read_bytes() == before
    assert [each.name for each in nobody.iterdir()] == [path.name]


@needs_rights
def test_what_another_is_writing_is_not_read_without_its_locks(
    nobody: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    writer = Store(nobody / "store.sqlite3")
    writer.put_answers([answer()])
    (nobody / "store.sqlite3").chmod(0o444)
    store = as_nobody(lambda: opened(writer.path))
    assert line(caplog).endswith("this session works in memory")
    assert not store.answers(["k"])
    writer.close()


def test_a_session_goes_on_in_memory_and_says_so(
    own_session: Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blip2_widget.notebook.reports import status_text

    folder = Path(os.environ["BLIP2_WIDGET_CACHE"])
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    paths = [str(path) for path in demo.samples().image[:3]]
    blip2_widget.caption(paths, cache=False).wait(60)
    assert not caplog.records  # nothing needed the file
    first = blip2_widget.caption(paths).wait(60)
    target = Target(0, 0, "picture", "how many?", "question", model="demo")
    first.reviews.act(target, "correct", "two")
    again = blip2_widget.caption(paths).wait(60)
    assert again.progress.cached == 3 and again.progress.failed == 0
    assert "cannot be made" in line(caplog)
    assert "; in memory, since the store " in status_text(own_session).splitlines()[-1]
    assert again.reviews.get("picture", "how many?", "question", "demo")
    assert str(own_session.store.stats()).splitlines()[1].startswith("in memory, since the store")


# --- full, or locked ------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return ballast


def test_on_a_full_disk_everything_goes_on_and_is_written_when_there_is_room(
    small_disk: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "store.sqlite3"
    store = opened(path)
    store.put_answers([answer("early")])
    ballast = fill(small_disk)
    keys = [f"k{n}" for n in range(200)]
    for key in keys:
        store.put_answers([answer(key, "text" * 100)])
        store.put_features([(key, "i", features(5000))])
        store.put_aliases({(f"/{key}.png", 1, 1): key})
    reviews = Reviews(store)
    target = Target(0, 0, "picture", "how many?", "question", model="demo")
    reviews.act(target, "correct", "two")
    store.people.put_conversation("picture", "demo", TURNS)
    store.people.add_prompts(["what is it?"])
    assert "cannot be written now: database or disk is full" in line(caplog)
    assert "not all of it in the file yet" in store.note and "disk is full" in store.note
    # All of it is there for this session, whoever asks.
    assert len(store.answers([*keys, "early"])) == 201
    assert Reviews(store).get("picture", "how many?", "question", "demo")
    assert store.people.conversation("picture", "demo") == TURNS
    assert store.people.prompts() == ["what is it?"]
    ballast.unlink()
    store.put_answers([answer("late")])
    assert store.note == "" and not caplog.records
    again = opened(path)
    assert len(again.answers([*keys, "early", "late"])) == 202
    assert Reviews(again).get("picture", "how many?", "question", "demo")
    assert again.people.conversation("picture", "demo") == TURNS


def test_a_disk_that_is_full_from_the_start(
    small_disk: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    fill(small_disk)
    store = opened(small_disk / "cache" / "store.sqlite3")
    assert "this session works in memory" in line(caplog)
    store.put_answers([answer()])
    assert store.answers(["k"])


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_PATIENCE": 0.05, "_NO_PATIENCE": 0.01, "_RETRY": 0.05}.items():
        monkeypatch.setattr(access, name, seconds)


def test_what_cannot_be_written_is_tried_again_by_itself(
    path: Path, quickly: None, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.put_answers([answer()])
    store.put_features([("f", "i", Features(bytes(2), "float32", (1, 1)))])
    assert store.answers(["k"]) and "(1 to go): database is locked" in store.note
    other.execute("COMMIT")
    while store.note:
        pass
    assert opened(path).answers(["k"])
    assert not caplog.records  # a lock that ends is nobody's business
    other.close()


def test_a_lock_that_does_not_end_is_told_once_and_what_waits_is_written_in_the_end(
    path: Path,
    quickly: None,
    opened: Callable[..., Store],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access, "_LONG", -1.0)
    monkeypatch.setattr(access, "_RETRY", 3600.0)
    store = Store(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for n in range(3):
        store.put_answers([answer(f"k{n}")])
    assert "database is locked; answers and reviews are kept in this session" in line(caplog)
    other.execute("ROLLBACK")
    other.close()
    store.close()
    assert len(opened(path).answers(["k0", "k1", "k2"])) == 3


def test_a_kernel_that_starts_under_a_lock_waits_for_nothing(
    path: Path, opened: Callable[..., Store]
) -> None:
    opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert opened(path).stats().answers == 0
    other.close()


def test_rows_that_can_never_be_written_hold_up_no_others(
    path: Path, opened: Callable[..., Store]
) -> None:
    store = opened(path)
    store._access.connection.execute("PRAGMA query_only = 1")
    store.put_answers([answer("half", "\ud83d")])
    store.put_answers([answer("whole")])
    store._access.connection.execute("PRAGMA query_only = 0")
    with pytest.raises(UnicodeEncodeError):
        store.put_answers([answer("next")])
    store.put_answers([answer("last")])
    assert set(opened(path).answers(["half", "whole", "next", "last"])) == {"whole", "next", "last"}

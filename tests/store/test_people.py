"""What people said is kept: at once, for good, and through every change of the file's form."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from blip2_widget.store import Review, Store, StoredAnswer
from blip2_widget.store.schema import MIGRATIONS

REVIEW = Review(
    image_key="picture",
    prompt="how many dogs?",
    kind="question",
    model="opt-2.7b",
    variant="cpu-int4",
    status="corrected",
    flagged=True,
    text="naïve 😀\ntwo",
    model_text="three",
    who="ada",
    when=1.5,
)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "s.sqlite3") if request.param == "file" else Store.in_memory()


def test_every_word_stays_in_its_order(store: Store) -> None:
    later = replace(REVIEW, status=None, flagged=False, text=None, when=0.5)  # a clock set back
    store.people.add_reviews([REVIEW, later])
    store.people.add_reviews([replace(REVIEW, image_key="other")])
    assert store.people.reviews(["picture"]) == [REVIEW, later]
    assert store.people.reviews(["picture", "other", "none", "picture"])[2].image_key == "other"
    assert later.is_empty and not REVIEW.is_empty


def test_reviews_of_more_pictures_than_one_query_takes(store: Store) -> None:
    keys = [f"k{n}" for n in range(1200)]
    store.people.add_reviews(replace(REVIEW, image_key=key) for key in keys)
    assert {each.image_key for each in store.people.reviews(keys)} == set(keys)
    assert store.people.reviews([]) == []


def test_prompts_come_newest_first_and_once(store: Store) -> None:
    store.people.add_prompts(["b", "a", " ", ""])
    store.people.add_prompts([" c "])
    assert store.people.prompts() == ["c", "b", "a"]
    store.people.add_prompts(["a"])
    assert store.people.prompts() == ["a", "c", "b"]
    store.people.add_prompts(f"p{n:03}" for n in range(300))
    assert store.people.prompts() == [f"p{n:03}" for n in range(200)]


def test_a_conversation_is_replaced_as_a_whole_for_its_picture_and_model(store: Store) -> None:
    turns = [{"question": "wie viele Bären?", "answer": None}]
    assert store.people.conversation("picture", "demo") == []
    store.people.put_conversation("picture", "demo", [{"question": "old"}])
    store.people.put_conversation("picture", "demo", turns)
    store.people.put_conversation("picture", "other", [])
    assert store.people.conversation("picture", "demo") == turns
    assert store.people.conversation("picture", "other") == []


def test_clearing_what_was_computed_keeps_what_people_said(store: Store) -> None:
    store.people.add_reviews([REVIEW])
    store.people.put_conversation("picture", "demo", [{"question": "q"}])
    store.clear()
    assert store.people.reviews(["picture"]) == [REVIEW]
    assert store.people.conversation("picture", "demo") == [{"question": "q"}]


_KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.store.test_people import REVIEW
from blip2_widget.run import Reviews, Target
from blip2_widget.store import Store
store = Store(Path(sys.argv[1]))
target = Target(0, 0, "picture", "how many?", "question", model="demo")
Reviews(store, who="ada").act(target, "correct", "two dogs")
store.people.put_conversation("picture", "demo", [{"question": "q"}])
store.people.add_prompts(["a prompt"])
print("acknowledged", flush=True)
sys.stdin.read()
"""


def test_a_killed_kernel_loses_no_word(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "acknowledged\n"
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    people = Store(path).people
    (review,) = people.reviews(["picture"])
    assert (review.status, review.text, review.who) == ("corrected", "two dogs", "ada")
    assert people.conversation("picture", "demo") == [{"question": "q"}]
    assert people.prompts() == ["a prompt"]


#: A file as version 2 made it, statement by statement; it is not to follow later changes.
_VERSION_2 = """
CREATE TABLE aliases (path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    image_key TEXT NOT NULL, PRIMARY KEY (path)) WITHOUT ROWID;
CREATE TABLE features (key TEXT PRIMARY KEY, image_key TEXT NOT NULL, data BLOB NOT NULL,
    dtype TEXT NOT NULL, shape TEXT NOT NULL, nbytes INTEGER NOT NULL, used_at REAL NOT NULL);
CREATE INDEX features_by_use ON features (used_at, nbytes);
CREATE TABLE answers (key TEXT PRIMARY KEY, features_key TEXT NOT NULL, image_key TEXT NOT NULL,
    model TEXT NOT NULL, revision TEXT NOT NULL, variant TEXT NOT NULL, prompt TEXT NOT NULL,
    settings TEXT NOT NULL, text TEXT NOT NULL, seconds REAL, created_at REAL NOT NULL);
ALTER TABLE answers ADD COLUMN logprob REAL;
INSERT INTO answers VALUES ('k', 'f', 'i', 'm', 'r', 'v', 'p', '{}', 'two', 0.5, 1.0, -0.5);
PRAGMA user_version = 2;
"""


def test_a_file_of_version_2_becomes_one_of_version_3_with_all_that_it_held(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    with sqlite3.connect(path) as old:
        old.executescript(_VERSION_2)
    old.close()
    store = Store(path)
    kept = StoredAnswer("k", "f", "i", "m", "r", "v", "p", {}, "two", 0.5, 1.0, -0.5)
    assert store.answers(["k"]) == {"k": kept}
    store.people.add_reviews([REVIEW])
    store.close()
    again = Store(path)
    assert again.people.reviews(["picture"]) == [REVIEW]
    (version,) = sqlite3.connect(path).execute("PRAGMA user_version").fetchone()
    assert version == len(MIGRATIONS)

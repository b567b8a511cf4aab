"""What people said is kept: at once, for good, and through every change of the file's form."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from blip2_widget.store import ImportedText, Store
from tests.store.made import REVIEW

IMPORTED = ImportedText("picture", "", "caption", "two dogs", "old.csv", None, 1.5)


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


def test_prompts_come_newest_first_and_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(1.0)
    monkeypatch.setattr(time, "time", lambda: next(seconds))
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


def test_an_imported_text_is_replaced_by_a_later_one_to_the_same_prompt(store: Store) -> None:
    assert store.people.imported(["picture"]) == []
    later = replace(IMPORTED, text="three dogs", source="new.csv", model="opt-2.7b")
    other = replace(IMPORTED, prompt="how many?", kind="question")
    store.people.put_imported([IMPORTED, other])
    store.people.put_imported([later])
    assert sorted(each.text for each in store.people.imported(["picture", "none"])) == [
        "three dogs",
        "two dogs",
    ]
    store.clear()
    assert len(store.people.imported(["picture"])) == 2
    store.clear("imported")
    assert store.people.imported(["picture"]) == []


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

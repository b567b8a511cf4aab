"""Kernels that share a store lose no row to each other, and hear of no lock."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blip2_widget.store import Store

ROWS = 1200
FEATURES = 5000

#: Writes rows of every kind, all of them its own, and tells when half of them are written.
_WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from blip2_widget.run import Reviews, Target
from blip2_widget.store import access, open_store
from tests.store.made import REVIEW, answer, features
path, name, rows, patience = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
access._PATIENCE = patience
print("ready", flush=True)
sys.stdin.readline()
store = open_store(path, max_bytes=200_000)
reviews = Reviews(store, who=name)
for n in range(rows):
    key = f"{name}-{n}"
    if n == rows // 2:
        print("half", flush=True)
    store.put_answers([answer(key, "a text")])
    store.put_features([(key, key, features(5000))])
    store.put_aliases({(f"/{key}", 1, 1): key})
    reviews.act(Target(0, 0, key, "how many?", "question", model="demo"), "correct", key)
    store.people.put_conversation(key, "demo", [{"question": key}])
    store.people.add_prompts([key])
    assert store.answers([key]) and store.people.reviews([key])
store.close()
"""


def start(path: Path, name: int, patience: float) -> subprocess.Popen[str]:
    arguments = [str(path), str(name), str(ROWS), str(patience)]
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    hear(writer, "ready")
    return writer


def hear(writer: subprocess.Popen[str], word: str) -> None:
    assert writer.stdout is not None and writer.stdout.readline() == f"{word}\n"


@pytest.mark.parametrize("patience", [5.0, 0.1], ids=["wait", "keep and try again"])
def test_kernels_that_write_at_once_and_under_a_lock_lose_nothing(
    tmp_path: Path, patience: float
) -> None:
    path = tmp_path / "s.sqlite3"
    writers = [start(path, name, patience) for name in range(2)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")  # both begin now, with a file that is not there yet
        writer.stdin.flush()
    for writer in writers:
        hear(writer, "half")
    third = sqlite3.connect(path, isolation_level=None, timeout=30)
    third.execute("BEGIN IMMEDIATE")
    time.sleep(2)  # as long as another kernel might write
    third.execute("COMMIT")
    third.close()
    ends = [writer.communicate(timeout=120) for writer in writers]
    assert [(writer.returncode, err) for writer, (_, err) in zip(writers, ends, strict=True)] == [
        (0, ""),
        (0, ""),
    ]
    store = Store(path)
    keys = [f"{name}-{n}" for name in range(2) for n in range(ROWS)]
    assert len(store.answers(keys)) == len(keys)
    assert sorted(review.text or "" for review in store.people.reviews(keys)) == sorted(keys)
    assert all(store.people.conversation(key, "demo") == [{"question": key}] for key in keys)
    assert store._access.rows("SELECT count(*), sum(times) FROM prompts") == [
        (len(keys), len(keys))
    ]
    # Each keeps to the cap as it knows it, to a hundredth and what the other puts meanwhile.
    assert 0 < store.stats().feature_bytes <= 200_000 + 20 * FEATURES
    store.close()

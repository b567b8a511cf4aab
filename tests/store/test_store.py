"""The store keeps what it was given, for every thread and process, within its size."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blip2_widget.errors import Blip2Error
from blip2_widget.run.features import pack, unpack
from blip2_widget.store import Store
from tests.store.made import answer, features


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "store.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()


def test_answers_to_choose_from_come_back_to_the_last_bit(store: Store, path: Path) -> None:
    several = replace(answer(), alternatives=(("two dogs", -0.1), ("naïve\n😀", -1 / 3)))
    store.put_answers([several, answer("other")])
    again = Store(path).answers(["k", "other"])
    assert again["k"].alternatives == several.alternatives and again["other"].alternatives == ()


def test_answers_come_back_whole_and_from_another_store_too(store: Store, path: Path) -> None:
    kept = answer(text="naïve 😀\nlines\0")
    store.put_answers([kept])
    assert store.answers(["k", "other"]) == {"k": kept}
    assert Store(path).answers(["k"]) == {"k": kept}


def test_a_later_answer_replaces_an_earlier_one(store: Store) -> None:
    store.put_answers([answer(text="one")])
    store.put_answers([answer(text="two")])
    assert store.answers(["k"])["k"].text == "two"
    assert store.stats().answers == 1


def test_more_keys_than_one_query_takes(store: Store) -> None:
    store.put_answers(answer(key=f"k{n}") for n in range(3000))
    assert len(store.answers([f"k{n}" for n in range(5000)])) == 3000
    assert store.answers([]) == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_features_come_back_bit_for_bit(store: Store, dtype: torch.dtype) -> None:
    tensor = torch.randn(32, 768).to(dtype)
    tensor[0, :3] = torch.tensor([float("nan"), float("inf"), -0.0])
    store.put_features([("f", "i", pack(tensor))])
    found = unpack(store.features(["f"])["f"])
    assert found.dtype == dtype and found.shape == (32, 768)
    assert torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))


def test_the_published_features_take_49_kb_in_16_bit() -> None:
    assert len(pack(torch.zeros(32, 768, dtype=torch.bfloat16)).data) == 49_152


def test_a_file_is_known_while_it_is_unchanged(store: Store) -> None:
    store.put_aliases({("/a.png", 10, 1): "key"})
    assert store.aliases([("/a.png", 10, 1)]) == {("/a.png", 10, 1): "key"}
    assert store.aliases([("/a.png", 10, 2)]) == store.aliases([("/a.png", 11, 1)]) == {}
    store.put_aliases({("/a.png", 10, 2): "new"})
    assert store.aliases([("/a.png", 10, 1)]) == {}
    assert store.aliases([("/a.png", 10, 2)]) == {("/a.png", 10, 2): "new"}


@given(
    st.dictionaries(st.tuples(st.text(), st.integers(0, 2**50), st.integers(0, 2**62)), st.text())
)
def test_any_path_can_be_remembered(keys: dict[tuple[str, int, int], str]) -> None:
    by_path = {identity[0]: (identity, key) for identity, key in keys.items()}
    store = Store.in_memory()
    wanted = {
        identity: key
        for identity, key in by_path.values()
        if not any("\ud800" <= char <= "\udfff" for char in identity[0] + key)
    }
    store.put_aliases(wanted)
    assert store.aliases(list(wanted)) == wanted


# --- size -----------------------------------------------------------------------------------------


def test_over_the_cap_the_least_recently_used_go_first(path: Path) -> None:
    store = Store(path, max_bytes=1000)
    for n in range(10):
        store.put_features([(f"f{n}", "i", features())])
    store.put_answers([answer()])
    store.features(["f0"])  # the oldest, but just used
    store.put_features([("f10", "i", features())])
    kept = set(store.features([f"f{n}" for n in range(11)]))
    assert {"f0", "f10"} <= kept and "f1" not in kept
    assert store.stats().feature_bytes <= 1000
    assert store.stats().answers == 1


def test_stats_count_and_clear_empties(store: Store) -> None:
    store.put_features([("f", "i", features())])
    store.put_features([("g", "i", features()), ("h", "j", features(300))])
    store.put_answers([answer()])
    store.put_aliases({("/a.png", 1, 1): "i"})
    stats = store.stats()
    assert (stats.features, stats.feature_bytes, stats.answers, stats.pictures) == (3, 500, 1, 2)
    store.clear("features")
    assert (store.stats().features, store.stats().answers) == (0, 1)
    store.clear("answers")
    assert store.stats().answers == 0 and store.aliases([("/a.png", 1, 1)])
    store.clear()
    assert store.aliases([("/a.png", 1, 1)]) == {}


def test_clearing_gives_the_disk_back(store: Store) -> None:
    store.put_features((f"f{n}", "i", features(50_000)) for n in range(100))
    full = store.path.stat().st_size + store.path.with_name("store.sqlite3-wal").stat().st_size
    store.clear()
    assert full > 5_000_000 and store.path.stat().st_size < 100_000


# --- the file -------------------------------------------------------------------------------------


def test_the_store_is_private_and_in_wal_mode(store: Store, path: Path) -> None:
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (mode,) = sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone()
    assert mode == "wal"


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLIP2_WIDGET_CACHE", str(tmp_path / "own"))
    assert Store().path == tmp_path / "own" / "store.sqlite3"


def test_a_closed_store_is_one_line_that_does_not_call_it_damaged(store: Store) -> None:
    store.close()
    with pytest.raises(Blip2Error, match="cannot be used now: Cannot operate on a closed"):
        store.answers(["k"])


# --- side by side ---------------------------------------------------------------------------------


def test_threads_share_a_store(store: Store) -> None:
    errors: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for n in range(30):
                store.put_features([(f"{name}-{n}", "i", features())])
                store.put_answers([answer(key=f"{name}-{n}")])
                assert store.answers([f"{name}-{n}"]) and store.features([f"{name}-{n}"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (store.stats().answers, store.stats().features) == (240, 240)

"""Reviews: a person's word comes back, can be taken back, and is never lost."""

from __future__ import annotations

import getpass
import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.images import ImageError, image_key, read_column
from blip2_widget.run import Reviews, Target, target_of
from blip2_widget.run.pictures import Pictures
from blip2_widget.store import Review, Store

TARGET = Target(3, 1, "picture", "how many?", "question", "demo", "cpu-int4", "three")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "s.sqlite3")


def word(reviews: Reviews, target: Target = TARGET) -> Review | None:
    return reviews.get(target.image_key, target.text, target.kind, target.model)


def said(reviews: Reviews, target: Target = TARGET) -> tuple[str | None, bool, str | None] | None:
    review = word(reviews, target)
    return None if review is None else (review.status, review.flagged, review.text)


def test_a_correction_keeps_the_models_text_and_who_and_what_and_when(store: Store) -> None:
    made = Reviews(store, who="ada").act(TARGET, "correct", " two\n")
    assert made is not None and made.when > 1e9
    assert (made.text, made.model_text, made.who) == ("two", "three", "ada")
    assert (made.model, made.variant, made.prompt) == ("demo", "cpu-int4", "how many?")
    assert word(Reviews(Store(store.path))) == made


def test_each_action_says_what_it_says(store: Store) -> None:
    reviews = Reviews(store)
    steps: list[tuple[str, str | None, object]] = [
        ("flag", None, (None, True, None)),
        ("accept", None, ("accepted", True, None)),
        ("correct", "two", ("corrected", True, "two")),
        ("flag", None, ("corrected", False, "two")),
        ("reject", None, ("rejected", False, None)),
        ("clear", None, None),
    ]
    for action, text, then in steps:
        reviews.act(TARGET, action, text)  # type: ignore[arg-type]
        assert said(reviews) == then == said(Reviews(store))
    for _, _, then in [*reversed(steps[:-1]), ("", None, None)]:
        assert reviews.undo() == [TARGET]
        assert said(reviews) == then == said(Reviews(store))
    assert reviews.undo() == [] and reviews.history == {"undo": 0, "redo": 6}
    for _, _, then in steps:
        assert reviews.redo() == [TARGET]
        assert said(reviews) == then == said(Reviews(store))
    assert reviews.redo() == [] and reviews.history == {"undo": 6, "redo": 0}


def test_nothing_that_was_typed_is_ever_lost(store: Store) -> None:
    reviews = Reviews(store)
    reviews.act(TARGET, "correct", "two")
    reviews.act(TARGET, "correct", "2")
    reviews.undo()
    reviews.act(TARGET, "clear")
    lines = store.people.reviews(["picture"])
    assert [line.text for line in lines] == ["two", "2", "two", None]


def test_a_new_review_ends_what_could_be_done_again(store: Store) -> None:
    reviews = Reviews(store)
    reviews.act(TARGET, "accept")
    reviews.undo()
    reviews.act(TARGET, "reject")
    assert reviews.history == {"undo": 1, "redo": 0} and reviews.redo() == []


def test_what_changes_nothing_is_no_step_and_no_line(store: Store) -> None:
    reviews = Reviews(store)
    assert reviews.act(TARGET, "clear") is None
    first = reviews.act(TARGET, "accept")
    assert reviews.act(TARGET, "accept") == first
    assert reviews.history["undo"] == 1 and len(store.people.reviews(["picture"])) == 1


def test_a_word_is_of_its_prompt_its_kind_and_its_checkpoint(store: Store) -> None:
    Reviews(store).act(TARGET, "accept")
    reviews = Reviews(store)
    for change in (
        {"image_key": "other"},
        {"text": "what?"},
        {"kind": "caption"},
        {"model": "opt-2.7b"},
    ):
        assert word(reviews, replace(TARGET, **change)) is None  # type: ignore[arg-type]
    assert said(reviews, replace(TARGET, row=9, prompt=0, variant="cpu-bf16"))


def test_a_correction_holds_for_other_checkpoints_until_they_have_a_word(store: Store) -> None:
    other = replace(TARGET, model="opt-2.7b", answer="four")
    reviews = Reviews(store)
    reviews.act(TARGET, "correct", "two")
    assert said(reviews, other) == ("corrected", False, "two")
    reviews.act(other, "flag")
    assert said(reviews, other) == ("corrected", True, "two")
    assert said(reviews) == ("corrected", False, "two")
    reviews.act(other, "clear")
    assert said(reviews, other) is None and said(Reviews(store), other) is None
    for _ in range(2):
        reviews.undo()
    assert said(reviews, other) == ("corrected", False, "two")


@pytest.mark.parametrize(
    ("action", "text", "part"),
    [("correct", " \n", "needs a text"), ("correct", None, "needs a text"), ("praise", None, "no")],
)
def test_what_cannot_be_done_is_one_line_and_no_step(
    store: Store, action: str, text: str | None, part: str
) -> None:
    reviews = Reviews(store)
    with pytest.raises(Blip2Error, match=part):
        reviews.act(TARGET, action, text)  # type: ignore[arg-type]
    assert reviews.history == {"undo": 0, "redo": 0} and said(reviews) is None


def test_many_pictures_are_read_in_few_queries(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Reviews(store)
    for number in range(20):
        writer.act(replace(TARGET, image_key=f"k{number}"), "accept")
    queries: list[str] = []
    real = store._access.rows

    def counting(query: str, values: object) -> object:
        queries.append(query)
        return real(query, values)  # type: ignore[arg-type]

    monkeypatch.setattr(store._access, "rows", counting)
    reviews = Reviews(store)
    reviews.load(f"k{number}" for number in range(1500))
    assert len(queries) == 3
    assert sum(word(reviews, replace(TARGET, image_key=f"k{n}")) is not None for n in range(1500))
    reviews.load(["k0", "k1499"])
    assert len(queries) == 3


def test_a_store_that_cannot_be_written_costs_no_word_and_one_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    reviews = Reviews(store)
    store._access.connection.execute("PRAGMA query_only = 1")
    with caplog.at_level(logging.WARNING):
        reviews.act(TARGET, "correct", "two")
        reviews.act(TARGET, "flag")
    assert said(reviews) == ("corrected", True, "two")
    assert len(caplog.records) == 1 and "kept in this session" in caplog.text
    reviews.undo()
    assert said(reviews) == ("corrected", False, "two")
    store._access.connection.execute("PRAGMA query_only = 0")
    reviews.act(TARGET, "reject")
    assert [line.status for line in store.people.reviews(["picture"])] == [
        *("corrected", "corrected", "corrected", "rejected"),
    ]
    assert said(Reviews(store)) == ("rejected", False, None)


def test_a_word_is_shown_once_it_is_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews, real, seen = Reviews(store), store.people.add_reviews, []

    def looking(lines: Iterable[Review]) -> None:
        seen.append((said(reviews), reviews.history))
        real(lines)

    monkeypatch.setattr(store.people, "add_reviews", looking)
    reviews.act(TARGET, "accept")
    reviews.act(TARGET, "correct", "two")
    reviews.undo()
    reviews.redo()
    assert seen == [
        (None, {"undo": 0, "redo": 0}),
        (("accepted", False, None), {"undo": 1, "redo": 0}),
        (("corrected", False, "two"), {"undo": 2, "redo": 0}),
        (("accepted", False, None), {"undo": 1, "redo": 1}),
    ]


def test_a_store_that_cannot_be_read_is_no_reason_to_fail(store: Store) -> None:
    store.close()
    reviews = Reviews(store)
    assert said(reviews) is None
    reviews.act(TARGET, "accept")
    assert said(reviews) == ("accepted", False, None)


def test_threads_review_side_by_side(store: Store) -> None:
    reviews = Reviews(store)

    def work(name: int) -> None:
        for number in range(25):
            reviews.act(replace(TARGET, image_key=f"{name}-{number}"), "correct", "two")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reviews.history["undo"] == 150
    keys = [f"{name}-{number}" for name in range(6) for number in range(25)]
    assert len(store.people.reviews(keys)) == 150


def test_who_has_no_name_is_someone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert Reviews(store).who == "someone"


# --- keys of pictures -----------------------------------------------------------------------------


def test_a_run_in_another_variant_finds_what_was_said_of_equal_pictures(store: Store) -> None:
    path = demo.samples().image[0]
    first = blip2_widget.caption([path, path], variant="cpu-fp32").wait(60).board
    reviews = Reviews(store)
    assert target_of(first, 0, 0)().answer == first.cell(0, 0).answer
    reviews.act(target_of(first, 1, 0)(), "correct", "a blue circle")
    again = blip2_widget.caption([Image.open(path)], variant="cpu-bf16").wait(60).board
    target = target_of(again, 0, 0)()
    assert target.variant == "cpu-bf16"
    assert said(Reviews(store), target) == ("corrected", False, "a blue circle")
    assert said(reviews, target_of(first, 0, 0)()) == ("corrected", False, "a blue circle")


def test_a_picture_that_no_run_has_opened_is_known_by_its_pixels(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.new("RGB", (9, 7), "red")
    image.save(tmp_path / "a.png")
    column = read_column([str(tmp_path / "a.png"), image, "gone.png"])
    pictures = Pictures(column, store)
    assert pictures.key_of(0) == pictures.key_of(1) == image_key(image) == pictures.keys[0]
    with pytest.raises(ImageError, match="there is no file"):
        pictures.key_of(2)

    def refuse(*_: object) -> object:
        raise AssertionError("the file was opened again")

    monkeypatch.setattr(Pictures, "load", refuse)
    assert pictures.key_of(0) == image_key(image)
    assert Pictures(column, store).key_of(0) == image_key(image)  # by its alias


def test_a_key_needs_no_store_that_works(store: Store) -> None:
    store.close()
    image = Image.new("RGB", (9, 7), "red")
    assert Pictures(read_column([image]), store).key_of(0) == image_key(image)
    path = demo.samples().image[0]
    assert Pictures(read_column([path]), store).key_of(0)

"""Halves: what fails is tried in smaller pieces, and a size that did not fit is not tried again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from blip2_widget.model import Cancelled
from blip2_widget.run.halving import Halving


class Work:
    """Work on numbers that has memory for so many at a time and cannot do the bad ones."""

    def __init__(self, limit: int = 1000, bad: Sequence[int] = ()) -> None:
        self.limit, self.bad = limit, set(bad)
        self.tried: list[int] = []
        self.done: set[int] = set()
        self.failed: dict[int, Exception] = {}
        self.rooms = 0

    def __call__(self, piece: Sequence[int]) -> None:
        self.tried.append(len(piece))
        if len(piece) > self.limit:
            raise RuntimeError("CUDA out of memory")
        if self.bad & set(piece):
            raise ValueError("bad")
        self.done.update(piece)

    def make_room(self) -> None:
        self.rooms += 1

    def run(self, halving: Halving, items: Sequence[int]) -> None:
        halving.run(
            items, self, lambda each: each not in self.done, self.failed.__setitem__, self.make_room
        )


@pytest.mark.parametrize("limit", [1, 3, 4, 15])
def test_sizes_fall_to_what_memory_holds_and_never_rise(limit: int) -> None:
    halving, work = Halving(16), Work(limit)
    work.run(halving, range(64))
    assert work.done == set(range(64)) and not work.failed
    assert work.tried[0] == 16 and halving.most <= limit
    assert work.tried == sorted(work.tried, reverse=True)
    assert work.rooms == sum(size > limit for size in work.tried) <= 5
    work.tried.clear()
    work.run(halving, range(64, 128))
    assert max(work.tried) <= limit


def test_an_item_alone_is_tried_once_more_in_the_room_that_was_made() -> None:
    halving, work = Halving(16), Work(limit=0)
    work.run(halving, range(2))
    assert work.tried == [2, 1, 1, 1, 1] and work.rooms == 5
    assert {item: str(error) for item, error in work.failed.items()} == {
        0: "CUDA out of memory",
        1: "CUDA out of memory",
    }
    work.make_room = lambda: setattr(work, "limit", 1)  # type: ignore[method-assign]
    work.tried.clear()
    work.run(halving, [5])
    assert work.tried == [1, 1] and work.done == {5}


def test_a_bad_item_costs_itself_alone_and_no_size() -> None:
    halving, work = Halving(16), Work(bad=[3, 40])
    work.run(halving, range(64))
    assert work.done == set(range(64)) - {3, 40}
    assert {item: str(error) for item, error in work.failed.items()} == {3: "bad", 40: "bad"}
    assert (halving.most, work.rooms) == (16, 0)


def test_cancelling_goes_through() -> None:
    def cancelled(_: Sequence[int]) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        Halving(4).run(range(8), cancelled, lambda _: True, lambda *_: None, lambda: None)

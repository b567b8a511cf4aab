"""Keys and values of a batch that is being answered, and the memory they live in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import Cache

#: Places that a batch's room grows by.
GROWTH = 32


class Buffers:
    """Memory of ended batches for the next one: fresh memory costs more to touch than to use."""

    def __init__(self) -> None:
        self._spare: torch.Tensor | None = None

    def take(self, count: int, like: torch.Tensor) -> torch.Tensor:
        """At least `count` numbers, whichever: what is masked is still multiplied, by zero."""
        spare, self._spare = self._spare, None
        if spare is None or len(spare) < count:
            spare = like.new_zeros(count)
        return spare

    def give(self, taken: torch.Tensor) -> None:
        """Let it be taken again. The largest one stays."""
        if self._spare is None or len(self._spare) < len(taken):
            self._spare = taken

    def clear(self) -> None:
        self._spare = None


class KeyValues(Cache):  # type: ignore[misc]
    """A batch's keys and values in one tensor, with room for tokens to come.

    transformers' own growing cache copies everything at every token. Here attention reads the whole
    room, of which a mask hides what is not written: a part of it would be copied to be read.
    `data` is (layers, 2, rows, heads, room, head size); the first `length` places are written.
    """

    def __init__(
        self, shape: Sequence[int], most: int, like: torch.Tensor, buffers: Buffers
    ) -> None:
        """`shape` is that of `data`, and `most` the places it may ever need."""
        super().__init__(layers=[])
        self._most, self._buffers = most, buffers
        self._place: torch.Tensor | None = None
        self.length = 0
        self._take(shape, like)

    def _take(self, shape: Sequence[int], like: torch.Tensor) -> None:
        self._whole = self._buffers.take(math.prod(shape), like)
        self.data = self._whole[: math.prod(shape)].view(*shape)

    @property
    def room(self) -> int:
        return int(self.data.shape[-2])

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a layer's (rows, heads, new, head size) and return that layer's whole room."""
        keys, values = self.data[layer_idx]
        if self._place is not None:
            keys.index_copy_(2, self._place, key_states)
            values.index_copy_(2, self._place, value_states)
            return keys, values
        end = self.length + key_states.shape[2]
        keys[:, :, self.length : end] = key_states
        values[:, :, self.length : end] = value_states
        return keys, values

    def advance(self, count: int) -> None:
        """Count what every layer has written in one pass."""
        self.length += count

    @contextmanager
    def writing_at(self, place: torch.Tensor) -> Iterator[None]:
        """Write at the `place` (1,) that a tensor says when it is read, not at `length`."""
        self._place = place
        try:
            yield
        finally:
            self._place = None

    def make_room(self, count: int) -> None:
        """See that `count` more places can be written."""
        if self.length + count <= self.room:
            return
        room = min(self._most, self.length + count + GROWTH)
        old, whole, shape = self.data, self._whole, list(self.data.shape)
        shape[-2] = room
        self._take(shape, old)
        self.data[..., : self.length, :] = old[..., : self.length, :]
        self._buffers.give(whole)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    def select(self, rows: Sequence[int]) -> None:
        """Move the given rows to the front, in their order, and let the others go."""
        for place, row in enumerate(rows):
            if place != row:
                self.data[:, :, place] = self.data[:, :, row]
        self.data = self.data[:, :, : len(rows)]

    def row(self, row: int, places: torch.Tensor) -> torch.Tensor:
        """A row's keys and values at the given places, in a tensor of its own."""
        return self.data[:, :, row][..., places, :].contiguous()

    def close(self) -> None:
        """Give the memory back; nothing may read it any more."""
        self._buffers.give(self._whole)

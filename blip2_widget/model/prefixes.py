"""What the language model computed of a picture and the first tokens after it, for reuse.

A picture always stands at the first positions, so that its keys and values serve every prompt about
it; those of a conversation serve its next turn.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Prefix:
    """A picture's tokens and the `tokens` after it as one row of a language model has seen them.

    `keys_values` is (layers, 2, heads, picture's tokens + len(tokens), head size) and `logits`
    (vocabulary,) what the model says comes next.
    """

    tokens: tuple[int, ...]
    keys_values: torch.Tensor
    logits: torch.Tensor

    def common(self, ids: Sequence[int]) -> int:
        """How many of a prompt's first ids this has seen; what is left must give logits."""
        count = 0
        for mine, other in zip(self.tokens, ids, strict=False):
            if mine != other:
                break
            count += 1
        if count == len(ids) and count < len(self.tokens):
            return count - 1
        return count

    @property
    def nbytes(self) -> int:
        return int(self.keys_values.nbytes + self.logits.nbytes)


class PrefixCache:
    """Prefixes by picture, up to `max_bytes`; those of the picture unused for longest go first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._prefixes: OrderedDict[str, list[Prefix]] = OrderedDict()
        self._lock = threading.Lock()
        self.nbytes = 0

    def find(self, picture: str, ids: Sequence[int]) -> Prefix | None:
        """The one that has seen most of a prompt's ids."""
        with self._lock:
            known = self._prefixes.get(picture)
            if not known:
                return None
            self._prefixes.move_to_end(picture)
            return max(known, key=lambda prefix: prefix.common(ids))

    def put(self, picture: str, prefix: Prefix) -> None:
        """Remember a prefix, in place of those that it goes on from but the picture's own."""
        with self._lock:
            known = self._prefixes.setdefault(picture, [])
            self._prefixes.move_to_end(picture)
            replaced = [old for old in known[1:] if old.tokens == prefix.tokens[: len(old.tokens)]]
            for old in replaced:
                known.remove(old)
            known.append(prefix)
            self.nbytes += prefix.nbytes - sum(old.nbytes for old in replaced)
            while self.nbytes > self.max_bytes:
                _, dropped = self._prefixes.popitem(last=False)
                self.nbytes -= sum(each.nbytes for each in dropped)

    def clear(self) -> None:
        with self._lock:
            self._prefixes.clear()
            self.nbytes = 0

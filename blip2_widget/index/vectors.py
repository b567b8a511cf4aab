"""An exact search of vectors that reads few bytes of each.

A search by one vector does two operations on each number that it reads, so it takes as long as
reading takes. Beside the vectors, bytes are kept, and those are read: where most of the vectors'
length lies in few directions, as it does where a model has learned them, a byte for each of these
directions and one for how much lies in all others, by which Cauchy and Schwarz bound what those add
to a product; else a byte for each number. How far a product of bytes can be from the true one is
bounded, too, by what rounding left of every vector. Whatever could be among the nearest by these
bounds is then computed in full, in fp64. What is found is what a search of the vectors themselves,
as they are stored, would find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

#: Vectors that are rounded at a time while an index is made, and of which directions are learned;
#: and whose bytes are read at a time, so that what is made of their products stays in the cache.
_AT_A_TIME, _READ = 65_536, 1 << 20
#: The share of the vectors' squared length that the directions which are read have to hold. With
#: less, too many vectors are computed in full.
_HELD = 0.9
#: Directions are read by so many, less one for the length in the others: fewer take as long.
_BLOCK = 64
#: The rows that seem nearest are computed before others, so many times as are asked for: they say
#: how near the others have to be.
_FIRST = 4
#: What rounding to bf16 changes at most, as a share; and to fp32, for each term of a sum.
_BF16 = 2.0**-8
_FP32 = 2.0**-23
#: The product reads so many numbers at once, and past the end of a vector that has not a multiple.
_ALIGNED = 32


@dataclass(frozen=True)
class Found:
    """The nearest rows, nearest first, and their scores."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class VectorIndex:
    """Rows of one or more vectors each. A row's score for a vector that is asked for is the
    largest of its own vectors' inner products with it: of unit vectors, the cosine of the nearest.
    """

    def __init__(self, vectors: NDArray[Any], between: Callable[[], None] = lambda: None) -> None:
        """`vectors` (rows, vectors a row, size) in fp16 or fp32 are not copied, and may be mapped
        from a file: only those that could be the nearest, as a rule fewer than one of a hundred,
        are read again. `between` is called between two parts of the vectors; what it raises
        ends this."""
        import torch

        if vectors.ndim != 3 or vectors.dtype not in (np.float16, np.float32):
            raise ValueError(
                "vectors must be (rows, vectors a row, size) in float16 or float32, not "
                f"{vectors.shape} in {vectors.dtype}"
            )
        self._vectors = vectors
        rows, each, size = vectors.shape
        flat = vectors.reshape(rows * each, size)
        self._directions, self._count = _directions(flat)
        width = min(self._count + 1, size)
        self._bytes = torch.zeros(len(flat), -(-width // _ALIGNED) * _ALIGNED, dtype=torch.int8)
        self._scales = torch.empty(len(flat), dtype=torch.bfloat16)
        self._error = self._longest = 0.0
        for start in range(0, len(flat), _AT_A_TIME):
            between()
            some = slice(start, start + _AT_A_TIME)
            self._round(some, self._shortened(torch.from_numpy(flat[some].astype(np.float32))))

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def nbytes(self) -> int:
        """Bytes that the index holds beside the vectors, all of which a search reads."""
        return int(self._bytes.nbytes + self._scales.nbytes)

    def search(self, vector: NDArray[Any], count: int) -> Found:
        """The `count` rows with the largest scores, fewer where there are fewer. Rows whose scores
        are the same in fp32 come in their order.

        ValueError where `vector` (size,) is of another size.
        """
        import torch

        rows, each, size = self._vectors.shape
        if vector.shape != (size,):
            raise ValueError(f"the index holds vectors of {size} numbers, not {vector.shape}")
        count = min(count, rows)
        if not count:
            return Found(np.empty(0, np.int64), np.empty(0, np.float32))
        exact = torch.from_numpy(vector.astype(np.float64))
        products, of_row, bound = self._rough(self._shortened(exact.float()[None])[0])
        seem_best = of_row.topk(min(_FIRST * count, rows)).indices
        scores = self._products(exact, (seem_best[:, None] * each + torch.arange(each)).view(-1))
        # What is less than the last of the nearest so far, even in fp32, is no candidate.
        last = scores.view(-1, each).amax(dim=1).topk(count).values[-1]
        least = float(np.nextafter(np.float32(last), np.float32(-np.inf))) - bound
        near = (of_row >= least).nonzero()[:, 0]
        row, place = (products[near].float() >= least).nonzero().unbind(dim=1)
        left = near[row] * each + place
        scores = self._products(exact, left)
        candidates, of = torch.unique_consecutive(left // each, return_inverse=True)
        best = torch.full(candidates.shape, -torch.inf).scatter_reduce(0, of, scores, "amax")
        order = best.argsort(descending=True, stable=True)[:count]
        return Found(candidates[order].numpy(), best[order].numpy())

    def _shortened(self, vectors: torch.Tensor) -> torch.Tensor:
        """Of vectors (number, size) what lies in the directions that are read, and the length of
        what lies in others: the product of two such is at least that of the vectors."""
        import torch

        kept, others = (vectors @ self._directions).tensor_split([self._count], dim=1)
        return torch.cat([kept, others.norm(dim=1, keepdim=True)], 1) if others.numel() else kept

    def _round(self, some: slice, vectors: torch.Tensor) -> None:
        """Keep vectors as bytes, and what that may make of their products."""
        import torch

        scales = (vectors.abs().amax(dim=1) / 127).clamp(min=1e-12).bfloat16()
        step = scales.float()[:, None]
        rounded = (vectors / step).round().clamp(-127, 127)
        self._bytes[some, : vectors.shape[1]] = rounded.to(torch.int8)
        self._scales[some] = scales
        kept = rounded * step
        self._error = max(self._error, float((vectors - kept).norm(dim=1).max()))
        self._longest = max(self._longest, float(kept.norm(dim=1).max()))

    def _rough(self, asked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
        """The products of all vectors with one, by bytes, as (rows, vectors a row) in bf16; the
        largest of each row; and how much more one may be than it seems."""
        import torch
        from torch.nn.functional import pad

        rows, each, size = self._vectors.shape
        exact = pad(asked, (0, self._bytes.shape[1] - len(asked)))
        read = exact.bfloat16()
        products, of_row = torch.empty(rows, each, dtype=torch.bfloat16), torch.empty(rows)
        largest = 0.0
        for start in range(0, rows, step := max(_READ // each, 1)):
            some = slice(start * each, (start + step) * each)
            found = torch._weight_int8pack_mm(read[None], self._bytes[some], self._scales[some])
            products[start : start + step] = found.view(-1, each)
            # In fp32, of which torch takes the largest five times as fast.
            wide = found.float().view(-1, each)
            of_row[start : start + step] = wide.amax(dim=1)
            largest = max(largest, *(abs(float(end)) for end in wide.aminmax()))
        length, lost = float(exact.norm()), float((exact - read.float()).norm())
        # By Cauchy and Schwarz; the kernel sums in fp32 and rounds the sum to bf16.
        bound = self._error * length + self._longest * lost + _BF16 * largest
        # What fp32 makes of sums, here and where the vectors were turned.
        return products, of_row, bound + 4 * _FP32 * size * self._longest * length

    def _products(self, exact: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        """The products of some vectors with one, by their numbers, in fp32."""
        import torch

        each = self._vectors.shape[1]
        found = torch.empty(len(which))
        for start in range(0, len(which), _AT_A_TIME):
            some = which[start : start + _AT_A_TIME].numpy()
            vectors = torch.from_numpy(np.asarray(self._vectors[some // each, some % each]))
            # In fp64, so that equal vectors score the same wherever they stand.
            found[start : start + _AT_A_TIME] = vectors.double() @ exact
        return found


def _directions(vectors: NDArray[Any]) -> tuple[torch.Tensor, int]:
    """Directions (size, size) at right angles to each other, those first that hold most of the
    length of vectors (number, size), and how many hold enough of it to be the only ones that are
    read: all, where half of them would not."""
    import torch

    size = vectors.shape[1]
    sample = torch.from_numpy(vectors[:: len(vectors) // _AT_A_TIME + 1].astype(np.float32))
    held, directions = torch.linalg.eigh((sample.T @ sample).double())
    held = held.flip(0).cumsum(0)
    counts = range(_BLOCK - 1, size // 2, _BLOCK)
    count = next((each for each in counts if held[each - 1] >= _HELD * held[-1]), size)
    return directions.flip(1).float().contiguous(), count

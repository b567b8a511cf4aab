"""An exact search of vectors that reads few bytes of each.

A search by one vector does two operations on each number that it reads, so it takes as long as
reading takes. Beside the vectors, bytes are kept, and those are read: where most of the vectors'
length lies in few directions, as it does where a model has learned them, a byte for each of these
directions and one for how much lies in all others, by which Cauchy and Schwarz bound what those add
to a product; else a byte for each number. How far a product with them can be below the true one is
bounded, too, by what rounding left of every vector. Whatever could be among the nearest by these
bounds is then computed in full, in fp64. What is found is what a search of the vectors themselves,
as they are stored, would find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

#: Vectors that are rounded at a time while an index is made, and of which directions are learned.
_AT_A_TIME = 65_536
#: The share of the vectors' squared length that the directions which are kept have to hold. With
#: less, too many vectors are left to be computed in full.
_HELD = 0.9
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

    def __init__(self, vectors: NDArray[Any]) -> None:
        """`vectors` (rows, vectors a row, size) in fp16 or fp32 are not copied, and may be mapped
        from a file: only those that could be the nearest are read again."""
        import torch

        if vectors.ndim != 3 or vectors.dtype not in (np.float16, np.float32):
            raise ValueError(
                "vectors must be (rows, vectors a row, size) in float16 or float32, not "
                f"{vectors.shape} in {vectors.dtype}"
            )
        self._vectors = vectors
        rows, each, size = vectors.shape
        flat = vectors.reshape(rows * each, size)
        self._directions = _leading(flat)
        width = size if self._directions is None else self._directions.shape[1] + 1
        self._bytes = torch.zeros(rows * each, -(-width // _ALIGNED) * _ALIGNED, dtype=torch.int8)
        self._scales = torch.empty(rows * each, dtype=torch.bfloat16)
        self._error = self._longest = 0.0
        for start in range(0, rows * each, _AT_A_TIME):
            some = slice(start, start + _AT_A_TIME)
            self._round(some, torch.from_numpy(flat[some].astype(np.float32)))

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
        rows, each, size = self._vectors.shape
        if vector.shape != (size,):
            raise ValueError(f"the index holds vectors of {size} numbers, not {vector.shape}")
        count = min(count, rows)
        if not count:
            return Found(np.empty(0, np.int64), np.empty(0, np.float32))
        asked = vector.astype(np.float32)
        most = self._at_most(asked).view(rows, each)
        of_row = most.amax(dim=1)
        first = of_row.topk(min(_FIRST * count, rows)).indices.numpy()
        scores = self._products(np.repeat(first, each), np.tile(np.arange(each), len(first)), asked)
        least = np.partition(scores.reshape(-1, each).max(axis=1), -count)[-count]
        # What is less than that by as little as fp32 can tell, and more, is no candidate.
        least = float(np.nextafter(least, np.float32(-np.inf)))
        left = (of_row >= least).nonzero()[:, 0]
        places, columns = (most[left] >= least).nonzero().numpy().T
        candidates, starts = np.unique(left.numpy()[places], return_index=True)
        scores = self._products(left.numpy()[places], columns, asked)
        scores = np.maximum.reduceat(scores, starts)
        order = np.argsort(-scores, kind="stable")[:count]
        return Found(candidates[order], scores[order])

    def _round(self, some: slice, vectors: torch.Tensor) -> None:
        """Keep vectors as bytes, and what that may make of their products."""
        import torch

        kept = vectors
        if self._directions is not None:
            kept = vectors @ self._directions
            others = (vectors - kept @ self._directions.T).norm(dim=1, keepdim=True)
            kept = torch.cat([kept, others], dim=1)
        # In bf16 a scale may come out smaller, by less than this is larger.
        scales = (kept.abs().amax(dim=1) * (1.01 / 127)).clamp(min=1e-12).bfloat16()
        step = scales.float()[:, None]
        rounded = (kept / step).round()
        if self._directions is not None:
            rounded[:, -1:] = (others / step).ceil()  # of a bound, never less
        self._bytes[some, : kept.shape[1]] = rounded.to(torch.int8)
        self._scales[some] = scales
        lost = (kept - rounded * step)[:, : None if self._directions is None else -1]
        self._error = max(self._error, float(lost.norm(dim=1).max()))
        self._longest = max(self._longest, float((rounded * step).norm(dim=1).max()))

    def _at_most(self, asked: NDArray[np.float32]) -> torch.Tensor:
        """What the product of each vector with one is at most, in fp32."""
        import torch
        from torch.nn.functional import pad

        exact = torch.from_numpy(asked)
        length = float(exact.norm())
        if self._directions is not None:
            kept = exact @ self._directions
            others = (exact - self._directions @ kept).norm()
            exact = torch.cat([kept, others[None]])
        exact = pad(exact, (0, self._bytes.shape[1] - len(exact)))
        read = exact.bfloat16()
        products = torch._weight_int8pack_mm(read[None], self._bytes, self._scales)[0].float()
        lost = float((exact - read.float()).norm())
        largest = max(abs(float(each)) for each in products.aminmax())
        # By Cauchy and Schwarz; the kernel sums in fp32 and rounds the sum to bf16.
        bound = self._error * length + self._longest * lost + _BF16 * largest
        # What fp32 makes of these sums, of the directions and of what lies in them.
        bound += 4 * _FP32 * len(asked) * self._longest * length
        return products.add_(bound)

    def _products(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], asked: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The products of some vectors with one, by the rows and the places that they stand in."""
        import torch

        exact = torch.from_numpy(asked).double()
        found = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _AT_A_TIME // 4):
            some = slice(start, start + _AT_A_TIME // 4)
            vectors = torch.from_numpy(np.asarray(self._vectors[rows[some], columns[some]]))
            # In fp64, so that equal vectors score the same wherever they stand.
            found[some] = (vectors.double() @ exact).numpy()
        return found


def _leading(vectors: NDArray[Any]) -> torch.Tensor | None:
    """The directions (size, directions) that hold enough of the length of vectors (number, size),
    where these are fewer than half of all; else None."""
    import torch

    size = vectors.shape[1]
    sample = torch.from_numpy(vectors[:: len(vectors) // _AT_A_TIME + 1].astype(np.float32))
    held, directions = torch.linalg.eigh((sample.T @ sample).double())
    held = held.flip(0).cumsum(0)
    for count in range(_ALIGNED - 1, size // 2, _ALIGNED):  # and a byte for the others
        if held[count - 1] >= _HELD * held[-1]:
            return directions.flip(1)[:, :count].float().contiguous()
    return None

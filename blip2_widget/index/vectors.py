"""An exact search of vectors that reads a byte a number, and little else.

A search by one vector does two operations on each number that it reads, so it takes as long as
reading takes. Vectors are therefore kept once more with a byte a number, and those bytes are read.
How far a product with them can be from the true one is bounded, by what rounding left of every
vector; whatever could be among the nearest by that bound is then computed in full, in fp64. What is
found is what a search of the vectors themselves, as they are stored, would find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

#: Vectors that are rounded at a time while an index is made.
_AT_A_TIME = 65_536
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
        from a file: only the rows that could be among the nearest are read again."""
        import torch

        if vectors.ndim != 3 or vectors.dtype not in (np.float16, np.float32):
            raise ValueError(
                "vectors must be (rows, vectors a row, size) in float16 or float32, not "
                f"{vectors.shape} in {vectors.dtype}"
            )
        self._vectors = vectors
        rows, each, size = vectors.shape
        self._bytes = torch.zeros(rows * each, -(-size // _ALIGNED) * _ALIGNED, dtype=torch.int8)
        self._scales = torch.empty(rows * each, dtype=torch.bfloat16)
        self._error = self._longest = 0.0
        flat = vectors.reshape(rows * each, size)
        for start in range(0, rows * each, _AT_A_TIME):
            some = slice(start, start + _AT_A_TIME)
            self._round(some, torch.from_numpy(flat[some].astype(np.float32)))

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def nbytes(self) -> int:
        """Bytes that the index holds beside the vectors."""
        return int(self._bytes.nbytes + self._scales.nbytes)

    def search(self, vector: NDArray[Any], count: int) -> Found:
        """The `count` rows with the largest scores, fewer where there are fewer. Rows whose scores
        are the same in fp32 come in their order.

        ValueError where `vector` (size,) is of another size.
        """
        rows, each, size = self._vectors.shape
        if vector.shape != (size,):
            raise ValueError(f"the index holds vectors of {size} numbers, not {vector.shape}")
        asked = vector.astype(np.float32)
        count = min(count, rows)
        if not count:
            return Found(np.empty(0, np.int64), np.empty(0, np.float32))
        rough, bound = self._rough(asked)
        best = rough.view(rows, each).amax(dim=1).float()
        # Of the rows that are best by the bytes, even the last is at least `bound` less than it
        # seems; a row that seems less than that by another `bound` cannot be before it.
        least = best.topk(count).values[-1] - 2 * bound
        candidates = (best >= least).nonzero()[:, 0].numpy()
        # In fp64, so that equal vectors score the same wherever they stand among the candidates.
        vectors = self._vectors[candidates].astype(np.float64)
        scores = (vectors @ asked.astype(np.float64)).max(axis=1).astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:count]
        return Found(candidates[order], scores[order])

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

    def _rough(self, asked: NDArray[np.float32]) -> tuple[torch.Tensor, float]:
        """The products of all vectors, as bytes, with one; and how far one may be from the true."""
        import torch
        from torch.nn.functional import pad

        exact = pad(torch.from_numpy(asked), (0, self._bytes.shape[1] - len(asked)))
        read = exact.bfloat16()
        products = torch._weight_int8pack_mm(read[None], self._bytes, self._scales)[0]
        length, lost = float(exact.norm()), float((exact - read.float()).norm())
        largest = float(products.abs().amax())
        # By Cauchy and Schwarz; the kernel sums in fp32 and rounds the sum to bf16.
        bound = self._error * length + self._longest * lost + _BF16 * largest
        return products, bound + _FP32 * len(asked) * self._longest * length

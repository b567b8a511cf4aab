"""The index finds what computing everything in full finds, whatever the vectors are like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blip2_widget.index import VectorIndex


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: NDArray[Any] = (vectors / lengths).astype(np.float16)
    return found


def scattered(rng: np.random.Generator, rows: int, each: int, size: int) -> NDArray[Any]:
    return unit(rng.standard_normal((rows, each, size)))


def narrow(rng: np.random.Generator, rows: int, each: int, size: int) -> NDArray[Any]:
    """All nearly alike: bytes alone cannot tell which is nearest."""
    centre = rng.standard_normal(size)
    return unit(centre + 0.01 * rng.standard_normal((rows, each, size)))


def spiky(rng: np.random.Generator, rows: int, each: int, size: int) -> NDArray[Any]:
    """A few with one large number, beside which a byte says little of the others."""
    vectors = rng.standard_normal((rows, each, size))
    vectors[::50, :, 0] = 100
    return unit(vectors)


def learned(rng: np.random.Generator, rows: int, each: int, size: int) -> NDArray[Any]:
    """Most of their length lies in few directions, which are no axes, and a row's are alike."""
    spread = np.arange(1, size + 1) ** -0.8
    turn = np.linalg.qr(rng.standard_normal((size, size)))[0]
    alike = rng.standard_normal((rows, 1, size)) + 0.7 * rng.standard_normal((rows, each, size))
    return unit((0.5 * np.eye(size)[0] + alike * spread) @ turn)


def flat(rng: np.random.Generator, rows: int, each: int, size: int) -> NDArray[Any]:
    """All in one direction, or against it, and some nothing at all."""
    lengths = rng.integers(-2, 3, (rows, each, 1)) / 2
    found: NDArray[Any] = (lengths * unit(rng.standard_normal(size))).astype(np.float16)
    return found


def long(rng: np.random.Generator, rows: int, each: int, size: int) -> NDArray[Any]:
    """One beside which all others are short: what it loses counts for all, and most directions
    hold next to nothing of it."""
    vectors = learned(rng, rows, each, size)
    vectors[rows // 2, -1] *= 200
    return vectors


def repeated(rng: np.random.Generator, rows: int, each: int, size: int) -> NDArray[Any]:
    """Every row many times: the first of equal ones come first."""
    return np.tile(scattered(rng, rows // 25, each, size), (25, 1, 1))


def in_full(vectors: NDArray[Any], asked: NDArray[Any], count: int) -> NDArray[np.int64]:
    scores = (vectors.astype(np.float64) @ asked.astype(np.float64)).max(axis=1)
    order: NDArray[np.int64] = np.argsort(-scores.astype(np.float32), kind="stable")
    return order[:count]


@pytest.mark.parametrize("kind", [scattered, narrow, spiky, learned, flat, long, repeated])
@pytest.mark.parametrize(
    ("rows", "each", "size"),
    [(5000, 1, 256), (1000, 8, 256), (300, 32, 256), (75, 3, 256), (500, 2, 100)],
)
def test_what_is_found_is_exact(kind: Any, rows: int, each: int, size: int) -> None:
    rng = np.random.default_rng(rows)
    vectors = kind(rng, rows, each, size)
    index = VectorIndex(vectors)
    for asked in (*unit(rng.standard_normal((5, size))), vectors[7, 0]):
        found = index.search(asked, 20)
        assert found.rows.tolist() == in_full(vectors, asked, 20).tolist()
        assert found.scores.tolist() == sorted(found.scores, reverse=True)
    if kind not in (flat, long):  # the last is one of them
        assert found.scores[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("outside", [0, 0.5, 1])
def test_a_query_may_lie_in_other_directions(outside: float) -> None:
    """Texts are not where pictures are: what the directions leave out then decides."""
    rng = np.random.default_rng(5)
    vectors = learned(rng, 2000, 8, 256)
    directions = np.linalg.svd(vectors.reshape(-1, 256).astype(float), full_matrices=False)[2]
    index = VectorIndex(vectors)
    for _ in range(5):
        weights = rng.standard_normal(256) * np.where(np.arange(256) < 31, 1 - outside, outside)
        asked = unit(weights @ directions)
        assert index.search(asked, 20).rows.tolist() == in_full(vectors, asked, 20).tolist()


@pytest.mark.parametrize(
    ("kind", "each", "held", "most"), [(scattered, 1, 256, 400), (learned, 8, 32, 8_000)]
)
def test_most_vectors_are_read_as_bytes_only(kind: Any, each: int, held: int, most: int) -> None:
    """The bounds have to be tight enough to leave few vectors to compute in full, and where there
    are leading directions fewer bytes than numbers have to do."""
    rng = np.random.default_rng(0)
    vectors = kind(rng, 20_000, each, 256)
    read = [0]

    class Counting(np.ndarray[Any, Any]):
        def __getitem__(self, key: Any) -> Any:
            if isinstance(key, tuple):
                read[-1] += len(key[0])
            return super().__getitem__(key)

    index = VectorIndex(vectors.view(Counting))
    assert index.nbytes == 20_000 * each * (held + 2)
    for asked in unit(rng.standard_normal((10, 256)) if held == 256 else vectors[:10, 0] + 0.0):
        read.append(0)
        index.search(asked, 20)
    assert 20 <= max(read) < most


def test_vectors_may_be_mapped_from_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vectors = scattered(rng, 300, 2, 256)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    asked = vectors[123, 1]
    assert VectorIndex(mapped).search(asked, 3).rows[0] == 123


def test_fewer_rows_than_asked_for_and_none() -> None:
    rng = np.random.default_rng(2)
    vectors = scattered(rng, 5, 1, 64)
    assert sorted(VectorIndex(vectors).search(vectors[0, 0], 20).rows) == [0, 1, 2, 3, 4]
    empty = VectorIndex(vectors[:0])
    assert len(empty) == 0 and len(empty.search(vectors[0, 0], 20).rows) == 0


def test_a_row_of_nothing_scores_nothing() -> None:
    rng = np.random.default_rng(3)
    vectors = scattered(rng, 4, 1, 64)
    vectors[2] = 0
    found = VectorIndex(vectors).search(-vectors[[0, 1, 3], 0].mean(axis=0), 4)
    assert 2 in found.rows and found.scores[found.rows.tolist().index(2)] == 0


def test_sizes_must_agree() -> None:
    vectors = scattered(np.random.default_rng(4), 5, 1, 64)
    with pytest.raises(ValueError, match="vectors of 64 numbers"):
        VectorIndex(vectors).search(np.ones(32), 1)
    with pytest.raises(ValueError, match="in float16 or float32"):
        VectorIndex(vectors.astype(np.float64))

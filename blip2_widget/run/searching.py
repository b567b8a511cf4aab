"""The pictures of a column that are nearest to a text or to another picture.

Vectors of the pictures last searched stay in memory, so that a second search among them computes
the vector of what is searched for and nothing else.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from blip2_widget.index import VectorIndex
from blip2_widget.model import Between, RetrievalEngine, pooled, similarity
from blip2_widget.run.measures import Aid, AnyEngine, Measure

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

#: Of so many pictures nearest to a text, matching says which are the best: on the demo checkpoint
#: that puts the right one first 6 points more often.
RERANKED = 16
#: Columns whose vectors stay in memory.
_KEPT = 2
#: Pictures whose vectors are averaged at a time.
_AT_A_TIME = 4096


@dataclass(frozen=True)
class Query:
    """What is searched for: a text, or a picture in RGB."""

    text: str | None = None
    picture: Image | None = None


@dataclass(frozen=True)
class Vectors:
    """Pictures' vectors (pictures, query tokens, size) in fp16, each of length 1, and the rows that
    the pictures have in their column."""

    rows: Sequence[int]
    vectors: NDArray[np.float16]

    _indexes: dict[str, VectorIndex] = field(default_factory=dict, init=False, compare=False)

    def near_texts(self, between: Between) -> VectorIndex:
        """Finds a picture by the nearest of its vectors; made once. `between` is called while it is
        made, and what it raises ends that."""
        if "texts" not in self._indexes:
            self._indexes["texts"] = VectorIndex(self.vectors, between)
        return self._indexes["texts"]

    def near_pictures(self, between: Between) -> VectorIndex:
        """The same by the mean of its vectors."""
        import numpy as np
        import torch

        if "pictures" not in self._indexes:
            count, _, size = self.vectors.shape
            means = np.empty((count, 1, size), np.float16)
            for start in range(0, count, _AT_A_TIME):
                between()
                some = torch.from_numpy(self.vectors[start : start + _AT_A_TIME]).float()
                means[start : start + _AT_A_TIME, 0] = pooled(some).numpy()
            self._indexes["pictures"] = VectorIndex(means, between)
        return self._indexes["pictures"]


class KeptVectors:
    """The vectors of the columns last searched, by what they are computed from."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, Vectors] = OrderedDict()

    def get(self, name: str) -> Vectors | None:
        if name in self._of:
            self._of.move_to_end(name)
        return self._of.get(name)

    def put(self, name: str, vectors: Vectors) -> None:
        """Keep these; those that were asked for longest ago go."""
        self._of[name] = vectors
        self._of.move_to_end(name)
        while len(self._of) > _KEPT:
            self._of.popitem(last=False)

    def clear(self) -> None:
        self._of.clear()


class Searching(Measure):
    """How near pictures are to a query, and which of them are the nearest."""

    needs_model = True  # for what is searched for

    def __init__(
        self,
        *args: Any,
        query: Query,
        count: int,
        rerank: bool,
        rows: int,
        kept: KeptVectors,
        **options: Any,
    ) -> None:
        """The `count` nearest of `rows` rows are found. With `rerank` the first for a text come in
        the order of how well it matches them."""
        super().__init__(*args, **options)
        self._query, self._count = query, count
        self._reranks = rerank and query.text is not None
        self._rows, self._kept = rows, kept
        self._asked: torch.Tensor | None = None
        self._base: Vectors | None = None
        #: Room for every row's vectors, filled in the order of `_new_rows`.
        self._new: NDArray[np.float16] | None = None
        self._new_rows: list[int] = []
        self._is_finished = False
        #: The rows that are found, best first, once it is finished.
        self.found: list[int] = []
        #: How near each row is: those measured so far, and in the end those that are found.
        self.nearness: dict[int, float] = {}
        #: The probability that the text fits, of the first that are found.
        self.matches: dict[int, float] = {}
        #: The place of each row that is found, from 1.
        self.ranks: dict[int, int] = {}

    @property
    def is_finished(self) -> bool:
        return self._is_finished

    def remembered(self, keys: Mapping[int, str]) -> set[int]:
        if self._refresh or not keys:
            return set()
        self._base = self._kept.get(self._name(keys))
        return set(self._base.rows) if self._base else set()

    def prepared(self, keys: Mapping[int, str]) -> set[int]:
        if self._refresh:
            return set()
        names = {row: self._features_key(key) for row, key in keys.items()}
        stored = self._store.has_features(list(names.values()))
        return {row for row, name in names.items() if name in stored}

    def compute(self, engine: AnyEngine, keys: Mapping[int, str], aid: Aid) -> Mapping[int, str]:
        matching = cast("RetrievalEngine", engine)
        self._is_finished = False
        asked = self._vector(matching, aid)
        features = self._features(engine, dict.fromkeys(keys.values()), aid)
        rows_of: dict[str, list[int]] = {}
        for row, key in keys.items():
            rows_of.setdefault(key, []).append(row)
        done: set[str] = set()

        def project(some: Sequence[str]) -> None:
            import torch

            vectors = matching.project(torch.stack([features[key] for key in some]))
            if self._query.text is None:
                near = pooled(vectors) @ asked
            else:
                near = similarity(vectors, asked[None])[:, 0]
            for at, key in enumerate(some):
                for row in rows_of[key]:
                    self._add(row, vectors[at])
                    self.nearness[row] = float(near[at])
            done.update(some)

        self._batches.run(
            list(features), project, lambda key: key not in done, aid.failed, lambda: None
        )
        return {}

    def finish(self, engine: AnyEngine, keys: Mapping[int, str], aid: Aid) -> None:
        matching = cast("RetrievalEngine", engine)
        asked = self._vector(matching, aid).numpy()
        vectors = self._vectors()
        order: list[int] = []
        if vectors is not None:
            if self._new is not None:
                self._kept.put(self._name({row: keys[row] for row in vectors.rows}), vectors)
            near = vectors.near_pictures if self._query.text is None else vectors.near_texts
            found = near(aid.between).search(
                asked, max(self._count, RERANKED if self._reranks else 0)
            )
            order = [vectors.rows[at] for at in found.rows]
            scores = found.scores.clip(-1, 1).tolist()  # in fp16 a length is only nearly 1
            self.nearness = dict(zip(order, scores, strict=True))
        if self._reranks:
            order = self._reranked(matching, order, keys, aid)
        self.found = order[: self._count]
        self.nearness = {row: self.nearness[row] for row in self.found}
        self.ranks = {row: at for at, row in enumerate(self.found, 1)}
        self._is_finished = True

    def _reranked(
        self, engine: RetrievalEngine, order: list[int], keys: Mapping[int, str], aid: Aid
    ) -> list[int]:
        """The rows with the first of them in the order of how well the text fits; those of which
        that cannot be said come behind these."""
        first, text = order[:RERANKED], self._query.text or ""
        fits = self._fits(engine, {keys[row]: [text] for row in first}, aid)
        matches = {row: fits[keys[row], text].match for row in first if (keys[row], text) in fits}
        first.sort(key=lambda row: -matches.get(row, -1.0))
        self.matches = {row: matches[row] for row in first[: self._count] if row in matches}
        return first + order[RERANKED:]

    def _vector(self, engine: RetrievalEngine, aid: Aid) -> torch.Tensor:
        """What is searched for, as a vector (size,)."""
        if self._asked is None:
            if self._query.text is not None:
                self._asked = engine.embed_texts([self._query.text], aid.between)[0]
            else:
                picture = cast("Image", self._query.picture)
                features = engine.embed_images([picture], aid.between)
                self._asked = pooled(engine.project(features))[0]
        return self._asked

    def _add(self, row: int, vectors: torch.Tensor) -> None:
        import numpy as np

        if self._new is None:
            self._new = np.empty((self._rows, *vectors.shape), np.float16)
        self._new[len(self._new_rows)] = vectors.half().numpy()
        self._new_rows.append(row)

    def _vectors(self) -> Vectors | None:
        """All there are, in the order of their rows; None for none."""
        import numpy as np

        if self._new is None:
            return self._base
        rows, vectors = list(self._new_rows), self._new[: len(self._new_rows)]
        if self._base is not None:
            rows = [*self._base.rows, *rows]
            vectors = np.concatenate([self._base.vectors, vectors])
        if rows != sorted(rows):
            order = np.argsort(rows)
            rows, vectors = [rows[at] for at in order], vectors[order]
        return Vectors(rows, vectors)

    def _name(self, keys: Mapping[int, str]) -> str:
        """What vectors of these pictures are kept under."""
        import numpy as np

        rows = sorted(keys)
        digest = hashlib.sha256(f"{self._located.identity} {self._variant.vision}".encode())
        digest.update(np.asarray(rows, np.int64).tobytes())
        digest.update("".join([keys[row] for row in rows]).encode())
        return digest.hexdigest()

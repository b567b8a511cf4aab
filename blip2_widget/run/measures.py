"""What is measured of pictures: their features, and how well texts fit them.

A measure knows pictures by their rows and keys, and computes each distinct one once. What it has
computed is stored as soon as it is there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from blip2_widget.errors import Blip2Error
from blip2_widget.model import (
    Between,
    Engine,
    Located,
    RetrievalEngine,
    Variant,
    give_memory_back,
    pooled,
    similarity,
)
from blip2_widget.run.answers import PREPROCESSING
from blip2_widget.run.halving import Halving
from blip2_widget.run.keeping import Keeping
from blip2_widget.run.worker import wait_for
from blip2_widget.store import Store, StoredAnswer, answer_key, features_key

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    #: A picture as an engine takes it: in RGB, or prepared for the image encoder.
    Opened = Image | NDArray[np.float32]

#: Either kind of checkpoint has features; only those that match judge texts.
AnyEngine = Engine | RetrievalEngine

#: What is stored of a picture and a text is known by these, beside answers, which have settings of
#: generation here.
_JUDGED = {"kind": "match"}
_MULTIMODAL = {"kind": "multimodal"}


class Fit(NamedTuple):
    """How well a text fits a picture: `match` is the model's probability that it does, from 0 to 1,
    `similarity` the cosine of both sides' nearest vectors, from -1 to 1."""

    match: float
    similarity: float


@dataclass(frozen=True)
class Aid:
    """What a measure needs from whoever lets it compute: `opened` opens the picture of a key, in
    another thread, and `failed` hears of a picture that costs its rows; `between` is called between
    the layers of the model, and while a picture is waited for."""

    opened: Callable[[str], Future[Opened]]
    failed: Callable[[str, Exception], None]
    between: Between


class Measure:
    """One thing that is measured of every picture, with one checkpoint in one variant."""

    #: Whether the model is needed even where everything about the pictures is stored.
    needs_model = False

    def __init__(
        self, located: Located, variant: Variant, store: Store, *, refresh: bool = False
    ) -> None:
        """With `refresh` what is stored is not read, only replaced."""
        self._located = located
        self._variant = variant
        self._store = store
        self._refresh = refresh
        self._keeping = Keeping(store)
        self._batches = Halving(1)

    def set_batch_size(self, pictures: int) -> None:
        """How many pictures to compute at a time, from now on."""
        self._batches = Halving(pictures)

    @property
    def at_a_time(self) -> int:
        """How many pictures are computed at a time."""
        return self._batches.most

    def stored(self, _keys: Mapping[int, str]) -> set[int]:
        """Take what the store has of these pictures, by row; returns the rows of which nothing is
        left to compute."""
        return set()

    def remembered(self, _keys: Mapping[int, str]) -> set[int]:
        """The same of what this process has in memory of all pictures that are known."""
        return set()

    def prepared(self, _keys: Mapping[int, str]) -> set[int]:
        """The rows for which the store has what takes long to compute, if not all."""
        return set()

    def compute(self, engine: AnyEngine, keys: Mapping[int, str], aid: Aid) -> Mapping[int, str]:
        """Measure what is left; returns what is wrong with the rows that no picture is to blame
        for. Raises Cancelled where `aid.between` does, Blip2Error where nothing can be measured."""
        raise NotImplementedError

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to be done once every row has had its turn."""
        return True

    def finish(self, engine: AnyEngine, keys: Mapping[int, str], aid: Aid) -> None:
        """Do what there is to be done then. Raises as `compute`."""

    def finish_aside(self, _done: Callable[[], None]) -> str:
        """Begin what there is to be done then without a model, on a thread of its own, which calls
        `done`; returns what that is in a few words, empty where it is nothing."""
        return ""

    def _features(
        self, engine: AnyEngine, image_keys: Iterable[str], aid: Aid
    ) -> dict[str, torch.Tensor]:
        """Each picture's (query tokens, width), stored or computed; without those that failed."""
        wanted = {self._features_key(key): key for key in image_keys}
        stored = {} if self._refresh else self._keeping.features(list(wanted))
        found = {wanted[key]: features for key, features in stored.items()}
        missing = [key for key in wanted.values() if key not in found]

        def encode(keys: Sequence[str], pictures: Sequence[Opened]) -> None:
            if isinstance(engine, RetrievalEngine):
                encoded = engine.embed_images(pictures, aid.between)
            else:
                encoded = engine.encode(pictures, aid.between)
            new = dict(zip(keys, encoded, strict=True))
            self._put_features(new)
            found.update(new)

        self._with_pictures(engine, missing, aid, encode)
        return found

    def _fits(
        self, engine: RetrievalEngine, wanted: Mapping[str, Collection[str]], aid: Aid
    ) -> dict[tuple[str, str], Fit]:
        """How well texts, by the keys of their pictures, fit them; without what failed."""
        found = self._stored_fits((key, text) for key, texts in wanted.items() for text in texts)
        left = {
            key: [text for text in texts if (key, text) not in found]
            for key, texts in wanted.items()
        }
        left = {key: texts for key, texts in left.items() if texts}

        def judge(keys: Sequence[str], pictures: Sequence[Opened]) -> None:
            began = time.monotonic()
            seen = engine.see(pictures, aid.between)
            pairs = [(at, text) for at, key in enumerate(keys) for text in left[key]]
            texts = list(dict.fromkeys(text for _, text in pairs))
            vectors = engine.project(self._features_of(engine, keys, seen, aid.between))
            near = similarity(vectors, engine.embed_texts(texts, aid.between))
            place = {text: at for at, text in enumerate(texts)}
            new: dict[tuple[str, str], Fit] = {}
            for some in self._pieces(pairs):
                matches = engine.match(
                    seen[[at for at, _ in some]], [text for _, text in some], aid.between
                )
                for (at, text), match in zip(some, matches, strict=True):
                    new[keys[at], text] = Fit(match, float(near[at, place[text]]))
            self._store_fits(new, (time.monotonic() - began) / len(pairs))
            found.update(new)

        self._with_pictures(engine, left, aid, judge)
        return found

    def _with_pictures(
        self,
        engine: AnyEngine,
        keys: Iterable[str],
        aid: Aid,
        work: Callable[[Sequence[str], Sequence[Opened]], None],
    ) -> None:
        """Open pictures and call `work` with the keys of some and these, as many at a time as are
        computed, until it has ended once with each but those that failed."""
        opening = {key: aid.opened(key) for key in keys}
        done: set[str] = set()

        def do(some: Sequence[str]) -> None:
            work(some, [wait_for(opening[key], aid.between) for key in some])
            done.update(some)

        try:
            self._batches.run(
                list(opening), do, lambda key: key not in done, aid.failed, _room(engine)
            )
        finally:
            for future in opening.values():
                future.cancel()

    def _pieces(self, pairs: Sequence[tuple[int, str]]) -> Iterator[Sequence[tuple[int, str]]]:
        """As many at a time as there are pictures."""
        for start in range(0, len(pairs), self.at_a_time):
            yield pairs[start : start + self.at_a_time]

    def _features_of(
        self, engine: RetrievalEngine, keys: Sequence[str], seen: torch.Tensor, between: Between
    ) -> torch.Tensor:
        """The features of pictures that were seen just now: stored, or computed and stored."""
        import torch

        stored = (
            {} if self._refresh else self._keeping.features(list(map(self._features_key, keys)))
        )
        found = {key: stored.get(self._features_key(key)) for key in keys}
        missing = [at for at, key in enumerate(keys) if found[key] is None]
        if missing:
            computed = engine.features(seen[missing], between)
            new = dict(zip([keys[at] for at in missing], computed, strict=True))
            self._put_features(new)
            found.update(new)
        return torch.stack(list(found.values()))

    def _stored_fits(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Fit]:
        if self._refresh:
            return {}
        pair_of = {self._fit_key(*pair): pair for pair in pairs}

        def read(keys: Sequence[str]) -> dict[tuple[str, str], Fit]:
            stored = self._store.answers(keys)
            return {pair_of[key]: Fit(**json.loads(each.text)) for key, each in stored.items()}

        return self._keeping.read(read, list(pair_of))

    def _store_fits(self, fits: Mapping[tuple[str, str], Fit], seconds: float) -> None:
        stored = [
            StoredAnswer(
                key=self._fit_key(image_key, text),
                features_key=self._features_key(image_key),
                image_key=image_key,
                model=self._located.checkpoint.name,
                revision=self._located.commit,
                variant=self._variant.name,
                prompt=text,
                settings=dict(_JUDGED),
                text=json.dumps(fit._asdict()),
                logprob=math.log(fit.match) if fit.match else None,
                seconds=seconds,
            )
            for (image_key, text), fit in fits.items()
        ]
        self._keeping.keep(lambda: self._store.put_answers(stored))

    def _put_features(self, features: Mapping[str, torch.Tensor]) -> None:
        self._put({(self._features_key(key), key): each for key, each in features.items()})

    def _put(self, features: Mapping[tuple[str, str], torch.Tensor]) -> None:
        """Store features by their key and their picture's."""
        from blip2_widget.run.features import pack

        packed = [(*keys, pack(each)) for keys, each in features.items()]
        self._keeping.keep(lambda: self._store.put_features(packed))

    def _features_key(self, image_key: str) -> str:
        return features_key(
            image_key,
            checkpoint=self._located.identity,
            vision=self._variant.vision,
            preprocessing=PREPROCESSING,
        )

    def _fit_key(self, image_key: str, text: str) -> str:
        return self._pair_key(image_key, text, _JUDGED)

    def _pair_key(self, image_key: str, text: str, what: Mapping[str, str]) -> str:
        return answer_key(
            self._features_key(image_key),
            language=self._variant.language,
            prompt=text,
            settings=what,
            seed=None,
        )


class Embedding(Measure):
    """The Q-Former's features of pictures; of any checkpoint, unless they are projected."""

    def __init__(
        self, *args: Any, pooled: bool = False, projected: bool = False, **options: Any
    ) -> None:
        """`projected` makes them vectors to compare with those of texts. `pooled` keeps the mean
        over the query tokens alone, of projected ones with length 1 again."""
        super().__init__(*args, **options)
        self._pooled, self._projected = pooled, projected
        #: What was found, in fp32, by what it is stored under, and that of each row.
        self._of: dict[str, NDArray[np.float32]] = {}
        self._key_of: dict[int, str] = {}

    def array(self, rows: int) -> NDArray[np.float32]:
        """The features of so many rows, NaN where there are none. ValueError where no row has."""
        import numpy as np

        shape = next(iter(self._of.values()), None)
        if shape is None:
            raise ValueError("no row has features")
        found = np.full((rows, *shape.shape), np.nan, np.float32)
        for row, key in self._key_of.items():
            found[row] = self._of[key]
        return found

    def stored(self, keys: Mapping[int, str]) -> set[int]:
        if self._refresh or self._projected:  # which needs the model
            return set()
        wanted = {name: None for name in self._names(keys).values() if name not in self._of}
        self._take(self._keeping.features(list(wanted)))
        return self._settle(keys)

    def compute(self, engine: AnyEngine, keys: Mapping[int, str], aid: Aid) -> Mapping[int, str]:
        features = self._features(engine, dict.fromkeys(keys.values()), aid)
        if self._projected:
            features = self._projections(cast("RetrievalEngine", engine), features, aid)
        self._take({self._features_key(key): each for key, each in features.items()})
        self._settle(keys)
        return {}

    def _projections(
        self, engine: RetrievalEngine, features: Mapping[str, torch.Tensor], aid: Aid
    ) -> dict[str, torch.Tensor]:
        found = {}
        for key, each in features.items():
            try:
                found[key] = engine.project(each[None])[0]
            except Blip2Error as error:  # of this picture alone
                aid.failed(key, error)
        return found

    def _take(self, features: Mapping[str, torch.Tensor]) -> None:
        for name, each in features.items():
            of_one = each.float()
            if self._pooled:
                of_one = pooled(of_one[None])[0] if self._projected else of_one.mean(dim=0)
            self._of[name] = of_one.numpy()

    def _settle(self, keys: Mapping[int, str]) -> set[int]:
        settled = {row: name for row, name in self._names(keys).items() if name in self._of}
        self._key_of |= settled
        return set(settled)

    def _names(self, keys: Mapping[int, str]) -> dict[int, str]:
        """What each row's features are stored under."""
        return {row: self._features_key(key) for row, key in keys.items()}


class MultimodalEmbedding(Embedding):
    """The Q-Former's features of pictures that are each read together with a text, of a checkpoint
    that matches."""

    def __init__(self, *args: Any, texts: str | Sequence[str | None], **options: Any) -> None:
        """`texts` is the text of all rows, or has each row's, None where there is none."""
        super().__init__(*args, **options)
        self._texts = texts

    def compute(self, engine: AnyEngine, keys: Mapping[int, str], aid: Aid) -> Mapping[int, str]:
        matching = cast("RetrievalEngine", engine)
        text_of = {row: self._text(row) for row in keys}
        wrong = _wrong(matching, [text or "" for text in text_of.values()], [self._texts])
        texts_of: dict[str, dict[str, None]] = {}
        for row, text in text_of.items():
            if text is not None and text not in wrong:
                texts_of.setdefault(keys[row], {})[text] = None

        def read(some: Sequence[str], pictures: Sequence[Opened]) -> None:
            seen = matching.see(pictures, aid.between)
            pairs = [(at, text) for at, key in enumerate(some) for text in texts_of[key]]
            for piece in self._pieces(pairs):
                places, texts = [at for at, _ in piece], [text for _, text in piece]
                found = matching.multimodal_features(seen[places], texts, aid.between)
                new = {
                    (self._pair_key(some[at], text, _MULTIMODAL), some[at]): each
                    for (at, text), each in zip(piece, found, strict=True)
                }
                self._put(new)
                self._take({name: each for (name, _), each in new.items()})

        self._with_pictures(matching, texts_of, aid, read)
        self._settle(keys)
        return {
            row: "there is no text on this row" if text is None else wrong[text]
            for row, text in text_of.items()
            if text is None or text in wrong
        }

    def _text(self, row: int) -> str | None:
        return self._texts if isinstance(self._texts, str) else self._texts[row]

    def _names(self, keys: Mapping[int, str]) -> dict[int, str]:
        return {
            row: self._pair_key(key, text, _MULTIMODAL)
            for row, key in keys.items()
            if (text := self._text(row)) is not None
        }


class Matching(Measure):
    """How well each of some texts fits each picture, with a checkpoint that matches."""

    def __init__(self, *args: Any, texts: Sequence[str | Sequence[str]], **options: Any) -> None:
        """`texts` has each text, or what it is on each row."""
        super().__init__(*args, **options)
        self._texts = texts
        #: What was found of each text, by row.
        self.fits: list[dict[int, Fit]] = [{} for _ in texts]

    def stored(self, keys: Mapping[int, str]) -> set[int]:
        pairs = [(key, text) for row, key in keys.items() for text in self._of(row)]
        return self._settle(keys, self._stored_fits(pairs))

    def compute(self, engine: AnyEngine, keys: Mapping[int, str], aid: Aid) -> Mapping[int, str]:
        matching = cast("RetrievalEngine", engine)
        wrong = _wrong(matching, (text for row in keys for text in self._of(row)), self._texts)
        wanted: dict[str, dict[str, None]] = {}
        for row, key in keys.items():
            wanted.setdefault(key, {}).update(
                (text, None) for text in self._of(row) if text not in wrong
            )
        self._settle(keys, self._fits(matching, wanted, aid))
        return {
            row: wrong[text] for row in keys for text in reversed(self._of(row)) if text in wrong
        }

    def _of(self, row: int) -> list[str]:
        return [text if isinstance(text, str) else text[row] for text in self._texts]

    def _settle(self, keys: Mapping[int, str], fits: Mapping[tuple[str, str], Fit]) -> set[int]:
        settled = set(keys)
        for row, key in keys.items():
            for of_text, text in zip(self.fits, self._of(row), strict=True):
                fit = fits.get((key, text))
                if fit is None:
                    settled.discard(row)
                else:
                    of_text[row] = fit
        return settled


def _wrong(
    engine: RetrievalEngine, texts: Iterable[str], everywhere: Collection[object]
) -> dict[str, str]:
    """What is wrong with those texts that cannot be read. Raises Blip2Error where one of these
    stands `everywhere`."""
    wrong: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        try:
            engine.check(text)
        except Blip2Error as error:
            if text in everywhere:
                raise
            wrong[text] = str(error)
    return wrong


def _room(engine: AnyEngine) -> Callable[[], None]:
    return engine.make_room if isinstance(engine, Engine) else give_memory_back

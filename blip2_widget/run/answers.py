"""Answers to prompts about pictures: read from the store, or computed and put there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blip2_widget.errors import Blip2Error
from blip2_widget.model import Engine, GenerationSettings, Kind, Located, Variant, prompt_text
from blip2_widget.store import Store, StoredAnswer, answer_key, features_key

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_log = logging.getLogger(__name__)

#: Part of the features' key: how pixels are made ready. Change it when that changes.
PREPROCESSING = "blip-pil-1"


@dataclass(frozen=True)
class Wanted:
    """One answer: the picture, the whole prompt, and the keys that features and answer go by."""

    image_key: str
    prompt: str
    features_key: str
    key: str


class Answers:
    """What one model variant answers under one group of settings. Knows pictures by their keys.

    With `refresh` stored answers are not read, only replaced. What the `better` variants have
    stored is read as well.
    """

    def __init__(
        self,
        located: Located,
        variant: Variant,
        settings: GenerationSettings,
        store: Store,
        refresh: bool,
        better: Sequence[Variant] = (),
    ) -> None:
        self._located = located
        self._variant = variant
        self._better = better
        self._settings = settings
        self._store = store
        self._reads = settings.repeatable and not refresh
        self._warned = False

    def want(self, image_key: str, text: str, kind: Kind) -> Wanted:
        """The answer to a text about a picture, not yet looked up."""
        return self._wanted(image_key, prompt_text(text, kind, self._located.family), self._variant)

    def stored(self, wanted: Iterable[Wanted]) -> dict[Wanted, str]:
        """The answers that are in the store."""
        found: dict[Wanted, str] = {}
        if not self._reads:
            return found
        missing = list(dict.fromkeys(wanted))
        for variant in (self._variant, *self._better):
            keys = {self._wanted(w.image_key, w.prompt, variant).key: w for w in missing}
            answers = self._store.answers(list(keys))
            found |= {keys[key]: answer.text for key, answer in answers.items()}
            missing = [each for each in missing if each not in found]
        return found

    def _wanted(self, image_key: str, prompt: str, variant: Variant) -> Wanted:
        features = features_key(
            image_key,
            checkpoint=self._located.identity,
            vision=variant.vision,
            preprocessing=PREPROCESSING,
        )
        key = answer_key(
            features,
            language=variant.language,
            prompt=prompt,
            settings=self._settings.stored_as(),
            seed=self._settings.seed if self._settings.samples else None,
        )
        return Wanted(image_key, prompt, features, key)

    def compute(
        self,
        engine: Engine,
        wanted: Iterable[Wanted],
        pixels: Callable[[str], Image],
        cancel: threading.Event,
    ) -> dict[Wanted, str]:
        """Compute each distinct answer once and store it, with the features it needed.

        `pixels` opens the picture of an image key; it is called only for pictures whose features
        are not stored. Raises Cancelled soon after `cancel` is set, and whatever `pixels` raises.
        """
        import torch

        distinct = list(dict.fromkeys(wanted))
        features = self._features(engine, distinct, pixels)
        began = time.monotonic()
        batch = torch.stack([features[each.features_key] for each in distinct])
        prompts = [each.prompt for each in distinct]
        generated = engine.generate(batch, prompts, self._settings, cancel)
        seconds = (time.monotonic() - began) / len(distinct)
        texts = {each: answer.text for each, answer in zip(distinct, generated, strict=True)}
        if self._settings.repeatable:
            stored = [
                StoredAnswer(
                    key=each.key,
                    features_key=each.features_key,
                    image_key=each.image_key,
                    model=self._located.checkpoint.name,
                    revision=self._located.commit,
                    variant=self._variant.name,
                    prompt=each.prompt,
                    settings=dict(self._settings.stored_as()),
                    text=text,
                    seconds=seconds,
                )
                for each, text in texts.items()
            ]
            self._keep(lambda: self._store.put_answers(stored))
        return texts

    def _features(
        self, engine: Engine, wanted: Sequence[Wanted], pixels: Callable[[str], Image]
    ) -> dict[str, torch.Tensor]:
        """Features by key, each (query tokens, width)."""
        from blip2_widget.run.features import pack, unpack

        images = {each.features_key: each.image_key for each in wanted}
        found = {key: unpack(packed) for key, packed in self._store.features(list(images)).items()}
        missing = [key for key in images if key not in found]
        if missing:
            encoded = engine.encode([pixels(images[key]) for key in missing])
            new = dict(zip(missing, encoded, strict=True))
            packed = [(key, images[key], pack(each)) for key, each in new.items()]
            self._keep(lambda: self._store.put_features(packed))
            found |= new
        return found

    def _keep(self, put: Callable[[], None]) -> None:
        """Store what was computed; where that fails, it is still shown."""
        try:
            put()
        except Blip2Error as error:
            if not self._warned:
                _log.warning("%s; answers are shown, but not kept for the next time", error)
            self._warned = True

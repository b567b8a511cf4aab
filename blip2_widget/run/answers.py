"""Answers to prompts about pictures: read from the store, or computed and put there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from blip2_widget.model import (
    Answer,
    BatchSizes,
    Between,
    Engine,
    GenerationSettings,
    Kind,
    Likelihood,
    Located,
    Variant,
    prompt_text,
    ranked,
)
from blip2_widget.run.halving import Halving
from blip2_widget.run.keeping import Keeping
from blip2_widget.run.work import fitting
from blip2_widget.run.worker import wait_for
from blip2_widget.store import ImportedText, Store, StoredAnswer, answer_key, features_key

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

#: Part of the features' key: how pixels are made ready. Change it when that changes.
PREPROCESSING = "blip-pil-1"
#: Part of a family's answers' keys: how they come about. It goes up where answers that were stored
#: before must not be taken; a first one is not in keys. FLAN-T5's first ones depended on which
#: prompts shared their batch.
ANSWERING = {"t5": 2}


@dataclass(frozen=True)
class Wanted:
    """One answer: the picture, the whole prompt, the keys that features and answer go by, and the
    choices, where they are ranked."""

    image_key: str
    prompt: str
    features_key: str
    key: str
    choices: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Reports:
    """Who hears of answers that are there, of those that failed, and of the tokens so far of those
    that are being generated."""

    settled: Callable[[Mapping[Wanted, Answer]], None]
    failed: Callable[[Sequence[Wanted], Exception], None]
    heard: Callable[[Mapping[Wanted, Sequence[int]]], None]


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
        question_form: str | None = None,
    ) -> None:
        self._question_form = question_form
        self._located = located
        self._variant = variant
        self._better = better
        self._settings = settings
        self._store = store
        self._identity = located.identity
        self._stored_settings = dict(settings.stored_as())
        version = ANSWERING.get(located.family)
        self._in_keys = {} if version is None else {"answering": version}
        self._refresh = refresh
        #: With `refresh` what was computed since, and need not be once more.
        self._fresh: set[str] = set()
        self._keeping = Keeping(store)
        self._encoding = self._generating = Halving(1)

    def set_batch_sizes(self, sizes: BatchSizes) -> None:
        """How many pictures and answers to compute at a time, from now on."""
        self._encoding, self._generating = Halving(sizes.pictures), Halving(sizes.answers)

    @property
    def at_a_time(self) -> int:
        """How many answers are generated at a time."""
        return self._generating.most

    def want(
        self, image_key: str, text: str, kind: Kind, choices: tuple[str, ...] | None = None
    ) -> Wanted:
        """The answer to a text about a picture, not yet looked up; `choices` are its own, in place
        of the settings'. Raises Blip2Error where these cannot be ranked."""
        prompt = prompt_text(text, kind, self._located.family, self._question_form)
        return self._wanted(image_key, prompt, self._variant, choices)

    def stored(self, wanted: Iterable[Wanted]) -> dict[Wanted, StoredAnswer]:
        """The answers that are in the store."""
        found: dict[Wanted, StoredAnswer] = {}
        if not self._settings.repeatable:
            return found
        missing = list(dict.fromkeys(wanted))
        if self._refresh:
            missing = [each for each in missing if each.key in self._fresh]
        for variant in (self._variant, *(() if self._refresh else self._better)):
            keys = {self._wanted(w.image_key, w.prompt, variant, w.choices).key: w for w in missing}
            answers = self._keeping.read(self._store.answers, list(keys))
            found |= {keys[key]: answer for key, answer in answers.items()}
            missing = [each for each in missing if each not in found]
        return found

    def imported(self, image_keys: Iterable[str]) -> dict[tuple[str, str, str], ImportedText]:
        """The texts that came from elsewhere about pictures, by picture, prompt and kind; those
        that were superseded are none."""

        def read(keys: Sequence[str]) -> dict[tuple[str, str, str], ImportedText]:
            found = self._store.people.imported(keys)
            return {
                (each.image_key, each.prompt, each.kind): each
                for each in found
                if not each.superseded
            }

        return self._keeping.read(read, list(dict.fromkeys(image_keys)))

    def supersede(self, asked: Iterable[tuple[str, str, str]]) -> None:
        """Let what was computed stand in place of the texts from elsewhere, by picture, prompt and
        kind; nothing where it is not stored."""
        if not self._settings.repeatable:
            return
        subjects = set(asked)
        texts = self.imported(image_key for image_key, _, _ in subjects)
        old = [replace(text, superseded=True) for each, text in texts.items() if each in subjects]
        if old:
            self._keeping.keep(lambda: self._store.people.put_imported(old))

    def _wanted(
        self, image_key: str, prompt: str, variant: Variant, choices: tuple[str, ...] | None
    ) -> Wanted:
        settings = self._stored_settings
        if self._settings.choices_of is not None and choices is not None:
            settings = dict(self._settings.with_choices(choices).stored_as())
        features = features_key(
            image_key,
            checkpoint=self._identity,
            vision=variant.vision,
            preprocessing=PREPROCESSING,
        )
        key = answer_key(
            features,
            language=variant.language,
            prompt=prompt,
            settings=settings | self._in_keys,
            seed=self._settings.seed if self._settings.samples else None,
        )
        return Wanted(
            image_key, prompt, features, key, self._settings.choices if choices is None else choices
        )

    def compute(
        self,
        engine: Engine,
        wanted: Iterable[Wanted],
        opened: Callable[[str], Future[Image | NDArray[np.float32]]],
        reports: Reports,
        between: Between,
        remember: bool = False,
    ) -> None:
        """Compute each distinct answer once, store it as soon as it is there, with the features
        it needed, and then report it.

        `opened` opens the picture of an image key, in another thread; it is called only for
        pictures whose features are not stored. Prompts of like length share a batch. A batch that
        fails is halved, so that what one picture or prompt costs is no other's; answers that have
        come by then stay.
        `remember` is for prompts that may be gone on from. Raises Cancelled where `between` does.
        """
        distinct = sorted(dict.fromkeys(wanted), key=lambda each: len(each.prompt))
        features: dict[str, torch.Tensor] = {}
        done: set[Wanted] = set()
        choices = max([1, *(len(each.choices) for each in distinct)])
        while distinct:
            batch = distinct[: max(self._generating.most // choices, 1)]
            distinct = distinct[len(batch) :]
            self._find_features(engine, batch, opened, reports, between, features)
            found = [each for each in batch if each.features_key in features]
            if self._settings.ranks:
                self._rank(engine, found, features, reports, between)
                continue
            self._generating.run(
                found,
                lambda piece: self._answer(
                    engine, piece, features, done, reports, between, remember
                ),
                lambda each: each not in done,
                lambda each, error: reports.failed([each], error),
                engine.make_room,
            )

    def _answer(
        self,
        engine: Engine,
        batch: Sequence[Wanted],
        features: Mapping[str, torch.Tensor],
        done: set[Wanted],
        reports: Reports,
        between: Between,
        remember: bool,
    ) -> None:
        """Generate a batch; what has come to its end is `done`, whatever happens to the rest."""
        import torch

        began = time.monotonic()
        stream = engine.stream(
            torch.stack([features[each.features_key] for each in batch]),
            [each.prompt for each in batch],
            self._settings,
            pictures=[each.features_key for each in batch],
            remember=remember,
            between=between,
        )
        for step in stream:
            seconds = (time.monotonic() - began) / len(batch)
            answers = {batch[row]: answer for row, answer in step.finished.items()}
            if answers:
                # Stored before it is shown: what was seen is there again, whatever happens next.
                self._store_answers(answers, seconds)
                done.update(answers)
                reports.settled(answers)
            reports.heard({batch[row]: tokens for row, tokens in step.running.items()})

    def _rank(
        self,
        engine: Engine,
        batch: Sequence[Wanted],
        features: Mapping[str, torch.Tensor],
        reports: Reports,
        between: Between,
    ) -> None:
        """Rank the choices for each of a batch: so many pairs of prompt and choice at a time as
        fit, so that there may be thousands of choices."""
        import torch

        found: dict[Wanted, dict[str, Likelihood]] = {each: {} for each in batch}
        lost: set[Wanted] = set()
        began = time.monotonic()

        def work(pairs: Sequence[tuple[Wanted, str]]) -> None:
            rows: dict[Wanted, list[str]] = {}
            for want, choice in pairs:
                rows.setdefault(want, []).append(choice)
            ranks = engine.rank(
                torch.stack([features[want.features_key] for want in rows]),
                [want.prompt for want in rows],
                list(rows.values()),
                pictures=[want.features_key for want in rows],
                remember=len(rows) == 1 and len(pairs) < len(pairs[0][0].choices),
                between=between,
            )
            answers = {}
            for (want, some), likelihoods in zip(rows.items(), ranks, strict=True):
                found[want].update(zip(some, likelihoods, strict=True))
                if len(found[want]) == len(want.choices):
                    # Stored so, in whichever order they are given.
                    in_order = {choice: found[want][choice] for choice in sorted(want.choices)}
                    answers[want] = ranked(in_order, self._settings.length_normalised)
            if answers:
                self._store_answers(answers, (time.monotonic() - began) / len(batch))
                reports.settled(answers)

        def failed(pair: tuple[Wanted, str], error: Exception) -> None:
            lost.add(pair[0])
            reports.failed([pair[0]], error)

        self._generating.run(
            [(want, choice) for want in batch for choice in sorted(want.choices)],
            work,
            lambda pair: pair[0] not in lost and pair[1] not in found[pair[0]],
            failed,
            engine.make_room,
        )

    def _store_answers(self, answers: Mapping[Wanted, Answer], seconds: float) -> None:
        if not self._settings.repeatable:
            return
        stored = [
            StoredAnswer(
                key=each.key,
                features_key=each.features_key,
                image_key=each.image_key,
                model=self._located.checkpoint.name,
                revision=self._located.commit,
                variant=self._variant.name,
                prompt=each.prompt,
                settings=self._stored_settings
                if self._settings.choices_of is None
                else dict(self._settings.with_choices(each.choices).stored_as()),
                text=answer.text,
                logprob=answer.logprob,
                alternatives=answer.alternatives,
                seconds=seconds,
            )
            for each, answer in answers.items()
        ]
        if self._refresh:
            self._fresh.update(each.key for each in answers)
        self._keeping.keep(lambda: self._store.put_answers(stored))

    def _find_features(
        self,
        engine: Engine,
        wanted: Sequence[Wanted],
        opened: Callable[[str], Future[Image | NDArray[np.float32]]],
        reports: Reports,
        between: Between,
        features: dict[str, torch.Tensor],
    ) -> None:
        """Put into `features`, by key, each picture's (query tokens, width): stored or computed."""
        from blip2_widget.run.features import pack

        images = {
            each.features_key: each.image_key
            for each in wanted
            if each.features_key not in features
        }
        features |= self._keeping.features(list(images))

        def encode(keys: Sequence[str]) -> None:
            pictures = [wait_for(opening[key], between) for key in keys]
            encoded = engine.encode(pictures, between)
            new = dict(zip(keys, encoded, strict=True))
            packed = [(key, images[key], pack(each)) for key, each in new.items()]
            self._keeping.keep(lambda: self._store.put_features(packed))
            features.update(new)

        def failed(key: str, error: Exception) -> None:
            reports.failed([each for each in wanted if each.features_key == key], error)

        missing = [key for key in images if key not in features]
        opening = {key: opened(images[key]) for key in missing}
        try:
            self._encoding.run(
                missing, encode, lambda key: key not in features, failed, engine.make_room
            )
        finally:
            for future in opening.values():
                future.cancel()


def suitable_sizes(
    engine: Engine, variant: Variant, settings: GenerationSettings, batch_size: int | None
) -> BatchSizes:
    """What fits the device and its memory, or what was asked for."""
    sizes = fitting(engine, variant, settings.max_new_tokens, settings.rows)
    if batch_size is None:
        return BatchSizes(sizes.pictures * engine.devices, sizes.answers * engine.devices)
    return BatchSizes(min(sizes.pictures, batch_size), batch_size)

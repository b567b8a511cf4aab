"""One model on several GPUs: a replica on each, and every batch shared out among them."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from blip2_widget.model.engine import Engine, Step
from blip2_widget.model.loaded import Between, Cancelled
from blip2_widget.model.settings import GenerationSettings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from blip2_widget.model.ranking import Likelihood

#: Seconds between two calls of what is to happen between layers.
_TICK = 0.02


class Replicas(Engine):
    """Engines of one checkpoint in one variant, each on a device of its own, used as one.

    Pictures are shared out evenly. A picture's prompts go to the replica that its name falls to,
    so that they find what was remembered of it there.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        """The first stands for all where any will do: its model, processor and tokenizer."""
        vars(self).update(vars(engines[0]))
        self.engines = list(engines)
        self.devices = len(engines)
        # Twice as many threads as engines: what is urgent comes in the middle of a batch.
        self._threads = ThreadPoolExecutor(2 * len(engines), thread_name_prefix="blip2-replica")

    def make_room(self) -> None:
        """As Engine.make_room."""
        for engine in self.engines:
            engine.make_room()

    def rest(self) -> None:
        """As Engine.rest."""
        for engine in self.engines:
            engine.rest()

    def encode(
        self, images: Sequence[Image | NDArray[np.float32]], between: Between | None = None
    ) -> torch.Tensor:
        """As Engine.encode."""
        import torch

        count = len(self.engines)
        share = -(-len(images) // count)
        shares = [images[at * share : (at + 1) * share] for at in range(count)]
        stop = threading.Event()
        futures = [
            self._threads.submit(engine.encode, part, _raiser(stop))
            for engine, part in zip(self.engines, shares, strict=True)
            if len(part)
        ]
        _wait(futures, between, stop)
        return torch.cat([future.result() for future in futures])

    def stream(
        self,
        features: torch.Tensor,
        prompts: Sequence[str] | Sequence[Sequence[int]],
        settings: GenerationSettings,
        *,
        pictures: Sequence[str] | None = None,
        remember: bool = False,
        between: Between | None = None,
    ) -> Iterator[Step]:
        """As Engine.stream; each replica's steps come as they are done."""
        if len(features) != len(prompts):
            raise ValueError(f"{len(features)} rows of features but {len(prompts)} prompts")
        shares = self._shares(len(prompts), pictures)
        steps: queue.SimpleQueue[tuple[list[int], Step]] = queue.SimpleQueue()
        stop = threading.Event()

        def answer(engine: Engine, rows: list[int]) -> None:
            for step in engine.stream(
                features[rows],
                [prompts[row] for row in rows],  # type: ignore[arg-type]
                settings,
                pictures=pictures and [pictures[row] for row in rows],
                remember=remember,
                between=_raiser(stop),
            ):
                # The engine goes on with its own lists meanwhile.
                running = {at: tuple(tokens) for at, tokens in step.running.items()}
                steps.put((rows, Step(step.finished, running)))

        futures = [
            self._threads.submit(answer, engine, rows)
            for engine, rows in zip(self.engines, shares, strict=True)
            if rows
        ]
        try:
            while any(not future.done() for future in futures) or not steps.empty():
                if between is not None:
                    between()
                try:
                    rows, step = steps.get(timeout=_TICK)
                except queue.Empty:
                    continue
                finished = {rows[at]: answer for at, answer in step.finished.items()}
                yield Step(finished, {rows[at]: tokens for at, tokens in step.running.items()})
        except BaseException:
            stop.set()
            wait(futures)
            raise
        for future in futures:
            future.result()

    def rank(
        self,
        features: torch.Tensor,
        prompts: Sequence[str],
        choices: Sequence[Sequence[str]],
        *,
        pictures: Sequence[str] | None = None,
        remember: bool = False,
        between: Between | None = None,
    ) -> list[list[Likelihood]]:
        """As Engine.rank."""
        stop = threading.Event()
        shares = self._shares(len(prompts), pictures)
        futures = {
            self._threads.submit(
                engine.rank,
                features[rows],
                [prompts[row] for row in rows],
                [choices[row] for row in rows],
                pictures=pictures and [pictures[row] for row in rows],
                remember=remember,
                between=_raiser(stop),
            ): rows
            for engine, rows in zip(self.engines, shares, strict=True)
            if rows
        }
        _wait(list(futures), between, stop)
        found: dict[int, list[Likelihood]] = {}
        for future, rows in futures.items():
            found |= dict(zip(rows, future.result(), strict=True))
        return [found[row] for row in range(len(prompts))]

    def _shares(self, count: int, pictures: Sequence[str] | None) -> list[list[int]]:
        """The rows of each engine."""
        shares: list[list[int]] = [[] for _ in self.engines]
        for row in range(count):
            number = row if pictures is None else zlib.crc32(pictures[row].encode())
            shares[number % len(shares)].append(row)
        return shares


def _raiser(stop: threading.Event) -> Callable[[], None]:
    def between() -> None:
        if stop.is_set():
            raise Cancelled

    return between


def _wait(futures: Sequence[Future[Any]], between: Between | None, stop: threading.Event) -> None:
    """Wait for all; an error, of theirs or of `between`, stops them and comes out at their end."""
    try:
        while True:
            if between is not None:
                between()
            if not wait(futures, timeout=_TICK).not_done:
                break
        for future in futures:
            future.result()
    except BaseException:
        stop.set()
        wait(futures)
        raise

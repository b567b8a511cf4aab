"""The ways of answering that are held against each other, and how: in turn, round after round."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from benchmarks.answering import answer
from benchmarks.limits import limits_from
from benchmarks.process import ProcessFailed, call_once
from benchmarks.record import SPEEDUP, Record, median_of, not_measured
from benchmarks.roofline import Limits
from benchmarks.setting import NO_DEVICE, Setting
from blip2_widget.model import read_machine

Kind = Literal["card", "batched", "pipeline", "ours"]
Task = Literal["captions", "questions", "follow-up", "ten questions"]

OURS = "blip2_widget"
_TITLES: dict[Kind, str] = {
    "card": "the model card's loop",
    "batched": "model.generate, batched",
    "pipeline": "image-text-to-text pipeline",
    "ours": OURS,
}


@dataclass(frozen=True)
class Way:
    """A way of answering: who, in which of the package's variants, how many at a time.

    `batch` None is the package's own choice. `count` pictures are answered to measure it.
    """

    kind: Kind
    variant: str
    count: int
    batch: int | None = 1
    task: Task = "captions"

    @property
    def title(self) -> str:
        """As the way stands in tables."""
        parts = [_TITLES[self.kind], self.variant]
        if self.kind != "card" and self.task == "captions":
            parts.append("default batch" if self.batch is None else f"batch {self.batch}")
        return ", ".join(parts)

    @property
    def device(self) -> str:
        return self.variant.partition("-")[0]

    @property
    def precision(self) -> str:
        return self.variant.partition("-")[2]


@dataclass(frozen=True)
class Timing:
    """Seconds an answer in each round; `text_tokens` a prompt has and `batch` as it was used.

    `peak` is the most memory in bytes of any round, None where the system cannot tell.
    For the package itself also the device's `limits`, as they were right after each round.
    """

    rounds: tuple[float, ...]
    text_tokens: int
    batch: int
    peak: int | None = None
    limits: tuple[Limits, ...] = ()

    @property
    def seconds(self) -> float:
        """The median round."""
        return statistics.median(self.rounds)


def unquantised(device: str = "cpu") -> str:
    """What the package takes on this machine's device where memory is no matter."""
    machine = read_machine()
    if device == "cuda":
        return "cuda-fp16" if machine.gpu and not machine.gpu.has_bf16 else "cuda-bf16"
    return "cpu-bf16" if machine.cpu_bf16 else "cpu-fp32"


def card(setting: Setting, variant: str = "cpu-fp32", task: Task = "captions") -> Way:
    """The peer that ratios are told against."""
    return Way("card", variant, setting.few(3), task=task)


def alternate(
    setting: Setting, ways: Sequence[Way], new_tokens: int, rounds: int | None = None
) -> dict[Way, Timing | str]:
    """Every way once, then every way again, each in a process that holds nothing else.

    What slows the machine for a while so slows all of them. A way that fails is told by its
    error's line in place of its timing.
    """
    refused = {way: _refusal(setting, way) for way in ways}
    answers: dict[Way, list[Any] | str] = {way: refused[way] or [] for way in ways}
    # Figures of a quick run mean nothing, so that its processes need not be alone.
    with ThreadPoolExecutor((os.cpu_count() or 1) if setting.quick else 1) as pool:
        for number in range(rounds or setting.rounds):
            left = [way for way in ways if not isinstance(answers[way], str)]
            once = partial(_once, setting, new_tokens, number)
            for way, found in zip(left, pool.map(once, left), strict=True):
                sofar = answers[way]
                if isinstance(found, str):
                    answers[way] = found
                elif not isinstance(sofar, str):
                    sofar.append(found)
    return {way: _timing(found) for way, found in answers.items()}


def _refusal(setting: Setting, way: Way) -> str | None:
    if way.kind == "ours":
        return setting.refusal(way.variant)
    return None if way.device in setting.devices else NO_DEVICE


def _once(setting: Setting, new_tokens: int, number: int, way: Way) -> dict[str, Any] | str:
    """What a way's process tells of one round, or its error's line."""
    try:
        told: dict[str, Any] = call_once(
            answer,
            setting.cache,
            kind=way.kind,
            variant=way.variant,
            batch=way.batch,
            task=way.task,
            count=way.count,
            checkpoint=str(setting.checkpoint),
            new_tokens=new_tokens,
            seed=f"{way.task}-{number}",
            quick=setting.quick,
        )
    except ProcessFailed as error:
        return str(error)
    return told


def _timing(found: list[Any] | str) -> Timing | str:
    if isinstance(found, str):
        return found
    rounds = tuple(each["seconds"] for each in found)
    limits = tuple(limits_from(each["limits"]) for each in found if "limits" in each)
    peak = max((each["peak"] for each in found if each["peak"] is not None), default=None)
    return Timing(rounds, found[-1]["text_tokens"], found[-1]["batch"], peak, limits)


def timing_records(
    benchmark: str, figure: str, timings: dict[Way, Timing | str], against: Way
) -> list[Record]:
    """Seconds an answer of every way, and how many times as fast as the peer it is."""
    records = []
    peer = timings[against]
    for way, timing in timings.items():
        if isinstance(timing, str):
            records.append(not_measured(benchmark, way.title, figure, "s", timing))
            continue
        records.append(median_of(benchmark, way.title, figure, "s", timing.rounds))
        if not isinstance(peer, str):
            ratio = peer.seconds / timing.seconds
            records.append(Record(benchmark, way.title, SPEEDUP, ratio, "×"))
    return records

"""Which models are in memory: loaded when first needed, once, off the caller's thread."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from blip2_widget.errors import Blip2Error
from blip2_widget.model.catalogue import Located, fetch, parse
from blip2_widget.model.engine import Engine
from blip2_widget.model.loading import UnreadableError
from blip2_widget.model.machine import Machine, read_machine
from blip2_widget.model.memory import give_memory_back, is_out_of_memory
from blip2_widget.model.replicas import Replicas
from blip2_widget.model.retrieval import RetrievalEngine
from blip2_widget.model.sides import NOTHING_KEPT, Files, Side
from blip2_widget.model.variants import (
    Tower,
    Variant,
    choose,
    gigabytes,
    language_bytes,
    runnable,
    tower_of,
    twins,
    vision_bytes,
    weight_bytes,
)
from blip2_widget.model.variants import variant as named
from blip2_widget.model.weights import KeptWeights

_log = logging.getLogger(__name__)

#: Called with a line for a person, such as "downloading 43 %".
Note = Callable[[str], None]


@dataclass(frozen=True)
class Key:
    """What a resident model is known by: checkpoint identity and variant name."""

    identity: str
    variant: str


@dataclass
class Resident:
    """A model in memory, or on its way there. Times are in Unix seconds.

    `future` gives what answers; of a checkpoint that matches, `retrieval` gives what does.
    """

    located: Located
    variant: Variant
    future: Future[Engine]
    used_at: float = field(default_factory=time.time)
    users: int = 0
    notes: list[Note] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.located.checkpoint.name

    @property
    def source(self) -> str:
        return self.located.checkpoint.source

    @property
    def retrieval(self) -> Future[RetrievalEngine]:
        """What matches. ValueError where the checkpoint was located to answer."""
        if self.located.task != "match":
            raise ValueError(f"{self.name} does not match")
        return cast("Future[RetrievalEngine]", self.future)

    @property
    def weights(self) -> int:
        """Bytes of its weights, those that it shares included."""
        return weight_bytes(self.located.sizes, self.variant)

    @property
    def tower(self) -> tuple[str, Tower]:
        """Its vision side: the checkpoint's identity, the device and the precision."""
        return self.located.identity, tower_of(self.variant)

    @property
    def engine(self) -> Engine | None:
        """What answers, once it is loaded."""
        future = self.future  # which unloading puts another in the place of
        return future.result() if future.done() and future.exception() is None else None

    @property
    def is_loaded(self) -> bool:
        return self.engine is not None


@dataclass(frozen=True)
class Plan:
    """A variant to run in. `better` are those that `auto` would rather have taken if they fitted:
    what they answered earlier is as good. `refusal` says why nothing can be loaded now."""

    variant: Variant
    better: list[Variant]
    refusal: Blip2Error | None


class ModelManager:
    """Loads models when asked, shares them among callers, and drops the least recently used.

    Variants of a checkpoint that have the same vision side, on the same device, have it together.

    At most `max_resident` variants stay in memory; one that is in use is never dropped.
    """

    def __init__(
        self,
        max_resident: int = 2,
        machine: Callable[[], Machine] = read_machine,
        weights: KeptWeights | None = None,
    ) -> None:
        """`weights` keeps on disk what a variant needs; without it nothing is kept."""
        self.weights = weights
        self._max_resident = max_resident
        self._machine = machine
        self._lock = threading.RLock()
        self._resident: dict[Key, Resident] = {}
        # One after the other: two that load side by side would each count the same memory as free.
        self._to_load: deque[tuple[Key, Resident]] = deque()
        self._loader: threading.Thread | None = None
        self._is_closed = False

    @property
    def max_resident(self) -> int:
        """How many variants stay in memory; lowered, idle ones are dropped at once."""
        return self._max_resident

    @max_resident.setter
    def max_resident(self, count: int) -> None:
        self._max_resident = count
        with self._lock:
            idle = self._idle()
            staying = max(count - (len(self.resident()) - len(idle)), 0)
        for key in idle[: len(idle) - staying]:
            self._drop(key)

    def choose(self, located: Located, variant: str) -> Variant:
        """The variant to run a checkpoint in, as `variants.choose`.

        For "auto" one that is in memory already is taken, if it is one that "auto" may choose.
        Memory that unloading idle models would free counts as free. A vision side that a model in
        use keeps in memory is shared, so it is not counted again.
        """
        machine = self._machine()
        if variant == "auto":
            wanted = runnable(machine, located.family)
        else:
            wanted = [named(variant, machine, located.family)]
        with self._lock:
            alive = [each for each in self._resident.values() if not _failed(each)]
            there = {
                each.variant.name: each.variant
                for each in alive
                if each.located.identity == located.identity
            }
            for each in wanted:
                if each.name in there:
                    return there[each.name]
            idle = [each for each in alive if each.users == 0]
            staying = {each.tower for each in alive if each.users}
        return choose(
            variant,
            located.sizes,
            located.family,
            self._free_machine(),
            reclaimable=_freed([each for each in idle if not each.variant.is_cuda], staying),
            reclaimable_gpu=_freed([each for each in idle if each.variant.is_cuda], staying),
            shared={tower for identity, tower in staying if identity == located.identity},
        )

    def plan(self, located: Located, variant: str) -> Plan:
        """What to run a checkpoint in, and what its stored answers may come from."""
        machine = self._machine()
        if variant == "auto":
            wanted = runnable(machine, located.family)
        else:
            wanted = [named(variant, machine, located.family)]
        try:
            chosen, refusal = self.choose(located, variant), None
        except Blip2Error as error:
            chosen, refusal = wanted[-1], error
        better = wanted[: wanted.index(chosen)] if chosen in wanted else []
        return Plan(chosen, better, refusal)

    def load(self, located: Located, variant: Variant, note: Note | None = None) -> Future[Engine]:
        """The engine, in the future; a second caller shares the first one's loading.

        `note` hears how it goes. The future fails with Blip2Error where the download or the
        files do; a later call tries again.
        """
        with self._lock:
            resident = self.hold(located, variant, note)
            self.release(resident)
            return resident.future

    def hold(self, located: Located, variant: Variant, note: Note | None = None) -> Resident:
        """As `load`; the model is not dropped until `release` is called."""
        key = Key(located.identity, variant.name)
        with self._lock:
            resident = self._resident.get(key)
            if self._is_closed:
                resident = Resident(located, variant, Future())
                resident.future.set_exception(_closed())
            elif resident is None or _failed(resident):
                resident = Resident(located, variant, Future())
                self._resident[key] = resident
                self._to_load.append((key, resident))
                if self._loader is None:
                    self._loader = threading.Thread(target=self._load_all, name="blip2-loader")
                    self._loader.start()
            resident.used_at = time.time()
            resident.users += 1
            if note is not None and not resident.future.done():
                resident.notes.append(note)
            return resident

    def release(self, resident: Resident) -> None:
        """Undo one `hold`."""
        with self._lock:
            resident.users -= 1
            resident.used_at = time.time()
            if not resident.users and resident.engine is not None:
                resident.engine.rest()

    def resident(self) -> list[Resident]:
        """What is in memory or loading, most recently used first."""
        with self._lock:
            alive = [each for each in self._resident.values() if not _failed(each)]
        return sorted(alive, key=lambda each: -each.used_at)

    def unload(self, name: str | None = None, variant: str | None = None) -> list[Resident]:
        """Drop models from memory, those of a checkpoint or variant or all; returns them.

        Raises Blip2Error, and drops none, where one of them is answering right now.
        """
        return self._unload(None if name is None else parse(name).source, variant)

    def _unload(self, source: str | None, variant: str | None) -> list[Resident]:
        machine = self._machine()
        with self._lock:
            chosen = {
                key: resident
                for key, resident in self._resident.items()
                if source in (None, resident.source)
                and (variant is None or _is_called(resident, variant, machine))
            }
            busy = [r for r in chosen.values() if r.users or not r.future.done()]
            if busy:
                raise Blip2Error(
                    f"{busy[0].name} · {busy[0].variant.name} is in use; cancel its run "
                    "(the gallery's Cancel button, or .cancel() on the result) and unload again"
                )
            for key in chosen:
                del self._resident[key]
        dropped = [resident for resident in chosen.values() if resident.is_loaded]
        chosen.clear()
        for resident in dropped:
            resident.future = Future()  # lets go of the engine
        give_memory_back()
        return dropped

    def close(self) -> None:
        """Forget every model, in use or not, and take no more."""
        with self._lock:
            self._is_closed = True
            waiting = [resident for _, resident in self._to_load]
            self._to_load.clear()
            loader = self._loader
        for resident in waiting:
            resident.future.set_exception(_closed())
        if loader is not None:
            loader.join()
        with self._lock:
            self._resident.clear()

    def _load_all(self) -> None:
        """Load what is queued. The thread ends with it, since a thread that has computed keeps
        threads of OpenMP's, which make those of another one slower; see `Engine.prepare`."""
        while True:
            with self._lock:
                if not self._to_load:
                    self._loader = None
                    return
                key, resident = self._to_load.popleft()
            self._load(key, resident)

    def _load(self, key: Key, resident: Resident) -> None:
        located = resident.located

        def note(line: str) -> None:
            for listener in tuple(resident.notes):
                listener(line)

        title = f"{resident.name} · {resident.variant.name}"
        try:
            folder = fetch(
                located,
                lambda done, total: note(
                    f"downloading {resident.name} {_percent(done, total)} of {gigabytes(total)}"
                ),
            )
            # Taken before room is made, so that unloading its model leaves it in memory.
            vision = self._shared_vision(resident)
            self._make_room(key, resident, shares=vision is not None)
            note(f"loading {title}")
            # Imported late: these lines are the first to need torch.
            from blip2_widget.model.loading import load_model

            def load(variant: Variant, files: Files) -> tuple[Any, Any]:
                return load_model(
                    folder,
                    variant,
                    lambda done, total: note(f"loading {title} {_percent(done, total)}"),
                    files=files,
                    vision=vision if variant is resident.variant else None,
                )

            sides: list[Side] = ["vision", "language"] if vision is None else ["language"]
            model, processor = self._from_weights(
                located, folder, resident.variant, partial(load, resident.variant), sides
            )
            give_memory_back()
            if located.task == "match":
                # Under the type of those that answer, whose parts the manager uses are its too.
                matches = RetrievalEngine(model, processor, resident.variant)
                resident.future.set_result(cast("Engine", matches))
                return
            engine = Engine(model, processor, resident.variant)
            others = self._replicas(resident, folder, load)
            resident.future.set_result(Replicas([engine, *others]) if others else engine)
        except Blip2Error as error:
            resident.future.set_exception(error)
        except Exception as error:
            resident.future.set_exception(
                Blip2Error(f"{title} could not be loaded: {type(error).__name__}: {_line(error)}")
            )
        finally:
            resident.notes.clear()

    def _from_weights(
        self,
        located: Located,
        folder: Path,
        variant: Variant,
        load: Callable[[Files], tuple[Any, Any]],
        sides: Collection[Side] = ("vision", "language"),
    ) -> tuple[Any, Any]:
        """Model and processor from weights that are kept; of `sides` those that had to be made are
        kept from now on."""
        if self.weights is None:
            return load(NOTHING_KEPT)
        files = self.weights.prepare(located, folder, variant, sides)
        try:
            model, processor = load(files)
        except UnreadableError as error:
            # Whatever else fails would fail with files that are made again, too.
            if not any(files) or is_out_of_memory(error):
                raise
            self.weights.drop(files)  # damaged, or written by another transformers
            files = self.weights.prepare(located, folder, variant, sides)
            model, processor = load(files)
        kept = self.weights.keep(model, located, variant, files, sides)
        if kept == files or variant.is_cuda:
            return model, processor
        # What was made here is held by this process alone; what was kept is mapped.
        del model, processor
        give_memory_back()
        return load(kept)

    def _replicas(
        self, resident: Resident, folder: Path, load: Callable[[Variant, Files], tuple[Any, Any]]
    ) -> list[Engine]:
        """A loaded model once more on each other GPU that is like its own and has the memory."""
        engines = []
        for twin in twins(resident.variant, resident.located.sizes, self._machine()):
            try:
                loaded = self._from_weights(resident.located, folder, twin, partial(load, twin))
                engines.append(Engine(*loaded, twin))
            except Exception:  # it is done without that one
                _log.warning("%s is left out", twin.device, exc_info=True)
        return engines

    def _free_machine(self) -> Machine:
        """The machine; memory that models are mapped to, which the system has for free, is not."""
        machine = self._machine()
        mapped: dict[int, int] = {}
        for each in self.resident():
            engine = each.engine
            if engine is not None:
                mapped |= engine.mapped_at
        free = machine.ram_free - sum(mapped.values())
        return dataclasses.replace(machine, ram_free=max(free, 0))

    def _shared_vision(self, resident: Resident) -> dict[str, Any] | None:
        """The vision side that a model needs, from one in memory that has it."""
        from blip2_widget.model.loading import vision_side

        with self._lock:
            for other in self._resident.values():
                engine = other.engine
                if engine is not None and other is not resident and other.tower == resident.tower:
                    return vision_side(engine.model)
        return None

    def _make_room(self, key: Key, resident: Resident, shares: bool) -> None:
        """Drop idle models, least recently used first, down to the count and until it fits."""
        located, variant = resident.located, resident.variant
        while True:
            with self._lock:
                for other in [k for k, r in self._resident.items() if k != key and _failed(r)]:
                    del self._resident[other]
                others = [k for k, r in self._resident.items() if k != key and r.is_loaded]
                idle = self._idle()
                crowded = len(others) >= self.max_resident
            try:
                choose(
                    variant.name,
                    located.sizes,
                    located.family,
                    self._free_machine(),
                    shared={tower_of(variant)} if shares else (),
                )
                if not crowded or not idle:
                    return
            except Blip2Error:
                if not idle:
                    raise
            self._drop(idle[0])

    def _idle(self) -> list[Key]:
        """What is loaded and not in use, least recently used first."""
        with self._lock:
            idle = [(k, r) for k, r in self._resident.items() if r.is_loaded and not r.users]
        return [key for key, _ in sorted(idle, key=lambda item: item[1].used_at)]

    def _drop(self, key: Key) -> None:
        """Drop one from memory, unless it has come into use meanwhile."""
        with self._lock:
            resident = self._resident.get(key)
            if resident is None or resident.users or not resident.is_loaded:
                return
            del self._resident[key]
        resident.future = Future()  # lets go of the engine
        give_memory_back()


def _failed(resident: Resident) -> bool:
    return resident.future.done() and resident.future.exception() is not None


def _closed() -> Blip2Error:
    return Blip2Error("models are loaded no more: their manager is closed")


def _is_called(resident: Resident, variant: str, machine: Machine) -> bool:
    """Whether a resident variant goes by that name, or by another that means the same."""
    if variant == resident.variant.name:
        return True
    try:
        return named(variant, machine, resident.located.family).name == resident.variant.name
    except Blip2Error:
        return False


def _freed(dropped: Iterable[Resident], staying: Collection[tuple[str, Tower]]) -> int:
    """Bytes that dropping models frees: a vision side goes with the last model that has it."""
    language, towers = 0, {}
    for each in dropped:
        language += language_bytes(each.located.sizes, each.variant)
        if each.tower not in staying:
            towers[each.tower] = vision_bytes(each.located.sizes, each.variant)
    return language + sum(towers.values())


def _percent(done: int, total: int) -> str:
    return f"{done / total:.0%}" if total else ""


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]

"""Pieces through Ray Data: pictures are opened by tasks on any core, and answered by a pool of
actors, each with the model; Ray holds back what comes too fast, and does again what was lost.

A part is named by its piece and appears whole, so a piece that is done twice, since whoever did it
first was lost before saying so, is there once.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.jobs import turn
from blip2_widget.jobs.answering import (
    Answered,
    Answering,
    Opened,
    Spec,
    given_up,
    open_pictures,
    reused,
)
from blip2_widget.jobs.care import with_care
from blip2_widget.jobs.parts import Counts, Parts
from blip2_widget.jobs.sources import Piece, read
from blip2_widget.model import Cancelled, Located, ModelManager, Variant, needed_bytes

_CONNECTING = threading.Lock()
#: Seconds between two looks of an actor at whether the job was stopped.
_LOOK_EVERY = 0.5


@dataclass(frozen=True)
class Resources:
    """What one actor takes: cores, GPUs or a fraction of one, and bytes of memory."""

    cpus: float
    gpus: float
    memory: int


@dataclass(frozen=True)
class Plan:
    """How a job is spread out: the variant that its machines can hold, and what an actor takes.

    `threads` are those that an actor computes on, None leaves that to torch."""

    variant: Variant
    resources: Resources
    actors: int
    threads: int | None = None


def check_installed() -> None:
    """Raise Blip2Error where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise Blip2Error("for --engine ray pip install 'blip2-widget[ray]'")


def connect() -> Any:
    """Ray, connected to the cluster that RAY_ADDRESS names or that this process is connected to;
    else one of this machine's own cores. Raises Blip2Error where it is not installed or silent."""
    # Neither reports to anybody, nor notes on its own workings in a person's notebook.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    check_installed()
    import ray
    import ray.data

    with _CONNECTING:
        if not ray.is_initialized():
            try:
                _staying(_init)
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                raise Blip2Error(f"Ray cannot be reached: {told}") from None
    return ray


def _init() -> None:
    import ray

    # Without an address it would join whichever cluster was started here last.
    ray.init(
        os.environ.get("RAY_ADDRESS", "local"),
        log_to_driver=False,
        logging_level=logging.ERROR,
        include_dashboard=False,
    )


def _staying(start: Callable[[], None]) -> None:
    """Start something on a thread that never ends: on Linux Ray's processes are killed once the
    thread that started them is gone (PR_SET_PDEATHSIG), and with them, soon, this process."""
    started: Future[None] = Future()

    def stay() -> None:
        try:
            start()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        threading.Event().wait()

    threading.Thread(target=stay, name="blip2-ray", daemon=True).start()
    started.result()


def plan(located: Located, variant: str, actors: int | None) -> Plan:
    """What to run a checkpoint in on this cluster: it is looked at by one of its own machines, one
    with a GPU where there is one and the variant may have it.

    Raises Blip2Error where nothing fits.
    """
    ray = connect()
    cluster = ray.cluster_resources()
    on_gpu = cluster.get("GPU", 0) > 0 and not variant.startswith("cpu")
    look = ray.remote(num_cpus=0, num_gpus=1 if on_gpu else 0, max_calls=1)(_look)
    try:
        chosen, bytes_needed, gpu_bytes = ray.get(look.remote(located, variant))
    except ray.exceptions.RayTaskError as error:
        raise Blip2Error(str(error.cause)) from None
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = int(cluster.get("CPU", 1))
    if chosen.is_cuda:
        share = min(1.0, bytes_needed / max(gpu_bytes, 1))
        # Several models on one GPU only where each leaves room for batches.
        gpus = 1.0 if share > 0.25 else 0.5
        count = actors or max(int(cluster["GPU"] / gpus), 1)
        return Plan(chosen, Resources(1, gpus, 0), count)
    fitting = sum(int(node.get("memory", 0) // bytes_needed) for node in nodes)
    if not fitting:
        largest = max(node.get("memory", 0) for node in nodes)
        raise Blip2Error(
            f"{located.checkpoint.label} as {chosen.name} takes {bytes_needed / 1e9:.1f} GB, and "
            f"Ray's largest machine gives {largest / 1e9:.1f}; write --variant cpu-int4, or start "
            "Ray with more memory"
        )
    count = min(actors or max(cores // 2, 1), fitting)
    # A core in all is left to who opens pictures, if there are several.
    cpus = max((cores - 1) // count, 1) if cores > count else cores / (count + 1)
    # An actor lies on one machine, and waits for ever for more cores than that has.
    widest = max(node.get("CPU", 1) for node in nodes)
    # Ray gives a process as many threads as it has cores to itself; who opens pictures mostly waits
    # for who answers, whose model may have them meanwhile.
    threads = None
    if "OMP_NUM_THREADS" not in os.environ:
        threads = max(min(cores // count, int(widest)), 1)
    return Plan(chosen, Resources(min(cpus, widest), 0, bytes_needed), count, threads)


def _look(located: Located, variant: str) -> tuple[Variant, int, int]:
    from blip2_widget.model import read_machine

    chosen = ModelManager().choose(located, variant)
    gpus = {gpu.device: gpu.total for gpu in read_machine().gpus}
    return chosen, needed_bytes(located.sizes, chosen), gpus.get(chosen.device, 0)


def run(
    spec: Spec,
    pieces: Sequence[tuple[int, Piece]],
    parts: Parts,
    plan: Plan,
    job: str,
    kept: Collection[int] = (),
) -> Iterator[tuple[int, Counts]]:
    """Answer the numbered pieces and write a part of each; yields what each holds, as it is there.

    Of the parts `kept` what they have is kept, and only rows that failed are answered. Once it is
    not the turn of `job`, what is under way is given up. Raises Blip2Error where it cannot go on.
    """
    ray = connect()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    items = [
        {"number": number, "piece": pickle.dumps(piece), "kept": number in kept}
        for number, piece in pieces
    ]
    numbered = ray.data.from_items(items, override_num_blocks=len(items))
    opened = numbered.map_batches(
        _open,
        fn_args=(spec, parts.folder, job),
        batch_size=None,
        num_cpus=1 if plan.resources.cpus >= 1 else plan.resources.cpus / 2,
    )
    resources: dict[str, Any] = {"num_cpus": plan.resources.cpus}
    if plan.resources.gpus:
        resources["num_gpus"] = plan.resources.gpus
    if plan.resources.memory:
        resources["memory"] = plan.resources.memory
    # All at once: by itself Ray starts a second one late, and on few cores never. Those for which
    # there is no place yet keep nobody waiting.
    actors = min(plan.actors, len(items))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors)
    answered = opened.map_batches(
        _Actor,
        fn_constructor_args=(spec, parts.folder, job, plan.threads),
        batch_size=None,
        compute=pool,
        **resources,
    )
    try:
        for batch in answered.iter_batches(batch_size=None, batch_format="numpy"):
            for number, counts in zip(batch["number"], batch["counts"], strict=True):
                if counts:
                    yield int(number), pickle.loads(counts)
    except ray.exceptions.RayError as error:
        raise Blip2Error(line_of(error, "the job stopped")) from error


def _open(batch: dict[str, Any], spec: Spec, folder: str, job: str) -> dict[str, Any]:
    """Open the pictures of pieces, all but those whose rows are answered already, and take the
    answers to equal ones from what a part held before its piece became another."""
    parts = Parts(folder)
    contents: list[bytes] = []
    for number, pickled, is_kept in zip(
        batch["number"], batch["piece"], batch["kept"], strict=True
    ):
        if not turn.has(parts, job):
            contents.append(b"")
            continue
        piece: Piece = pickle.loads(pickled)
        rows = read(piece, spec.prompts)
        before = parts.answered(int(number), len(spec.prompts)) if is_kept else []
        kept = {row.number: row for row in before if not row.has_failed}
        opened = with_care(
            parts,
            f"_opening-{number:08d}",
            [row for row in rows if row.number not in kept],
            lambda some: open_pictures(some, spec),
            given_up,
        )
        known, unknown = reused(opened, parts.earlier(int(number), len(spec.prompts)))
        kept |= {row.number: row for row in known}
        contents.append(pickle.dumps((piece.fingerprint, kept, unknown), protocol=5))
    return {"number": batch["number"], "opened": contents}


class _Actor:
    """A model that answers what was opened, and writes it down."""

    def __init__(self, spec: Spec, folder: str, job: str, threads: int | None) -> None:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self._parts = Parts(folder)
        self._job = job
        self._answering = Answering(spec, self._between)
        self._looked_at = 0.0

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        contents = []
        for number, pickled in zip(batch["number"], batch["opened"], strict=True):
            contents.append(self._answer(int(number), pickled) if pickled else b"")
        return {"number": batch["number"], "counts": contents}

    def _answer(self, number: int, pickled: bytes) -> bytes:
        """Answer a piece; what is known of its part, nothing where it was given up."""
        fingerprint: str
        kept: dict[int, Answered]
        opened: list[Opened]
        fingerprint, kept, opened = pickle.loads(pickled)
        try:
            answered = with_care(
                self._parts,
                f"_answering-{number:08d}",
                opened,
                self._answering.answer,
                lambda each: self._answering.answer([given_up(each.row)])[0],
            )
            self._check()  # the folder may be another job's by now
        except Cancelled:
            return b""
        rows = {**kept, **{row.number: row for row in answered}}
        in_order = [rows[row] for row in sorted(rows)]
        spec = self._answering.spec
        return pickle.dumps(self._parts.write(number, in_order, spec, fingerprint))

    def _between(self) -> None:
        now = time.monotonic()
        if now - self._looked_at > _LOOK_EVERY:
            self._looked_at = now
            self._check()

    def _check(self) -> None:
        if not turn.has(self._parts, self._job):
            raise Cancelled


def line_of(error: BaseException, what: str) -> str:
    """What went wrong on a worker, in one line: Ray keeps it as the text of a traceback alone."""
    told = str(error).partition("\n\nThe above exception was the direct cause")[0].strip()
    kind, _, message = (told.splitlines() or [""])[-1].partition(": ")
    name = kind.rpartition(".")[2]
    if name == "Blip2Error":
        return message
    if not message:  # of an actor that died Ray tells more than one line, and the cause in none
        return f"{what}: {type(error).__name__}, see Ray's logs in /tmp/ray/session_latest/logs"
    return f"{what}: {name}: {message}"

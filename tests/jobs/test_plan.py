"""How a job is spread out over a cluster, which is told here and not started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.jobs import on_ray
from blip2_widget.jobs.on_ray import Plan, Resources
from blip2_widget.model import Located, Variant, locate, parse

GB = 10**9
CPU = Variant("cpu-bf16", "cpu", "bfloat16", None)
CUDA = Variant("cuda-bf16", "cuda:0", "bfloat16", None)


def node(cpus: float, memory: float = 512 * GB, gpus: float = 0, alive: bool = True) -> Any:
    resources = {"CPU": cpus, "memory": memory} | ({"GPU": gpus} if gpus else {})
    return {"Alive": alive, "Resources": resources}


class TaskError(Exception):
    """As Ray's, which has what was raised on a worker."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"a long traceback\n{cause}")
        self.cause = cause


@dataclass
class FakeRay:
    """What `plan` asks of Ray. `sees` is the variant that a machine chooses, the bytes which that
    needs, and those of its GPU."""

    machines: Sequence[Any]
    sees: tuple[Variant, int, int] | Exception
    #: What was asked for a look at a machine, and which variant was to be chosen there.
    looks: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayTaskError=TaskError))

    def nodes(self) -> Sequence[Any]:
        return self.machines

    def cluster_resources(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for each in self.machines:
            for name, count in each["Resources"].items() if each["Alive"] else ():
                total[name] = total.get(name, 0) + count
        return total

    def remote(self, **resources: Any) -> Callable[[Any], Any]:
        def look(_: Located, variant: str) -> None:
            self.looks.append((resources, variant))

        return lambda _: SimpleNamespace(remote=look)

    def get(self, _: None) -> tuple[Variant, int, int]:
        if isinstance(self.sees, Exception):
            raise TaskError(self.sees)
        return self.sees


def planned(ray: FakeRay, variant: str = "auto", actors: int | None = None) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_ray, "connect", lambda: ray)
        return on_ray.plan(locate(parse("demo")), variant, actors)


@pytest.mark.parametrize("nodes", [1, 8])
@pytest.mark.parametrize("cores", [2, 4, 64])
def test_an_actor_has_two_cores_threads_and_leaves_some_to_who_opens(
    cores: int, nodes: int
) -> None:
    plan = planned(FakeRay([node(cores)] * nodes, (CPU, GB, 0)))
    assert plan == Plan(CPU, Resources(1, 0, GB), nodes * cores // 2, threads=2)
    assert plan.actors * plan.resources.cpus < nodes * cores


@pytest.mark.parametrize(
    ("nodes", "cores", "actors", "cpus", "threads"),
    [
        (1, 2, 1, 1, 2),
        (1, 2, 2, 2 / 3, 1),
        (1, 4, 1, 3, 4),
        (1, 64, 4, 15, 16),
        # No wider than a machine.
        (8, 2, 1, 2, 2),
        (8, 64, 1, 64, 64),
        (8, 64, 16, 31, 32),
    ],
)
def test_so_many_actors_as_are_given_share_the_cores(
    nodes: int, cores: int, actors: int, cpus: float, threads: int
) -> None:
    plan = planned(FakeRay([node(cores)] * nodes, (CPU, GB, 0)), actors=actors)
    assert (plan.actors, plan.threads) == (actors, threads)
    assert plan.resources.cpus == pytest.approx(cpus)


def test_no_more_actors_than_memory_holds_and_each_has_more_cores() -> None:
    plan = planned(FakeRay([node(64, 100 * GB)], (CPU, 30 * GB, 0)))
    assert plan == Plan(CPU, Resources(21, 0, 30 * GB), 3, threads=21)


def test_nodes_that_are_gone_and_unlike_ones() -> None:
    machines = [node(4), node(16), node(64, alive=False)]
    plan = planned(FakeRay(machines, (CPU, GB, 0)), actors=1)
    assert (plan.resources.cpus, plan.threads) == (16, 16)


@pytest.mark.parametrize(
    ("needed", "gpus", "actors"),
    [(10 * GB, 0.5, 8), (20 * GB, 0.5, 8), (21 * GB, 1, 4), (70 * GB, 1, 4)],
)
def test_two_actors_share_a_gpu_where_both_leave_room_for_batches(
    needed: int, gpus: float, actors: int
) -> None:
    machines = [node(16, gpus=2)] * 2
    plan = planned(FakeRay(machines, (CUDA, needed, 80 * GB)))
    assert plan == Plan(CUDA, Resources(1, gpus, 0), actors)
    assert planned(FakeRay(machines, (CUDA, needed, 80 * GB)), actors=3).actors == 3


@pytest.mark.parametrize(
    ("gpus", "variant", "looked_at"),
    [(1, "auto", 1), (1, "cuda-int8", 1), (1, "cpu-int8", 0), (0, "auto", 0)],
)
def test_a_machine_with_a_gpu_is_looked_at_where_the_variant_may_have_it(
    gpus: int, variant: str, looked_at: int
) -> None:
    ray = FakeRay([node(8, gpus=gpus), node(8)], (CPU, GB, 0))
    planned(ray, variant)
    ((resources, asked),) = ray.looks
    assert (resources["num_gpus"], asked) == (looked_at, variant)
    # Else it would wait for those who are at work, and what it has loaded would stay.
    assert (resources["num_cpus"], resources["max_calls"]) == (0, 1)


def test_what_no_machine_can_hold_is_said_in_one_line() -> None:
    ray = FakeRay([node(2)], Blip2Error("opt-6.7b needs 30 GB"))
    with pytest.raises(Blip2Error, match=r"^opt-6.7b needs 30 GB$"):
        planned(ray)


def test_no_more_actors_than_the_machines_have_memory_for() -> None:
    ray = FakeRay([node(16, 20 * GB), node(16, 9 * GB)], (CPU, 8 * GB, 0))
    assert planned(ray).actors == planned(ray, actors=9).actors == 3
    assert planned(ray, actors=2).actors == 2


def test_what_no_machine_has_the_memory_for_is_said() -> None:
    ray = FakeRay([node(4, 5 * GB), node(4, 5 * GB)], (CPU, 8 * GB, 0))
    with pytest.raises(Blip2Error, match=r"cpu-bf16 takes 8.0 GB, and .* gives 5.0; write"):
        planned(ray)

"""What this machine can hold and compute, read without importing torch."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Processors' instructions, as Linux names them: without one of the first (the last is Arm's) bf16
#: is slower than fp32; without one of the second sums of int8 products saturate at 16 bit.
_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")


@dataclass(frozen=True)
class Gpu:
    """One CUDA device: its name, memory in bytes, and compute capability such as (9, 0)."""

    index: int
    name: str
    total: int
    free: int
    capability: tuple[int, int]

    @property
    def device(self) -> str:
        """As torch names it."""
        return f"cuda:{self.index}"

    @property
    def has_bf16(self) -> bool:
        """bf16 arithmetic came with Ampere, compute capability 8.0."""
        return self.capability >= (8, 0)


@dataclass(frozen=True)
class Machine:
    """Memory in bytes; `cpu_bf16` and `cpu_int8` say what the processor multiplies natively.

    Of `gpus` the one with the most free memory comes first.
    """

    ram_total: int
    ram_free: int
    cpu_bf16: bool
    gpus: tuple[Gpu, ...] = ()
    cpu_int8: bool = True

    @property
    def gpu(self) -> Gpu | None:
        """The one to use."""
        return self.gpus[0] if self.gpus else None


def read_machine() -> Machine:
    """The machine as it is now: free memory is what a new allocation could take."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = _within_container(memory.total, memory.available)
    flags = _cpu_flags()
    return Machine(
        total,
        free,
        cpu_bf16=not flags.isdisjoint(_BF16),
        gpus=tuple(_read_gpus()),
        cpu_int8=not flags.isdisjoint(_INT8),
    )


def _within_container(total: int, free: int) -> tuple[int, int]:
    """Tighten to the cgroup v2 limit, which psutil does not know of."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no cgroup v2, or the limit is "max"
        return total, free
    used -= int(statistics.get("inactive_file", 0))  # page cache the kernel gives up on demand
    return min(total, limit), min(free, max(limit - used, 0))


@cache
def _cpu_flags() -> frozenset[str]:
    """What the processor can do, by Linux's names; empty elsewhere."""
    if platform.system() != "Linux":
        return frozenset()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _read_gpus() -> list[Gpu]:
    """The CUDA devices that torch can use, the one with the most free memory first."""
    if "+cpu" in importlib.metadata.version("torch"):
        return []
    # NVML's order. CUDA's own, which it fixes when it starts, puts the fastest first.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no NVML library or no driver: a machine without an NVIDIA GPU
        return []
    try:
        count = pynvml.nvmlDeviceGetCount()
        physical = _visible(visible, count)
        gpus = []
        for index, device in enumerate(physical):
            handle = pynvml.nvmlDeviceGetHandleByIndex(device)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            gpus.append(
                Gpu(
                    index,
                    str(pynvml.nvmlDeviceGetName(handle)),
                    int(memory.total),
                    int(memory.free) + _kept_by_torch(index),
                    tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
                )
            )
    finally:
        pynvml.nvmlShutdown()
    return sorted(gpus, key=lambda gpu: -gpu.free)


def _kept_by_torch(index: int) -> int:
    """Bytes on a GPU that torch holds for allocations to come, which the driver counts as used."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index))


def _visible(setting: str | None, count: int) -> list[int]:
    """Physical device numbers in the order CUDA numbers them under CUDA_VISIBLE_DEVICES.

    CUDA stops at the first entry that is not a device; names (GPU-…) are taken as all devices.
    """
    if setting is None or setting.startswith(("GPU-", "MIG-")):
        return list(range(count))
    devices: list[int] = []
    for entry in setting.split(","):
        if not entry.strip().isdigit() or int(entry) >= count:
            break
        devices.append(int(entry))
    return devices

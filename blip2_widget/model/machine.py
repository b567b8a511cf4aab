"""What this machine can hold and compute, read without importing torch."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path


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
    """Memory in bytes; `cpu_bf16` says whether the processor multiplies bf16 natively.

    Of `gpus` the one with the most free memory comes first.
    """

    ram_total: int
    ram_free: int
    cpu_bf16: bool
    gpus: tuple[Gpu, ...] = ()

    @property
    def gpu(self) -> Gpu | None:
        """The one to use."""
        return self.gpus[0] if self.gpus else None


def read_machine() -> Machine:
    """The machine as it is now: free memory is what a new allocation could take."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = _within_container(memory.total, memory.available)
    return Machine(total, free, _cpu_has_bf16(), tuple(_read_gpus()))


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


def _cpu_has_bf16() -> bool:
    """True with AVX512-BF16, AMX-BF16 or Arm's BF16; elsewhere bf16 is slower than fp32."""
    if platform.system() != "Linux":
        return False
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            flags = set(line.partition(":")[2].split())
            break
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def _read_gpus() -> list[Gpu]:
    """The CUDA devices that torch can use, the one with the most free memory first."""
    if "+cpu" in importlib.metadata.version("torch"):
        return []
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
                    int(memory.free),
                    tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
                )
            )
    finally:
        pynvml.nvmlShutdown()
    return sorted(gpus, key=lambda gpu: -gpu.free)


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

"""What all benchmarks print: the machine's name, and tables for the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from blip2_widget.model import gigabytes, read_machine


def machine_name() -> str:
    """Processor, cores, memory and GPU, and the version of torch, in one line."""
    import torch

    machine = read_machine()
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    parts = [f"{processor}, {os.cpu_count()} cores", gigabytes(machine.ram_total)]
    if machine.gpu:
        parts.append(f"{machine.gpu.name} ({gigabytes(machine.gpu.total)})")
    return ", ".join([*parts, f"torch {torch.__version__}"])


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

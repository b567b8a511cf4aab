"""What each variant takes in memory, beside what was planned, and what unloading gives back.

`python -m benchmarks.memory FOLDER [VARIANT …]` loads the checkpoint in FOLDER (made at full size
with random weights where there is none), each variant in a process of its own. Figures are the
process's unique set size, in GB of 10⁹ bytes; on a GPU, what the driver says is in use.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.full_size import save_full_size
from benchmarks.report import machine_name, table
from blip2_widget.model import (
    ModelManager,
    gigabytes,
    locate,
    needed_bytes,
    parse,
    read_machine,
    weight_bytes,
)


def measure(folder: Path, name: str) -> list[str]:
    """Load, answer once, unload; the figures as a row of the table."""
    import torch  # before the first reading: the library itself is not the model's
    import transformers.models.blip_2.modeling_blip_2  # noqa: F401
    from PIL import Image

    from blip2_widget.model import GenerationSettings

    manager, located = ModelManager(), locate(parse(str(folder)))
    variant = manager.choose(located, name)
    before = _in_use(variant.is_cuda)
    began = time.perf_counter()
    engine = manager.load(located, variant).result()
    seconds = time.perf_counter() - began
    loaded = _in_use(variant.is_cuda) - before
    features = engine.encode([Image.new("RGB", (224, 224), "teal")] * 8)
    engine.generate(features, [""] * 8, GenerationSettings(max_new_tokens=10))
    working = _in_use(variant.is_cuda) - before
    del engine, features
    manager.unload()
    if variant.is_cuda:
        torch.cuda.synchronize()
    left = _in_use(variant.is_cuda) - before
    return [
        name,
        gigabytes(weight_bytes(located.sizes, variant)),
        gigabytes(loaded),
        gigabytes(needed_bytes(located.sizes, variant)),
        gigabytes(working),
        gigabytes(max(left, 0)),
        f"{seconds:.0f} s",
    ]


def _in_use(cuda: bool) -> int:
    if cuda:
        import torch

        free, total = torch.cuda.mem_get_info()
        return int(total - free)
    return int(psutil.Process().memory_full_info().uss)


def main() -> None:
    """Print one row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--one", action="store_true", help="this process, this variant")
    options = parser.parse_args()
    if options.one:
        print("\t".join(measure(options.folder, options.variants[0])))
        return
    save_full_size(options.folder)
    gpu = ["cuda-bf16", "cuda-fp16", "cuda-int8", "cuda-int4"] if read_machine().gpu else []
    rows = []
    for name in options.variants or ["cpu-bf16", "cpu-int8", "cpu-int4", *gpu]:
        command = [sys.executable, "-m", "benchmarks.memory", str(options.folder), name, "--one"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
        rows.append(done.stdout.strip().splitlines()[-1].split("\t"))
    print(f"opt-2.7b with random weights on {machine_name()}\n")
    headings = ["variant", "weights, planned", "loaded", "to have free, planned"]
    print(table([*headings, "answering 8", "left after unload", "loading took"], rows))


if __name__ == "__main__":
    main()

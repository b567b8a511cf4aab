"""What each variant takes in memory, beside what was planned, and what unloading gives back.

`python -m benchmarks.memory FOLDER [VARIANT …]` loads the checkpoint in FOLDER (made at full size
with random weights where there is none), each variant in a process of its own, and answers eight
prompts; one that has to be made is loaded twice, the second time from what the first has kept on
disk. GB are 10⁹ bytes.

On a processor, weights are mapped from files and take room as the files' pages, which the system
drops and reads again where it must; what is held is the rest. Both are read from /proc/self/status.
On a GPU, held is what the driver says is in use.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.full_size import save_full_size
from benchmarks.report import machine_name, table
from blip2_widget.model import (
    KeptWeights,
    ModelManager,
    gigabytes,
    locate,
    needed_bytes,
    parse,
    read_machine,
    weight_bytes,
)


def measure(folder: Path, name: str) -> list[str]:
    """Load, answer, unload; the figures as a row of the table."""
    import torch  # before the first reading: the library itself is not the model's
    import transformers.models.blip_2.modeling_blip_2  # noqa: F401
    from PIL import Image

    from blip2_widget.model import GenerationSettings

    kept = KeptWeights(folder.parent / "kept")
    manager, located = ModelManager(weights=kept), locate(parse(str(folder)))
    variant = manager.choose(located, name)
    held = gpu_held if variant.is_cuda else process_held
    before = held()
    with Peak(held) as peak:
        began = time.perf_counter()
        engine = manager.load(located, variant).result()
        seconds = time.perf_counter() - began
    features = engine.encode([Image.new("RGB", (224, 224), "teal")] * 8)
    engine.generate(features, [""] * 8, GenerationSettings(max_new_tokens=10))
    answering = held() - before
    mapped = 0 if variant.is_cuda else _status("RssFile")
    del engine, features
    manager.unload()
    if variant.is_cuda:
        torch.cuda.synchronize()
    left = held() - before
    figures = [
        weight_bytes(located.sizes, variant),
        answering,
        mapped,
        peak.bytes - before,
        needed_bytes(located.sizes, variant),
        max(left, 0),
    ]
    return [name, *map(gigabytes, figures), f"{seconds:.0f} s"]


def process_held() -> int:
    """Bytes of memory that are this process's own and no file's."""
    return _status("RssAnon")


def gpu_held() -> int:
    """Bytes in use on the GPU."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return int(total - free)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


class Peak:
    """The largest of readings taken twenty times a second while a block runs."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.bytes = read()
        self._read = read
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.bytes = max(self.bytes, self._read())


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
    shutil.rmtree(options.folder.parent / "kept", ignore_errors=True)
    names = options.variants or ["cpu-bf16", "cpu-int8", "cpu-int4", *gpu]
    for name in [each for each in names for _ in range(2 if "int" in each else 1)]:
        command = [sys.executable, "-m", "benchmarks.memory", str(options.folder), name, "--one"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
        rows.append(done.stdout.strip().splitlines()[-1].split("\t"))
    print(f"opt-2.7b with random weights on {machine_name()}\n")
    headings = ["variant", "weights, planned", "held", "mapped from the file"]
    headings += ["held at most while loading", "to have free, planned", "held after unload"]
    print(table([*headings, "loading took"], rows))


if __name__ == "__main__":
    main()

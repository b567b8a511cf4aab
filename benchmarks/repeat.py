"""A column captioned for the first time, again, and by the model card's loop on the same pictures.

`python -m benchmarks.repeat [--rows 500] [-m demo]`. The loop is what people write today:
processor and `model.generate`, one picture at a time, in fp32. Every way runs in a process of its
own, as after a restarted kernel; the clock starts once the package is imported and stops when
every caption is there, loading included. Prints seconds and ratios to the loop.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import machine_name, table
from blip2_widget.demo.scenes import draw_scene

LOOP, FIRST, AGAIN, ANOTHER = "the model card's loop", "first time", "again", "another question"


def main() -> None:
    """Draw pictures, run every way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("-m", "--model", default="demo")
    parser.add_argument("--way", help="run this way alone, and print its seconds")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.way:
        print(run(options.way, options.folder, options.model))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        for number in range(options.rows):
            scene = draw_scene(random.Random(f"repeat-{number}"))
            scene.image.save(folder / f"{number:05}.png")
        environment = os.environ | {"BLIP2_WIDGET_CACHE": str(Path(name) / "cache")}
        seconds = {}
        for way in (LOOP, FIRST, AGAIN, ANOTHER):
            command = [sys.executable, "-m", "benchmarks.repeat", "--way", way]
            command += ["--folder", str(folder), "-m", options.model]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                sys.exit(f"{way} failed:\n{done.stderr[-2000:]}")
            seconds[way] = float(done.stdout.strip().splitlines()[-1])
    print(f"{options.rows} captions with {options.model} on {machine_name()}\n")
    rows = [[way, f"{took:.2f} s", f"{seconds[LOOP] / took:.1f}"] for way, took in seconds.items()]
    print(table(["", "took", "times as fast as the loop"], rows))


def run(way: str, folder: Path, model: str) -> float:
    """Seconds until every picture of the folder has its caption."""
    if way == LOOP:
        return _loop(folder, model)
    import blip2_widget

    began = time.perf_counter()
    if way == ANOTHER:
        blip2_widget.ask(folder, "how many shapes are there?", model=model).wait()
    else:
        result = blip2_widget.caption(folder, model=model).wait()
        if way == AGAIN and "torch" in sys.modules:
            raise SystemExit("torch was imported: not everything came from the store")
        assert result.progress.failed == 0
    return time.perf_counter() - began


def _loop(folder: Path, model: str) -> float:
    from blip2_widget.model import locate, parse

    source = locate(parse(model)).folder
    began = time.perf_counter()
    import torch
    from PIL import Image
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    processor = Blip2Processor.from_pretrained(source)
    network = Blip2ForConditionalGeneration.from_pretrained(source, dtype=torch.float32).eval()
    with torch.inference_mode():
        for path in sorted(folder.iterdir()):
            inputs = processor(images=Image.open(path).convert("RGB"), return_tensors="pt")
            output = network.generate(**inputs, max_new_tokens=30)
            processor.batch_decode(output, skip_special_tokens=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

"""Measure the package against what people use today: `python -m benchmarks [NAME …]`.

Prints a Markdown table for each benchmark and one of all promises, and writes results.json and
speed.svg into the folder of --out.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import (
    agreement,
    captions,
    choices,
    export,
    filtering,
    follow_up,
    full_size,
    fuzzing,
    gallery,
    index,
    inputs,
    jobs,
    latency,
    limits,
    load,
    overhead,
    repeat,
    scaling,
    soak,
    start,
    ten_questions,
)
from benchmarks.bars import bars_json, bars_table, check
from benchmarks.chart import draw, rows_of
from benchmarks.process import ProcessFailed, call
from benchmarks.record import Figures, Record, as_table, not_measured, write_json
from benchmarks.report import machine_name
from benchmarks.setting import Setting
from blip2_widget.demo import CHECKPOINT

#: In this order: what the roofline is made of and what later ones load comes first.
BENCHMARKS: Final[dict[str, Callable[[Setting], list[Record]]]] = {
    start.NAME: start.measure,
    scaling.NAME: scaling.measure,
    limits.NAME: limits.measure,
    load.NAME: load.measure,
    captions.NAME: captions.measure,
    follow_up.NAME: follow_up.measure,
    ten_questions.NAME: ten_questions.measure,
    repeat.NAME: repeat.measure,
    latency.NAME: latency.measure,
    overhead.NAME: overhead.measure,
    choices.NAME: choices.measure,
    agreement.NAME: agreement.measure,
    filtering.NAME: filtering.measure,
    index.NAME: index.measure,
    export.NAME: export.measure,
    inputs.NAME: inputs.measure,
    gallery.NAME: gallery.measure,
    fuzzing.NAME: fuzzing.measure,
    soak.NAME: soak.measure,
    jobs.NAME: jobs.measure,
}
#: Those that need no checkpoint but the demo.
_WITHOUT_CHECKPOINT: Final = {
    start.NAME,
    scaling.NAME,
    overhead.NAME,
    choices.NAME,
    agreement.NAME,
    filtering.NAME,
    index.NAME,
    export.NAME,
    inputs.NAME,
    gallery.NAME,
    fuzzing.NAME,
    soak.NAME,
}


def main() -> None:
    """Measure what was asked for, in order; a benchmark that fails does not stop the others."""
    options = _options()
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # before any of our own
    names = [name for name in BENCHMARKS if name in (options.names or BENCHMARKS)]
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="blip2-benchmarks-") as cache:
        checkpoint = _checkpoint(options, names, Path(cache))
        devices = _devices(options.device)
        setting = Setting(checkpoint, Path(cache), options.rounds, options.quick, devices)
        records: list[Record] = []
        machine = machine_name()
        print(f"# {_label(checkpoint)} on {machine}", flush=True)
        if busy > 0.5:
            print(f"\nOther work keeps {busy:.1f} cores busy: these figures are disturbed.")
        for name in names:
            began = time.monotonic()
            try:
                found = BENCHMARKS[name](setting)
            except ProcessFailed as error:
                found = [not_measured(name, name, "", "", str(error))]
            records += found
            took = time.monotonic() - began
            print(f"\n## {name}\n\n{machine}; measured in {took:.0f} s\n", flush=True)
            print(as_table(found), flush=True)
            # After each, so that what was measured is kept if the next one is interrupted.
            outcomes = check(Figures(records))
            write_json(
                options.out / "results.json",
                machine,
                _label(checkpoint),
                records,
                bars_json(outcomes),
            )
    print(f"\n## bars\n\n{bars_table(outcomes)}")
    if options.quick or checkpoint == CHECKPOINT:
        print("\nThe bars are promises about full-size checkpoints: this run says nothing of them.")
    rows = rows_of(records)
    if rows:
        try:
            draw(rows, options.out / "speed.svg", machine)
        except ModuleNotFoundError:
            print("\nNo plot: for speed.svg, pip install 'blip2-widget[benchmark]'")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="a BLIP-2 folder, or demo; without it opt-2.7b's architecture with random weights, "
        "built once (7.5 GB) and kept in the system's folder for temporary files",
    )
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--rounds", type=int, help="of each way (2; with --quick 1)")
    parser.add_argument("--device", choices=["cpu", "cuda", "all"], default="all")
    parser.add_argument("--quick", action="store_true", help="try every part; figures mean nothing")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no {unknown[0]!r}; write {', '.join(BENCHMARKS)}")
    if options.quick:  # several processes at once, or a busy machine: more threads only wait
        os.environ["OMP_NUM_THREADS"] = "1"
    options.rounds = options.rounds or (1 if options.quick else 2)
    return options


def _checkpoint(options: argparse.Namespace, names: list[str], cache: Path) -> Path:
    """The folder to measure; where none is named, the full-size one, built in its own process."""
    if options.checkpoint == Path("demo"):
        return CHECKPOINT
    if options.checkpoint is not None:
        if not (options.checkpoint / "config.json").is_file():
            sys.exit(f"{options.checkpoint} holds no config.json, so it is no checkpoint")
        return Path(options.checkpoint).resolve()
    if options.quick or _WITHOUT_CHECKPOINT.issuperset(names):
        return CHECKPOINT
    folder = Path(tempfile.gettempdir()) / "blip2-widget-benchmarks" / "opt-2.7b-random"
    call(full_size.build, cache, folder=str(folder))
    return folder


def _devices(wanted: str) -> tuple[str, ...]:
    import torch

    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return tuple(each for each in here if wanted in (each, "all"))


def _label(checkpoint: Path) -> str:
    return "demo" if checkpoint == CHECKPOINT else checkpoint.name


if __name__ == "__main__":
    main()

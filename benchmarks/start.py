"""How long `%load_ext blip2_widget` takes in a fresh IPython, and what it imports."""

from __future__ import annotations

from benchmarks.load_extension import load_extension
from benchmarks.process import call
from benchmarks.record import Record, median_of
from benchmarks.setting import Setting

NAME = "start"
SUBJECT = "%load_ext blip2_widget"
SECONDS, TORCH = "took", "imports torch"


def measure(setting: Setting) -> list[Record]:
    """Several fresh processes; torch counts as imported if any of them has it."""
    found = [call(load_extension, setting.cache) for _ in range(setting.count(5, 2))]
    seconds = [each["seconds"] for each in found]
    imported = sum(each["torch"] for each in found)
    return [
        median_of(NAME, SUBJECT, SECONDS, "s", seconds),
        Record(NAME, SUBJECT, TORCH, float(bool(imported)), ""),
    ]

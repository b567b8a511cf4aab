"""A measurement in a Python process of its own: nothing of another one is in its memory.

`python -m benchmarks.process MODULE FUNCTION` calls the function with the arguments that stand on
its input as JSON, and prints what it returns as the last line.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ProcessFailed(Exception):  # noqa: N818 - it reads as what happened
    """The process ended in an error; the text is its last line."""


def call(function: Callable[..., Any], cache: Path, **arguments: Any) -> Any:
    """What a module's function returns in a fresh process, with `cache` as the package's folder.

    Arguments and what comes back go as JSON. Raises ProcessFailed.
    """
    return _call(function.__module__, function.__name__, str(cache), json.dumps(arguments))


@functools.cache
def call_once(function: Callable[..., Any], cache: Path, **arguments: Any) -> Any:
    """The same, but a call that was made before in this run gives what it gave then.

    Two benchmarks that hold themselves against one peer share its measurement. A failure is
    tried again.
    """
    return call(function, cache, **arguments)


def _call(module: str, function: str, cache: str, arguments: str) -> Any:
    environment = os.environ | {"BLIP2_WIDGET_CACHE": cache, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.process", module, function],
        input=arguments,
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode < 0:  # most often the system, short of memory
        raise ProcessFailed(f"killed by signal {-done.returncode}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise ProcessFailed(lines[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    answer = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(**json.load(sys.stdin))
    print("\n" + json.dumps(answer), flush=True)

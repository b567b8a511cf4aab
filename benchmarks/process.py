"""A measurement in a Python process of its own: nothing of another one is in its memory.

`python -m benchmarks.process MODULE FUNCTION` calls the function with the arguments that stand on
its input's first line as JSON, and prints what it returns as the last line. Of a generator it
prints one value for each line of input, so that two processes can take turns.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Before a value, which other things that are printed do not have.
_MARK = "value: "


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


class Turns:
    """A process that gives the values of a generator function, one by one, as they are asked for.

    Between two of them it rests, so that another one can be measured. For use in a `with`.
    """

    def __init__(self, function: Callable[..., Iterator[Any]], cache: Path, **arguments: Any):
        self._process = subprocess.Popen(
            _command(function.__module__, function.__name__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_environment(str(cache)),
        )
        self._say(json.dumps(arguments))

    def next(self) -> Any:
        """The next value. Raises ProcessFailed."""
        self._say("next")
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return json.loads(line.removeprefix(_MARK))
        raise ProcessFailed(f"ended with status {self._process.wait()}")

    def __enter__(self) -> Turns:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise ProcessFailed(f"ended with status {self._process.wait()}") from None


def _command(module: str, function: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.process", module, function]


def _environment(cache: str) -> dict[str, str]:
    return os.environ | {"BLIP2_WIDGET_CACHE": cache, "HF_HUB_OFFLINE": "1"}


def _call(module: str, function: str, cache: str, arguments: str) -> Any:
    done = subprocess.run(
        _command(module, function),
        input=arguments,
        capture_output=True,
        text=True,
        env=_environment(cache),
    )
    if done.returncode < 0:  # most often the system, short of memory
        raise ProcessFailed(f"killed by signal {-done.returncode}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise ProcessFailed(lines[-1])
    return json.loads(done.stdout.strip().splitlines()[-1].removeprefix(_MARK))


def _main() -> None:
    function = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
    answer = function(**json.loads(sys.stdin.readline()))
    if not isinstance(answer, Iterator):
        print("\n" + _MARK + json.dumps(answer), flush=True)
        return
    for _ in sys.stdin:
        print("\n" + _MARK + json.dumps(next(answer)), flush=True)


if __name__ == "__main__":
    _main()

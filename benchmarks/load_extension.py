"""`%load_ext` in this process; a module of its own, since others here import the package."""

from __future__ import annotations

import sys
import time
from typing import Any


def load_extension() -> dict[str, Any]:
    """Seconds that the magic takes in a shell that has nothing else loaded."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    if "blip2_widget" in sys.modules:
        raise RuntimeError("the package was imported beforehand")
    began = time.perf_counter()
    shell.run_line_magic("load_ext", "blip2_widget")
    seconds = time.perf_counter() - began
    if shell.find_line_magic("blip2") is None:
        raise RuntimeError("the magic is not there")
    return {"seconds": seconds, "torch": "torch" in sys.modules}

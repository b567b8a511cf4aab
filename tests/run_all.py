"""Every check of the project, one after another: `python tests/run_all.py`.

Needs the `test` extra, Node.js and Chromium. A failed check does not keep the others from running;
the exit status says whether all have passed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PYTHON: Final = sys.executable
NPM: Final = shutil.which("npm") or "npm"

CHECKS: Final[dict[str, tuple[Path, list[str]]]] = {
    "lint": (ROOT, [PYTHON, "-m", "ruff", "check"]),
    "format": (ROOT, [PYTHON, "-m", "ruff", "format", "--check"]),
    "types": (ROOT, [PYTHON, "-m", "mypy"]),
    "front end, types and lint": (ROOT / "js", [NPM, "run", "--silent", "check"]),
    "front end, tests": (ROOT / "js", [NPM, "run", "--silent", "test"]),
    "tests": (ROOT, [PYTHON, "-m", "pytest", "-m", "not browser and not cluster"]),
    "jobs on a cluster": (ROOT, [PYTHON, "-m", "pytest", "-m", "cluster", "tests/jobs"]),
    "notebooks": (
        ROOT,
        [PYTHON, "-m", "pytest", "--nbval", "--nbval-cell-timeout=300", "notebooks"],
    ),
    "browser": (ROOT, [PYTHON, "-m", "pytest", "-m", "browser"]),
}


def main() -> int:
    """Run all checks and print which of them failed; 0 if none has."""
    if not (ROOT / "js" / "node_modules").is_dir():
        subprocess.run([NPM, "ci", "--no-audit", "--no-fund"], cwd=ROOT / "js", check=True)
    # The notebooks' kernels must be of this environment, whichever is first on the path.
    path = os.pathsep.join((str(Path(PYTHON).parent), os.environ.get("PATH", "")))
    cache = tempfile.TemporaryDirectory()  # neither what is stored here nor a place for more
    environment = os.environ | {
        "PATH": path,
        "HF_HUB_OFFLINE": "1",
        "BLIP2_WIDGET_CACHE": cache.name,
    }
    failed = []
    for name, (folder, command) in CHECKS.items():
        print(f"\n=== {name}: {' '.join(command)}", flush=True)
        began = time.monotonic()
        if subprocess.run(command, cwd=folder, env=environment).returncode:
            failed.append(name)
        print(f"=== {name}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n{'FAILED: ' + ', '.join(failed) if failed else 'all checks passed'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

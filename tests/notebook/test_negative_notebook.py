"""nbval sees a wrong caption, and sees a mistake in a `%blip2` line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_nbval_fails_on_a_wrong_caption_and_on_a_wrong_column() -> None:
    notebook = Path(__file__).with_name("negative.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", str(notebook), "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "2 failed, 2 passed" in done.stdout
    assert "a purple elephant" in done.stdout
    assert "Blip2Error: there is no column 'picture'" in done.stdout

"""Builds the gallery's front end into the package, so that every wheel has it inside."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FrontEndHook(BuildHookInterface[Any]):
    """Runs `npm ci` and the bundler in js/."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit(
                "blip2-widget: Node.js (with npm) was not found, and the gallery's front end is "
                "built with it; install Node.js 20 or newer and run pip again."
            )
        js = Path(self.root) / "js"
        for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            done = subprocess.run([npm, *command], cwd=js, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(
                    f"blip2-widget: `npm {' '.join(command)}` failed in {js}:\n"
                    f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
                )

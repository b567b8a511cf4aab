"""What one run of the benchmarks was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blip2_widget.demo import CHECKPOINT
from blip2_widget.errors import Blip2Error
from blip2_widget.model import ModelManager, locate, parse

NO_DEVICE: Final = "not measured, since there is no such device or --device leaves it out"


@dataclass(frozen=True)
class Setting:
    """The checkpoint's folder, and how much is measured on which devices.

    `cache` is the package's cache folder while it is measured. `quick` tries every part with next
    to no work: its figures mean nothing.
    """

    checkpoint: Path
    cache: Path
    rounds: int
    quick: bool
    devices: tuple[str, ...]

    def refusal(self, variant: str) -> str | None:
        """Why the package cannot run a variant here, None where it can: no process need try it."""
        if variant.partition("-")[0] not in self.devices:
            return NO_DEVICE
        try:
            ModelManager().choose(locate(parse(str(self.checkpoint))), variant)
        except Blip2Error as error:
            return str(error)
        return None

    def count(self, full: int, quick: int) -> int:
        """How many of something to measure."""
        return quick if self.quick else full

    def few(self, count: int) -> int:
        """How many answers to measure of a checkpoint that takes seconds for each; the demo's
        take milliseconds."""
        if self.quick:
            return 1
        return 20 * count if self.checkpoint == CHECKPOINT else count

"""A value whose opening ends the process, as a defect in a decoder may."""

from __future__ import annotations

import os
import signal


class Killer:
    """Looks like a tensor."""

    def detach(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

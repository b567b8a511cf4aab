"""An engine for tests of runs that has little memory."""

from __future__ import annotations

from typing import Any

import pytest

from blip2_widget.model import Engine


def rank_only_six(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on no engine has memory for more than six choices at a time; gives how many it
    ranked each time."""
    sizes: list[int] = []
    real = Engine.rank

    def short(self: Engine, features: Any, prompts: Any, choices: Any, **named: Any) -> Any:
        pairs = sum(map(len, choices))
        if pairs > 6:
            raise MemoryError
        sizes.append(pairs)
        return real(self, features, prompts, choices, **named)

    monkeypatch.setattr(Engine, "rank", short)
    return sizes

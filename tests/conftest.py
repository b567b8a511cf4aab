"""Shared fixtures: every test has its own store, and pictures with known pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

from blip2_widget import session


@pytest.fixture(autouse=True)
def own_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[session.Session]:
    """A session of the test's own, with an empty store in a folder of its own."""
    monkeypatch.setenv("BLIP2_WIDGET_CACHE", str(tmp_path / "cache"))
    fresh = session.Session()
    monkeypatch.setattr(session, "_session", fresh)
    fresh.defaults.model = "demo"
    yield fresh
    fresh.manager.close()


@pytest.fixture(scope="session")
def noise() -> list[Image.Image]:
    """Six pictures of repeatable noise, of different sizes."""
    generator = np.random.default_rng(7)
    return [
        Image.fromarray(generator.integers(0, 256, (30 + 5 * at, 40, 3), dtype=np.uint8))
        for at in range(6)
    ]


@pytest.fixture(scope="session")
def tiny_opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import save_tiny

    return save_tiny(tmp_path_factory.mktemp("tiny-opt"), "opt")


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import save_tiny

    return save_tiny(tmp_path_factory.mktemp("tiny-t5"), "t5")


@pytest.fixture(scope="session")
def tiny_itm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import save_tiny_itm

    return save_tiny_itm(tmp_path_factory.mktemp("tiny-itm"))

"""What was quantised once is kept, found again, and answers alike."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from blip2_widget.model import (
    Engine,
    GenerationSettings,
    Located,
    Machine,
    ModelManager,
    QuantizedWeights,
    loading,
    locate,
    parse,
    quantized,
)

ROOMY = Machine(64 * 10**9, 60 * 10**9, cpu_bf16=True)
VARIANTS = ["cpu-int8", "cpu-int4"]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuantizedWeights:
    monkeypatch.setattr(quantized, "_WORTH_KEEPING", 0)
    return QuantizedWeights(tmp_path / "weights")


@pytest.fixture(params=["opt", "t5"])
def located(request: pytest.FixtureRequest) -> Located:
    return locate(parse(str(request.getfixturevalue(f"tiny_{request.param}"))))


@pytest.fixture
def quantisings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The variants that were quantised."""
    seen: list[str] = []
    real = loading._quantization

    def noting(variant: Any) -> Any:
        seen.append(variant.name)
        return real(variant)

    monkeypatch.setattr(loading, "_quantization", noting)
    return seen


def load(weights: QuantizedWeights, located: Located, variant: str) -> Engine:
    manager = ModelManager(machine=lambda: ROOMY, quantized=weights)
    try:
        return manager.load(located, manager.choose(located, variant)).result(60)
    finally:
        manager.close()


def tokens(engine: Engine, noise: list[Image.Image]) -> list[tuple[int, ...]]:
    prompts = ["", "a photo of", "Question: what is it? Answer:"]
    answers = engine.generate(
        engine.encode(noise[:3]), prompts, GenerationSettings(max_new_tokens=12)
    )
    return [answer.tokens for answer in answers]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_second_load_quantises_nothing_and_answers_alike(
    weights: QuantizedWeights,
    located: Located,
    quantisings: list[str],
    noise: list[Image.Image],
    variant: str,
) -> None:
    first = tokens(load(weights, located, variant), noise)
    assert quantisings == [variant]
    assert tokens(load(weights, located, variant), noise) == first
    assert quantisings == [variant]
    assert any(first)


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json"])
def test_what_is_damaged_is_quantised_again(
    weights: QuantizedWeights,
    located: Located,
    quantisings: list[str],
    noise: list[Image.Image],
    damage: str,
) -> None:
    first = tokens(load(weights, located, "cpu-int8"), noise)
    (folder,) = weights.root.iterdir()
    (folder / damage).write_bytes(b"{")
    assert tokens(load(weights, located, "cpu-int8"), noise) == first
    assert quantisings == ["cpu-int8"] * 2
    # And what was quantised again stands in its place.
    load(weights, located, "cpu-int8")
    assert quantisings == ["cpu-int8"] * 2


def test_every_variant_and_checkpoint_has_its_own(
    weights: QuantizedWeights, tiny_opt: Path, tiny_t5: Path
) -> None:
    for folder in (tiny_opt, tiny_t5):
        for variant in VARIANTS:
            load(weights, locate(parse(str(folder))), variant)
    assert len(list(weights.root.iterdir())) == 4
    assert weights.size() > 0
    weights.clear()
    assert weights.size() == 0 and not weights.root.exists()


def test_what_is_not_quantised_is_not_kept(weights: QuantizedWeights, tiny_opt: Path) -> None:
    load(weights, locate(parse(str(tiny_opt))), "cpu-bf16")
    assert not weights.root.exists()


def test_small_models_are_not_kept(tmp_path: Path, tiny_opt: Path) -> None:
    weights = QuantizedWeights(tmp_path / "weights")
    load(weights, locate(parse(str(tiny_opt))), "cpu-int8")
    assert not weights.root.exists()


def test_a_full_disk_costs_nothing_but_time(
    weights: QuantizedWeights, tiny_opt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Full)
    load(weights, locate(parse(str(tiny_opt))), "cpu-int8")
    assert list(weights.root.iterdir()) == []


def test_a_save_that_breaks_leaves_nothing_behind(
    weights: QuantizedWeights, tiny_opt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_model: Any, folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise OSError("no space left on device")

    monkeypatch.setattr(loading, "save_model", broken)
    load(weights, locate(parse(str(tiny_opt))), "cpu-int8")
    assert list(weights.root.iterdir()) == []

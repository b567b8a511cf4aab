"""What a variant needs is made once, kept by sides, found again, and answers alike."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from blip2_widget.errors import Blip2Error
from blip2_widget.model import (
    Engine,
    GenerationSettings,
    KeptWeights,
    Located,
    Machine,
    ModelManager,
    loading,
    locate,
    nf4_packing,
    parse,
    sides,
    weights,
)

ROOMY = Machine(64 * 10**9, 60 * 10**9, cpu_bf16=True)
QUANTIZED = ["cpu-int8", "cpu-int4"]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptWeights:
    monkeypatch.setattr(weights, "_WORTH_KEEPING", 0)
    return KeptWeights(tmp_path / "weights")


@pytest.fixture(params=["opt", "t5"])
def located(request: pytest.FixtureRequest) -> Located:
    """A checkpoint that is stored in fp32."""
    return locate(parse(str(request.getfixturevalue(f"tiny_{request.param}"))))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sides that were made, and in what."""
    seen: list[str] = []
    convert, save_side = sides.convert, loading.save_side

    def converting(folder: Path, side: Any, dtype: Any, file: Path) -> None:
        seen.append(f"{side} in {dtype}")
        convert(folder, side, dtype, file)

    def saving(model: Any, side: Any, file: Path) -> None:
        in_int8 = side == "vision" or model.hf_quantizer.quantization_config.load_in_8bit
        seen.append(f"{side} in {'int8' if in_int8 else 'int4'}")
        save_side(model, side, file)

    monkeypatch.setattr(weights, "convert", converting)
    monkeypatch.setattr(weights, "save_side", saving)
    return seen


def load(kept: KeptWeights | None, located: Located, variant: str) -> Engine:
    manager = ModelManager(machine=lambda: ROOMY, weights=kept)
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


@pytest.mark.parametrize("variant", ["cpu-bf16", *QUANTIZED])
def test_what_is_kept_answers_as_what_it_was_made_of(
    kept: KeptWeights, located: Located, noise: list[Image.Image], variant: str
) -> None:
    expected = tokens(load(None, located, variant), noise)
    assert any(expected)
    for _ in range(2):
        assert tokens(load(kept, located, variant), noise) == expected


def test_variants_share_the_sides_that_they_have_in_common(
    kept: KeptWeights, located: Located, made: list[str]
) -> None:
    for variant in ("cpu-bf16", *QUANTIZED):
        load(kept, located, variant)
    assert made == [
        "vision in bfloat16",
        "language in bfloat16",
        "language in int8",
        "language in int4",
    ]
    assert len(list(kept.root.iterdir())) == 4


def test_a_vision_side_that_is_shared_is_not_kept(
    kept: KeptWeights, tiny_opt: Path, made: list[str], noise: list[Image.Image]
) -> None:
    """What is in memory is laid out for the processor by then, and is no weight to be read."""
    located = locate(parse(str(tiny_opt)))
    manager = ModelManager(machine=lambda: ROOMY, weights=kept)
    for variant in ("cpu-int8+bf16", "cpu-int8+int8"):
        manager.load(located, manager.choose(located, variant)).result(60)
        if variant == "cpu-int8+bf16":
            kept.clear()
            made.clear()
    manager.close()
    assert made == ["language in int8"]
    made.clear()
    expected = tokens(load(None, located, "cpu-int8+int8"), noise)
    assert tokens(load(kept, located, "cpu-int8+int8"), noise) == expected
    assert made == ["vision in int8"]


@pytest.mark.parametrize("variant", ["cpu-bf16", *QUANTIZED])
def test_a_second_load_writes_nothing_and_maps_all_that_is_not_packed(
    kept: KeptWeights, located: Located, variant: str
) -> None:
    load(kept, located, variant)
    files = list(kept.root.iterdir())
    before = {file: file.stat().st_mtime_ns for file in files}
    model = load(kept, located, variant).model
    assert {file: file.stat().st_mtime_ns for file in kept.root.iterdir()} == before
    mapped = _mappings(files)
    # A packed layer's weight is a buffer, and no parameter.
    weights = {name: each for name, each in model.named_parameters() if each.ndim == 2}
    assert any("embed" in name or "shared" in name for name in weights)
    for name, tensor in weights.items():
        assert any(begin <= tensor.data_ptr() < end for begin, end in mapped), name


def _mappings(files: list[Path]) -> list[tuple[int, int]]:
    """Where this process has files mapped."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(tuple(map(str, files))):
            begin, _, end = line.split()[0].partition("-")
            found.append((int(begin, 16), int(end, 16)))
    return found


def test_a_checkpoint_in_the_wanted_type_is_mapped_itself(
    kept: KeptWeights, tiny_opt: Path, tmp_path: Path, noise: list[Image.Image]
) -> None:
    copy = tmp_path / "in-bf16"
    shutil.copytree(tiny_opt, copy)
    with safe_open(tiny_opt / "model.safetensors", "pt") as file:
        half = {name: file.get_tensor(name).bfloat16() for name in sorted(file.keys())}
    save_file(half, copy / "model.safetensors", {"format": "pt"})
    expected = tokens(load(kept, locate(parse(str(tiny_opt))), "cpu-bf16"), noise)
    kept.clear()
    assert tokens(load(kept, locate(parse(str(copy))), "cpu-bf16"), noise) == expected
    assert not kept.root.exists()
    load(kept, locate(parse(str(copy))), "cpu-int8")
    assert len(list(kept.root.iterdir())) == 1  # the language side


def test_beside_fp16_the_q_former_is_kept_in_fp32(tiny_opt: Path, tmp_path: Path) -> None:
    file = tmp_path / "vision"
    sides.convert(tiny_opt, "vision", "float16", file)
    with safe_open(file, "pt") as written, safe_open(tiny_opt / "model.safetensors", "pt") as own:
        types = {name: written.get_tensor(name).dtype for name in sorted(written.keys())}
        for name in types:
            assert torch.equal(written.get_tensor(name), own.get_tensor(name).to(types[name]))
    q_former = {name for name in types if name.startswith(("qformer.", "query_tokens"))}
    assert {types[name] for name in q_former} == {torch.float32}
    assert {types[name] for name in types.keys() - q_former} == {torch.float16}


@pytest.mark.parametrize("damage", [b"{", b"\xff" * 4096])
def test_what_is_damaged_is_made_again(
    kept: KeptWeights, located: Located, made: list[str], noise: list[Image.Image], damage: bytes
) -> None:
    first = tokens(load(kept, located, "cpu-int8"), noise)
    for file in list(kept.root.iterdir()):
        file.write_bytes(damage)
        assert tokens(load(kept, located, "cpu-int8"), noise) == first
        # And what was made again stands in its place.
        made.clear()
        load(kept, located, "cpu-int8")
        assert made == []


def test_what_fails_for_another_reason_deletes_nothing(
    kept: KeptWeights, tiny_opt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    located = locate(parse(str(tiny_opt)))
    load(kept, located, "cpu-int8")
    before = {file: file.stat().st_mtime_ns for file in kept.root.iterdir()}

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no driver")

    monkeypatch.setattr(loading, "load_model", broken)
    with pytest.raises(Blip2Error, match="no driver"):
        load(kept, located, "cpu-int8")
    assert {file: file.stat().st_mtime_ns for file in kept.root.iterdir()} == before


def test_every_checkpoint_has_its_own(kept: KeptWeights, tiny_opt: Path, tiny_t5: Path) -> None:
    for folder in (tiny_opt, tiny_t5):
        load(kept, locate(parse(str(folder))), "cpu-int8")
    assert len(list(kept.root.iterdir())) == 4
    assert kept.size() > 0
    kept.clear()
    assert kept.size() == 0 and not kept.root.exists()


def test_small_models_are_not_kept(tmp_path: Path, tiny_opt: Path) -> None:
    kept = KeptWeights(tmp_path / "weights")
    load(kept, locate(parse(str(tiny_opt))), "cpu-int8")
    assert not kept.root.exists()


def test_a_full_disk_costs_nothing_but_time(
    kept: KeptWeights, tiny_opt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Full)
    load(kept, locate(parse(str(tiny_opt))), "cpu-int8")
    assert list(kept.root.iterdir()) == []


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyError("BF16")])
def test_a_save_that_breaks_leaves_nothing_behind(
    kept: KeptWeights,
    tiny_opt: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def broken(*to: Any) -> None:
        to[-1].write_bytes(b"x")
        raise error

    monkeypatch.setattr(weights, "convert", broken)
    monkeypatch.setattr(weights, "save_side", broken)
    load(kept, locate(parse(str(tiny_opt))), "cpu-int8")
    assert list(kept.root.iterdir()) == []
    assert f"weights are not kept: {type(error).__name__}" in caplog.text


def test_what_a_killed_process_left_is_swept(kept: KeptWeights, tiny_opt: Path) -> None:
    ages = {"unfinished-dead": 7200, "unfinished-empty": 7200, "unfinished-alive": 60}
    for name, age in ages.items():
        (kept.root / name).mkdir(parents=True)
        then = time.time() - age
        if name != "unfinished-empty":
            (kept.root / name / "weights").write_bytes(b"x")
            os.utime(kept.root / name / "weights", (then, then))
        os.utime(kept.root / name, (time.time() - 7200,) * 2)  # files are written to for long
    load(kept, locate(parse(str(tiny_opt))), "cpu-bf16")
    assert [each.name for each in kept.root.glob("unfinished-*")] == ["unfinished-alive"]


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each time that bitsandbytes' own converter was called."""
    from bitsandbytes import functional
    from bitsandbytes.nn import modules

    seen: list[None] = []
    real = functional._convert_weight_packed_for_cpu

    def noting(*arguments: Any) -> Any:
        seen.append(None)
        return real(*arguments)

    monkeypatch.setattr(functional, "_convert_weight_packed_for_cpu", noting)
    monkeypatch.setattr(modules, "_convert_weight_packed_for_cpu", noting)
    return seen


@pytest.mark.skipif(not nf4_packing.packs_here(), reason="bitsandbytes packs nothing here")
def test_packed_weights_are_packed_once(
    kept: KeptWeights, located: Located, packings: list[None], noise: list[Image.Image]
) -> None:
    engine = load(kept, located, "cpu-int4")
    layers = len(packings)
    assert layers > 0
    first = tokens(engine, noise)
    assert tokens(load(kept, located, "cpu-int4"), noise) == first
    assert len(packings) == layers


@pytest.mark.skipif(not nf4_packing.packs_here(), reason="bitsandbytes packs nothing here")
def test_packing_changes_no_answer(
    kept: KeptWeights,
    located: Located,
    packings: list[None],
    noise: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = tokens(load(kept, located, "cpu-int4"), noise)
    packings.clear()
    # As where bitsandbytes' functions are not found: it packs by itself, in its first products.
    monkeypatch.setattr(nf4_packing, "packs_here", lambda: False)
    engine = load(kept, located, "cpu-int4")
    assert packings == []
    assert tokens(engine, noise) == packed
    assert packings != []
    assert len(list(kept.root.iterdir())) == 3  # the forms do not stand for one another

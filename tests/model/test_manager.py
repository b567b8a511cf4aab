"""Models are loaded once, off the caller's thread, shared, dropped and given back."""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from blip2_widget.errors import Blip2Error
from blip2_widget.model import (
    PUBLISHED,
    Engine,
    GenerationSettings,
    Machine,
    ModelManager,
    loading,
    locate,
    needed_bytes,
    parse,
    weight_bytes,
)
from blip2_widget.model.catalogue import Located
from blip2_widget.model.machine import Gpu
from blip2_widget.model.sides import VISION_PARTS
from blip2_widget.model.variants import Variant, language_bytes, vision_bytes
from blip2_widget.model.variants import variant as named

GB = 10**9
ROOMY = Machine(64 * GB, 60 * GB, cpu_bf16=True)


@pytest.fixture
def manager() -> Iterator[ModelManager]:
    made = ModelManager(max_resident=2, machine=lambda: ROOMY)
    yield made
    made.close()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The variants loaded, each with the name of the thread that did it."""
    seen: list[str] = []
    real = loading.load_model

    def counting(folder: Path, variant: Any, progress: Any = None, **options: Any) -> Any:
        seen.append(f"{variant.name} on {threading.current_thread().name}")
        return real(folder, variant, progress, **options)

    monkeypatch.setattr(loading, "load_model", counting)
    return seen


def load(manager: ModelManager, located: Located, variant: str) -> Future[Engine]:
    return manager.load(located, manager.choose(located, variant))


def test_two_callers_share_one_loading_off_their_thread(
    manager: ModelManager, loads: list[str], tiny_opt: Path
) -> None:
    located = locate(parse(str(tiny_opt)))
    first, second = (load(manager, located, "cpu-fp32") for _ in range(2))
    assert first.result(60) is second.result(60)
    assert loads == ["cpu-fp32 on blip2-loader"]


def test_progress_is_heard(manager: ModelManager, tiny_opt: Path) -> None:
    located = locate(parse(str(tiny_opt)))
    lines: list[str] = []
    manager.load(located, manager.choose(located, "cpu-fp32"), lines.append).result(60)
    assert lines[0].startswith("loading ")
    assert lines[-1].endswith("100%")


def test_auto_stays_with_what_is_in_memory(manager: ModelManager, tiny_opt: Path) -> None:
    located = locate(parse(str(tiny_opt)))
    load(manager, located, "cpu-fp32").result(60)
    assert manager.choose(located, "auto").name == "cpu-fp32"


def test_the_least_recently_used_goes_first(
    manager: ModelManager, tiny_opt: Path, tiny_t5: Path
) -> None:
    opt, t5 = locate(parse(str(tiny_opt))), locate(parse(str(tiny_t5)))
    load(manager, opt, "cpu-fp32").result(60)
    load(manager, t5, "cpu-fp32").result(60)
    load(manager, opt, "cpu-fp32").result(60)  # used again, so the other is older
    load(manager, opt, "cpu-bf16").result(60)
    assert [(r.name, r.variant.name) for r in manager.resident()] == [
        (str(tiny_opt), "cpu-bf16"),
        (str(tiny_opt), "cpu-fp32"),
    ]


def test_one_in_use_is_neither_dropped_nor_unloaded(
    manager: ModelManager, tiny_opt: Path, tiny_t5: Path
) -> None:
    manager.max_resident = 1
    opt, t5 = locate(parse(str(tiny_opt))), locate(parse(str(tiny_t5)))
    variant = manager.choose(opt, "cpu-fp32")
    held = manager.hold(opt, variant)
    held.future.result(60)
    load(manager, t5, "cpu-fp32").result(60)
    assert len(manager.resident()) == 2
    with pytest.raises(Blip2Error, match="is in use"):
        manager.unload()
    manager.release(held)
    assert len(manager.unload()) == 2
    assert manager.resident() == []


def test_memory_that_models_are_mapped_to_is_not_free(
    manager: ModelManager, tiny_opt: Path, tiny_t5: Path
) -> None:
    opt, t5 = locate(parse(str(tiny_opt))), locate(parse(str(tiny_t5)))
    engine = load(manager, opt, "cpu-fp32").result(60)
    assert engine.mapped > 0.5 * weight_bytes(opt.sizes, engine.variant)
    engine.mapped_at[0] = 60 * GB
    with pytest.raises(Blip2Error, match=r"cpu-bf16 needs 0\.3 GB and . MB are free"):
        manager.choose(t5, "cpu-bf16")


def test_what_variants_share_is_mapped_once(manager: ModelManager, tiny_opt: Path) -> None:
    located = locate(parse(str(tiny_opt)))
    first = load(manager, located, "cpu-fp32").result(60)
    free = manager._free_machine().ram_free
    assert free == ROOMY.ram_free - first.mapped < ROOMY.ram_free
    second = load(manager, located, "cpu-bf16").result(60)
    second.mapped_at = dict(list(first.mapped_at.items())[:2])
    assert manager._free_machine().ram_free == free


def test_a_closed_manager_loads_nothing(tiny_opt: Path, loads: list[str]) -> None:
    manager, located = ModelManager(), locate(parse(str(tiny_opt)))
    variant = named("cpu-fp32", ROOMY, "opt")
    with manager._lock:  # so that the loader has taken neither
        queued = [manager.load(located, named(n, ROOMY, "opt")) for n in ("cpu-fp32", "cpu-bf16")]
        closing = threading.Thread(target=manager.close)
        closing.start()
    closing.join(60)
    assert all(each.done() for each in queued)  # loaded or refused, but nobody waits for good
    loads.clear()
    for _ in range(2):
        with pytest.raises(Blip2Error, match="closed"):
            manager.load(located, variant).result(60)
    assert loads == [] and manager._loader is None and manager.resident() == []


def test_what_no_longer_fits_is_refused_before_it_is_loaded(
    tiny_opt: Path, loads: list[str]
) -> None:
    free = [60 * GB]
    manager = ModelManager(machine=lambda: Machine(64 * GB, free[0], cpu_bf16=True))
    located = locate(parse(str(tiny_opt)))
    variant = manager.choose(located, "cpu-fp32")
    free[0] = 1000
    with pytest.raises(Blip2Error, match=r"cpu-fp32 needs 0\.3 GB and 0 MB are free"):
        manager.load(located, variant).result(60)
    assert loads == []
    free[0] = 60 * GB
    assert manager.load(located, variant).result(60) is not None  # a later call tries again
    manager.close()


def test_a_damaged_checkpoint_fails_in_one_line(
    manager: ModelManager, tiny_opt: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "damaged"
    shutil.copytree(tiny_opt, copy)
    located = locate(parse(str(copy)))
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(Blip2Error) as caught:
        load(manager, located, "cpu-fp32").result(60)
    assert "\n" not in str(caught.value)


_MEASURE_UNLOAD = """
import sys
from pathlib import Path
import psutil
from blip2_widget.model import ModelManager, locate, parse, weight_bytes

manager = ModelManager()
process = psutil.Process()

def load(name):
    located = locate(parse(name))
    engine = manager.load(located, manager.choose(located, "cpu-bf16")).result()
    return weight_bytes(located.sizes, engine.variant)

load(sys.argv[1])  # what torch itself takes on first use stays
manager.unload()
before = process.memory_full_info().uss
weights = load(sys.argv[2])
loaded = process.memory_full_info().uss - before
manager.unload()
left = process.memory_full_info().uss - before
print(weights, loaded, left)
"""


def test_unload_gives_the_memory_back(tiny_opt: Path, tmp_path: Path) -> None:
    """Measured in a process of its own, as memory that is that process's alone."""
    from tests.tiny import save_tiny

    wide = save_tiny(tmp_path / "wide", "opt", width=2048)
    printed = subprocess.run(
        [sys.executable, "-c", _MEASURE_UNLOAD, str(tiny_opt), str(wide)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    weights, loaded, left = map(int, printed.split())
    assert loaded == pytest.approx(weights, rel=0.2)
    assert left < 0.1 * weights


@pytest.mark.parametrize(("variant", "trims"), [("cpu-int8", True), ("cpu-bf16", False)])
def test_quantising_gives_memory_back_while_it_goes_on(
    manager: ModelManager,
    tiny_opt: Path,
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    trims: bool,
) -> None:
    trimmed: list[None] = []
    monkeypatch.setattr(loading, "trim", lambda: trimmed.append(None))
    load(manager, locate(parse(str(tiny_opt))), variant).result(60)
    assert bool(trimmed) == trims


def test_a_lower_bound_drops_the_least_recently_used_at_once(
    manager: ModelManager, tiny_opt: Path
) -> None:
    located = locate(parse(str(tiny_opt)))
    for variant in ("cpu-fp32", "cpu-bf16"):
        load(manager, located, variant).result(60)
    manager.max_resident = 1
    assert [each.variant.name for each in manager.resident()] == ["cpu-bf16"]


def test_variants_with_the_same_vision_side_have_it_together(
    manager: ModelManager, tiny_opt: Path, noise: list[Image.Image]
) -> None:
    located = locate(parse(str(tiny_opt)))
    settings = GenerationSettings(max_new_tokens=8)
    first = load(manager, located, "cpu-bf16").result(60)
    language = weakref.ref(first.model.language_model)
    alone = ModelManager(machine=lambda: ROOMY)
    expected = load(alone, located, "cpu-int8").result(60)
    second = load(manager, located, "cpu-int8").result(60)
    for part in VISION_PARTS:
        assert getattr(second.model, part) is getattr(first.model, part)
        assert getattr(second.model, part) is not getattr(expected.model, part)
    assert second.model.language_model is not first.model.language_model

    def answers(engine: Engine) -> list[tuple[int, ...]]:
        return [a.tokens for a in engine.generate(engine.encode(noise), [""] * 6, settings)]

    assert answers(second) == answers(expected)
    assert answers(first) != answers(second)
    del first
    manager.unload(variant="cpu-bf16")
    gc.collect()
    assert language() is None  # sharing keeps nothing else of the first in memory
    assert answers(second) == answers(expected)
    alone.close()


@pytest.mark.parametrize("variant", ["cpu-fp32", "cpu-int8+int8"])
def test_other_precisions_have_their_own(
    manager: ModelManager, tiny_opt: Path, variant: str
) -> None:
    located = locate(parse(str(tiny_opt)))
    first = load(manager, located, "cpu-bf16").result(60)
    other = load(manager, located, variant).result(60)
    assert other.model.vision_model is not first.model.vision_model


def test_int8_vision_is_shared_too(manager: ModelManager, tiny_opt: Path) -> None:
    located = locate(parse(str(tiny_opt)))
    first = load(manager, located, "cpu-int8+int8").result(60)
    assert load(manager, located, "cpu-int8+int4").result(60).model.qformer is first.model.qformer


def test_a_vision_side_in_use_is_not_planned_for_again(tiny_opt: Path) -> None:
    """With room for the language side of one more, and no more."""
    located = dataclasses.replace(locate(parse(str(tiny_opt))), sizes=PUBLISHED["opt-2.7b"])
    one = named("cpu-int8", ROOMY, "opt")
    enough = needed_bytes(located.sizes, one) - vision_bytes(located.sizes, one)
    free = [60 * GB]
    manager = ModelManager(machine=lambda: Machine(64 * GB, free[0], cpu_bf16=True))
    first = manager.choose(located, "cpu-bf16")
    one_held = manager.hold(located, first)
    one_held.future.result(60)
    free[0] = enough - 1
    with pytest.raises(Blip2Error, match=r"cpu-int8 needs 3\.3 GB and 3\.3 GB are free"):
        manager.choose(located, "cpu-int8")
    free[0] = enough
    second = manager.load(located, manager.choose(located, "cpu-int8")).result(60)
    assert len(manager.resident()) == 2
    assert second.model.vision_model is not None
    # When both are idle all of what they hold would be freed, what they share counted once.
    manager.release(one_held)
    free[0] = 0
    held = weight_bytes(located.sizes, first) + language_bytes(located.sizes, one)
    assert held < 16.5 * GB
    with pytest.raises(Blip2Error, match="cpu-fp32 needs 16"):
        manager.choose(located, "cpu-fp32")
    free[0] = needed_bytes(located.sizes, named("cpu-fp32", ROOMY, "opt")) - held
    assert manager.choose(located, "cpu-fp32").name == "cpu-fp32"
    free[0] -= 1
    with pytest.raises(Blip2Error, match="cpu-fp32 needs 16"):
        manager.choose(located, "cpu-fp32")
    manager.close()


def test_auto_never_takes_int8_vision_even_when_it_is_there(
    manager: ModelManager, tiny_opt: Path
) -> None:
    located = locate(parse(str(tiny_opt)))
    load(manager, located, "cpu-int8+int8").result(60)
    assert manager.choose(located, "auto").name == "cpu-bf16"


def test_a_longer_name_of_a_variant_means_the_same_model(
    manager: ModelManager, tiny_opt: Path, loads: list[str]
) -> None:
    located = locate(parse(str(tiny_opt)))
    first = load(manager, located, "cpu-int8").result(60)
    assert load(manager, located, "cpu-bf16+int8").result(60) is first
    assert len(loads) == 1
    assert [each.variant.name for each in manager.unload(variant="cpu-bf16+int8")] == ["cpu-int8"]


@pytest.mark.parametrize("second_fails", [False, True])
def test_every_like_gpu_gets_a_replica(
    tiny_opt: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    second_fails: bool,
) -> None:
    """Without a GPU: the models themselves are put in memory here."""
    places: list[str] = []
    real = loading.load_model

    def load_here(folder: Path, variant: Variant, *rest: Any, **more: Any) -> Any:
        places.append(variant.device)
        if variant.device == "cuda:0" and second_fails:
            raise RuntimeError("out of memory")
        return real(folder, dataclasses.replace(variant, device="cpu"), *rest, **more)

    monkeypatch.setattr(loading, "load_model", load_here)
    gpus = tuple(Gpu(index, "L4", 24 * GB, 20 * GB, (8, 9)) for index in (1, 0))
    manager = ModelManager(machine=lambda: Machine(64 * GB, 60 * GB, True, gpus))
    engine = load(manager, locate(parse(str(tiny_opt))), "auto").result(60)
    assert places == ["cuda:1", "cuda:0"]
    assert engine.devices == (1 if second_fails else 2)
    assert ("cuda:0 is left out" in caplog.text) == second_fails
    manager.close()


@pytest.mark.parametrize("begins_first", [False, True])
def test_a_model_that_a_cell_makes_meanwhile_disturbs_no_loading(
    manager: ModelManager, tiny_opt: Path, monkeypatch: pytest.MonkeyPatch, begins_first: bool
) -> None:
    """As another thread's from_pretrained does it: its switches overlap with ours."""
    from transformers import Blip2ForConditionalGeneration as Model
    from transformers import PreTrainedModel
    from transformers.initialization import no_tie_weights
    from transformers.modeling_utils import local_torch_dtype

    ties, switches = PreTrainedModel.tie_weights, ExitStack()
    make, read = Model.__init__, Model._load_pretrained_model

    def switch() -> None:
        switches.enter_context(local_torch_dtype(torch.float16))
        switches.enter_context(no_tie_weights())

    def making(model: Any, *arguments: Any, **options: Any) -> None:
        if not begins_first:
            switch()
        make(model, *arguments, **options)

    def reading(*arguments: Any, **options: Any) -> Any:
        switches.close()
        return read(*arguments, **options)

    monkeypatch.setattr(Model, "__init__", making)
    monkeypatch.setattr(Model, "_load_pretrained_model", staticmethod(reading))
    if begins_first:
        switch()
        threading.Timer(1, switches.close).start()
    engine = load(manager, locate(parse(str(tiny_opt))), "cpu-fp32").result(60)
    assert PreTrainedModel.tie_weights is ties
    assert torch.get_default_dtype() == torch.float32
    language = engine.model.language_model
    head, embeddings = language.lm_head.weight, language.get_input_embeddings().weight
    assert head.device.type == "cpu" and torch.equal(head, embeddings)


def test_managers_that_load_at_the_same_time_leave_transformers_as_it_was(tiny_opt: Path) -> None:
    from transformers import PreTrainedModel

    ties, located = PreTrainedModel.tie_weights, locate(parse(str(tiny_opt)))
    managers = [ModelManager() for _ in range(4)]
    loading = [each.load(located, each.choose(located, "cpu-fp32")) for each in managers]
    for future in loading:
        future.result(60)
    assert PreTrainedModel.tie_weights is ties
    for each in managers:
        each.close()

"""Which variant runs where, what it needs, and what is refused before anything is loaded."""

from __future__ import annotations

import dataclasses

import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.model import (
    MIXED,
    NAMES,
    PUBLISHED,
    Machine,
    Sizes,
    choose,
    free_bytes,
    gigabytes,
    needed_bytes,
    offered,
    runnable,
    weight_bytes,
)
from blip2_widget.model.machine import Gpu, _kept_by_torch, _visible, read_machine
from blip2_widget.model.variants import tower_of, twins, variant, vision_bytes

GB = 10**9
OPT = PUBLISHED["opt-2.7b"]
LAPTOP = Machine(16 * GB, 12 * GB, cpu_bf16=False)
SERVER = Machine(64 * GB, 60 * GB, cpu_bf16=True)
H200 = Gpu(0, "H200", 141 * GB, 140 * GB, (9, 0))
T4 = Gpu(0, "T4", 16 * GB, 15 * GB, (7, 5))


def with_gpu(gpu: Gpu, free: int | None = None) -> Machine:
    shown = Gpu(gpu.index, gpu.name, gpu.total, gpu.free if free is None else free, gpu.capability)
    return Machine(64 * GB, 60 * GB, cpu_bf16=True, gpus=(shown,))


@pytest.mark.parametrize(
    ("machine", "family", "expected"),
    [
        (SERVER, "opt", "cpu-bf16"),
        (LAPTOP, "opt", "cpu-int8"),  # fp32 needs 15 GB, and bf16 arithmetic is not there
        (Machine(64 * GB, 60 * GB, cpu_bf16=False), "opt", "cpu-fp32"),
        (Machine(8 * GB, 5 * GB, cpu_bf16=True), "opt", "cpu-int4"),
        (Machine(9 * GB, 7 * GB, cpu_bf16=True), "opt", "cpu-int8"),
        (with_gpu(H200), "opt", "cuda-bf16"),
        (with_gpu(T4), "opt", "cuda-fp16"),
        (with_gpu(T4), "t5", "cuda-int8"),  # no fp16 for FLAN-T5, and fp32 does not fit
        (with_gpu(H200, free=6 * GB), "opt", "cuda-int8"),
        (with_gpu(H200, free=1 * GB), "opt", "cpu-bf16"),
    ],
)
def test_auto_takes_the_best_that_fits(machine: Machine, family: str, expected: str) -> None:
    assert choose("auto", OPT, family, machine).name == expected


def test_what_does_not_fit_is_refused_with_what_does() -> None:
    with pytest.raises(Blip2Error) as caught:
        choose("cpu-fp32", OPT, "opt", LAPTOP)
    message = str(caught.value)
    assert "cpu-fp32 needs 16.5 GB and 12.0 GB are free" in message
    assert "cpu-int8 (" in message and "cpu-int4 (" in message
    assert "cpu-fp32 (" not in message
    assert "\n" not in message


def test_memory_of_idle_models_counts_as_free() -> None:
    small = Machine(20 * GB, 1 * GB, cpu_bf16=True)
    with pytest.raises(Blip2Error, match="no variant fits"):
        choose("auto", OPT, "opt", small)
    assert choose("auto", OPT, "opt", small, reclaimable=10 * GB).name == "cpu-bf16"


@pytest.mark.parametrize(
    ("name", "machine", "family", "part"),
    [
        ("cpu-fp16", SERVER, "opt", "write --variant cpu-bf16"),
        ("cuda-bf16", SERVER, "opt", "needs a CUDA GPU"),
        ("cuda-fp16", with_gpu(H200), "t5", "write --variant cuda-bf16"),
        ("cuda-bf16", with_gpu(T4), "opt", "write --variant cuda-fp16"),
        ("cpu-int3", SERVER, "opt", "there is no variant 'cpu-int3'"),
    ],
)
def test_impossible_variants_name_one_that_works(
    name: str, machine: Machine, family: str, part: str
) -> None:
    with pytest.raises(Blip2Error, match=part):
        choose(name, OPT, family, machine)


def test_every_variant_runs_on_an_h200() -> None:
    assert {each.name for each in runnable(with_gpu(H200), "opt")} == set(NAMES)


def test_weights_agree_with_the_model_cards_table() -> None:
    """The card of Salesforce/blip2-opt-2.7b: 14.43, 7.21, 3.61 and 1.8 GB (of 2**30 bytes), the
    last two of which count every weight as quantised, which is less than what is."""
    in_gib = {
        name: weight_bytes(OPT, variant(name, with_gpu(H200), "opt")) / 2**30
        for name in ("cuda-fp32", "cuda-bf16", "cuda-int8", "cuda-int4")
    }
    assert in_gib["cuda-fp32"] == pytest.approx(14.43, rel=0.04)
    assert in_gib["cuda-bf16"] == pytest.approx(7.21, rel=0.04)
    assert 3.61 < in_gib["cuda-int8"] < 5
    assert 1.8 < in_gib["cuda-int4"] < 4


def test_the_q_former_stays_in_fp32_beside_fp16() -> None:
    sizes = Sizes(vision=10, bridge=100, language_linear=0, language_other=0)
    machine = with_gpu(H200)
    assert weight_bytes(sizes, variant("cuda-fp16", machine, "opt")) == 10 * 2 + 100 * 4
    assert weight_bytes(sizes, variant("cuda-bf16", machine, "opt")) == 110 * 2


def test_unquantised_parts_use_what_the_machine_is_good_at() -> None:
    assert variant("cpu-int8", LAPTOP, "opt").dtype == "float32"
    assert variant("cpu-int8", SERVER, "opt").dtype == "bfloat16"
    assert variant("cuda-int4", with_gpu(T4), "opt").dtype == "float16"
    assert variant("cuda-int4", with_gpu(T4), "t5").dtype == "float32"


def test_working_memory_is_counted_beside_the_weights() -> None:
    one = variant("cpu-bf16", SERVER, "opt")
    assert needed_bytes(OPT, one) > 1.09 * weight_bytes(OPT, one)


def test_this_machines_bf16_agrees_with_torch() -> None:
    import torch

    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        assert read_machine().cpu_bf16 == torch.cpu._is_avx512_bf16_supported()
    else:
        assert not read_machine().cpu_bf16 or torch.backends.cpu.get_cpu_capability() != "DEFAULT"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [(None, [0, 1, 2]), ("", []), ("-1", []), ("2,0", [2, 0]), ("1,7,0", [1])],
)
def test_visible_devices_are_numbered_as_cuda_does(
    setting: str | None, expected: list[int]
) -> None:
    assert _visible(setting, 3) == expected


def test_bytes_read_well() -> None:
    assert gigabytes(14_430_000_000) == "14.4 GB"
    assert gigabytes(9_000_000) == "9 MB"


def test_idle_models_free_the_memory_they_are_in() -> None:
    gpu = Gpu(0, "L4", 24 * GB, 1 * GB, (8, 9))
    machine = Machine(64 * GB, 30 * GB, cpu_bf16=True, gpus=(gpu,))
    assert choose("auto", OPT, "opt", machine, reclaimable=20 * GB).name == "cpu-bf16"
    assert choose("auto", OPT, "opt", machine, reclaimable_gpu=20 * GB).name == "cuda-bf16"


@pytest.mark.parametrize(
    ("name", "machine", "canonical", "vision", "language"),
    [
        ("cpu-int4", SERVER, "cpu-int4", "bfloat16", "int4-bfloat16"),
        ("cpu-bf16+int4", SERVER, "cpu-int4", "bfloat16", "int4-bfloat16"),
        ("cpu-bf16+bf16", SERVER, "cpu-bf16", "bfloat16", "plain-bfloat16"),
        ("cpu-fp32+int8", SERVER, "cpu-fp32+int8", "float32", "int8-float32"),
        ("cpu-fp32+int8", LAPTOP, "cpu-int8", "float32", "int8-float32"),
        ("cpu-bf16+int8", LAPTOP, "cpu-bf16+int8", "bfloat16", "int8-bfloat16"),
        ("cpu-int8+bf16", SERVER, "cpu-int8+bf16", "int8-bfloat16", "plain-bfloat16"),
        ("cpu-int8+int4", SERVER, "cpu-int8+int4", "int8-bfloat16", "int4-bfloat16"),
        ("cpu-int8+int8", LAPTOP, "cpu-int8+int8", "int8-float32", "int8-float32"),
        ("cuda-bf16+int4", with_gpu(H200), "cuda-int4", "bfloat16", "int4-bfloat16"),
        ("cuda-fp32+int4", with_gpu(H200), "cuda-fp32+int4", "float32", "int4-float32"),
    ],
)
def test_a_name_says_what_each_side_runs_in(
    name: str, machine: Machine, canonical: str, vision: str, language: str
) -> None:
    found = variant(name, machine, "opt")
    assert (found.name, found.vision, found.language) == (canonical, vision, language)
    assert variant(canonical, machine, "opt") == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cpu-int8+int3", r"there is no variant 'cpu-int8\+int3'; write auto or cpu-int8\+int"),
        ("cpu-bf16+fp32", r"there is no variant 'cpu-bf16\+fp32'; write auto or .*cpu-bf16"),
        ("cpu-int4+bf16", r"there is no variant 'cpu-int4\+bf16'; write auto or .*cpu-bf16"),
        ("cpu-", "there is no variant 'cpu-'"),
        ("+", r"write auto or one of cuda-bf16, .*, cpu-fp32\+int4$"),
        ("cpu-fp16+int8", r"write --variant cpu-bf16\+int8$"),
        ("cuda-int8+int8", "int8 vision runs on a processor; write --variant cuda-int8$"),
    ],
)
def test_wrong_names_get_one_line_with_close_ones(name: str, message: str) -> None:
    with pytest.raises(Blip2Error, match=message) as caught:
        variant(name, with_gpu(H200), "opt")
    assert "\n" not in str(caught.value)


def test_each_side_is_counted_in_its_precision() -> None:
    sizes = Sizes(vision=1000, bridge=100, language_linear=640, language_other=10)
    counted = {
        name: weight_bytes(sizes, variant(name, SERVER, "opt")) for name in (*MIXED, "cpu-int4")
    }
    assert counted == {
        "cpu-int8+bf16": 1000 + 200 + 1280 + 20,
        "cpu-int8+int8": 1000 + 200 + 640 + 20,
        "cpu-int8+int4": 1000 + 200 + 360 + 20,
        "cpu-fp32+int8": 4000 + 400 + 640 + 40,
        "cpu-fp32+int4": 4000 + 400 + 360 + 40,
        "cpu-int4": 2000 + 200 + 360 + 20,
    }


def test_mixed_variants_are_offered_and_chosen_only_by_name() -> None:
    names = [each.name for each in runnable(SERVER, "opt")]
    assert not set(names) & set(MIXED)
    assert [each.name for each in offered(SERVER, "opt")] == [*names, *MIXED]
    # Under another name nothing is offered twice.
    assert "cpu-fp32+int8" not in [each.name for each in offered(LAPTOP, "opt")]
    tight = Machine(8 * GB, int(3.4 * GB), cpu_bf16=True)
    assert choose("cpu-int8+int4", OPT, "opt", tight).name == "cpu-int8+int4"
    with pytest.raises(Blip2Error, match="no variant fits"):
        choose("auto", OPT, "opt", tight)


def test_int8_vision_needs_a_processor_with_int8_products() -> None:
    machine = dataclasses.replace(SERVER, cpu_int8=False)
    with pytest.raises(Blip2Error, match=r"AVX512-VNNI.*write --variant cpu-int4$"):
        variant("cpu-int8+int4", machine, "opt")
    assert variant("cpu-int8", machine, "opt").quantization == "int8"  # which needs none
    assert not any(each.int8_vision for each in offered(machine, "opt"))


def test_what_torch_holds_for_later_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _kept_by_torch(0) == 0
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda index: 7 * GB)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda index: 5 * GB)
    assert _kept_by_torch(0) == 2 * GB


def test_a_vision_side_that_is_there_needs_no_memory() -> None:
    one = variant("cpu-int4", SERVER, "opt")
    tight = Machine(8 * GB, needed_bytes(OPT, one) - vision_bytes(OPT, one), cpu_bf16=True)
    assert choose("cpu-int4", OPT, "opt", tight, shared=[tower_of(one)]) == one
    for shared in ([], [("cpu", "float32")], [("cuda:0", "bfloat16")]):
        with pytest.raises(Blip2Error, match="cpu-int4 needs"):
            choose("cpu-int4", OPT, "opt", tight, shared=shared)


def test_twins_are_on_gpus_of_the_same_model_with_the_memory() -> None:
    def gpu(index: int, name: str, free: float) -> Gpu:
        return Gpu(index, name, 48 * GB, int(free * GB), (9, 0))

    gpus = (gpu(2, "L40S", 47), gpu(0, "L40S", 20), gpu(1, "L4", 40), gpu(3, "L40S", 2))
    machine = Machine(64 * GB, 60 * GB, cpu_bf16=True, gpus=gpus)
    one = variant("cuda-bf16", machine, "opt")
    assert one.device == "cuda:2"
    assert [each.device for each in twins(one, OPT, machine)] == ["cuda:0"]
    assert twins(variant("cpu-bf16", machine, "opt"), OPT, machine) == []
    assert free_bytes(dataclasses.replace(one, device="cuda:0"), machine) == 20 * GB

"""The variants a checkpoint can run in, what each needs, and which one fits this machine."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from blip2_widget.errors import Blip2Error
from blip2_widget.model.machine import Gpu, Machine
from blip2_widget.model.sizes import Sizes

Dtype = Literal["float32", "float16", "bfloat16"]
Quantization = Literal["int8", "int4"] | None

_BYTES: dict[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
#: Bytes a quantised weight takes. NF4 keeps one fp32 scale for each block of 64 weights; int8
#: keeps one fp32 scale a row, which is too little to count. Source: bitsandbytes' documentation.
_QUANTIZED_BYTES: dict[str, float] = {"int8": 1.0, "int4": 0.5 + 4 / 64}
#: Activations, caches and libraries beside the weights, in bytes: a share and a floor.
_WORKING_SHARE = 0.10
_WORKING_FLOOR = 300 << 20


@dataclass(frozen=True)
class Variant:
    """A device, as torch names it, and the precision of what runs on it.

    `dtype` is that of everything unquantised, `quantization` the language model's, and
    `int8_vision` says that the image encoder's layers are int8 too.
    """

    name: str
    device: str
    dtype: Dtype
    quantization: Quantization
    int8_vision: bool = False

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def float_vision_name(self) -> str:
        """The name of the variant that differs in not having int8 vision."""
        device = self.name.partition("-")[0]
        return f"{device}-{self.quantization or _SHORT[self.dtype]}"

    @property
    def vision(self) -> str:
        """The image encoder's precision, as features are stored under it."""
        return f"int8-{self.dtype}" if self.int8_vision else self.dtype

    @property
    def language(self) -> str:
        """The language model's precision, as answers are stored under it."""
        return f"{self.quantization or 'plain'}-{self.dtype}"


#: In the order in which `auto` prefers them on their device; `choose` says why.
NAMES = (
    "cuda-bf16",
    "cuda-fp16",
    "cuda-fp32",
    "cuda-int8",
    "cuda-int4",
    "cpu-bf16",
    "cpu-fp32",
    "cpu-int8",
    "cpu-int4",
)

#: What is had only by asking: DEVICE-VISION+LANGUAGE, each side in its own precision.
MIXED = ("cpu-int8+bf16", "cpu-int8+int8", "cpu-int8+int4", "cpu-fp32+int8", "cpu-fp32+int4")

_DTYPES: dict[str, Dtype] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_SHORT = {dtype: short for short, dtype in _DTYPES.items()}
_QUANTIZATIONS: dict[str, Quantization] = {"int8": "int8", "int4": "int4"}


def variant(name: str, machine: Machine, family: str) -> Variant:
    """The variant of that name as it would run for a language model family on this machine; "itm"
    is the family of checkpoints without a language model.

    A name is DEVICE-PRECISION, where int8 and int4 are the language model's and the vision side
    has the type that the device is good at, or DEVICE-VISION+LANGUAGE. Two names may mean one
    variant, which is called by the shorter: cpu-bf16+int4 is cpu-int4 where bf16 is at home.

    Raises Blip2Error where the machine or the family cannot run it, naming one that works.
    """
    device, vision, language = _sides(name)
    if family == "itm" and (vision == "int8" or language in _QUANTIZATIONS):
        # int8 and int4 are the language model's, and what int8 vision does to matching was never
        # measured.
        raise Blip2Error(
            f"{name} is not offered for a checkpoint that matches: it has no language model to "
            f"quantise; write --variant {device}-bf16 or {device}-fp32"
        )
    if device == "cpu" and "fp16" in (vision, language):
        raise Blip2Error(
            f"{name} is not offered: fp16 is many times slower than bf16 on a processor; "
            f"write --variant {name.replace('fp16', 'bf16')}"
        )
    if vision == "int8" and not machine.cpu_int8:
        raise Blip2Error(
            f"{name} needs a processor with int8 products (AVX512-VNNI, AVX-VNNI or AMX); "
            f"write --variant cpu-{language}"
        )
    if device == "cuda" and machine.gpu is None:
        raise Blip2Error(
            f"{name} needs a CUDA GPU and a CUDA build of torch, and neither was found here; "
            "write --variant auto, or one that begins with cpu-"
        )
    if device == "cuda" and vision == "fp16" and family == "t5":
        raise Blip2Error(
            "FLAN-T5 overflows in fp16 and gives empty answers; write --variant cuda-bf16 "
            "(or cuda-fp32 before Ampere)"
        )
    if device == "cuda" and vision == "bf16" and machine.gpu and not machine.gpu.has_bf16:
        raise Blip2Error(
            f"{machine.gpu.name} has no bf16 arithmetic; write --variant "
            f"{'cuda-fp32' if family == 't5' else 'cuda-fp16'}"
        )
    gpu = machine.gpu if device == "cuda" else None
    place = gpu.device if gpu else "cpu"
    beside = _dtype_beside_quantized(gpu, machine, family)
    quantization = _QUANTIZATIONS.get(language)
    if vision == "int8":
        return Variant(
            f"{device}-int8+{language}", place, _DTYPES.get(language, beside), quantization, True
        )
    dtype = _DTYPES.get(vision, beside)
    if quantization and dtype != beside:
        return Variant(f"{device}-{vision}+{language}", place, dtype, quantization)
    return Variant(f"{device}-{language}", place, dtype, quantization)


def _sides(name: str) -> tuple[str, str, str]:
    """Device, vision precision and language precision of a name; vision is "" where the machine
    is to say. Raises Blip2Error where there is no such variant."""
    device, _, precisions = name.partition("-")
    vision, mixes, language = precisions.rpartition("+")
    floats, quantized = _DTYPES.keys(), _QUANTIZATIONS.keys()
    if device in ("cpu", "cuda") and not mixes and language in floats | quantized:
        return device, language if language in floats else "", language
    if device == "cuda" and vision == "int8" and language in floats | quantized:
        raise Blip2Error(
            f"{name} is not offered: int8 vision runs on a processor; "
            f"write --variant cuda-{language}"
        )
    if device in ("cpu", "cuda") and (
        (vision in floats and language in quantized | {vision})
        or (vision == "int8" and language in floats | quantized)
    ):
        return device, vision, language
    close = difflib.get_close_matches(name, [*NAMES, *MIXED], n=3, cutoff=0.6)
    raise Blip2Error(
        f"there is no variant {name!r}; write auto or "
        + (", ".join(close) if close else f"one of {', '.join([*NAMES, *MIXED])}")
    )


def _dtype_beside_quantized(gpu: Gpu | None, machine: Machine, family: str) -> Dtype:
    """The 16-bit type the device is good at, for what a quantised variant leaves alone."""
    if gpu is None:
        return "bfloat16" if machine.cpu_bf16 else "float32"
    if gpu.has_bf16:
        return "bfloat16"
    return "float32" if family == "t5" else "float16"


def weight_bytes(sizes: Sizes, variant: Variant) -> int:
    """Bytes of a checkpoint's weights in a variant."""
    return vision_bytes(sizes, variant) + language_bytes(sizes, variant)


def vision_bytes(sizes: Sizes, variant: Variant) -> int:
    """Bytes of what turns pictures into features, with the Q-Former and the projection.

    In fp16 the Q-Former stays in fp32: transformers keeps it so for its range. In int8 all of the
    image encoder is counted as int8; the layers that are make up 99.8 % of the published ones.
    """
    each = _BYTES[variant.dtype]
    bridge = sizes.bridge * (4 if variant.dtype == "float16" else each)
    return sizes.vision * (1 if variant.int8_vision else each) + bridge


def language_bytes(sizes: Sizes, variant: Variant) -> int:
    """Bytes of the language model."""
    each = _BYTES[variant.dtype]
    linear = _QUANTIZED_BYTES[variant.quantization] if variant.quantization else each
    return round(sizes.language_other * each + sizes.language_linear * linear)


def needed_bytes(sizes: Sizes, variant: Variant) -> int:
    """Memory to have free before loading: weights and what working with them takes."""
    weights = weight_bytes(sizes, variant)
    return weights + max(round(weights * _WORKING_SHARE), _WORKING_FLOOR)


def runnable(machine: Machine, family: str) -> list[Variant]:
    """The variants that this machine and family can run if memory allows and that `auto` chooses
    among, best first.

    On a processor without bf16 arithmetic fp32 comes before bf16.
    """
    found = _of(NAMES, machine, family)
    if not machine.cpu_bf16:
        found.sort(key=lambda each: each.name == "cpu-bf16")
    return found


def offered(machine: Machine, family: str) -> list[Variant]:
    """All variants that this machine and family can run if memory allows, those of `auto` first."""
    return list(dict.fromkeys([*runnable(machine, family), *_of(MIXED, machine, family)]))


def _of(names: Iterable[str], machine: Machine, family: str) -> list[Variant]:
    found = []
    for name in names:
        try:
            found.append(variant(name, machine, family))
        except Blip2Error:
            continue
    return found


#: A vision side in memory: its device and its precision.
Tower = tuple[str, str]


def tower_of(variant: Variant) -> Tower:
    """The vision side that a variant can share with others of the same checkpoint."""
    return variant.device, variant.vision


def choose(
    name: str,
    sizes: Sizes,
    family: str,
    machine: Machine,
    *,
    reclaimable: int = 0,
    reclaimable_gpu: int = 0,
    shared: Collection[Tower] = (),
) -> Variant:
    """The variant called `name`, or for "auto" the best one that fits.

    The best is the first of NAMES: on a GPU before on a processor, and there unquantised before
    int8 before int4. Unquantised comes first because it changes no answers and captions fastest;
    int8 comes before int4 because it is nearer to it. Seconds for opt-2.7b at full size in
    bf16 / int8 / int4 (`python -m benchmarks captions follow_up`, two cores of an AMD EPYC with
    AVX512-BF16): 0.89 / 1.08 / 1.08 a caption in batches of 64, 1.37 / 0.96 / 0.62 a follow-up
    question.

    What MIXED names is never taken unasked: int8 vision changes the features that every answer
    rests on, and fp32 beside a quantised language model gains nothing where bf16 is at home.

    `reclaimable` and `reclaimable_gpu` are bytes of RAM and of GPU memory that unloading other
    models would free; the vision sides in `shared` are in memory to stay and need none. Raises
    Blip2Error, before anything is loaded, where the wanted one does not fit, with those that do.
    """

    def needed(each: Variant) -> int:
        there = vision_bytes(sizes, each) if tower_of(each) in shared else 0
        return needed_bytes(sizes, each) - there

    def fits(each: Variant) -> bool:
        freed = reclaimable_gpu if each.is_cuda else reclaimable
        return needed(each) <= free_bytes(each, machine) + freed

    candidates = runnable(machine, family)
    fitting = [each for each in candidates if fits(each)]
    if name == "auto":
        if fitting:
            return fitting[0]
        smallest = min(candidates, key=needed)
        raise Blip2Error(
            f"no variant fits: the smallest, {smallest.name}, needs "
            f"{gigabytes(needed(smallest))} and "
            f"{gigabytes(free_bytes(smallest, machine))} are free; close something, "
            f"or take a smaller checkpoint ({_smaller(family)})"
        )
    wanted = variant(name, machine, family)
    if fits(wanted):
        return wanted
    others = ", ".join(f"{each.name} ({gigabytes(needed(each))})" for each in fitting)
    raise Blip2Error(
        f"{name} needs {gigabytes(needed(wanted))} and "
        f"{gigabytes(free_bytes(wanted, machine))} are free; "
        + (f"these fit: {others}" if others else f"nor does another; try {_smaller(family)}")
    )


def _smaller(family: str) -> str:
    return "-m demo-retrieval" if family == "itm" else "-m opt-2.7b, or -m demo"


def twins(variant: Variant, sizes: Sizes, machine: Machine) -> list[Variant]:
    """The same variant on every other GPU that has the memory now. GPUs of another model are left
    out: they may round otherwise, and which of them answered must not show."""
    names = {gpu.device: gpu.name for gpu in machine.gpus}
    return [
        replace(variant, device=gpu.device)
        for gpu in machine.gpus
        if gpu.device != variant.device
        and gpu.name == names.get(variant.device)
        and needed_bytes(sizes, variant) <= gpu.free
    ]


def free_bytes(variant: Variant, machine: Machine) -> int:
    """Free memory, in bytes, where the variant would live."""
    if variant.is_cuda:
        return next((gpu.free for gpu in machine.gpus if gpu.device == variant.device), 0)
    return machine.ram_free


def gigabytes(count: int) -> str:
    """Bytes for a person: "14.4 GB" (powers of ten), or MB under a tenth of a GB."""
    if count < 1e8:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB"

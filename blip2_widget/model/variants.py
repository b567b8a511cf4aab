"""The variants a checkpoint can run in, what each needs, and which one fits this machine."""

from __future__ import annotations

from dataclasses import dataclass
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

    `dtype` is that of everything unquantised, the image encoder always included.
    """

    name: str
    device: str
    dtype: Dtype
    quantization: Quantization

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def vision(self) -> str:
        """The image encoder's precision, as features are stored under it."""
        return self.dtype

    @property
    def language(self) -> str:
        """The language model's precision, as answers are stored under it."""
        return f"{self.quantization or 'plain'}-{self.dtype}"


#: In the order in which `auto` prefers them on their device.
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

_DTYPES: dict[str, Dtype] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def variant(name: str, machine: Machine, family: str) -> Variant:
    """The variant of that name as it would run for a language model family on this machine.

    Raises Blip2Error where the machine or the family cannot run it, naming one that works.
    """
    if name == "cpu-fp16":
        raise Blip2Error(
            "cpu-fp16 is not offered: fp16 is many times slower than bf16 on a processor; "
            "write --variant cpu-bf16"
        )
    if name not in NAMES:
        raise Blip2Error(f"there is no variant {name!r}; write auto or one of {', '.join(NAMES)}")
    device, precision = name.split("-")
    if device == "cuda" and machine.gpu is None:
        raise Blip2Error(
            f"{name} needs a CUDA GPU and a CUDA build of torch, and neither was found here; "
            "write --variant auto, or one that begins with cpu-"
        )
    if name == "cuda-fp16" and family == "t5":
        raise Blip2Error(
            "FLAN-T5 overflows in fp16 and gives empty answers; write --variant cuda-bf16 "
            "(or cuda-fp32 before Ampere)"
        )
    if name == "cuda-bf16" and machine.gpu and not machine.gpu.has_bf16:
        raise Blip2Error(
            f"{machine.gpu.name} has no bf16 arithmetic; write --variant "
            f"{'cuda-fp32' if family == 't5' else 'cuda-fp16'}"
        )
    gpu = machine.gpu if device == "cuda" else None
    place = f"cuda:{gpu.index}" if gpu else "cpu"
    if precision in _DTYPES:
        return Variant(name, place, _DTYPES[precision], None)
    quantization: Quantization = "int8" if precision == "int8" else "int4"
    return Variant(name, place, _dtype_beside_quantized(gpu, machine, family), quantization)


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

    In fp16 the Q-Former stays in fp32: transformers keeps it so for its range.
    """
    each = _BYTES[variant.dtype]
    return sizes.vision * each + sizes.bridge * (4 if variant.dtype == "float16" else each)


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
    """The variants that this machine and family can run if memory allows, best first.

    On a processor without bf16 arithmetic fp32 comes before bf16.
    """
    found = []
    for name in NAMES:
        try:
            found.append(variant(name, machine, family))
        except Blip2Error:
            continue
    if not machine.cpu_bf16:
        found.sort(key=lambda each: each.name == "cpu-bf16")
    return found


def choose(
    name: str,
    sizes: Sizes,
    family: str,
    machine: Machine,
    *,
    reclaimable: int = 0,
    reclaimable_gpu: int = 0,
) -> Variant:
    """The variant called `name`, or for "auto" the best one that fits.

    The best is the first of NAMES: on a GPU before on a processor, unquantised before quantised.
    `reclaimable` and `reclaimable_gpu` are bytes of RAM and of GPU memory that unloading other
    models would free. Raises Blip2Error, before anything is loaded, where the wanted one does not
    fit, with the ones that do.
    """
    fitting = [
        each
        for each in runnable(machine, family)
        if needed_bytes(sizes, each)
        <= free_bytes(each, machine) + (reclaimable_gpu if each.is_cuda else reclaimable)
    ]
    if name == "auto":
        if fitting:
            return fitting[0]
        smallest = min(runnable(machine, family), key=lambda each: needed_bytes(sizes, each))
        raise Blip2Error(
            f"no variant fits: the smallest, {smallest.name}, needs "
            f"{gigabytes(needed_bytes(sizes, smallest))} and "
            f"{gigabytes(free_bytes(smallest, machine))} are free; close something, "
            "or take a smaller checkpoint (-m opt-2.7b, or -m demo)"
        )
    wanted = variant(name, machine, family)
    if wanted in fitting:
        return wanted
    others = ", ".join(f"{each.name} ({gigabytes(needed_bytes(sizes, each))})" for each in fitting)
    raise Blip2Error(
        f"{name} needs {gigabytes(needed_bytes(sizes, wanted))} and "
        f"{gigabytes(free_bytes(wanted, machine))} are free; "
        + (f"these fit: {others}" if others else "no other variant fits either; try -m demo")
    )


def free_bytes(variant: Variant, machine: Machine) -> int:
    """Free memory, in bytes, where the variant would live."""
    if variant.is_cuda:
        return machine.gpu.free if machine.gpu else 0
    return machine.ram_free


def gigabytes(count: int) -> str:
    """Bytes for a person: "14.4 GB" (powers of ten), or MB under a tenth of a GB."""
    if count < 1e8:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB"

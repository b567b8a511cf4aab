"""How fast this machine multiplies and reads: what the roofline is made of.

Products are timed at the shapes of the checkpoint's own layers, by whatever way torch has that is
fastest. A rate is sustained: that of the median call of a second's, at the shape where it is best.
The fastest single call is told beside it. Bandwidth is that of reading far more than any cache
holds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.process import ProcessFailed, call
from benchmarks.record import Record, not_measured
from benchmarks.roofline import Limits
from benchmarks.setting import NO_DEVICE, Setting

NAME = "limits"
PRODUCTS, BANDWIDTH = "products", "bandwidth"
FASTEST = "fastest call"
#: Pictures whose tokens are multiplied at once.
_PICTURES = 8


def measure(setting: Setting) -> list[Record]:
    """The ceiling of each precision, the layer it was reached at, and the bandwidth."""
    records: list[Record] = []
    for device in ("cpu", "cuda"):
        if device not in setting.devices:
            records.append(not_measured(NAME, device, PRODUCTS, "TFLOP/s", NO_DEVICE))
            continue
        try:
            found = _found(setting, device)
        except ProcessFailed as error:
            records.append(not_measured(NAME, device, PRODUCTS, "TFLOP/s", str(error)))
            continue
        for precision, (rate, fastest, shape) in _best(found).items():
            subject = f"{device}, {precision}, at {shape}"
            records.append(Record(NAME, subject, PRODUCTS, rate / 1e12, "TFLOP/s"))
            records.append(Record(NAME, subject, FASTEST, fastest / 1e12, "TFLOP/s"))
        reading = found["bandwidth"] / 1e9
        records.append(Record(NAME, f"{device}, reading", BANDWIDTH, reading, "GB/s"))
    return records


def limits_from(found: Any) -> Limits:
    """The ceilings, from what `find_limits` gave."""
    best = {precision: rate for precision, (rate, *_) in _best(found).items()}
    return Limits(best, found["bandwidth"])


def _found(setting: Setting, device: str) -> Any:
    return call(
        find_limits,
        setting.cache,
        checkpoint=str(setting.checkpoint),
        device=device,
        quick=setting.quick,
    )


def _best(found: Any) -> dict[str, tuple[float, float, str]]:
    """By precision the sustained rate, that of the fastest call, and the shape."""
    best: dict[str, tuple[float, float, str]] = {}
    for precision, shape, rate, fastest in found["products"]:
        best[precision] = max(best.get(precision, (0.0, 0.0, "")), (rate, fastest, shape))
    return best


# --- in a process of its own ------------------------------------------------------------------


def find_limits(checkpoint: str, device: str, quick: bool) -> dict[str, Any]:
    """Every product as [precision, shape, products a second, those of the fastest call], and bytes
    read a second."""
    import torch

    products = []
    with torch.inference_mode():
        for rows, inner, outer in _shapes(Path(checkpoint)):
            for precision, way in _ways(rows, inner, outer, device):
                try:
                    median, fastest = _timed(way, device, 0.05 if quick else 1.0)
                except RuntimeError:  # this torch has no such product here
                    continue
                shape, count = f"{rows} × {inner} × {outer}", 2 * rows * inner * outer
                products.append([precision, shape, count / median, count / fastest])
        return {"products": products, "bandwidth": bandwidth(device, quick)}


def bandwidth(device: str, quick: bool) -> float:
    """Bytes read a second: by a product with a vector and by a sum, whichever is faster."""
    import torch

    columns = 8192
    rows = (64 << 20 if quick else 1 << 30) // (4 * columns)
    block = torch.ones(rows, columns, device=device)
    vector = torch.ones(columns, device=device)
    size = block.numel() * 4
    budget = 0.05 if quick else 2.0
    ways: list[tuple[int, Callable[[], Any]]] = [
        (size, lambda: torch.mv(block, vector)),
        (size, lambda: block.sum()),
    ]
    if device == "cuda":
        target = torch.empty_like(block)
        ways.append((2 * size, lambda: target.copy_(block)))  # read and written
    return max(moved / _timed(way, device, budget)[0] for moved, way in ways)


def _shapes(folder: Path) -> list[tuple[int, int, int]]:
    """Rows, inputs and outputs of the largest layers of image encoder and language model."""
    from transformers import Blip2Config

    config = Blip2Config.from_pretrained(folder, local_files_only=True)
    vision, text = config.vision_config, config.text_config
    seen = _PICTURES * ((vision.image_size // vision.patch_size) ** 2 + 1)
    read = _PICTURES * (config.num_query_tokens + 16)
    width, inner = vision.hidden_size, vision.intermediate_size
    language = getattr(text, "ffn_dim", 4 * text.hidden_size)
    return [
        (seen, width, 3 * width),
        (seen, width, inner),
        (seen, inner, width),
        (read, text.hidden_size, language),
        (read, language, text.hidden_size),
    ]


def _ways(
    rows: int, inner: int, outer: int, device: str
) -> Iterator[tuple[str, Callable[[], Any]]]:
    import torch
    from torch.nn.functional import linear

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if device == "cuda":  # on a processor nobody runs in fp16
        dtypes["fp16"] = torch.float16
    for precision, dtype in dtypes.items():
        x = torch.randn(rows, inner, device=device).to(dtype)
        weight = torch.randn(outer, inner, device=device).to(dtype)
        bias = torch.zeros(outer, device=device, dtype=dtype)
        yield precision, partial(linear, x, weight, bias)
        packed = None if device == "cuda" else _packed(x, weight, bias)
        if packed is not None:
            yield precision, packed
    x = torch.randint(-127, 127, (rows, inner), dtype=torch.int8, device=device)
    weight = torch.randint(-127, 127, (outer, inner), dtype=torch.int8, device=device)
    yield "int8", partial(torch._int_mm, x, weight.t())


def _packed(x: Any, weight: Any, bias: Any) -> Callable[[], Any] | None:
    """oneDNN's product with the weight laid out for it beforehand, where this torch has it."""
    import torch

    def product() -> Any:
        return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")

    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
        product()
    except (AttributeError, RuntimeError):
        return None
    return product


def _timed(way: Callable[[], Any], device: str, budget: float) -> tuple[float, float]:
    """Seconds of the median and of the fastest call, of as many as the budget of seconds allows,
    at least three."""
    import torch

    way()
    calls: list[float] = []
    began = time.perf_counter()
    while len(calls) < 3 or time.perf_counter() - began < budget:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        way()
        if device == "cuda":
            torch.cuda.synchronize()
        calls.append(time.perf_counter() - start)
    return statistics.median(calls), min(calls)

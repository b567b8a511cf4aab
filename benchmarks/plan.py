"""What a job of very many pictures takes, on paper: `python -m benchmarks.plan --pictures 1e8`.

With `--rate` (pictures a second on one GPU), `--opening` (a core's seconds to open one) and
`--bytes` (of a picture's file) that you have measured, the tables are yours. Without them a GPU's
rate is arithmetic: `roofline.py` on an H200's published figures, times a share of it that is an
assumption. docs/scale.md holds what this prints, and says where each figure is from.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Final

from benchmarks.record import quantity
from benchmarks.report import table
from benchmarks.roofline import PRECISIONS, Limits, Work, seconds_per_answer, work_of
from blip2_widget.jobs.care import chunks

#: NVIDIA's data sheet of the H200 SXM: 1,979 TFLOP/s of bf16 with sparsity, so half of that of
#: what is dense, and 4.8 TB/s.
H200: Final = Limits({"bf16": 1979e12 / 2}, 4.8e12)
#: An answer of ten tokens, in batches of 64: as the share below was measured.
BATCH, NEW_TOKENS = 64, 10
#: Shares of the roofline. None of them was measured on a GPU.
SHARES: Final = {
    "all of the roofline": 1.0,
    "88 %, as on a processor (`captions`)": 0.8826,
    "60 %, what the project promises of a GPU (`bars.py`)": 0.6,
    "30 %, half of that": 0.3,
}
#: The share that the table of a job's size takes.
ASSUMED: Final = 0.6
#: What the encoder reads of a picture, in bytes: 224 x 224 pixels of three colours.
SENT: Final = 224 * 224 * 3
#: 32 query tokens of 768 numbers.
FEATURES: Final = 32 * 768


@dataclass(frozen=True)
class Pictures:
    """A core's seconds to open one, and the bytes of its file."""

    opening: float
    size: float


#: `inputs`, "a JPEG of …".
SIZES: Final = {
    "500 × 375": Pictures(4.14e-3, 66.6e3),
    "1024 × 768": Pictures(12.8e-3, 274e3),
    "4000 × 3000": Pictures(227e-3, 4.21e6),
}
TYPICAL: Final = "1024 × 768"

#: `inputs`: bytes of a row in a part and of an answer in the store, bytes that the kernel holds of
#: a row of a list and of a sample of a tar, and a core's seconds to go on with a part.
PART_ROW, STORED_ROW, LISTED, SAMPLE, GOING_ON = 153.0, 549.0, 191.0, 1_670.0, 0.22e-3
#: `jobs`: bytes that the kernel holds more for each piece of 512 rows of Parquet.
PIECE: Final = 3.9e3
#: Seconds that a request to an object store takes: an assumption; and how many of those that go on
#: with parts are made at a time (`jobs/folder.py`).
REQUEST, TOGETHER = 0.1, 16
#: GPU hours from one failure to the next: 419 in 54 days of 16,384 GPUs (The Llama 3 Herd of
#: Models, section 3.3.4).
BETWEEN_FAILURES: Final = 54 * 24 * 16_384 / 419


def opt() -> Work:
    """The work of opt-2.7b."""
    from transformers import Blip2Config

    from benchmarks.full_size import language_model

    return work_of(Blip2Config(text_config=language_model(), num_query_tokens=32))


def roofline_rate(batch: int = BATCH) -> float:
    """The captions a second that an H200 cannot pass."""
    seconds = seconds_per_answer(
        opt(), PRECISIONS["bf16"], H200, batch=batch, text_tokens=1, new_tokens=NEW_TOKENS
    )
    return 1 / seconds


def work_table() -> str:
    """Where a caption's arithmetic goes, and the least time of it on an H200."""
    work = opt()
    weights = 2 * (work.linear + work.head)
    decoding = [work.decode_flops(work.image_tokens + 1 + step) for step in range(NEW_TOKENS - 1)]
    context = work.context_values(work.image_tokens + 1 + NEW_TOKENS // 2)
    phases = {
        "image encoder, 257 tokens": (work.vision.flops, 2 * work.vision.weights),
        "Q-Former and projection": (work.bridge.flops, 2 * work.bridge.weights),
        "reading 33 tokens": (work.read_flops(work.image_tokens + 1) + 2 * work.head, weights),
        "writing 9 more": (sum(decoding), len(decoding) * (weights + BATCH * 2 * context)),
    }
    rows = []
    for phase, (flops, size) in phases.items():
        computing, reading = flops / H200.products["bf16"], size / BATCH / H200.bandwidth
        rows.append(
            [
                phase,
                f"{flops / 1e9:.0f} GFLOP",
                quantity(computing, "s"),
                quantity(reading, "s"),
                "arithmetic" if computing > reading else "memory",
            ]
        )
    headings = ["", "a picture", "at 989 TFLOP/s", f"its bytes at 4.8 TB/s, {BATCH} sharing them"]
    return table([*headings, "the longer"], rows)


def cost_table(rates: dict[str, float], counts: list[float], pictures: dict[str, Pictures]) -> str:
    """GPU hours of so many pictures, and what one GPU has to be fed with, by its rate."""
    rows = []
    for label, rate in rates.items():
        fed = [
            f"{math.ceil(rate * each.opening)} cores, {quantity(rate * each.size, 'bytes')}/s"
            for each in pictures.values()
        ]
        hours = [f"{count / rate / 3600:,.0f}" for count in counts]
        rows.append([label, f"{rate:,.0f}", *hours, *fed])
    hours = [f"hours for {count:,.0f}" for count in counts]
    fed = [f"to feed it {size}" for size in pictures]
    return table(["", "pictures/s", *hours, *fed], rows)


def size_table(counts: list[float], rate: float, picture: Pictures) -> str:
    """What so many pictures are in bytes, files and seconds."""
    parts = {512: "as it is by itself", 4096: "`rows_per_part=4096`"}

    def row(label: str, of: list[str]) -> list[str]:
        return [label, *of]

    rows = [
        row("the pictures' files", [_bytes(count * picture.size) for count in counts]),
        row("answers, in parts", [_bytes(count * PART_ROW) for count in counts]),
        row("features in 16 bit", [_bytes(count * FEATURES * 2) for count in counts]),
        row("features in fp32", [_bytes(count * FEATURES * 4) for count in counts]),
        row("their mean in 16 bit", [_bytes(count * 768 * 2) for count in counts]),
        row("answers in nodes' stores", [_bytes(count * STORED_ROW) for count in counts]),
    ]
    for size, label in parts.items():
        numbers = [count / size for count in counts]
        rows += [
            row(f"parts of {size} rows ({label})", [f"{each:,.0f}" for each in numbers]),
            row("· held by the kernel", [_bytes(each * PIECE) for each in numbers]),
            row(
                "· to go on with them, a core's time", [_time(each * GOING_ON) for each in numbers]
            ),
            row(
                "· to go on with them, object store",
                [_time(each * REQUEST / TOGETHER) for each in numbers],
            ),
            row("· a piece on its way", [_bytes(size * SENT)] * len(counts)),
        ]
    rows += [
        row("a list of paths, held by the kernel", [_bytes(count * LISTED) for count in counts]),
        row("WebDataset's samples, likewise", [_bytes(count * SAMPLE) for count in counts]),
        row(
            "failures of hardware",
            [f"{count / rate / 3600 / BETWEEN_FAILURES:.2g}" for count in counts],
        ),
    ]
    return table(["", *(f"{count:,.0f} pictures" for count in counts)], rows)


def loss_table(gpus: int = 8) -> str:
    """GPU time that a lost machine costs: a piece of each actor is done again in the chunks of
    `jobs/care.py`, each in batches of its own and with a note before it."""
    rows = []
    for size in (512, 1024, 4096):
        first, *others = chunks(size, [(0, size)])
        row = 1 / (ASSUMED * roofline_rate(batch=first[1]))
        for place, note in (("a file system", 0.0), ("an object store", REQUEST)):
            hours = gpus * (size * row + (1 + len(others)) * note) / 3600
            shares = [f"{100 * hours / gpus / every:.2g} %" for every in (2, 24)]
            rows.append([f"{size} rows, {place}", f"{60 * hours:.2g} GPU minutes", *shares])
    return table(["", "a machine lost", "one every 2 h", "one a day"], rows)


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__)
    parser.add_argument("--pictures", type=float, nargs="+", default=[1e8, 1e10])
    parser.add_argument("--rate", type=float, help="pictures a second on a GPU, measured")
    parser.add_argument("--opening", type=float, help="a core's seconds to open one, measured")
    parser.add_argument("--bytes", type=float, help="a picture's file")
    options = parser.parse_args()
    typical = SIZES[TYPICAL]
    pictures = dict(SIZES)
    if options.opening or options.bytes:
        typical = Pictures(options.opening or typical.opening, options.bytes or typical.size)
        pictures = {"with yours": typical}
    rate = options.rate or ASSUMED * roofline_rate()
    rates = {"measured": rate} if options.rate else assumed_rates()
    if not options.rate:
        print(f"{work_table()}\n")
    print(f"{cost_table(rates, options.pictures, pictures)}\n")
    print(size_table(options.pictures, rate, typical))
    if not options.rate:
        print(f"\n{loss_table()}")


def assumed_rates() -> dict[str, float]:
    """Pictures a second on an H200, by the share of the roofline."""
    return {label: share * roofline_rate() for label, share in SHARES.items()}


if __name__ == "__main__":
    main()

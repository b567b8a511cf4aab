"""Mutated image files: none may crash the process, hang it, fill its memory, or move a row.

Mutants are made from a seed, so that one that was found can be made again:
`mutants("PNG", 17, 1)` is the 18th of its format.
"""

from __future__ import annotations

import io
import random
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.memory import forget_most, most_held
from benchmarks.process import ProcessFailed, call
from benchmarks.record import Record, Unit
from benchmarks.setting import Setting

NAME = "fuzzing"
MUTANTS, READ, REFUSED = "mutants", "read", "refused"
CRASHED, OTHER, MOVED = "crashed or hung", "other errors", "wrong rows"
SLOWEST, MEMORY = "slowest", "memory above the start"

#: What a mutant may take. A picture of so many pixels, in the modes that need several copies of
#: it, with the decoder's own tables, stays below MEMORY_LIMIT.
PIXELS = 4_000_000
SECONDS = 10.0
MEMORY_LIMIT = 400_000_000
#: Figures of which the largest counts.
_UNITS: dict[str, Unit] = {SLOWEST: "s", MEMORY: "bytes"}
#: Mutants of one process: if it crashes or hangs, only they are lost.
_BATCH = 1_000


def measure(setting: Setting) -> list[Record]:
    """The counts of each format's mutants."""
    count = 200 if setting.quick else 10_000
    records = []
    for kind in ORIGINALS:
        found: dict[str, float] = {}
        deadly: list[int] = []
        for first in range(0, count, _BATCH):
            tally(setting.cache, kind, first, min(_BATCH, count - first), found, deadly)
        found[CRASHED] = len(deadly)
        note = f"the mutants {', '.join(map(str, deadly))}" if deadly else ""
        records += [
            Record(NAME, kind, figure, value, _UNITS.get(figure, ""), note=note)
            for figure, value in found.items()
        ]
    return records


def tally(
    cache: Path, kind: str, first: int, count: int, found: dict[str, float], deadly: list[int]
) -> None:
    """Add what became of some mutants; where their process dies, find those that it dies of."""
    try:
        one: dict[str, float] = call(outcomes, cache, kind=kind, first=first, count=count)
    except ProcessFailed as error:
        if "signal" not in str(error):  # it went wrong by itself
            raise
        if count == 1:
            deadly.append(first)
            return
        half = count // 2
        tally(cache, kind, first, half, found, deadly)
        tally(cache, kind, first + half, count - half, found, deadly)
        return
    for figure, value in one.items():
        before = found.get(figure, 0.0)
        found[figure] = max(before, value) if figure in _UNITS else before + value


# --- in a process of its own ------------------------------------------------------------------


def outcomes(kind: str, first: int, count: int) -> dict[str, float]:
    """What became of some mutants, each read alone and then in a column amid good pictures.

    A mutant that takes longer than SECONDS ends the process by SIGALRM.
    """
    import signal
    import time

    from blip2_widget.images import ImageError, Limits, image_key, load_image

    warnings.simplefilter("ignore")  # of Pillow, about what is odd in a file
    limits = Limits(pixels=PIXELS)
    good = ORIGINALS["PNG"]()[0]
    good_key = image_key(load_image(good))
    for original in ORIGINALS[kind]():
        load_image(original)  # imports what reads it
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    found = dict.fromkeys((MUTANTS, READ, REFUSED, OTHER, MOVED), 0.0)
    slowest, start = 0.0, forget_most()
    made, keys = [], []
    for data in mutants(kind, first, count):
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        began = time.perf_counter()
        key = None
        try:
            image = load_image(data, limits)
            sound = image.mode == "RGB" and 0 < image.width * image.height <= PIXELS
            key = image_key(image)
            found[READ if sound else OTHER] += 1
        except ImageError as error:
            found[REFUSED if "\n" not in str(error) else OTHER] += 1
        except Exception:
            found[OTHER] += 1
        slowest = max(slowest, time.perf_counter() - began)
        signal.setitimer(signal.ITIMER_REAL, 0)
        found[MUTANTS] += 1
        made.append(data)
        keys.append(key)
    signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
    found[MOVED] = _moved(made, keys, good, good_key, limits)
    signal.setitimer(signal.ITIMER_REAL, 0)
    most = most_held("cpu")
    if start is not None and most is not None:
        found[MEMORY] = most - start
    return {**found, SLOWEST: slowest}


def _moved(
    made: list[bytes], keys: list[str | None], good: bytes, good_key: str, limits: Any
) -> int:
    """In a column of mutants amid good pictures, read by several threads as in a run: how many
    rows have another picture, or none, than they had alone."""
    from blip2_widget.images import read_column
    from blip2_widget.run import Pictures
    from blip2_widget.store import Store

    values = [each for data in made for each in (data, good)]
    wanted = [each for key in keys for each in (key, good_key)]
    pictures = Pictures(read_column(values), Store.in_memory(), limits)
    wrong = 0
    for start in range(0, len(values), 64):
        rows = range(start, min(start + 64, len(values)))
        opened = pictures.open(rows, urgent=False, between=lambda: None)
        wrong += sum(opened[row].key != wanted[row] for row in rows)
    return wrong


# --- mutants ------------------------------------------------------------------------------------


def mutants(kind: str, first: int, count: int) -> Iterator[bytes]:
    """Some of a format's mutants, by number."""
    originals = ORIGINALS[kind]()
    for number in range(first, first + count):
        chance = random.Random(f"{kind}-{number}")
        data = bytearray(chance.choice(originals))
        for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
            chance.choice(_CHANGES)(chance, data)
            if len(data) < 2:
                break
        if kind == "PNG" and chance.random() < 0.7:
            _sum_up(data)
        yield bytes(data)


def _sum_up(data: bytearray) -> None:
    """Give every chunk of a PNG its right sum, so that what is wrong in it is read."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


def _flip(chance: random.Random, data: bytearray) -> None:
    data[_place(chance, data)] ^= 1 << chance.randrange(8)


def _byte(chance: random.Random, data: bytearray) -> None:
    data[_place(chance, data)] = chance.choice(
        (0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256))
    )


def _number(chance: random.Random, data: bytearray) -> None:
    """A length, size or offset that is at a bound of its type, or near one."""
    size = chance.choice((2, 4))
    top = 2 ** (8 * size) - 1
    value = min(chance.choice((0, 1, top // 2 + 1, top, chance.randrange(70_000))), top)
    at = _place(chance, data)
    order: Any = chance.choice(("big", "little"))
    data[at : at + size] = value.to_bytes(size, order)


def _cut(chance: random.Random, data: bytearray) -> None:
    del data[_place(chance, data) :]


def _leave_out(chance: random.Random, data: bytearray) -> None:
    at = _place(chance, data)
    del data[at : at + chance.randrange(1, 64)]


def _put_in(chance: random.Random, data: bytearray) -> None:
    at = _place(chance, data)
    data[at:at] = chance.randbytes(chance.randrange(1, 64))


def _twice(chance: random.Random, data: bytearray) -> None:
    at = _place(chance, data)
    piece = data[at : at + chance.randrange(1, 256)]
    data[at:at] = piece * chance.choice((1, 1, 2, 20))


def _moved_piece(chance: random.Random, data: bytearray) -> None:
    at, to, size = _place(chance, data), _place(chance, data), chance.randrange(1, 64)
    data[to : to + size] = data[at : at + size]


_CHANGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    *(_flip, _flip, _byte, _byte, _number, _number, _cut, _leave_out, _put_in, _twice),
    _moved_piece,
)


def _place(chance: random.Random, data: bytearray) -> int:
    """Anywhere, and half of the time in the first bytes, where a file says what it is."""
    return chance.randrange(min(len(data), 128) if chance.random() < 0.5 else len(data))


# --- what they are made of ------------------------------------------------------------------------


def _encoded(image: Any, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def _pictures() -> dict[str, Any]:
    """A small picture in each mode."""
    import numpy as np
    from PIL import Image

    rows, columns = np.mgrid[:24, :32]
    colours = np.stack([rows * 10, columns * 8, (rows * columns) % 256], axis=2).astype(np.uint8)
    picture = Image.fromarray(colours)
    alpha = Image.fromarray((columns * 8).astype(np.uint8))
    clear = picture.copy()
    clear.putalpha(alpha)
    return {
        "RGB": picture,
        "RGBA": clear,
        "L": picture.convert("L"),
        "1": picture.convert("1"),
        "P": picture.quantize(32),
        "CMYK": picture.convert("CMYK"),
        "LA": clear.convert("LA"),
        "I;16": Image.fromarray((rows * columns * 80).astype(np.uint16)),
        "F": Image.fromarray((rows / 7 - columns).astype(np.float32)),
    }


def _exif() -> Any:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    return exif


def _png() -> list[bytes]:
    made = _pictures()
    return [
        _encoded(made["RGB"], "PNG", exif=_exif()),
        *[_encoded(made[mode], "PNG") for mode in ("RGBA", "L", "1", "LA", "I;16")],
        _encoded(made["P"], "PNG", transparency=bytes(range(32))),
        _encoded(made["RGB"], "PNG", save_all=True, append_images=[made["RGB"].rotate(180)]),
    ]


def _jpeg() -> list[bytes]:
    made = _pictures()
    return [
        _encoded(made["RGB"], "JPEG", exif=_exif()),
        _encoded(made["RGB"], "JPEG", progressive=True, quality=95, subsampling=0),
        *[_encoded(made[mode], "JPEG") for mode in ("L", "CMYK")],
        _encoded(made["RGB"], "MPO", save_all=True, append_images=[made["RGB"].rotate(180)]),
    ]


def _gif() -> list[bytes]:
    made = _pictures()
    frames = [made["P"].rotate(turn) for turn in (90, 180)]
    return [
        _encoded(made["P"], "GIF", transparency=3),
        _encoded(made["L"], "GIF", save_all=True, append_images=frames, loop=0),
    ]


def _webp() -> list[bytes]:
    made = _pictures()
    more = [made["RGBA"].rotate(180)]
    return [
        _encoded(made["RGB"], "WEBP", exif=_exif()),
        _encoded(made["RGBA"], "WEBP", lossless=True),
        _encoded(made["RGBA"], "WEBP", save_all=True, append_images=more),
    ]


def _tiff() -> list[bytes]:
    made = _pictures()
    ways = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    return [
        *[_encoded(made["RGB"], "TIFF", compression=way) for way in ways],
        *[_encoded(made[mode], "TIFF") for mode in ("RGBA", "LA", "P", "CMYK", "I;16", "F")],
        _encoded(made["1"], "TIFF", compression="group4"),
        _encoded(made["RGB"], "TIFF", save_all=True, append_images=[made["L"]]),
    ]


def _others(kind: str, *modes: str, **options: Any) -> Callable[[], list[bytes]]:
    return lambda: [_encoded(_pictures()[mode], kind, **options) for mode in modes]


def _heic() -> list[bytes]:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return _others("HEIF", "RGB", "RGBA", "L")()


#: Of each format files in several modes and compressions.
ORIGINALS: dict[str, Callable[[], list[bytes]]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "GIF": _gif,
    "WebP": _webp,
    "TIFF": _tiff,
    "BMP": _others("BMP", "RGB", "RGBA", "L", "1", "P"),
    "ICO": _others("ICO", "RGBA", "RGB"),
    "JPEG 2000": _others("JPEG2000", "RGB", "L", "RGBA"),
    "AVIF": _others("AVIF", "RGB", "RGBA"),
    "HEIC": _heic,
}

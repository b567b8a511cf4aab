"""Every form of a picture gives the same known pixels; every broken one a typed error."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from blip2_widget.images import ImageError, Limits, load_image

Pixels = np.ndarray[Any, Any]

#: Three rows of five: red, green, blue and what lies between.
PIXELS: Pixels = np.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]],
        [[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120], [130, 140, 150]],
        [[1, 2, 3], [4, 5, 6], [7, 8, 9], [250, 251, 252], [253, 254, 255]],
    ],
    dtype=np.uint8,
)


def png(pixels: Pixels = PIXELS, kind: str = "PNG", **options: Any) -> bytes:
    return encoded(Image.fromarray(pixels), kind, **options)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def pixels_of(value: Any) -> Pixels:
    image = load_image(value)
    assert image.mode == "RGB"
    return np.asarray(image)


def file_uri(folder: Path) -> str:
    path = folder / "a b.png"
    path.write_bytes(png())
    return path.as_uri()


FORMS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda _: png(),
    "bytearray": lambda _: bytearray(png()),
    "memoryview": lambda _: memoryview(png()),
    "open file": lambda _: io.BytesIO(png()),
    "data URI": lambda _: "data:image/png;base64," + base64.b64encode(png()).decode(),
    "wrapped data URI": lambda _: "data:image/png;base64," + base64.encodebytes(png()).decode(),
    "quoted data URI": lambda _: (
        "data:image/png;base64," + quote(base64.b64encode(png()).decode(), safe="")
    ),
    "data URI without base64": lambda _: "data:image/png," + quote(png()),
    "file URI": file_uri,
    "Pillow": lambda _: Image.fromarray(PIXELS),
    "bytes in a dict": lambda _: {"bytes": png(), "path": None},
    "bytes before the path": lambda _: {"bytes": png(), "path": "gone.png"},
    "NumPy HWC": lambda _: PIXELS,
    "NumPy CHW": lambda _: PIXELS.transpose(2, 0, 1),
    "NumPy uint16": lambda _: PIXELS.astype(np.uint16) * 257,
    "NumPy floats": lambda _: PIXELS / 255,
    "NumPy float16 CHW": lambda _: (PIXELS / 255).astype(np.float16).transpose(2, 0, 1),
    "not contiguous": lambda _: np.ascontiguousarray(PIXELS[:, ::-1])[:, ::-1],
    "torch HWC": lambda _: torch.from_numpy(PIXELS.copy()),
    "torch CHW": lambda _: torch.from_numpy(PIXELS.copy()).permute(2, 0, 1),
    "torch bfloat16": lambda _: (torch.from_numpy(PIXELS.copy()) > 127).to(torch.bfloat16),
    "BMP": lambda _: png(kind="BMP"),
    "TIFF": lambda _: png(kind="TIFF"),
    "WebP": lambda _: png(kind="WEBP", lossless=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels(form: str, tmp_path: Path) -> None:
    expected = PIXELS if form != "torch bfloat16" else (PIXELS > 127).astype(np.uint8) * 255
    assert (pixels_of(FORMS[form](tmp_path)) == expected).all()


@pytest.mark.parametrize("kind", [str, Path, lambda path: {"bytes": None, "path": str(path)}])
def test_a_file_is_read_and_not_left_open(kind: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "ünï cödé.png"
    path.write_bytes(png())
    image = load_image(kind(path))
    path.unlink()
    assert (np.asarray(image) == PIXELS).all()


# --- modes that Pillow's own conversion gets wrong ------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "shown"), [(0, 0), (257 * 100, 100), (32768, 128), (65535, 255)]
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(stored: int, shown: int, kind: str) -> None:
    data = encoded(Image.fromarray(np.full((2, 3), stored, dtype=np.uint16)), kind)
    assert (pixels_of(data) == shown).all()


def test_float_files_are_stretched_to_their_range() -> None:
    values = np.array([[-5.0, 0.0, 5.0]], dtype=np.float32)
    shown = pixels_of(encoded(Image.fromarray(values), "TIFF"))
    assert shown[0, :, 0].tolist() == [0, 128, 255]
    flat = encoded(Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32)), "TIFF")
    assert (pixels_of(flat) == 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 0)).convert(mode)
    assert (pixels_of(image) == 255).all()


def test_half_transparent_red_is_pink() -> None:
    assert pixels_of(Image.new("RGBA", (1, 1), (255, 0, 0, 128)))[0, 0].tolist() == [255, 127, 127]


def test_a_palettes_transparent_colour_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.putdata([0, 1])
    shown = pixels_of(encoded(image, "PNG", transparency=0))
    assert shown[0].tolist() == [[255, 255, 255], [10, 200, 30]]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("1", (2, 2), 1), [255, 255, 255]),
        (Image.new("L", (2, 2), 77), [77, 77, 77]),
        (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), [255, 0, 0]),
        (Image.new("HSV", (2, 2), (0, 255, 255)), [255, 0, 0]),
    ],
)
def test_other_modes_become_rgb(image: Image.Image, expected: list[int]) -> None:
    assert pixels_of(image)[0, 0].tolist() == expected


@pytest.mark.parametrize("grey", [PIXELS[:, :, 0], PIXELS[:, :, :1], PIXELS[:, :, 0][None]])
def test_grey_arrays_of_every_shape(grey: Pixels) -> None:
    assert (pixels_of(grey) == PIXELS[:, :, :1]).all()


def test_a_mask_is_black_and_white() -> None:
    assert pixels_of(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_turn_is_applied(orientation: int) -> None:
    """A camera stores the turned picture with a note; here the upright one has a red corner."""
    upright = np.zeros((4, 6, 3), dtype=np.uint8)
    upright[0, 0] = (255, 0, 0)
    turns: list[Callable[[Pixels], Pixels]] = [
        lambda a: a,
        lambda a: a[:, ::-1],
        lambda a: a[::-1, ::-1],
        lambda a: a[::-1],
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.rot90(a, 1),
        lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        lambda a: np.rot90(a, -1),
    ]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = png(np.ascontiguousarray(turns[orientation - 1](upright)), exif=exif)
    assert (pixels_of(data) == upright).all()


def test_a_damaged_exif_note_costs_no_picture() -> None:
    data = encoded(Image.new("RGB", (6, 4), "white"), "JPEG", exif=b"Exif\0\0no note at all")
    assert (pixels_of(data) == 255).all()


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels_of(data)[0, 0].tolist() == [255, 0, 0]


def test_the_callers_picture_is_left_as_it_is() -> None:
    image = Image.new("RGBA", (2, 2), (1, 2, 3, 4))
    before = image.copy()
    load_image(image)
    assert image.mode == "RGBA" and image.tobytes() == before.tobytes()


# --- what is no picture ---------------------------------------------------------------------------


def pipe(folder: Path) -> Path:
    """Nobody writes into it: whoever opens it as a file waits for ever."""
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "None": (lambda _: None, "missing"),
    "nan": (lambda _: float("nan"), "missing"),
    "numpy nan": (lambda _: np.float32("nan"), "missing"),
    "NA": (lambda _: pd.NA, "missing"),
    "NaT": (lambda _: pd.NaT, "missing"),
    "empty text": (lambda _: "", "missing"),
    "empty bytes": (lambda _: b"", "missing"),
    "empty dict": (lambda _: {"bytes": None, "path": None}, "missing"),
    "no file": (lambda folder: folder / "gone.png", "not-found"),
    "a folder": (lambda folder: folder, "is-a-folder"),
    "a pipe": (pipe, "not-an-image"),
    "a device": (lambda _: "/dev/zero", "not-an-image"),
    "a null in the path": (lambda _: "a\0b.png", "not-found"),
    "a path that is too long": (lambda _: "a" * 5000, "unreadable"),
    "blanks": (lambda _: "  ", "missing"),
    "a text file": (lambda _: b"not a picture\nat all", "not-an-image"),
    "an open text": (lambda _: io.StringIO("not a picture"), "truncated"),
    "half a PNG": (lambda _: png(np.tile(PIXELS, (40, 40, 1)))[:300], "truncated"),
    "half a JPEG": (lambda _: png(np.tile(PIXELS, (40, 40, 1)), "JPEG")[:700], "truncated"),
    "bad base64": (lambda _: "data:image/png;base64,%%%", "truncated"),
    "ftp": (lambda _: "ftp://example.org/a.png", "url"),
    "s3": (lambda _: "s3://bucket/a.png", "url"),
    "a number": (lambda _: 7, "unsupported"),
    "a list": (lambda _: [1, 2], "unsupported"),
    "five channels": (lambda _: np.zeros((6, 6, 5), np.uint8), "unsupported"),
    "no pixels": (lambda _: np.zeros((0, 4, 3), np.uint8), "unsupported"),
    "floats to 255": (lambda _: PIXELS.astype(float), "unsupported"),
    "nan pixels": (lambda _: np.full((2, 2), np.nan), "unsupported"),
    "int64": (lambda _: PIXELS.astype(np.int64), "unsupported"),
    "text array": (lambda _: np.array([["a"]]), "unsupported"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_picture_is_one_line_of_a_known_kind(case: str, tmp_path: Path) -> None:
    make, kind = BROKEN[case]
    with pytest.raises(ImageError) as caught:
        load_image(make(tmp_path))
    message = str(caught.value)
    assert caught.value.kind == kind, message
    assert message and "\n" not in message and len(message) < 250


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    data = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(ImageError, match="pixels") as caught:
        load_image(data)
    assert caught.value.kind == "too-many-pixels"


def test_the_bound_on_pixels_can_be_set() -> None:
    assert load_image(PIXELS, Limits(pixels=15)).size == (5, 3)
    with pytest.raises(ImageError, match="5 × 3 pixels, more than 14; raise it by"):
        load_image(PIXELS, Limits(pixels=14))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png())
    os.truncate(path, 10**12)
    with pytest.raises(
        ImageError, match=r"is larger than 100 MB; raise it by .*max_bytes"
    ) as caught:
        load_image(path)
    assert caught.value.kind == "too-large"
    assert load_image(png(), Limits(bytes=1)).size == (5, 3)  # what is in memory is there already


def test_a_file_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: Any) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)  # root, who may run this, may read everything
    with pytest.raises(ImageError, match="no permission to read") as caught:
        load_image(tmp_path / "a.png")
    assert caught.value.kind == "permission"


def test_no_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(ImageError, match="there is no memory for") as caught:
        load_image(encoded(Image.new("L", (2, 2))))
    assert caught.value.kind == "too-large"


def test_any_prefix_of_a_picture_is_an_error_and_never_a_crash() -> None:
    data = png(np.tile(PIXELS, (20, 20, 1)), "JPEG")
    for length in range(1, len(data) - 2, 37):
        with pytest.raises(ImageError):
            load_image(data[:length])


def test_a_lazily_opened_image_is_bound_before_it_is_decoded() -> None:
    lazy = Image.open(io.BytesIO(png(np.tile(PIXELS, (10, 10, 1)))))
    with pytest.raises(ImageError, match="more than 100"):
        load_image(lazy, Limits(pixels=100))
    assert (pixels_of(lazy)[:3, :5] == PIXELS).all()


def test_a_file_that_cannot_be_wound_back_is_read_as_it_stands() -> None:
    class Stream:
        def read(self) -> bytes:
            return png()

    assert (pixels_of(Stream()) == PIXELS).all()

"""File formats and modes that are easily got wrong, against known pixels."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from blip2_widget.images import ImageError, load_image
from tests.images.made import Pixels, boxes, png16, tiff

WIDE: Pixels = np.array(
    [[[65535, 0, 0], [0, 65535, 32896]], [[257, 514, 771], [25700, 51400, 1285]]], dtype=np.uint16
)
#: The same in 8 bit.
NARROW: Pixels = (WIDE // 257).astype(np.uint8)


def shown(data: bytes) -> Pixels:
    image = load_image(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def near(pixels: Pixels, wanted: Any, most: int) -> bool:
    """Whether no channel is further off than that."""
    return int(np.abs(pixels.astype(int) - np.asarray(wanted, dtype=int)).max()) <= most


# --- 16 bit and more ------------------------------------------------------------------------------


def test_16_bit_png_in_colour() -> None:
    assert (shown(png16(WIDE)) == NARROW).all()


def test_16_bit_png_in_grey() -> None:
    assert (shown(png16(WIDE[:, :, 0])) == NARROW[:, :, :1]).all()


def test_16_bit_png_with_alpha_is_on_white() -> None:
    opaque = np.full((2, 2, 1), 65535, dtype=np.uint16)
    opaque[0, 0] = 0
    wanted = NARROW.copy()
    wanted[0, 0] = 255
    assert (shown(png16(np.concatenate([WIDE, opaque], axis=2))) == wanted).all()
    grey = np.repeat(NARROW[:, :, :1], 3, axis=2)
    grey[0, 0] = 255
    assert (shown(png16(np.concatenate([WIDE[:, :, :1], opaque], axis=2))) == grey).all()


def test_16_bit_grey_png_with_a_transparent_value_is_white_there() -> None:
    pixels = shown(png16(WIDE[:, :, 0], transparent=(257,)))
    assert pixels[:, :, 0].tolist() == [[255, 0], [255, 100]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff(order: str) -> None:
    assert (shown(tiff(WIDE[:, :, 0], order)) == NARROW[:, :, :1]).all()
    assert (shown(tiff(WIDE, order)) == NARROW).all()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[0, 25700, 65535]], dtype=np.int32), [0, 100, 255]),
        (np.array([[-10, 0, 10]], dtype=np.int16), [0, 128, 255]),
        (np.array([[0, 5_000_000, 10_000_000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0.25, 0.5, 1.25]], dtype=np.float32), [0, 64, 255]),
        (np.array([[np.nan, 2.0, np.inf]], dtype=np.float32), [0, 0, 255]),
    ],
)
def test_tiff_of_whole_and_other_numbers(values: Pixels, wanted: list[int]) -> None:
    assert shown(tiff(values))[0, :, 0].tolist() == wanted


# --- TIFF, CMYK -----------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_of_a_tiff_with_pages_the_first_is_taken(compression: str) -> None:
    pages = [Image.fromarray(NARROW), Image.new("RGB", (9, 9), "white")]
    data = encoded(
        pages[0], "TIFF", save_all=True, append_images=pages[1:], compression=compression
    )
    assert (shown(data) == NARROW).all()


@pytest.mark.parametrize("marked", [True, False])
def test_cmyk_has_adobes_inverted_channels(marked: bool) -> None:
    """Adobe's mark says so; without it they are taken for inverted too, as browsers do."""
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    at = data.index(b"\xff\xee")  # a segment: its name, two bytes of length, the mark
    if not marked:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    assert (b"Adobe" in data) is marked
    assert near(shown(data), [255, 0, 0], 2)


def test_cmyk_in_tiff() -> None:
    assert (
        shown(encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"))[0, 0] == [255, 0, 0]
    ).all()


def test_lab_in_tiff() -> None:
    assert near(shown(encoded(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")), 255, 2)


# --- animations and transparency ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    if kind == "WEBP":
        options["lossless"] = True
    assert near(shown(encoded(frames[0], kind, **options)), [255, 0, 0], 4)


def test_a_gifs_transparent_colour_is_white_in_its_first_frame() -> None:
    frames = []
    for colour in (1, 0):
        image = Image.new("P", (2, 1))
        image.putpalette([0, 0, 0, 10, 200, 30])
        image.putdata([0, colour])
        frames.append(image)
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], transparency=0)
    assert shown(data)[0].tolist() == [[255, 255, 255], [10, 200, 30]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_on_white_in_every_format(kind: str) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 128))
    image.putpixel((1, 0), (0, 0, 0, 0))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert near(shown(encoded(image, kind, **options))[0], [[255, 127, 127], [255, 255, 255]], 1)


def test_a_palette_with_several_transparencies() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    pixels = shown(encoded(image, "PNG", transparency=bytes([0, 128, 255])))
    assert near(pixels[0], [[255, 255, 255], [127, 255, 127], [0, 0, 255]], 1)


@pytest.mark.parametrize(("mode", "key"), [("RGB", (10, 20, 30)), ("L", 7)])
def test_a_transparent_colour_outside_a_palette_is_white(mode: str, key: Any) -> None:
    image = Image.new(mode, (2, 1), key)
    image.putpixel((1, 0), (1, 2, 3) if mode == "RGB" else 9)
    pixels = shown(encoded(image, "PNG", transparency=key))
    assert pixels[0].tolist() == [[255] * 3, [1, 2, 3] if mode == "RGB" else [9] * 3]


# --- turns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_turn_is_applied_in_every_format(kind: str, orientation: int) -> None:
    """A picture that is red at its top and blue elsewhere, stored as a turned camera does."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if kind == "HEIF":
        with_heic()
    upright = np.zeros((64, 32, 3), dtype=np.uint8)
    upright[:, :] = (0, 0, 255)
    upright[:16] = (255, 0, 0)
    stored = np.rot90(upright, {3: 2, 6: 1, 8: -1}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    pixels = shown(encoded(image, kind, exif=exif.tobytes()))
    assert pixels.shape == (64, 32, 3)
    assert near(pixels[4, 16], [255, 0, 0], 12) and near(pixels[60, 16], [0, 0, 255], 12)


# --- what needs a plug-in -------------------------------------------------------------------------


def with_heic() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()


def heic() -> bytes:
    with_heic()
    return encoded(Image.new("RGB", (32, 16), (200, 30, 60)), "HEIF", quality=100)


def test_heic_is_read_by_its_plug_in_without_a_word() -> None:
    code = (
        "import sys; from blip2_widget.images import load_image; "
        "image = load_image(sys.stdin.buffer.read()); "
        "print(image.mode, *image.size, *image.getpixel((9, 9)))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=heic(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    mode, *numbers = done.stdout.split()
    assert (mode, [int(each) for each in numbers[:2]]) == (b"RGB", [32, 16])
    assert near(np.array([int(each) for each in numbers[2:]]), [200, 30, 60], 4)


@pytest.mark.parametrize(
    ("data", "module", "part"),
    [
        (boxes(b"heic"), "pillow_heif", "is HEIC, which this Pillow does not read: pip install pi"),
        (boxes(b"avif"), "pillow_avif", "is AVIF, which this Pillow does not read: pip install pi"),
        (b"\xff\x0a" + b"\0" * 40, "pillow_jxl", "is JPEG XL, which this Pillow does not read"),
    ],
)
def test_what_has_no_plug_in_is_told_with_what_to_install(
    data: bytes, module: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for plug_in in ("AVIF", "HEIF"):
        monkeypatch.delitem(Image.OPEN, plug_in, raising=False)
        monkeypatch.setattr(Image, "ID", [each for each in Image.ID if each != plug_in])
    with pytest.raises(ImageError) as caught:
        load_image(data)
    assert caught.value.kind == "unsupported" and part in str(caught.value)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif() -> None:
    data = encoded(Image.new("RGB", (32, 16), (200, 30, 60)), "AVIF", quality=100)
    assert near(shown(data), [200, 30, 60], 4)


def test_postscript_is_not_run() -> None:
    data = encoded(Image.new("RGB", (4, 4)), "EPS")
    for given in (data, b"\xc5\xd0\xd3\xc6" + data):
        with pytest.raises(ImageError, match="PostScript, which is a program") as caught:
            load_image(given)
        assert caught.value.kind == "unsupported"

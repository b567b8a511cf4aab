"""Equal pictures are one; the keys are pinned, so that a change of them is no accident."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from blip2_widget.images import file_identity, image_key, load_image


def test_the_key_is_pinned() -> None:
    image = Image.new("RGB", (3, 2), (1, 2, 3))
    assert image_key(image) == "5da8f29b0e8958489a6d4511646f0fe6558e626aac1fba757ae44a447458e485"


def test_equal_pixels_are_one_picture_whatever_the_file(tmp_path: Path) -> None:
    image = Image.effect_noise((16, 16), 50).convert("RGB")
    keys = set()
    for name in ("a.png", "b.bmp", "c.tiff"):
        image.save(tmp_path / name)
        keys.add(image_key(load_image(tmp_path / name)))
    assert len(keys) == 1


def test_the_same_bytes_in_another_shape_are_another_picture() -> None:
    wide, tall = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))
    assert wide.tobytes() == tall.tobytes()
    assert image_key(wide) != image_key(tall)


def test_one_pixel_makes_another_picture() -> None:
    image = Image.new("RGB", (9, 9))
    other = image.copy()
    other.putpixel((8, 8), (0, 0, 1))
    assert image_key(image) != image_key(other)


def test_a_files_identity_follows_its_change(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    before = file_identity(path)
    assert before is not None and before[:2] == (str(path), 3)
    assert file_identity(str(path)) == file_identity({"bytes": None, "path": str(path)}) == before
    os.utime(path, ns=(1, before[2] + 1))
    assert file_identity(path) != before


def test_what_is_no_local_file_has_no_identity(tmp_path: Path) -> None:
    values = [
        None,
        7,
        b"x",
        "",
        "http://a/b.png",
        "data:,x",
        tmp_path / "gone",
        "a\0b",
        {"bytes": b"x"},
    ]
    assert [file_identity(value) for value in values] == [None] * len(values)

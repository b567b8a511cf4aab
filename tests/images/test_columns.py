"""Columns of pictures, whatever holds them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image

from blip2_widget.errors import Blip2Error
from blip2_widget.images import file_identity, load_image, read_column


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("10.png", "2.png", "B.jpg", "a.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "more.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_pandas_column_keeps_its_index_and_its_name() -> None:
    frame = pd.DataFrame({"photo": ["x/a.png", "x/a.png", None]}, index=[7, 7, 9])
    column = read_column(frame.photo, frame=frame)
    assert list(column.values[:2]) == ["x/a.png", "x/a.png"]
    assert (list(column.index), column.name) == ([7, 7, 9], "photo")
    assert list(column.labels) == ["a.png", "a.png", "9"]


@pytest.mark.parametrize(
    "make", [list, tuple, np.array, pd.Series, pl.Series, lambda paths: pd.array(paths)]
)
def test_holders_of_paths_give_the_same_values(make: Callable[[list[str]], Any]) -> None:
    column = read_column(make(["a.png", "b.png"]))
    assert [str(value) for value in column.values] == ["a.png", "b.png"]
    assert list(column.index) == [0, 1]


def test_a_folder_and_a_glob_are_sorted_as_a_person_would(folder: Path) -> None:
    assert list(read_column(str(folder)).labels) == ["2.png", "10.png", "a.png", "B.jpg"]
    assert list(read_column(folder).labels) == ["2.png", "10.png", "a.png", "B.jpg"]
    assert list(read_column("*.png").labels) == ["2.png", "10.png", "a.png"]
    assert list(read_column(str(folder / "**" / "[ab].png")).labels) == ["a.png"]
    assert list(read_column("B.jpg").labels) == ["B.jpg"]


def test_one_picture_is_a_column_of_one() -> None:
    for value in (
        Image.new("RGB", (2, 2)),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4)),
        b"bytes",
        memoryview(b"bytes"),
        io.BytesIO(b"bytes"),
        torch.zeros(3, 4, 4),
        torch.zeros(4, 4, 3, dtype=torch.uint8),
        np.array("a.png"),
        {"bytes": b"x", "path": None},
        "https://example.org/a.png?size=2",
        "data:image/png;base64,AAAA",
    ):
        assert len(read_column(value).values) == 1
    assert list(read_column("https://example.org/a.png?size=2").labels) == ["a.png"]


def test_an_array_of_four_axes_is_many_pictures() -> None:
    assert len(read_column(np.zeros((3, 4, 4, 3), np.uint8)).values) == 3
    assert len(read_column(torch.zeros(5, 3, 4, 4)).values) == 5


@pytest.mark.parametrize(
    "nothing", [[], (), np.array([]), pd.Series([], dtype=object), pl.Series([])]
)
def test_an_empty_column_has_no_rows(nothing: Any) -> None:
    column = read_column(nothing)
    assert (list(column.values), list(column.labels), list(column.index)) == ([], [], [])


def test_a_superscript_in_a_name_is_no_number_to_sort_by(folder: Path) -> None:
    (folder / "2.png").rename(folder / "1²3.png")
    assert list(read_column(folder).labels) == ["1²3.png", "10.png", "a.png", "B.jpg"]


def test_a_file_whose_name_is_no_text_is_a_row(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (2, 2)).save(tmp_path / name)
    (value,) = read_column(tmp_path).values
    assert load_image(value).size == (2, 2)
    assert file_identity(value) is None


@pytest.mark.parametrize(
    ("target", "part"),
    [
        (pd.DataFrame({"id": [1], "photo": ["a"]}), "give one of its columns, e.g. df.photo"),
        (pd.DataFrame(), "this is a whole table"),
        ("nothing/*.png", "no file matches 'nothing/*.png'"),
        ("gone.png", "there is no file or folder 'gone.png'"),
        ("x" * 5000, "cannot be looked up: File name too long"),
        ("~nobody-of-this-name/a.png", "cannot be looked up: "),
        ("a\0b.png", "there is no file or folder"),
        (7, "a int is no column of pictures"),
        (iter(["a.png"]), "give a column, or list(…) of it"),
        (print, "is no column of pictures"),
    ],
)
def test_what_is_no_column_is_told_in_one_line(target: Any, part: str) -> None:
    with pytest.raises(Blip2Error) as caught:
        read_column(target)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(Blip2Error, match="there is no picture in the folder"):
        read_column(tmp_path)


def test_a_frame_of_another_length_is_told() -> None:
    with pytest.raises(Blip2Error, match="the column has 1 rows and its frame 2"):
        read_column(["a.png"], frame=pd.DataFrame({"a": [1, 2]}))

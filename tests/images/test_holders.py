"""Columns of every library that holds pictures: the same rows, the same known pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import duckdb
import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, file_identity, find_pictures, load_image, read_column
from blip2_widget.notebook.targets import target
from blip2_widget.session import Session

COLOURS = ["red", "lime", "blue", "white"]


def png(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(data, "PNG")
    return data.getvalue()


#: A row is a picture, what it is called and which kind it is; the third row has no picture.
ROWS: dict[str, list[Any]] = {
    "image": [png("red"), png("lime"), None, png("white")],
    "name": ["a", "b", "c", "d"],
    "kind": [0, 1, 1, None],
}
WANTED = [(255, 0, 0), (0, 255, 0), None, (255, 255, 255)]


def hugging_face() -> datasets.Dataset:
    stored = [
        None if data is None else {"bytes": data, "path": f"{name}.png"}
        for data, name in zip(ROWS["image"], ROWS["name"], strict=True)
    ]
    features = datasets.Features(
        {
            "name": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "image": datasets.Image(),
        }
    )
    return datasets.Dataset.from_dict(ROWS | {"image": stored}, features=features)


def relation() -> Any:
    table = pa.table(ROWS)
    return duckdb.connect().from_arrow(table)


TABLES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(ROWS, index=[7, 7, 8, 9]),
    "pandas of arrow": lambda: pd.DataFrame(ROWS).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda: pl.DataFrame(ROWS),
    "polars, lazy": lambda: pl.LazyFrame(ROWS),
    "pyarrow": lambda: pa.table(ROWS),
    "pyarrow in chunks": lambda: pa.concat_tables([pa.table(ROWS).slice(at, 2) for at in (0, 2)]),
    "DuckDB": relation,
    "narwhals": lambda: nw.from_native(pl.DataFrame(ROWS)),
    "Dataset": hugging_face,
    "Dataset in another order": lambda: hugging_face().select([3, 1, 2, 0]).select([3, 1, 2, 0]),
    "Dataset as torch": lambda: hugging_face().with_format("torch"),
}


def pixels(column: Column) -> list[Any]:
    """The colour of each row, None where it has no picture."""
    return [
        None if value is None or value != value else load_image(value).getpixel((0, 0))
        for value in column.values
    ]


@pytest.mark.parametrize("kind", TABLES)
def test_a_column_has_its_tables_rows(kind: str) -> None:
    table = TABLES[kind]()
    for expression in ('table["image"]', "table.image"):
        images, frame = target(expression, {"table": table})
        column = read_column(images, frame=frame)
        assert pixels(column) == WANTED
        assert column.frame is not None
        assert column.name == (None if kind.startswith("pyarrow") else "image")
    assert find_pictures(table) == "image"


@pytest.mark.parametrize("kind", TABLES)
def test_some_rows_are_those_rows_of_the_frame_too(kind: str, own_session: Session) -> None:
    images, frame = target("table.image", {"table": TABLES[kind]()})
    result = blip2_widget.ask(images, "is it a {name}?", frame=frame, sample=3, seed=2, start=False)
    names = [cell.prompt[-2] for cell in (result.board.cell(row, 0) for row in range(3))]
    wanted = [WANTED[ROWS["name"].index(name)] for name in names]
    assert pixels(result.board.column) == wanted and len(set(names)) == 3
    first = blip2_widget.ask(images, "is it a {name}?", frame=frame, n=2, start=False)
    assert pixels(first.board.column) == WANTED[:2]
    assert [first.board.cell(row, 0).prompt for row in range(2)] == ["is it a a?", "is it a b?"]


# --- the frame that comes back is of the kind that came in ----------------------------------------

KINDS: dict[str, Any] = {
    "pandas": pd.DataFrame,
    "pandas of arrow": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars, lazy": pl.DataFrame,
    "pyarrow": pa.Table,
    "pyarrow in chunks": pa.Table,
    "DuckDB": pa.Table,
    "narwhals": pl.DataFrame,
    "Dataset": datasets.Dataset,
    "Dataset in another order": datasets.Dataset,
    "Dataset as torch": datasets.Dataset,
}


def values(frame: Any, name: str) -> list[Any]:
    found = frame[name]
    return list(found.to_pylist() if hasattr(found, "to_pylist") else found)


def answered(result: Any) -> list[Any]:
    result.wait(60)
    return [result.board.cell(row, 0).answer for row in range(len(result.board))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_frame_that_comes_back_is_of_the_kind_that_came_in(
    kind: str, own_session: Session, tiny_opt: Path
) -> None:
    own_session.defaults.model = str(tiny_opt)
    table = TABLES[kind]()
    images, frame = target("table.image", {"table": table})
    result = blip2_widget.caption(images, name="name", frame=frame, max_new_tokens=2)
    answers = answered(result)
    found: Any = result.df
    assert isinstance(found, KINDS[kind])
    assert values(found, "name_2") == answers and values(found, "name") == ROWS["name"]
    assert answers[2] is None and None not in (answers[0], answers[1], answers[3])
    assert list(result.errors.error) == ["there is no picture in this row"]
    if kind == "pandas":
        assert list(found.index) == [7, 7, 8, 9]
    if kind.startswith("Dataset"):
        assert found.features["image"] == datasets.Image()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: pl.Series("picture", ROWS["image"]), pl.DataFrame),
        (lambda: pl.Series([Image.new("RGB", (3, 2), each) for each in COLOURS]), pl.DataFrame),
        (lambda: pa.chunked_array([ROWS["image"]]), pa.Table),
        (lambda: pa.array([{"bytes": each, "path": None} for each in ROWS["image"]]), pd.DataFrame),
        (lambda: relation()["image"], pa.Table),
        (lambda: pl.LazyFrame(ROWS).select("image"), pl.DataFrame),
        (lambda: hugging_face()["image"], datasets.Dataset),
        (hugging_face, datasets.Dataset),
        (lambda: pd.Series(ROWS["image"]), pd.DataFrame),
        (lambda: ROWS["image"], pd.DataFrame),
    ],
)
def test_so_is_the_one_of_a_column_alone(
    make: Callable[[], Any], kind: type, own_session: Session, tiny_opt: Path
) -> None:
    own_session.defaults.model = str(tiny_opt)
    result = blip2_widget.caption(make(), sample=2, seed=1, max_new_tokens=2)
    answers = answered(result)
    assert isinstance(result.df, kind) and values(result.df, "caption") == answers


# --- Hugging Face ---------------------------------------------------------------------------------


def test_no_picture_is_decoded_to_learn_what_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for colour in COLOURS:
        Image.new("RGB", (3, 2), colour).save(tmp_path / f"{colour}.png")
    paths = [str(tmp_path / f"{colour}.png") for colour in COLOURS]
    dataset = datasets.Dataset.from_dict({"photo": paths}).cast_column("photo", datasets.Image())
    monkeypatch.setattr(datasets.Image, "decode_example", None)
    for given in (dataset, dataset["photo"]):
        column = read_column(given)
        assert list(column.labels) == ["red.png", "lime.png", "blue.png", "white.png"]
        assert [file_identity(column.head(row)) for row in range(4)] == [
            file_identity(path) for path in paths
        ]
        assert pixels(column)[0] == (255, 0, 0)


def test_pictures_bytes_are_not_read_to_learn_what_they_are_called() -> None:
    column = read_column(hugging_face())
    assert list(column.labels) == ["a.png", "b.png", "2", "d.png"]
    assert column.head(0) == {"bytes": b"not read", "path": "a.png"} and column.head(2) is None
    assert file_identity(column.head(0)) is None
    assert list(column.take([3, 0], None).labels) == ["d.png", "a.png"]


def test_classes_fill_a_template_by_their_names() -> None:
    result = blip2_widget.ask(hugging_face(), "a {kind}?", start=False)
    prompts = [result.board.cell(row, 0).prompt for row in range(4)]
    assert prompts == ["a cat?", "a dog?", "a dog?", "a None?"]


def streams() -> dict[str, Any]:
    rows = [
        {"name": name, "picture": png(colour)} for name, colour in zip("abcd", COLOURS, strict=True)
    ]
    return {
        "declared": hugging_face().to_iterable_dataset(),
        "not declared": datasets.IterableDataset.from_generator(lambda: iter(rows)),
    }


@pytest.mark.parametrize("kind", ["declared", "not declared"])
def test_of_a_stream_the_first_rows_are_read(
    kind: str, own_session: Session, tiny_opt: Path
) -> None:
    own_session.defaults.model = str(tiny_opt)
    stream = streams()[kind]
    name = "image" if kind == "declared" else "picture"
    names = {"ds": stream}
    for expression in ("ds", f"ds[{name!r}]"):
        images, frame = target(expression, names)
        result = blip2_widget.ask(images, "a {name}?", frame=frame, n=2, max_new_tokens=2)
        answers = answered(result)
        assert pixels(result.board.column) == WANTED[:2] and None not in answers
        assert isinstance(result.df, datasets.Dataset) and values(result.df, "answer") == answers
        assert [result.board.cell(row, 0).prompt for row in range(2)] == ["a a?", "a b?"]


def test_how_many_rows_of_a_stream_are_read_has_to_be_said() -> None:
    with pytest.raises(Blip2Error, match="say how many to read: n=100, or -n 100") as caught:
        blip2_widget.caption(streams()["declared"], start=False)
    assert "\n" not in str(caught.value)


def test_a_stream_that_breaks_is_told_in_one_line() -> None:
    def broken() -> Any:
        yield {"image": png("red")}
        raise OSError("the disk\nis gone")

    stream = datasets.IterableDataset.from_generator(broken)
    with pytest.raises(Blip2Error, match=r"first 3 rows cannot be read: .*the disk is gone"):
        read_column(stream["image"], first=3)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (lambda: pl.LazyFrame(ROWS), "this is a whole table; give one of its columns, e.g. df.im"),
        (relation, "this is a whole table; give one of its columns, e.g. df.image"),
        (lambda: pa.table(ROWS), "this is a whole table; give one of its columns, e.g. df.image"),
        (lambda: datasets.DatasetDict(train=hugging_face()), "give one of them, e.g. ds['train']"),
        (lambda: hugging_face().select_columns("name"), "this is a whole table"),
    ],
)
def test_a_whole_table_is_told(given: Callable[[], Any], part: str) -> None:
    with pytest.raises(Blip2Error) as caught:
        read_column(given())
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "frame", "part"),
    [
        (lambda: ["a.png"], lambda: pa.table(ROWS), "the column has 1 rows and its frame 4"),
        (lambda: ["a.png"], lambda: ROWS, "a dict is no data frame"),
        (lambda: relation()["image"], lambda: relation().select("name"), "no column 'image'"),
        (lambda: hugging_face()["image"], lambda: hugging_face().select([0]), "its frame 1"),
    ],
)
def test_a_frame_that_is_not_the_columns_is_told(
    images: Callable[[], Any], frame: Callable[[], Any], part: str
) -> None:
    with pytest.raises(Blip2Error) as caught:
        read_column(images(), frame=frame())
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_a_column_of_a_query_beside_a_frame_keeps_its_own_values() -> None:
    frame = pd.DataFrame({"image": ["x", "y", "z", "w"]})
    column = read_column(relation()["image"], frame=frame)
    assert pixels(column) == WANTED and column.frame is frame


def test_numpys_own_arrays_of_texts_are_paths() -> None:
    assert [str(each) for each in read_column(np.array(["a.png"])).values] == ["a.png"]

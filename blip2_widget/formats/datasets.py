"""Hugging Face's Dataset: in memory, or as `save_to_disk` lays it out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import Answers, Row, answered, no_package
from blip2_widget.formats.tables import arrow_schema
from blip2_widget.formats.whole import whole_folder

#: Rows that are in memory at a time, with their pictures.
_GROUP = 64


def to_dataset(answers: Answers) -> Any:
    """A Dataset in memory with a row an answer and its picture: a local file by its path, others
    with their bytes."""
    datasets, pa = _packages()
    groups = list(_tables(answers, pa, embed=False))
    table = pa.concat_tables([_schema(answers, pa).empty_table(), *groups])
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=_features(answers)))


def write_dataset(answers: Answers, folder: Path, overwrite: bool) -> int:
    """The same on disk, with the bytes of all pictures; returns how many answers."""
    datasets, pa = _packages()
    written = 0
    shown = not datasets.are_progress_bars_disabled()
    with whole_folder(folder, overwrite, is_saved_dataset) as partial:
        stream = partial.with_name("stream.arrow")
        with pa.ipc.new_stream(str(stream), _schema(answers, pa)) as writer:
            for table in _tables(answers, pa, embed=True):
                writer.write_table(table)
                written += answered(table.select(["name", "answer", "state"]).to_pylist())
        info = datasets.DatasetInfo(features=_features(answers))
        datasets.disable_progress_bars()
        try:
            datasets.Dataset.from_file(str(stream), info=info).save_to_disk(str(partial))
        finally:
            if shown:
                datasets.enable_progress_bars()
    return written


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder is one that `save_to_disk` made."""
    return all((folder / name).is_file() for name in ("dataset_info.json", "state.json"))


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a saved data set, or several of one name."""
    return is_saved_dataset(folder) or (folder / "dataset_dict.json").is_file()


def read_dataset(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a saved Dataset, none of their pictures decoded. No code of it is run."""
    datasets, _ = _packages()
    if (folder / "dataset_dict.json").is_file():
        splits = [each.name for each in sorted(folder.iterdir()) if is_saved_dataset(each)]
        raise Blip2Error(
            f"{folder} holds several data sets; give one of the folders in it "
            f"({', '.join(splits[:12]) or 'none is whole'})"
        )
    try:
        saved = datasets.load_from_disk(str(folder)).with_format("arrow")
    except Exception as error:  # whatever a damaged folder leads the library to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Blip2Error(f"{folder} cannot be read as a Dataset: {reason}") from None
    for start in range(0, len(saved), _GROUP):
        yield from saved[start : start + _GROUP].to_pylist()


def _packages() -> tuple[Any, Any]:
    try:
        import datasets
        import pyarrow as pa
    except ImportError:
        raise no_package("datasets", "a Hugging Face Dataset") from None
    return datasets, pa


def _schema(answers: Answers, pa: Any) -> Any:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.schema([("image", picture), *arrow_schema(answers.columns, answers.counts)])


def _features(answers: Answers) -> Any:
    from datasets import Features, Image

    return Features(
        {
            "image": Image(),
            **Features.from_arrow_schema(arrow_schema(answers.columns, answers.counts)),
        }
    )


def _tables(answers: Answers, pa: Any, embed: bool) -> Iterator[Any]:
    schema = _schema(answers, pa)
    group: list[dict[str, Any]] = []
    for row in answers.rows():
        picture = _picture(answers, row, embed)
        group += [{"image": picture} | record for record in row.records]
        if len(group) >= _GROUP:
            yield pa.Table.from_pylist(group, schema)
            group = []
    yield pa.Table.from_pylist(group, schema)


def _picture(answers: Answers, row: Row, embed: bool) -> dict[str, Any] | None:
    local = None if embed else answers.local_file(row.number)
    if local is not None and row.records and row.records[0]["state"] != "error":
        return {"bytes": None, "path": str(local)}
    picture = answers.picture(row.number)
    if picture is None:
        return None
    return {"bytes": picture.data, "path": answers.label(row.number)}

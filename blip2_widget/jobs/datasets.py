"""A Ray Dataset as files that stay: its workers write its pictures, and what prompts name, as
Parquet, a file for every piece, so that a row has one number and is read where it is worked on.

A file is called by what is in it, so equal rows are written to the same place, today or next week.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.images import ImageError, Limits, find_pictures, load_image
from blip2_widget.jobs.on_ray import connect, line_of
from blip2_widget.jobs.parts import Parts
from blip2_widget.jobs.sources import InParquet, Source, check_columns, fields_of, source_of
from blip2_widget.run import Prompt


def of_dataset(
    dataset: Any,
    column: str | None,
    prompts: Sequence[Prompt],
    rows: int,
    folder: Parts,
    limits: Limits,
) -> Source:
    """The rows of a Ray Dataset, in its order, which are written to the folder first; blocks until
    they are. `column` holds the pictures; None finds it. Raises Blip2Error for a column that is
    none, and where the data set cannot be read.
    """
    ray = connect()
    folder.make()
    asked = fields_of(prompts)
    try:
        schema = dataset.schema()
        if schema is None:  # it has no rows
            return source_of([], "", 0)
        if column is None:
            column = find_pictures(dataset.limit(100).to_pandas())
        check_columns([column, *asked], schema.names, "the data set")
        written = (
            dataset.select_columns(list(dict.fromkeys([column, *asked])))
            .map_batches(_without_arrays, fn_args=(column, limits), **_WHOLE)
            .repartition(target_num_rows_per_block=rows, strict=True)
            .map_batches(_write, fn_args=(folder.folder,), **_WHOLE)
        )
        with _in_order(written.context):
            files = list(written.iter_rows())
    except ray.exceptions.RayError as error:
        raise Blip2Error(line_of(error, "the data set cannot be read")) from error
    pieces, first = [], 0
    for file in files:
        place = (f"{folder.folder}/{file['name']}", 0, 0, column)
        told = f"{first} {file['name']} {column}"
        pieces.append(InParquet(first, file["rows"], told, *place))
        first += file["rows"]
    return source_of(pieces, column, first)


#: A block is a batch, and is never copied.
_WHOLE: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}


@contextmanager
def _in_order(context: Any) -> Iterator[None]:
    """Rows come in the data set's order, which is all that numbers them, and no bars are shown."""
    options = context.execution_options
    before = options.preserve_order, context.enable_progress_bars
    options.preserve_order, context.enable_progress_bars = True, False
    try:
        yield
    finally:
        options.preserve_order, context.enable_progress_bars = before


def _without_arrays(table: Any, column: str, limits: Limits) -> Any:
    """The table with pictures that only Ray reads, arrays and Python's objects, as files."""
    import pyarrow as pa

    at = table.schema.get_field_index(column)
    if not isinstance(table.schema.field(at).type, pa.ExtensionType):
        return table
    files = [_as_file(value, limits) for value in table[column].to_pylist()]
    return table.set_column(at, column, pa.array(files, pa.binary()))


def _as_file(value: Any, limits: Limits) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    data = io.BytesIO()
    try:
        load_image(value, limits).save(data, "PNG")
    except ImageError:
        return b"no picture"  # is none either, and says so on its own row
    return data.getvalue()


def _write(table: Any, folder: str) -> Any:
    """Write a piece; its file's name and how many rows it has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = io.BytesIO()
    # The same bytes of the same rows, in however many chunks they came.
    pq.write_table(
        table.combine_chunks().replace_schema_metadata(None),
        data,
        row_group_size=max(table.num_rows, 1),
    )
    name = f"{hashlib.sha256(data.getvalue()).hexdigest()}.parquet"
    Parts(folder).put(name, data.getvalue())
    return pa.table({"name": [name], "rows": [table.num_rows]})

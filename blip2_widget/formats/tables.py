"""Tables, an answer a line: Parquet, CSV and JSON Lines."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import COLUMNS, Answers, Kind, answered, no_package, texts
from blip2_widget.formats.whole import whole_file

#: Records in a row group: so many are in memory at a time.
_GROUP = 10_000
#: The longest field that is read of a CSV, which may hold pictures as data URIs.
_LONGEST_FIELD = 1 << 30

#: How a text begins that a spreadsheet takes for a formula, or that was marked as none.
_FORMULA = re.compile("'*[=+\\-@\t\r\n]")


def write_parquet(answers: Answers, path: Path, overwrite: bool) -> int:
    """One line an answer; returns how many there are."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise no_package("pyarrow", "Parquet") from None
    schema = arrow_schema(answers.columns, answers.counts)
    written = 0
    records = answers.records()
    with whole_file(path, overwrite) as partial, pq.ParquetWriter(partial, schema) as writer:
        while group := list(islice(records, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))
            written += answered(group)
    return written


def arrow_schema(columns: Mapping[str, Kind], counts: bool) -> Any:
    """The types of the columns; `counts` says that a place is a number."""
    import pyarrow as pa

    types: dict[Kind, Any] = {
        "place": pa.int64() if counts else pa.string(),
        "text": pa.string(),
        "number": pa.float64(),
        "truth": pa.bool_(),
        "time": pa.timestamp("us", "UTC"),
        "bytes": pa.binary(),
    }
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of any Parquet file."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise no_package("pyarrow", "Parquet") from None
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(1000):
            yield from batch.to_pylist()


def write_csv(answers: Answers, path: Path, overwrite: bool) -> int:
    """One line an answer, after one with the columns' names; returns how many
    answers there are.

    A text that a spreadsheet would take for a formula has a ' before it.
    """
    written = 0
    with (
        whole_file(path, overwrite) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        # With its usual line ends, CR LF, it quotes a text that holds either.
        writer = csv.DictWriter(file, list(answers.columns))
        writer.writerow({name: _unspelled(name) for name in answers.columns})
        for record in answers.records():
            writer.writerow({name: _unspelled(value) for name, value in texts(record).items()})
            written += answered([record])
    return written


def _unspelled(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def read_csv(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of any CSV file with its columns' names in the first, which commas, semicolons or
    tabs separate; an empty field is None."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield from _notes(path)
        with open_text(path) as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, restval=None, delimiter=_delimiter(header))
            is_ours = set(COLUMNS) <= set(reader.fieldnames or ())
            for line in reader:
                line.pop(None, None)  # type: ignore[call-overload]  # more fields than names
                yield {name: _read(value, is_ours) for name, value in line.items()}
    except csv.Error as error:
        raise Blip2Error(f"{path} is no CSV: {error}") from None
    finally:
        csv.field_size_limit(before)


def _delimiter(header: str) -> str:
    try:
        return csv.Sniffer().sniff(header, delimiters=",;\t").delimiter
    except csv.Error:  # one column
        return ","


def _read(value: str | None, is_ours: bool) -> str | None:
    if value and is_ours and value[0] == "'" and _FORMULA.match(value):
        return value[1:]
    return value or None


def write_jsonl(answers: Answers, path: Path, overwrite: bool) -> int:
    """One JSON object an answer and line; returns how many answers there are."""
    with (
        whole_file(path, overwrite) as partial,
        partial.open("w", encoding="utf-8", newline="\n") as file,
    ):
        return write_lines(file, answers.records())


def write_lines(file: Any, records: Iterable[dict[str, Any]]) -> int:
    """One JSON object a line; returns how many of them have an answer."""
    written = 0
    for record in records:
        file.write(as_json(texts(record)) + "\n")
        written += answered([record])
    return written


def as_json(value: Any) -> str:
    """JSON in one line, as people read it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of any file with a JSON object a line; one that is none has `error` alone."""
    yield from _notes(path)
    with open_text(path) as file:
        for line in file:
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                value = {BROKEN: f"the line is no JSON: {error}"}
            yield value if isinstance(value, dict) else {BROKEN: "the line is no JSON object"}


def open_text(path: Path) -> TextIO:
    """A text file in the encoding that it is in: UTF-16 where it says so, UTF-8, else what was
    usual on Windows. Line ends stay as they are."""
    return path.open(encoding=_encoding(path), errors="replace", newline="")


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
    try:
        with path.open(encoding="utf-8", newline="") as text:
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _notes(path: Path) -> Iterator[dict[str, Any]]:
    """A line that says so where the file is not in the encoding that it should be in."""
    if _encoding(path) == "cp1252":
        yield {NOTE: "it is no UTF-8 and was read as Windows-1252; check its accents"}


#: Where a line that is none says what is to be known of the file.
NOTE = "\0note"
#: Where a line that cannot be read says why; no file's column is called so.
BROKEN = "\0error"

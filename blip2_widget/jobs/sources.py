"""Where a job's rows come from, cut into pieces that are read where they are worked on.

A row's number is its place in the whole of the input, so it is the same in every run over it.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import pickle
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from PIL.Image import registered_extensions

from blip2_widget.errors import Blip2Error
from blip2_widget.images import (
    Column,
    ImageError,
    LazyValues,
    find_pictures,
    package_of,
    reason_of,
)
from blip2_widget.jobs.answering import Row
from blip2_widget.run import Prompt, columns_in, fill, no_such_column
from blip2_widget.texts import whole


class Piece(Protocol):
    """Some rows that lie together, which any machine can read."""

    @property
    def first(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def fingerprint(self) -> str:
        """Another once the rows or their numbers are others, as far as is known unread."""

    @property
    def path(self) -> str:
        """The file that holds them, "" of rows that travel with the piece."""

    def read(self, prompts: Sequence[Prompt]) -> list[Row]:
        """The rows, with each prompt's {column} fields filled in. Raises what its file does."""


def read(piece: Piece, prompts: Sequence[Prompt]) -> list[Row]:
    """A piece's rows; where its file cannot be read, by now or there, each says so."""
    try:
        return piece.read(prompts)
    except Exception as error:  # whatever a damaged or vanished file, or its store, raises
        wrong = ImageError("unreadable", _unread(piece.path, error))
        texts = tuple(prompt.text for prompt in prompts)
        numbers = range(piece.first, piece.first + piece.rows)
        return [Row(number, None, str(number), texts, wrong) for number in numbers]


@dataclass(frozen=True)
class Source:
    """All rows of an input, in `pieces`. `column` is the same for a gallery, which reads of it what
    it shows."""

    pieces: Sequence[Piece]
    column: Column

    def __len__(self) -> int:
        return len(self.column.values)


# --- a column that this process holds ---------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """Rows that travel with the piece: paths, URLs, or pictures as they are."""

    first: int
    rows: int
    fingerprint: str
    held: tuple[Row, ...]
    path: str = ""

    def read(self, prompts: Sequence[Prompt]) -> list[Row]:
        return list(self.held)


def of_column(column: Column, texts: Sequence[str | Sequence[str]], rows: int) -> Source:
    """A column's rows; `texts` has each prompt's text, or its text on each row."""
    count = len(column.values)
    pieces = []
    for first in range(0, count, rows):
        held = tuple(_held(column, texts, row) for row in range(first, min(first + rows, count)))
        told = [(_told(row.value), row.texts) for row in held]
        pieces.append(Held(first, len(held), _digest(first, told), held))
    return Source(pieces, column)


def _held(column: Column, texts: Sequence[str | Sequence[str]], row: int) -> Row:
    value, address = column.value(row), column.address(row)
    if isinstance(value, str | Path):
        value = address = _anywhere(str(value))
    elif hasattr(value, "read"):
        value = value.read()
    return Row(row, value, address, tuple(t if isinstance(t, str) else t[row] for t in texts))


def _told(value: Any) -> Any:
    """What is another once a picture is, as far as is known unread: of a local file its size and
    time of change are looked at, a URL is taken for what it was."""
    has_path = isinstance(value, dict) and not value.get("bytes")
    path = value.get("path") if has_path else value
    if not isinstance(path, str):
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    with suppress(OSError, ValueError):  # there is none, or there can be none
        status = os.stat(path)  # noqa: PTH116  # a Path takes three times as long, a million times
        return path, status.st_size, status.st_mtime_ns
    return path


def _anywhere(path: str) -> str:
    """A path that means the same from every folder."""
    if "://" in path or path.startswith("data:"):
        return path
    try:
        return str(Path(path).expanduser().absolute())
    except (RuntimeError, ValueError):  # no such home, NUL
        return path


# --- Parquet ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class InParquet:
    """Rows of one row group of a file."""

    first: int
    rows: int
    fingerprint: str
    path: str
    group: int
    start: int
    column: str
    #: Another once the file is, which a process that has read it before would not see.
    version: str = ""

    def read(self, prompts: Sequence[Prompt]) -> list[Row]:
        names = dict.fromkeys(name for prompt in prompts for name in columns_in(prompt.text))
        columns = tuple(dict.fromkeys((self.column, *names)))
        group = _row_group(self.path, self.version, self.group, columns)
        table = group.slice(self.start, self.rows)
        return [_row(self.first + at, line, self.column, prompts) for at, line in _lines(table)]


@lru_cache(2)  # the pieces of one group are mostly read one after another
def _row_group(path: str, version: str, group: int, columns: tuple[str, ...]) -> Any:
    import fsspec
    import pyarrow.parquet as pq

    with fsspec.open(path, "rb") as file:
        return pq.ParquetFile(file).read_row_group(group, columns=list(columns))


def of_parquet(
    paths: Sequence[str], column: str | None, prompts: Sequence[Prompt], rows: int
) -> Source:
    """The rows of Parquet files, one file after another; of a file only its end is read here.

    `column` holds the pictures; None finds it. Raises Blip2Error for a column that is none, and for
    a file that cannot be read.
    """
    import fsspec
    import pyarrow.parquet as pq

    asked = fields_of(prompts)
    pieces: list[Piece] = []
    first = 0
    for path in paths:
        with reading(path), fsspec.open(path, "rb") as file:
            version = _version(path)
            parquet = pq.ParquetFile(file)
            if column is None:
                column = find_pictures(
                    next(parquet.iter_batches(100), parquet.schema_arrow.empty_table())
                )
            check_columns([column, *asked], parquet.schema_arrow.names, path)
            for group in range(parquet.num_row_groups):
                held = parquet.metadata.row_group(group).num_rows
                for start in range(0, held, rows):
                    some = min(rows, held - start)
                    place = (path, group, start, column)
                    told = _digest(first, some, *place, version)
                    pieces.append(InParquet(first, some, told, *place, version))
                    first += some
    return source_of(pieces, column or "image", first)


# --- WebDataset -------------------------------------------------------------------------------


@dataclass(frozen=True)
class InTar:
    """Samples of a WebDataset, each a picture's place in the file, and those of its texts."""

    first: int
    rows: int
    fingerprint: str
    path: str
    #: Of every sample its key, and of each of its members the place and the size.
    samples: tuple[tuple[str, Mapping[str, tuple[int, int]]], ...]

    def read(self, prompts: Sequence[Prompt]) -> list[Row]:
        import fsspec

        with fsspec.open(self.path, "rb") as file:
            lines = [_sample(file, self.path, key, members) for key, members in self.samples]
        return [_row(self.first + at, line, "image", prompts) for at, line in enumerate(lines)]


def _sample(
    file: Any, path: str, key: str, members: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    def content(place: tuple[int, int]) -> bytes:
        file.seek(place[0])
        data: bytes = file.read(place[1])
        return data

    line: dict[str, Any] = {"image": None, "__key__": key}
    for suffix, place in members.items():
        if PurePosixPath(f"_.{suffix}").suffix.lower() in registered_extensions():
            line["image"] = line["image"] or {
                "bytes": content(place),
                "path": f"{path}/{key}.{suffix}",
            }
        elif suffix in _TEXTS:
            line[suffix] = content(place).decode(errors="replace")
    return line


#: The members of a sample that a prompt may name.
_TEXTS = ("txt", "text", "caption", "cls", "json")
#: How what gzip, bzip2, xz and Zstandard make begins.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


def of_tars(paths: Sequence[str], prompts: Sequence[Prompt], rows: int) -> Source:
    """The samples of WebDataset's shards, one shard after another; of a shard only its headers are
    read here. Raises Blip2Error for a field of a prompt that no sample has, and for a file that
    cannot be read."""
    asked = fields_of(prompts)
    pieces: list[Piece] = []
    first = 0
    found = {"__key__"}
    for path in paths:
        samples = _samples(path)
        found.update(*samples.values())
        listed = list(samples.items())
        for start in range(0, len(listed), rows):
            some = tuple(listed[start : start + rows])
            pieces.append(InTar(first, len(some), _digest(first, path, some), path, some))
            first += len(some)
    where = paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    check_columns(asked, [name for name in ("__key__", *_TEXTS) if name in found], where)
    return source_of(pieces, "image", first)


def _samples(path: str) -> dict[str, dict[str, tuple[int, int]]]:
    """A shard's samples by their keys: of each of its members by their suffix place and size."""
    import fsspec

    samples: dict[str, dict[str, tuple[int, int]]] = {}
    with reading(path), fsspec.open(path, "rb") as file:
        if file.read(8).startswith(_COMPRESSED):
            raise Blip2Error(f"{path} is compressed; unpack it first")
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isfile():
                    name = PurePosixPath(member.name)
                    key, _, suffix = name.name.partition(".")
                    of_key = samples.setdefault(str(name.parent / key), {})
                    of_key[suffix] = (member.offset_data, member.size)
    return samples


# --- what they have in common -----------------------------------------------------------------


def _digest(*told: object) -> str:
    return hashlib.sha256(repr(told).encode(errors="surrogatepass")).hexdigest()


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Whatever goes wrong with a file as a Blip2Error that names it."""
    try:
        yield
    except Blip2Error:
        raise
    except Exception as error:  # whatever a file raises that is none, or the library of a bucket
        raise Blip2Error(_unread(path, error)) from None


def _unread(path: str, error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"to read {path}, pip install {package_of(path)}"
    return f"{path} cannot be read: {reason_of(error)}"


def fields_of(prompts: Sequence[Prompt]) -> list[str]:
    """The columns that prompts name. Raises Blip2Error at a lone brace."""
    for prompt in prompts:
        fill(prompt.text, str)
    return [name for prompt in prompts for name in columns_in(prompt.text)]


def check_columns(asked: Iterable[str], names: Sequence[str], where: str) -> None:
    """Raise Blip2Error for the first that there is none of; `where` says of what."""
    for name in asked:
        if name not in names:
            raise Blip2Error(f"{where}: {no_such_column(name, names)}")


def source_of(pieces: Sequence[Piece], name: str, count: int) -> Source:
    if not count:
        raise Blip2Error("there is no row in it; there is no picture to look at")
    reader = _Reader(pieces)
    return Source(pieces, Column(LazyValues(reader.value, range(count)), range(count), name))


class _Reader:
    """Rows by number, of pieces that are read as they are needed."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._firsts = [piece.first for piece in pieces]
        self._read: Callable[[int], list[Row]] = lru_cache(4)(lambda at: pieces[at].read(()))

    def value(self, row: int) -> Any:
        at = bisect.bisect_right(self._firsts, row) - 1
        return self._read(at)[row - self._firsts[at]].value


def _lines(table: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from enumerate(table.to_pylist())


def _row(number: int, line: Mapping[str, Any], column: str, prompts: Sequence[Prompt]) -> Row:
    value = line[column]
    path = value.get("path") if isinstance(value, dict) else value
    address = path if isinstance(path, str) and not path.startswith("data:") else str(number)
    return Row(number, value, address, tuple(_text(prompt, line) for prompt in prompts))


def _text(prompt: Prompt, line: Mapping[str, Any]) -> str | Blip2Error:
    for name in columns_in(prompt.text):
        if line.get(name) is None:
            return Blip2Error(f"there is no {name} on this row")
    return whole(fill(prompt.text, line.__getitem__))


def _version(path: str) -> str:
    """What is another once a file was changed, as far as its file system tells."""
    from fsspec.core import url_to_fs

    files, place = url_to_fs(path)
    told = files.info(place)
    return repr([told.get(name) for name in ("size", "mtime", "ETag", "etag", "LastModified")])

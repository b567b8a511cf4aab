"""A folder of answers in Parquet, one part for every piece of the rows, each there whole or not.

Parts hold the columns of every export, and what a gallery shows beside them. They are read some
rows at a time, never all.
"""

from __future__ import annotations

import datetime
import io
import json
import math
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from blip2_widget.errors import Blip2Error
from blip2_widget.formats import COLUMNS, Kind, arrow_schema, clean, no_package
from blip2_widget.images import reason_of
from blip2_widget.jobs.answering import Answered, Spec
from blip2_widget.run import Cell

#: What a part has beside the columns of an export.
_MORE: Final[dict[str, Kind]] = {
    "image_key": "text",
    "error_kind": "text",
    "choices": "text",
    "alternatives": "text",
    "thumbnail": "bytes",
}
#: The file that says what the answers are answers to.
DESCRIPTION = "_job.json"
_PART = re.compile(r"part-(\d{8})\.parquet")
#: How a part is called whose piece is another by now, until it is written again.
_EARLIER = "_earlier"
#: Where in a job's folder the rows lie that would lie nowhere else.
_INPUT = "_input"
#: Where a part says how many of what it holds.
_COUNTS = b"blip2_widget"
#: What is read of a part that is looked at: thumbnails are many times as large.
_LOOKED_AT = (
    *("picture", "prompt", "kind", "model_answer", "state", "error", "logprob", "variant"),
    *("answered_at", "image_key", "error_kind", "choices", "alternatives"),
)
#: Parts that stay in memory while they are looked at.
_KEPT = 8
#: Parts whose ends are read at a time: most of it is waiting, of a store of objects.
_READ = 32


@dataclass(frozen=True)
class Counts:
    """How many rows a part has from its `first` on, and how many answers of each kind; `failed`
    are those of its rows that have an answer that failed. `piece` is its piece's fingerprint."""

    first: int
    rows: int
    answered: int
    failed: int
    cached: int
    failed_rows: tuple[int, ...] = ()
    piece: str = ""


class Parts:
    """The parts in a folder, on a disk or wherever fsspec reaches."""

    def __init__(self, folder: str | Path) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise no_package(error.name or "pyarrow", "a job's parts") from None
        self.folder = str(folder)
        with self._usable():
            self._files, self._path = url_to_fs(str(folder))
        self._lock = threading.Lock()
        #: Lines of parts that are looked at, by the part and the columns.
        self._kept: OrderedDict[tuple[int, tuple[str, ...]], list[dict[str, Any]]] = OrderedDict()

    # --- the job's description ------------------------------------------------------------------

    def holds(self, job: dict[str, Any], overwrite: bool) -> bool:
        """Whether these are the parts of that job. Raises Blip2Error where the folder holds
        something else, unless that is to be overwritten, or can be none."""
        with self._usable():
            before = self.description()
            self.check_ours()
        if before is None:
            return False
        if before["fingerprint"] == job["fingerprint"]:
            return True
        if not overwrite:
            raise Blip2Error(
                f"{self.folder} holds answers about other rows: write --overwrite to keep those "
                "about rows that are the same, or give another folder"
                if before.get("asking") == job["asking"]
                else f"{self.folder} holds the answers of another job: give another folder, or "
                "write --overwrite to replace them"
            )
        return False

    def describe(self, job: dict[str, Any], pieces: Sequence[str], anew: bool = False) -> None:
        """Begin a job about `pieces`, by their fingerprints, in the place of what the folder holds.
        Where the same was asked of other rows, parts of pieces that are the same are kept, and of
        the others what is known of pictures that are still there; not so if `anew`."""
        self.check_ours()
        before = self.description()
        asks_same = before is not None and before.get("asking") == job["asking"] and not anew
        kept = self._sifted(pieces) if asks_same else set()
        for name in set(self._listed()) - kept - {DESCRIPTION}:
            self._files.rm_file(f"{self._path}/{name}")
        self.make()
        self._write(self._place(None), json.dumps(job, ensure_ascii=False, indent=1).encode())

    def check_ours(self) -> None:
        """Raise Blip2Error where the folder holds anything else than a job."""
        if self.description() is None and self._listed():
            raise Blip2Error(
                f"{self.folder} holds something else, which is kept: give another folder"
            )

    def make(self) -> None:
        """Make the folder, where its file system has any. Raises Blip2Error where it cannot be."""
        with self._usable():
            self._files.makedirs(self._path, exist_ok=True)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except (ImportError, ValueError, OSError) as error:  # as file systems raise them
            raise Blip2Error(f"{self.folder} is no place for answers: {reason_of(error)}") from None

    @property
    def input(self) -> Parts:
        """The place of rows that lie nowhere else."""
        return Parts(f"{self.folder}/{_INPUT}")

    def _sifted(self, pieces: Sequence[str]) -> set[str]:
        """Set parts whose piece is another by now aside; what of the folder is kept."""
        kept = {_name(number, _EARLIER) for number in range(len(pieces))}
        for number, counts in self.all_counts().items():
            if number < len(pieces) and counts.piece == pieces[number]:
                kept.add(_name(number))
            elif number < len(pieces):
                self._files.mv(self._place(number), f"{self._path}/{_name(number, _EARLIER)}")
        return kept

    def description(self) -> dict[str, Any] | None:
        """What the folder's answers are answers to; None where it holds no job. Raises Blip2Error
        where that cannot be read."""
        try:
            job: dict[str, Any] = json.loads(self._files.cat_file(self._place(None)))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Blip2Error(f"{self.folder}/{DESCRIPTION} is damaged: {error}") from None
        return job

    # --- notes to whoever works on the job ------------------------------------------------------

    def note(self, name: str) -> str | None:
        """What a note says, None where there is none."""
        try:
            text: bytes = self._files.cat_file(f"{self._path}/{name}")
        except FileNotFoundError:
            return None
        return text.decode()

    def put_note(self, name: str, text: str) -> None:
        self.put(name, text.encode())

    def put(self, name: str, data: bytes) -> None:
        """Write a file beside the parts."""
        self._write(f"{self._path}/{name}", data)

    def drop_note(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._path}/{name}")

    # --- parts ----------------------------------------------------------------------------------

    def numbers(self) -> list[int]:
        """The numbers of the parts that are there."""
        return sorted(self.versions())

    def versions(self) -> dict[int, str]:
        """The parts that are there by number, each with what is another once it is written anew."""
        self._files.invalidate_cache()
        found = {}
        with suppress(FileNotFoundError, NotADirectoryError):
            for each in self._files.ls(self._path, detail=True):
                named = _PART.fullmatch(Path(each["name"]).name)
                if named is not None:
                    found[int(named[1])] = repr(each)
        return found

    def write(
        self, number: int, answered: Sequence[Answered], spec: Spec, piece: str = ""
    ) -> Counts:
        """Write a part, in the place of the one that may be there; `piece` is the fingerprint of
        what it answers."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        cells = [cell for row in answered for cell in row.cells]
        counts = Counts(
            first=answered[0].number,
            rows=len(answered),
            answered=sum(cell.state == "done" for cell in cells),
            failed=sum(cell.state == "error" for cell in cells),
            cached=sum(cell.cached for cell in cells),
            failed_rows=tuple(row.number for row in answered if row.has_failed),
            piece=piece,
        )
        schema = arrow_schema(COLUMNS | _MORE, True).with_metadata(
            {_COUNTS: json.dumps(vars(counts)).encode()}
        )
        lines = [line for row in answered for line in lines_of(row, spec)]
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(lines, schema), data)
        self._write(self._place(number), data.getvalue())
        self.drop_note(_name(number, _EARLIER))
        return counts

    def all_counts(self) -> dict[int, Counts]:
        """What each part holds that is there and can be read."""
        numbers = self.numbers()
        with ThreadPoolExecutor(_READ) as threads:
            read = zip(numbers, threads.map(self._counts_if_any, numbers), strict=True)
            return {number: counts for number, counts in read if counts is not None}

    def _counts_if_any(self, number: int) -> Counts | None:
        try:
            return self.counts(number)
        except Exception:  # whatever a damaged file raises
            return None

    def counts(self, number: int) -> Counts:
        """What a part holds, by its end alone."""
        import pyarrow.parquet as pq

        with self._files.open(self._place(number), "rb") as file:
            told = json.loads(pq.read_schema(file).metadata[_COUNTS])
        return Counts(**told | {"failed_rows": tuple(told["failed_rows"])})

    def line(self, number: int, at: int) -> dict[str, Any]:
        """A line of a part, all but its thumbnail and what is the same on all lines."""
        return self._kept_lines(number, _LOOKED_AT)[at]

    def thumbnail(self, number: int, at: int) -> bytes | None:
        """What a part keeps of the picture of the row that begins at a line."""
        found: bytes | None = self._kept_lines(number, ("thumbnail",))[at]["thumbnail"]
        return found

    def column(self, number: int, name: str) -> list[Any]:
        """One column of a part, of which nothing else is read, and which is not kept."""
        values: list[Any] = self._read(self._place(number), [name]).column(name).to_pylist()
        return values

    def answered(self, number: int, prompts: int) -> list[Answered]:
        """A part's rows, of so many cells each."""
        return _rows(self._read(self._place(number)), prompts)

    def earlier(self, number: int, prompts: int) -> list[Answered]:
        """The rows that a part had before its piece became another, none where there were none."""
        try:
            return _rows(self._read(f"{self._path}/{_name(number, _EARLIER)}"), prompts)
        except FileNotFoundError:
            return []

    def forget(self, number: int) -> None:
        """The part may be another by now."""
        with self._lock:
            for columns in (_LOOKED_AT, ("thumbnail",)):
                self._kept.pop((number, columns), None)

    def _kept_lines(self, number: int, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        with self._lock:
            if (number, columns) in self._kept:
                self._kept.move_to_end((number, columns))
                return self._kept[number, columns]
        lines: list[dict[str, Any]] = self._read(self._place(number), columns).to_pylist()
        with self._lock:
            self._kept[number, columns] = lines
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return lines

    def _read(self, place: str, columns: Sequence[str] | None = None) -> Any:
        import pyarrow.parquet as pq

        with self._files.open(place, "rb") as file:
            return pq.read_table(file, columns=columns and list(columns), use_threads=False)

    def _listed(self) -> list[str]:
        self._files.invalidate_cache()
        try:
            listed = self._files.ls(self._path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [name for name in (Path(path).name for path in listed) if name != _INPUT]

    def _place(self, number: int | None) -> str:
        name = DESCRIPTION if number is None else _name(number)
        return f"{self._path}/{name}"

    def _write(self, place: str, data: bytes) -> None:
        """Write a file that is there whole or not at all: on a disk by renaming; object stores
        show nothing before all of it is there."""
        if "file" not in _protocols(self._files):
            self._files.pipe_file(place, data)
            return
        target = Path(place)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            partial.write_bytes(data)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def _name(number: int, what: str = "part") -> str:
    return f"{what}-{number:08d}.parquet"


def _protocols(files: Any) -> Sequence[str]:
    return [files.protocol] if isinstance(files.protocol, str) else files.protocol


def lines_of(row: Answered, spec: Spec) -> Iterable[dict[str, Any]]:
    """A line for each prompt: the columns of an export, and what a part has beside them."""
    for at, (prompt, cell) in enumerate(zip(spec.prompts, row.cells, strict=True)):
        yield {
            "row": row.number,
            "picture": clean(row.address),
            "name": clean(prompt.name),
            "prompt": clean(cell.prompt),
            "kind": cell.kind,
            "answer": _text(cell.answer),
            "model_answer": _text(cell.answer),
            "flagged": False,
            "state": cell.state,
            "error": _text(cell.error),
            "confidence": None if cell.logprob is None else math.exp(cell.logprob),
            "logprob": cell.logprob,
            "model": spec.checkpoint.name,
            "revision": spec.commit,
            "variant": spec.variant.name,
            "answered_at": None
            if cell.answered_at is None
            else datetime.datetime.fromtimestamp(cell.answered_at, datetime.UTC),
            "checkpoint": spec.checkpoint.known_as,
            "image_key": row.key,
            "error_kind": cell.error_kind,
            "choices": _json(cell.choices),
            "alternatives": _json(cell.alternatives),
            "thumbnail": None if at else row.thumbnail,
        }


def _rows(table: Any, prompts: int) -> list[Answered]:
    lines = table.to_pylist()
    rows = [lines[start : start + prompts] for start in range(0, len(lines), prompts)]
    return [
        Answered(
            row[0]["row"],
            row[0]["picture"],
            row[0]["image_key"],
            row[0]["thumbnail"],
            tuple(map(cell_of, row)),
        )
        for row in rows
    ]


def _text(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _json(several: Sequence[tuple[str, float]]) -> str | None:
    return json.dumps(several, ensure_ascii=False) if several else None


def cell_of(line: dict[str, Any]) -> Cell:
    """A line of a part as the cell that it was."""
    at = line["answered_at"]
    return Cell(
        prompt=line["prompt"],
        kind=line["kind"],
        state=line["state"],
        answer=line["model_answer"],
        logprob=line["logprob"],
        error=line["error"],
        error_kind=line["error_kind"],
        answered_at=None if at is None else at.timestamp(),
        choices=_several(line["choices"]),
        alternatives=_several(line["alternatives"]),
    )


def _several(text: str | None) -> tuple[tuple[str, float], ...]:
    return tuple((each, number) for each, number in json.loads(text)) if text else ()

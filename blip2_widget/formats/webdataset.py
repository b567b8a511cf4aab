"""WebDataset: a tar of pictures, each with its text and its records beside it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL.Image import registered_extensions

from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import Answers, answered, texts
from blip2_widget.formats.folders import VALUE
from blip2_widget.formats.tables import BROKEN, as_json
from blip2_widget.formats.whole import whole_file

#: The largest member that is read: no picture may be larger either.
_MOST_BYTES = 100_000_000


def write_webdataset(answers: Answers, path: Path, overwrite: bool) -> int:
    """For each row `KEY.jpg`, or what its picture is, `KEY.txt` with its first answer and
    `KEY.json` with all records, as `answers`; returns how many answers.

    A picture that cannot be read and an answer that is not there are left out.
    """
    written = 0
    with whole_file(path, overwrite) as partial, tarfile.open(partial, "w") as tar:
        for row in answers.rows():
            key = f"{row.number:08}"
            picture = answers.picture(row.number)
            if picture is not None:
                _add(tar, key + picture.suffix, picture.data)
            said = [record["answer"] for record in row.records if record["answer"] is not None]
            if said:
                _add(tar, f"{key}.txt", said[0].encode())
            records = as_json({"answers": [texts(record) for record in row.records]})
            _add(tar, f"{key}.json", records.encode())
            written += answered(row.records)
    return written


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
    tar.members.clear()  # type: ignore[attr-defined]  # it would note every one


def read_webdataset(path: Path) -> Iterator[dict[str, Any]]:
    """A line for each answer of each picture. Nothing is unpacked: members are read, in order.

    Raises Blip2Error where the file is no tar.
    """
    try:
        with tarfile.open(path, "r:*") as tar:
            for key, members in groupby(_members(tar), lambda each: each[0]):
                yield from _lines(key, {suffix: data for _, suffix, data in members})
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Blip2Error(f"{path} cannot be read as a tar: {error}") from None


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """Key, suffix and bytes of each file."""
    for member in tar:
        folder, slash, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        file = tar.extractfile(member) if member.isreg() and stem else None
        if file is not None and member.size <= _MOST_BYTES:
            yield folder + slash + stem, "." + suffix.lower(), file.read()
        tar.members.clear()  # type: ignore[attr-defined]


def _lines(key: str, parts: dict[str, bytes]) -> Iterator[dict[str, Any]]:
    suffix = next((each for each in parts if each in registered_extensions()), None)
    picture: dict[str, Any] = {"picture": key + (suffix or "")}
    if suffix is not None:
        picture[VALUE] = parts[suffix]
    try:
        said = json.loads(parts.get(".json", b"{}"))
    except (ValueError, RecursionError) as error:
        said = {BROKEN: f"{key}.json is no JSON: {error}"}
    said = said if isinstance(said, dict) else {}
    records = said.get("answers")
    if isinstance(records, list) and all(isinstance(each, dict) for each in records):
        yield from (picture | record for record in records)
    else:
        text = {"answer": parts[".txt"].decode(errors="replace").strip()} if ".txt" in parts else {}
        yield said | picture | text

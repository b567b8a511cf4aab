"""Folders of pictures: Hugging Face's imagefolder, and texts beside the pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL.Image import registered_extensions

from blip2_widget.errors import Blip2Error
from blip2_widget.formats.answers import Answers
from blip2_widget.formats.tables import BROKEN, read_csv, read_jsonl, read_parquet, write_lines
from blip2_widget.formats.whole import Staged, check_absent, one_line_errors

_METADATA = "metadata.jsonl"
_READ = {_METADATA: read_jsonl, "metadata.csv": read_csv, "metadata.parquet": read_parquet}

#: Where a line holds the picture itself, or the path of it.
VALUE = "\0value"

#: What a file's name may hold on every system; a dot at its start would hide it.
_UNSAFE = re.compile(r"^\.+|[^\w .()\[\]{}+=,;@#$%&!~^\'-]|[. ]+$")


# --- imagefolder ------------------------------------------------------------------------------


def write_imagefolder(answers: Answers, folder: Path, overwrite: bool) -> int:
    """`metadata.jsonl` beside the pictures; returns how many answers.

    Pictures that lie in the folder stay; others come in, and what is there already is kept. Rows
    whose picture cannot be read are left out.
    """
    check_absent(folder / _METADATA, overwrite)
    if folder.exists() and not folder.is_dir():
        raise Blip2Error(f"{folder} is a file; give a folder")
    with one_line_errors(folder), Staged(folder) as staged:
        places = _Places(folder, staged, answers)

        def lines() -> Iterator[dict[str, Any]]:
            for row in answers.rows():
                name = places.find(row.number)
                if name is not None:
                    yield from ({"file_name": name} | record for record in row.records)

        target = staged.path(folder / _METADATA)
        with target.open("w", encoding="utf-8", newline="\n") as file:
            return write_lines(file, lines())


class _Places:
    """Where each row's picture lies in a folder."""

    def __init__(self, folder: Path, staged: Staged, answers: Answers) -> None:
        self._folder = folder.resolve()
        self._staged = staged
        self._answers = answers
        #: By path, so that a file that stands in several rows comes once.
        self._known: dict[Path, str | None] = {}
        self._taken = {_METADATA}

    def find(self, number: int) -> str | None:
        """A row's file name, relative to the folder; None where there is no picture."""
        local = self._answers.local_file(number)
        if local is None:
            return self._copy(number)
        if local not in self._known:
            self._known[local] = self._inside(local) or self._copy(number)
        return self._known[local]

    def _inside(self, local: Path) -> str | None:
        resolved = local.resolve()
        if not resolved.is_relative_to(self._folder) or resolved.suffix.lower() not in _suffixes():
            return None
        name = resolved.relative_to(self._folder).as_posix()
        self._taken.add(name.casefold())
        return name

    def _copy(self, number: int) -> str | None:
        picture = self._answers.picture(number)
        if picture is None:
            return None
        label = _UNSAFE.sub("_", self._answers.label(number)) or "picture"
        stem = Path(label).stem if Path(label).suffix.lower() in _suffixes() else label
        stem, more = stem[:100] or "picture", 1
        name = stem + picture.suffix
        while name.casefold() in self._taken or self._holds_another(name, picture.data):
            more += 1
            name = f"{stem}-{more}{picture.suffix}"
        self._taken.add(name.casefold())
        if not (self._folder / name).exists():
            self._staged.path(self._folder / name).write_bytes(picture.data)
        return name

    def _holds_another(self, name: str, data: bytes) -> bool:
        """Whether another file has the name already; an earlier export may have left this one."""
        there = self._folder / name
        return there.exists() and not (there.is_file() and there.read_bytes() == data)


def is_imagefolder(folder: Path) -> bool:
    """Whether a folder says something of its pictures in Hugging Face's way."""
    return any((folder / name).is_file() for name in _READ)


def imagefolder_inside(folder: Path) -> Path | None:
    """The first folder in this one that is an imagefolder, as where each split has one."""
    return next((each for each in sorted(folder.iterdir()) if is_imagefolder(each)), None)


def read_imagefolder(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the folder's metadata, with the paths of their pictures."""
    for name, read in _READ.items():
        if (folder / name).is_file():
            for line in read(folder / name):
                file_name = line.get("file_name")
                yield line | ({VALUE: str(folder / str(file_name))} if file_name else {})
            return
    raise Blip2Error(f"there is no {' or '.join(_READ)} in {folder}")


# --- texts beside the pictures ------------------------------------------------------------------


def write_sidecar(answers: Answers, folder: Path, overwrite: bool) -> int:
    """`<stem>.txt` beside each picture in the folder, with its answer; returns how many.

    Rows without an answer have none. Raises Blip2Error, before anything is written, where a picture
    is no file in the folder, or where two would share a text.
    """
    answers.need_texts("a sidecar")
    if len(answers.names) > 1:
        raise Blip2Error(
            f"a picture has one text beside it, and here are {len(answers.names)} columns of "
            f"answers; choose one: --column {answers.names[0]!r}"
        )
    if not folder.is_dir():
        raise Blip2Error(f"there is no folder {folder}; give the one that the pictures lie in")
    planned = _plan(answers, folder)
    for target in planned:
        check_absent(target, overwrite)
    with Staged(folder) as staged:
        for target, text in planned.items():
            with one_line_errors(target):
                staged.path(target).write_text(text, encoding="utf-8", newline="")
    return len(planned)


def _plan(answers: Answers, folder: Path) -> dict[Path, str]:
    """The texts by the files that they go to."""
    inside = folder.resolve()
    planned: dict[Path, str] = {}
    owners: dict[str, tuple[Path, str | None]] = {}
    pictures: set[Path] = set()
    for row in answers.rows():
        local, name = answers.local_file(row.number), answers.label(row.number)
        if not answers.is_named_in_utf8(row.number):
            raise Blip2Error(
                f"the file name of {name} is not UTF-8, so that no text is put beside it; rename "
                "it, or write a table"
            )
        if local is None:
            raise Blip2Error(
                f"{name} is no local file that a text could stand beside; write a table, or "
                "--format imagefolder"
            )
        # Of the picture's folder, not of the picture: a link has a text of its own.
        picture = local.parent.resolve() / local.name
        target = picture.with_suffix(".txt")
        if not picture.is_relative_to(inside):
            raise Blip2Error(f"{local} lies outside {folder}; give a folder that holds all")
        pictures.add(picture)
        text = next((r["answer"] for r in row.records if r["answer"] is not None), None)
        # As it is compared where a.txt and A.txt are one file.
        other, said = owners.setdefault(str(target).casefold(), (picture, text))
        if other != picture:
            raise Blip2Error(
                f"{other.name} and {picture.name} would share {target.name}; rename one of them"
            )
        if said != text:
            raise Blip2Error(f"{picture.name} stands in two rows with two answers; keep one")
        if text is not None:
            planned[target] = text
    if both := pictures & planned.keys():
        raise Blip2Error(f"{min(both).name} is a picture, and would become a text; rename it")
    return planned


def is_sidecar(folder: Path) -> bool:
    """Whether a folder, or one in it, holds texts beside pictures."""
    return any(_beside(path) for path in folder.rglob("*.txt"))


def read_sidecar(folder: Path) -> Iterator[dict[str, Any]]:
    """A line for each text that has a picture beside it, in the order of their names; other texts
    are left alone."""
    for path in sorted(folder.rglob("*.txt")):
        beside = _beside(path)
        if not beside:
            continue
        line: dict[str, Any] = {"picture": str(beside[0]), VALUE: str(beside[0])}
        if len(beside) > 1:
            line = {"picture": str(path.with_suffix(""))}
            line[BROKEN] = f"{beside[0].name} and {beside[1].name} share {path.name}"
        with one_line_errors(path):
            yield line | {"answer": path.read_text(encoding="utf-8-sig", errors="replace").strip()}


def _beside(path: Path) -> list[Path]:
    """The pictures that a text stands beside."""
    return [
        each
        for each in sorted(path.parent.glob(_escaped(path.stem) + ".*"))
        if each.suffix.lower() in _suffixes() and each.stem == path.stem
    ]


def _escaped(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)


def _suffixes() -> dict[str, str]:
    return registered_extensions()

"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blip2_widget.errors import Blip2Error


@contextmanager
def whole_file(target: Path, overwrite: bool) -> Iterator[Path]:
    """A path beside the target to write to, which becomes the target at the end.

    Where an error comes before that, what was there is as it was. Raises Blip2Error where there is
    something that is not to be overwritten, or that cannot be written.
    """
    check_absent(target, overwrite)
    if target.is_dir():
        raise Blip2Error(f"{target} is a folder; give a file")
    with one_line_errors(target), _in_a_folder_beside(target) as folder:
        partial = folder / "new"
        yield partial
        partial.replace(target)


@contextmanager
def whole_folder(
    target: Path, overwrite: bool, is_ours: Callable[[Path], bool] = lambda _: False
) -> Iterator[Path]:
    """The same for a folder, which is there to be filled. Only a folder that `is_ours`, or an empty
    one, is ever replaced."""
    is_taken = target.exists() and not (target.is_dir() and not any(target.iterdir()))
    if is_taken:
        check_absent(target, overwrite)
        if not is_ours(target):
            raise Blip2Error(f"{target} holds something else, which is kept; give another folder")
    with one_line_errors(target), _in_a_folder_beside(target) as folder:
        (partial := folder / "new").mkdir()
        yield partial
        old = folder / "old"
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise


class Staged:
    """Files for folders that exist already: all of them are moved to their places, or none.

    For use in a `with`, at whose end they are moved.
    """

    def __init__(self, folder: Path) -> None:
        """They wait in a folder of their own in `folder`, which is made where there is none."""
        self._folder = folder
        self._new: dict[Path, Path] = {}
        self._made: list[Path] = []

    def path(self, target: Path) -> Path:
        """Where to write what is to become the target."""
        return self._new.setdefault(target, self._waiting / f"{len(self._new)}.new")

    def __enter__(self) -> Staged:
        for each in [self._folder, *self._folder.parents]:
            if each.exists():
                break
            self._made.append(each)
        with one_line_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._waiting = Path(tempfile.mkdtemp(prefix=".blip2-", dir=self._folder))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with one_line_errors(self._folder):
                    self._move()
                self._made.clear()
        finally:
            shutil.rmtree(self._waiting, ignore_errors=True)
            for each in self._made:
                with suppress(OSError):  # by now it may hold something of somebody else's
                    each.rmdir()

    def _move(self) -> None:
        try:
            for target, new in self._new.items():
                if target.exists() or target.is_symlink():
                    target.replace(_old(new))
                new.replace(target)
        except BaseException:
            for target, new in self._new.items():
                if not new.exists():
                    target.unlink(missing_ok=True)
                if _old(new).is_symlink() or _old(new).exists():
                    _old(new).replace(target)
            raise


def _old(new: Path) -> Path:
    """Where what a new file replaces is kept until all have been moved."""
    return new.with_suffix(".old")


def check_absent(target: Path, overwrite: bool) -> None:
    """Raise Blip2Error where something is there that is not to be overwritten."""
    if not overwrite and (target.exists() or target.is_symlink()):
        raise Blip2Error(
            f"{target} exists already; write --overwrite (overwrite=True) to replace it"
        )


def check_folder(target: Path) -> None:
    """Raise Blip2Error where there is no folder for a file."""
    parent = target.absolute().parent
    if not parent.is_dir():
        raise Blip2Error(f"there is no folder {parent}; make it first")


@contextmanager
def one_line_errors(target: Path) -> Iterator[None]:
    """What the disk refuses, in one line."""
    try:
        yield
    except OSError as error:
        raise Blip2Error(f"{target} cannot be written: {error.strerror or error}") from error


@contextmanager
def _in_a_folder_beside(target: Path) -> Iterator[Path]:
    """A folder on the target's own disk, so that moving is renaming, and gone at the end."""
    check_folder(target)
    with tempfile.TemporaryDirectory(
        prefix=".blip2-", dir=target.absolute().parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)

"""What is written is there whole or not at all, and nothing that was there is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

import blip2_widget.formats.answers as answers_module
from blip2_widget.errors import Blip2Error
from blip2_widget.formats import FORMATS as KNOWN
from blip2_widget.formats.whole import Staged
from blip2_widget.notebook.result import Result
from tests.formats.made import FORMATS, answered, pictures


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder."""
    return {
        str(each.relative_to(folder)): each.read_bytes() if each.is_file() else None
        for each in folder.rglob("*")
    }


@pytest.fixture
def result(tmp_path: Path) -> Result:
    paths = pictures(tmp_path / "work" / "folder", ["a.png", "b.png", "c.png"])
    paths += pictures(tmp_path / "elsewhere", ["d.png", "e.png"])
    return answered(paths, ["1", "2", "3", "4", "5"])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("there", [False, True])
def test_a_failure_in_the_middle_leaves_what_was_there(
    result: Result,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: type[BaseException],
    there: bool,
) -> None:
    path = tmp_path / "work" / FORMATS[name]
    if there:
        result.export(path, name)
    before = tree(tmp_path)
    real = answers_module.Answers._plain

    def failing(self: answers_module.Answers, record: object) -> object:
        plain = real(self, record)  # type: ignore[arg-type]
        if plain["answer"] == "5":
            raise error("in the middle")
        return plain

    monkeypatch.setattr(answers_module.Answers, "_plain", failing)
    with pytest.raises(Blip2Error if error is OSError else error):
        result.export(path, name, overwrite=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", KNOWN)
def test_nothing_is_overwritten_unasked(result: Result, tmp_path: Path, name: str) -> None:
    if name == "sidecar":
        result = answered([str(tmp_path / "work" / "folder" / "a.png")], ["1"])
    path = tmp_path / "work" / FORMATS.get(name, "folder")
    result.export(path, name)
    before = tree(tmp_path)
    with pytest.raises(Blip2Error, match="exists already; write --overwrite"):
        result.export(path, name)
    assert tree(tmp_path) == before
    result.export(path, name, overwrite=True)
    assert set(tree(tmp_path)) == set(before)


def test_a_folder_of_something_else_is_kept_even_so(result: Result, tmp_path: Path) -> None:
    with pytest.raises(Blip2Error, match="holds something else, which is kept"):
        result.export(tmp_path / "elsewhere", "dataset", overwrite=True)
    assert set(tree(tmp_path / "elsewhere")) == {"d.png", "e.png"}


@pytest.mark.parametrize(
    ("names", "texts", "said"),
    [
        (["a.jpg", "a.png"], ["1", "2"], "a.jpg and a.png would share a.txt"),
        (["a.jpg", "A.png"], ["1", "1"], "a.jpg and A.png would share A.txt"),
        (["a.png", "a.png"], ["1", "2"], "a.png stands in two rows with two answers"),
        (["a.png", "a.txt"], ["1", "2"], "would share a.txt"),
        (["a.txt"], ["1"], "a.txt is a picture, and would become a text"),
    ],
)
def test_two_pictures_never_share_a_text(
    tmp_path: Path, names: list[str], texts: list[str], said: str
) -> None:
    folder = tmp_path / "p"
    first, *others = pictures(folder, ["first.png", *dict.fromkeys(names)])
    paths = [first, *(str(folder / name) for name in names)]
    assert len(others) == len(set(names))
    before = tree(folder)
    with pytest.raises(Blip2Error, match=said):
        answered(paths, ["0", *texts]).export(folder, "sidecar", overwrite=True)
    assert tree(folder) == before


def test_pictures_that_are_no_files_in_the_folder_are_refused(tmp_path: Path) -> None:
    (path,) = pictures(tmp_path / "p", ["a.png"])
    (other,) = pictures(tmp_path / "q", ["b.png"])
    for image, said in [(b"bytes", "is no local file"), (other, "lies outside")]:
        with pytest.raises(Blip2Error, match=said):
            answered([path, image], ["1", "2"]).export(tmp_path / "p", "sidecar")
    assert set(tree(tmp_path / "p")) == {"a.png"}


def test_equal_rows_share_their_text(tmp_path: Path) -> None:
    (path,) = pictures(tmp_path / "p", ["a.png"])
    answered([path, path], ["1", "1"]).export(tmp_path / "p", "sidecar")
    assert (tmp_path / "p" / "a.txt").read_text() == "1"


def test_files_that_cannot_all_be_moved_are_all_moved_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "b").write_text("old b")
    before = tree(tmp_path)
    real, moves = Path.replace, 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if moves == 4:
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(Blip2Error, match="cannot be written: No space left"):
        write_new(tmp_path)
    assert tree(tmp_path) == before


def write_new(folder: Path) -> None:
    with Staged(folder) as staged:
        for name in ("a", "new", "b"):
            staged.path(folder / name).write_text(f"new {name}")

"""Rows have the same numbers however often they are cut into pieces, and are read where they are
worked on."""

from __future__ import annotations

import io
import os
import pickle
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.images import read_column
from blip2_widget.jobs import on_ray, turn
from blip2_widget.jobs.answering import Answering, Row, open_pictures
from blip2_widget.jobs.begin import files_of, is_read_there
from blip2_widget.jobs.parts import Parts
from blip2_widget.jobs.sources import Source, of_column
from blip2_widget.jobs.sources import read as read_piece
from blip2_widget.run import Prompt
from tests.jobs.conftest import demo_spec


def asking(text: str) -> list[Prompt]:
    return [Prompt("what", text, "question")]


ASKED = asking("is it a {what}?")


def read(source: Source, prompts: Sequence[Prompt] = ()) -> list[Row]:
    """All rows, as they are read elsewhere."""
    pieces = pickle.loads(pickle.dumps(list(source.pieces)))
    rows = [row for piece in pieces for row in piece.read(prompts)]
    assert [row.number for row in rows] == list(range(len(source)))
    assert [piece.first for piece in pieces] == [p.read(prompts)[0].number for p in pieces]
    return rows


def test_a_columns_rows_travel_with_their_texts_and_whole_paths(
    drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(drawn[0]).parent)
    names = [Path(path).name for path in drawn[:7]]
    source = of_column(read_column(names), ["", [f"is it {at}?" for at in range(7)]], 3)
    monkeypatch.chdir("/")
    rows = read(source)
    assert [len(piece.read(())) for piece in source.pieces] == [3, 3, 1]
    assert [row.value for row in rows] == drawn[:7] == [row.address for row in rows]
    assert [row.texts for row in rows] == [("", f"is it {at}?") for at in range(7)]
    monkeypatch.chdir(Path(drawn[0]).parent)
    longer = of_column(
        read_column([*names, drawn[7]]), ["", [f"is it {at}?" for at in range(8)]], 3
    )
    assert same(source, longer) == [True, True, False]
    other = of_column(
        read_column(names), ["", ["is it 0?", *[f"is it {at}!" for at in range(6)]]], 3
    )
    assert same(source, other) == [False, False, False]


def same(one: Source, other: Source) -> list[bool]:
    """Of each piece whether it is the same in both."""
    pairs = zip(one.pieces, other.pieces, strict=False)
    return [before.fingerprint == after.fingerprint for before, after in pairs]


@pytest.fixture
def tables(tmp_path: Path, drawn: list[str]) -> str:
    """Two Parquet files of 20 and 10 rows, in row groups of 8."""
    for at, paths in enumerate((drawn[:20], drawn[20:30])):
        table = pa.table({"what": [f"thing {p[-7:-4]}" for p in paths], "photo": paths})
        pq.write_table(table, tmp_path / f"rows-{at}.parquet", row_group_size=8)
    return str(tmp_path / "rows-*.parquet")


def test_parquet_is_read_by_the_piece(tables: str, drawn: list[str]) -> None:
    source = files_of(tables, None, ASKED, 5)
    assert len(source) == 30
    assert [piece.rows for piece in source.pieces] == [5, 3, 5, 3, 4, 5, 3, 2]
    rows = read(source, ASKED)
    assert [row.value for row in rows] == drawn[:30]
    assert rows[21].texts == (f"is it a thing {drawn[21][-7:-4]}?",)
    # A gallery reads of it what it shows.
    assert source.column.values[29] == drawn[29]
    assert source.column.labels[0] == Path(drawn[0]).name


def test_parquet_that_was_changed_is_another_input(tables: str, drawn: list[str]) -> None:
    before = files_of(tables, "photo", ASKED, 5)
    table = pa.table({"what": ["x"] * 10, "photo": drawn[40:50]})
    pq.write_table(table, tables.replace("*", "1"))
    after = files_of(tables, "photo", ASKED, 5)
    assert same(before, after) == [True] * 5 + [False] * 2


def test_a_column_that_is_none_is_told_with_one_that_is(tables: str) -> None:
    with pytest.raises(Blip2Error, match="photo"):
        files_of(tables, "foto", ASKED, 5)
    with pytest.raises(Blip2Error, match=r"rows-0\.parquet: there is no column 'wat'.*'what'"):
        files_of(tables, None, asking("is it a {wat}?"), 5)
    with pytest.raises(Blip2Error, match=r"a lone \{"):
        files_of(tables, None, asking("is it a {?"), 5)
    second = tables.replace("*", "1")
    pq.write_table(pa.table({"photo": ["a.png"]}), second)
    with pytest.raises(Blip2Error, match=r"rows-1\.parquet: there is no column 'what'"):
        files_of(tables, None, ASKED, 5)


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Blip2Error, match="no file matches"):
        files_of(f"{tmp_path}/*.parquet", None, ASKED, 5)


def shard(path: Path, members: Sequence[tuple[str, bytes]], mode: str = "w") -> str:
    """A tar of these."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def test_shards_are_read_by_the_sample(tmp_path: Path, drawn: list[str]) -> None:
    pictures = [Path(path).read_bytes() for path in drawn[:10]]
    for at in range(2):
        members = []
        for each in range(4):
            stem = f"part/{Path(drawn[4 * at + each]).stem}"
            members.append((f"{stem}.png", pictures[4 * at + each]))
            members.append((f"{stem}.txt", f"thing {each}".encode()))
        shard(tmp_path / f"shard-{at}.tar", members)
    prompts = asking("is it a {txt}?")
    source = files_of(f"{tmp_path}/shard-*.tar", None, prompts, 3)
    assert len(source) == 8
    rows = read(source, prompts)
    assert [row.value["bytes"] for row in rows] == pictures[:8]
    assert [row.texts for row in rows] == [(f"is it a thing {at % 4}?",) for at in range(8)]
    for each in (0, 1):
        shard(tmp_path / f"shard-{each}.tar", [("part/last.png", pictures[9])], "a")
        grown = files_of(f"{tmp_path}/shard-*.tar", None, prompts, 3)
        assert (
            same(source, grown) == [[True, False, False, False], [True, False, False, False]][each]
        )
    assert rows[5].address == f"{tmp_path}/shard-1.tar/part/{Path(drawn[5]).stem}.png"


def test_of_a_samples_pictures_the_first_counts_by_its_last_suffix(tmp_path: Path) -> None:
    members = [("a.txt", b"x"), ("a.input.PNG", b"1"), ("a.target.png", b"2"), ("b.mask", b"3")]
    [first, second] = read(files_of(shard(tmp_path / "x.tar", members), None, [], 5))
    assert first.value == {"bytes": b"1", "path": f"{tmp_path}/x.tar/a.input.PNG"}
    assert second.value is None


def test_a_field_that_a_row_has_not_costs_its_answer_alone(
    tmp_path: Path, drawn: list[str]
) -> None:
    pictures = [Path(path).read_bytes() for path in drawn[:3]]
    members = [(f"{at}.png", picture) for at, picture in enumerate(pictures)]
    tar = shard(tmp_path / "x.tar", [*members, ("0.txt", b"shape"), ("2.txt", b"")])
    rows = pa.table({"photo": drawn[:3], "txt": ["shape", None, ""]})
    pq.write_table(rows, tmp_path / "x.parquet")
    prompts = (Prompt("x", "is it a {txt}?", "question"), Prompt("caption", "", "caption"))
    spec = demo_spec(*prompts)
    # That what is not filled in was asked as it stands, and stored, is no answer either.
    stands = Row(0, drawn[1], "", tuple(prompt.text for prompt in prompts))
    Answering(spec).answer(open_pictures([stands], spec))
    for images in (tar, str(tmp_path / "x.parquet")):
        opened = open_pictures(read(files_of(images, None, prompts, 5), prompts), spec)
        cells = [row.cells for row in Answering(spec).answer(pickle.loads(pickle.dumps(opened)))]
        assert [asked.prompt for asked, _ in cells] == [
            "is it a shape?",
            "is it a {txt}?",
            "is it a ?",
        ]
        assert [asked.state for asked, _ in cells] == ["done", "error", "done"]
        assert (cells[1][0].error, cells[1][0].error_kind) == (
            "there is no txt on this row",
            "prompt",
        )
        assert [caption.state for _, caption in cells] == ["done"] * 3
    with pytest.raises(Blip2Error, match=r"x\.tar: there is no column 'text'; did you mean 'txt'"):
        files_of(tar, None, asking("is it a {text}?"), 5)


def test_a_piece_that_cannot_be_read_is_an_error_of_its_rows(
    tables: str, tmp_path: Path, drawn: list[str]
) -> None:
    tar = shard(tmp_path / "x.tar", [("a.png", b"1"), ("b.png", b"2")])
    before = [*files_of(tables, None, ASKED, 5).pieces, *files_of(tar, None, [], 5).pieces]
    # Of one file the first group of rows is damaged; the others have vanished.
    damaged = Path(tables.replace("*", "0"))
    data = damaged.read_bytes()
    damaged.write_bytes(data[:4] + bytes(200) + data[204:])
    Path(tables.replace("*", "1")).unlink()
    Path(tar).unlink()
    rows = [read_piece(piece, ASKED) for piece in before]
    assert [[row.number for row in some] for some in rows] == [
        list(range(piece.first, piece.first + piece.rows)) for piece in before
    ]
    wrong = [{row.error and str(row.error).partition(" ")[0] for row in some} for some in rows]
    gone = tables.replace("*", "1")
    assert wrong == [{str(damaged)}] * 2 + [{None}] * 3 + [{gone}] * 3 + [{tar}]
    # The rest of a job goes on.
    parts = Parts(tmp_path / "answers")
    parts.make()
    [known] = on_ray._open(
        {"number": [0], "piece": [pickle.dumps(before[-1])], "kept": [False]},
        demo_spec(*ASKED),
        parts.folder,
        turn.take(parts),
    )["opened"]
    errors = [opened.error for opened in pickle.loads(known)[2]]
    assert [error.kind for error in errors] == ["unreadable"] * 2
    assert "\n" not in str(errors[0])


def test_a_process_that_has_read_a_file_sees_that_it_was_changed(tmp_path: Path) -> None:
    path = str(tmp_path / "x.parquet")
    for name in ("a.png", "other.png"):
        pq.write_table(pa.table({"photo": [name]}), path)
        assert [row.value for row in read(files_of(path, None, [], 5))] == [name]


def test_a_local_picture_that_was_changed_is_another_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{at}.png" for at in range(6)]
    for path in paths[:5]:
        path.write_bytes(b"1")
    urls = ["https://nowhere.test/a.png", "s3://bucket/a.png"]
    stored = [{"bytes": None, "path": str(paths[4])}, {"bytes": b"1", "path": str(paths[4])}]
    column = read_column([*map(str, paths[:4]), *stored, str(paths[5]), *urls])
    before = of_column(column, [""], 2)
    assert same(before, of_column(column, [""], 2)) == [True] * 5
    time = paths[1].stat().st_mtime_ns
    paths[1].write_bytes(b"22")
    os.utime(paths[1], ns=(time, time))
    os.utime(paths[2], ns=(1, 1))
    paths[4].write_bytes(b"22")
    assert same(before, of_column(column, [""], 2)) == [False, False, False, True, True]
    paths[5].write_bytes(b"late")
    assert same(before, of_column(column, [""], 2)) == [False, False, False, False, True]


def names_of(images: object) -> list[str]:
    """The pictures of an input that is read there."""
    assert is_read_there(images)
    return [row.value for row in read(files_of(images, None, [], 5))]


def test_a_folder_or_list_of_files_is_read_there(tmp_path: Path) -> None:
    folder = tmp_path / "rows.parquet"  # as Spark and Ray name them
    for name in (
        *("part-1.parquet", "part-0.parquet", "day=1/part-0.parquet"),
        *("_SUCCESS", "_metadata.parquet", ".part-2.parquet", "_temporary/part-3.parquet"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"photo": [f"{name}.png"]}), path)
    below = [f"{name}.parquet.png" for name in ("day=1/part-0", "part-0", "part-1")]
    assert names_of(folder) == below
    plain = folder.rename(tmp_path / "rows")
    assert names_of(str(plain)) == below
    listed = [plain / "part-1.parquet", str(plain / "part-0.parquet")]
    assert names_of(listed) == ["part-1.parquet.png", "part-0.parquet.png"]
    with fsspec.open("memory://folder/a.parquet", "wb") as file:
        file.write((plain / "part-0.parquet").read_bytes())
    assert names_of("memory://folder") == ["part-0.parquet.png"]

    shards = tmp_path / "shards"
    shards.mkdir()
    tar = shard(shards / "x.tar", [("a.png", b"1")])
    assert len(files_of(shards, None, [], 5)) == 1
    with pytest.raises(Blip2Error, match="one of both"):
        files_of([*listed, tar], None, [], 5)
    # Pictures beside them are what the folder is of.
    (plain / "x.png").write_bytes(b"1")
    assert not is_read_there(plain) and not is_read_there(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("bad.parquet", "bad.parquet cannot be read: ArrowInvalid"),
        ("bad.tar", "bad.tar cannot be read: ReadError"),
        ("gzip.tar", "gzip.tar is compressed; unpack it first"),
        ("s3://bucket/x.parquet", "to read s3://bucket/x.parquet, pip install s3fs"),
        ("empty.parquet", "no file matches"),
    ],
)
def test_an_input_that_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    monkeypatch.chdir(tmp_path)
    for bad in ("bad.parquet", "bad.tar"):
        Path(bad).write_bytes(b"no such file " * 100)
    shard(tmp_path / "gzip.tar", [("a.png", b"1")], "w:gz")
    Path("empty.parquet").mkdir()
    with pytest.raises(Blip2Error) as error:
        files_of(name, None, [], 5)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_ray_dataset_is_not_written_by_a_dry_run(out: Path) -> None:
    kind = type("Dataset", (), {"__module__": "ray.data.dataset"})
    with pytest.raises(Blip2Error, match="leave --dry-run"):
        blip2_widget.caption(kind(), engine="ray", out=out, model="demo", start=False)
    assert not out.exists()


def test_whatever_is_no_such_file_is_a_column(drawn: list[str]) -> None:
    assert not is_read_there(str(Path(drawn[0]).parent))
    assert not is_read_there(drawn)

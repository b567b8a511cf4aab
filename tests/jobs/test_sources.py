"""Rows have the same numbers however often they are cut into pieces, and are read where they are
worked on."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.images import read_column
from blip2_widget.jobs.answering import Row
from blip2_widget.jobs.begin import files_of, is_read_there
from blip2_widget.jobs.sources import Source, of_column
from blip2_widget.run import Prompt

ASKED = [Prompt("what", "is it a {what}?", "question")]


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
    with pytest.raises(Blip2Error, match="what"):
        files_of(tables, None, [Prompt("x", "is it a {wat}?", "question")], 5)


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Blip2Error, match="no file matches"):
        files_of(f"{tmp_path}/*.parquet", None, ASKED, 5)


def test_shards_are_read_by_the_sample(tmp_path: Path, drawn: list[str]) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as tar:
            for at in range(4):
                path = Path(drawn[4 * shard + at])
                tar.add(path, f"part/{path.stem}.png")
                text = f"thing {at}".encode()
                member = tarfile.TarInfo(f"part/{path.stem}.txt")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
    prompts = [Prompt("x", "is it a {txt}?", "question")]
    source = files_of(f"{tmp_path}/shard-*.tar", None, prompts, 3)
    assert len(source) == 8
    rows = read(source, prompts)
    assert [row.value["bytes"] for row in rows] == [Path(p).read_bytes() for p in drawn[:8]]
    assert [row.texts for row in rows] == [(f"is it a thing {at % 4}?",) for at in range(8)]
    for each in (0, 1):
        with tarfile.open(tmp_path / f"shard-{each}.tar", "a") as tar:
            tar.add(drawn[9], "part/last.png")
        grown = files_of(f"{tmp_path}/shard-*.tar", None, prompts, 3)
        assert (
            same(source, grown) == [[True, False, False, False], [True, False, False, False]][each]
        )
    assert rows[5].address == f"{tmp_path}/shard-1.tar/part/{Path(drawn[5]).stem}.png"


def test_whatever_is_no_such_file_is_a_column(drawn: list[str]) -> None:
    assert not is_read_there(str(Path(drawn[0]).parent))
    assert not is_read_there(drawn)

"""Parts are there whole or not, hold what was answered, and are no other job's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.jobs.answering import Answered
from blip2_widget.jobs.care import with_care
from blip2_widget.jobs.parts import Counts, Parts, cell_of
from blip2_widget.model import Cancelled
from blip2_widget.run import Cell, Prompt
from tests.jobs.conftest import CAPTION, demo_spec

SPEC = demo_spec(CAPTION, Prompt("colour", "what colour?", "question"))
JOB: dict[str, Any] = {"fingerprint": "a", "asking": "captions"}
OTHER: dict[str, Any] = {"fingerprint": "b", "asking": "colours"}


def answered(first: int, count: int) -> list[Answered]:
    good = Cell("", "caption", "done", "a dog", logprob=-0.5, answered_at=1.5e9, cached=True)
    bad = Cell("what colour?", "question", "error", error="no memory", error_kind="memory")
    ranked = Cell("x", "question", "done", "red", choices=(("red", 0.75), ("blue", 0.25)))
    return [
        Answered(row, f"/{row}.png", f"key {row}", b"small", (good, bad if row % 2 else ranked))
        for row in range(first, first + count)
    ]


def test_what_was_written_is_read(out: Path) -> None:
    parts = Parts(out)
    parts.describe(JOB, [])
    counts = parts.write(3, answered(12, 4), SPEC)
    assert (counts.first, counts.rows, counts.answered, counts.failed) == (12, 4, 6, 2)
    assert counts.cached == 4 and counts.failed_rows == (13, 15)
    assert parts.counts(3) == counts and parts.numbers() == [3]
    read = parts.answered(3, 2)
    assert [row.number for row in read] == [12, 13, 14, 15]
    assert read[1].key == "key 13" and read[1].thumbnail == b"small"
    good, bad = read[1].cells
    assert (good.answer, good.logprob, good.answered_at) == ("a dog", -0.5, 1.5e9)
    assert (bad.state, bad.error, bad.error_kind) == ("error", "no memory", "memory")
    assert cell_of(parts.line(3, 1)).choices == (("red", 0.75), ("blue", 0.25))


def test_it_is_an_export_like_any_other(out: Path) -> None:
    parts = Parts(out)
    parts.describe(JOB, [])
    parts.write(0, answered(0, 2), SPEC)
    table = pq.read_table(out / "part-00000000.parquet").to_pylist()
    assert [line["row"] for line in table] == [0, 0, 1, 1]
    assert table[0]["model"] == "demo" and table[0]["variant"] == "cpu-fp32"
    assert table[0]["revision"] == SPEC.commit and table[0]["name"] == "caption"


def test_another_jobs_folder_is_kept(out: Path) -> None:
    parts = Parts(out)
    assert not parts.holds(JOB, False)
    parts.describe(JOB, [])
    parts.write(0, answered(0, 2), SPEC)
    assert parts.holds(JOB, False)
    with pytest.raises(Blip2Error, match="another job"):
        parts.holds(OTHER, False)
    assert not parts.holds(OTHER, True)
    assert parts.numbers() == [0]  # until it begins
    parts.describe(OTHER, [])
    assert parts.numbers() == [] and parts.description() == OTHER
    parts.write(0, answered(0, 2), SPEC)
    parts.describe(OTHER, [], anew=True)
    assert parts.numbers() == []


def test_a_grown_input_keeps_what_is_the_same(out: Path) -> None:
    parts = Parts(out)
    parts.describe(JOB, ["first", "second", "third"])
    for number, piece in enumerate(("first", "second", "third")):
        parts.write(number, answered(2 * number, 2), SPEC, piece)
    grown, pieces = {**JOB, "fingerprint": "longer"}, ["first", "second, longer", "third", "fourth"]
    with pytest.raises(Blip2Error, match="about other rows: write --overwrite to keep"):
        parts.holds(grown, False)
    assert parts.numbers() == [0, 1, 2]
    parts.describe(grown, pieces)
    assert parts.numbers() == [0, 2] and parts.description() == grown
    # What is known of the second is there for who answers it, and only until then.
    assert [row.key for row in parts.earlier(1, 2)] == ["key 2", "key 3"]
    assert parts.earlier(0, 2) == parts.earlier(3, 2) == []
    parts.describe({**JOB, "fingerprint": "longest"}, [*pieces, "fifth"])
    assert parts.numbers() == [0, 2] and parts.earlier(1, 2)
    parts.write(1, answered(2, 3), SPEC, "second, longer")
    assert parts.numbers() == [0, 1, 2] and parts.earlier(1, 2) == []
    (out / "part-00000002.parquet").write_bytes(b"damaged")
    parts.describe({**JOB, "fingerprint": "shorter"}, ["first", "second", "third"])
    assert parts.numbers() == [0]
    parts.describe({**JOB, "fingerprint": "shortest"}, ["first"])
    assert sorted(path.name for path in out.iterdir()) == ["_job.json", "part-00000000.parquet"]


def test_the_ends_of_parts_are_read_at_a_time(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(out)
    parts.describe(JOB, [])
    written = {number: parts.write(number, answered(number, 1), SPEC) for number in range(4)}
    all_at_it, counts = threading.Barrier(4, timeout=60), Parts.counts

    def together(self: Parts, number: int) -> Counts:
        all_at_it.wait()
        return counts(self, number)

    monkeypatch.setattr(Parts, "counts", together)
    assert parts.all_counts() == written


def test_what_is_no_jobs_folder_is_never_written_to(out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(Blip2Error, match="something else"):
            Parts(out).holds(JOB, overwrite)
    with pytest.raises(Blip2Error, match="something else"):
        Parts(out).describe(JOB, [])
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("place", ["thesis.tex", "thesis.tex/answers", "nowhere://answers"])
def test_what_can_be_no_folder_is_said_in_one_line(place: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    folder = place if "://" in place else str(tmp_path / place)
    with pytest.raises(Blip2Error, match=r"is no place for answers: .+"):
        Parts(folder).holds(JOB, False)


def test_other_files_are_no_parts(out: Path) -> None:
    parts = Parts(out)
    parts.describe(JOB, [])
    parts.write(3, answered(0, 1), SPEC)
    (out / "part-all.parquet").write_bytes(b"merged")
    assert parts.numbers() == [3]


def test_a_part_appears_whole(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(out)
    parts.describe(JOB, [])
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        parts.write(0, answered(0, 2), SPEC)
    assert sorted(path.name for path in out.iterdir()) == ["_job.json"]


def test_a_job_lies_wherever_fsspec_reaches() -> None:
    parts = Parts("memory://somewhere/answers")
    parts.describe(JOB, [])
    parts.write(0, answered(0, 2), SPEC)
    other = Parts("memory://somewhere/answers")
    assert other.numbers() == [0]


class _Death(BaseException):
    pass


def test_a_row_at_which_two_processes_died_is_given_up(out: Path) -> None:
    parts = Parts(out)
    parts.describe(JOB, [])
    tried: list[list[int]] = []

    def attempt() -> list[str]:
        tried.clear()
        return with_care(parts, "_trying", range(10), work, lambda each: f"lost {each}")

    def work(some: Sequence[int]) -> list[str]:
        tried.append(list(some))
        if 5 in some:
            # Killed, so nothing is tidied up.
            out.joinpath("note").write_bytes(out.joinpath("_trying").read_bytes())
            raise _Death
        return [f"done {each}" for each in some]

    for last in (list(range(10)), [4, 5, 6, 7], [5], [5]):
        with pytest.raises(_Death):
            attempt()
        assert tried[-1] == last
        out.joinpath("note").rename(out / "_trying")
    # All together, then in chunks of four, then those at which one died each alone.
    assert attempt() == [f"{'lost' if each == 5 else 'done'} {each}" for each in range(10)]
    assert tried == [[0, 1, 2, 3], [4], [6], [7], [8, 9]]
    assert parts.note("_trying") is None


def test_who_was_cancelled_has_not_died(out: Path) -> None:
    parts = Parts(out)
    parts.describe(JOB, [])

    def work(_some: Sequence[int]) -> list[str]:
        raise Cancelled

    with pytest.raises(Cancelled):
        with_care(parts, "_trying", range(10), work, str)
    assert parts.note("_trying") is None

"""A job on a real Ray cluster of two nodes: the same rows, none twice and none missing, whatever
becomes of those who work on it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

import blip2_widget
from blip2_widget.command import main
from blip2_widget.errors import Blip2Error
from blip2_widget.session import Session
from tests.jobs.killer import Killer
from tests.serving import serving

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("cluster")]

OPTIONS: dict[str, Any] = {"variant": "cpu-fp32", "max_new_tokens": 10}


def caption(images: Any, out: Path, **options: Any) -> Any:
    return blip2_widget.caption(
        images, engine="ray", out=out, actors=2, **{"rows_per_part": 8, **OPTIONS, **options}
    )


def lines_in(out: Path) -> pd.DataFrame:
    parts = sorted(out.glob("part-*.parquet"))
    frame: pd.DataFrame = pq.read_table(parts).to_pandas()
    return frame


def workers(below: psutil.Process | None = None, title: str = "Map") -> list[psutil.Process]:
    """The processes of this process' cluster that open pictures and those that answer, or of those
    the ones `below` another process; of the title "MapWorker" those that answer."""
    found = []
    for process in (below or psutil.Process()).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if " ".join(process.cmdline()).startswith(f"ray::{title}"):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def expected(drawn: list[str]) -> list[str]:
    """What a run in this process answers."""
    result = blip2_widget.caption(drawn, model="demo", cache=False, **OPTIONS).wait()
    return list(result.df.caption)


def test_it_answers_what_a_run_here_answers(
    drawn: list[str], expected: list[str], out: Path
) -> None:
    frame = pd.DataFrame({"image": drawn}, index=[f"row {at}" for at in range(len(drawn))])
    result = caption(frame.image, out, frame=frame).wait()
    assert list(result.df.caption) == expected
    assert list(result.df.index) == list(frame.index)
    progress = result.progress
    assert (progress.state, progress.done, progress.failed) == ("done", 96, 0)
    lines = lines_in(out)
    assert list(lines.row) == list(range(96)) and list(lines.picture) == drawn
    assert len(list(out.glob("part-*"))) == 12
    assert {path.name[:5] for path in out.iterdir()} == {"part-", "_job."}  # no note is left


def test_the_same_line_goes_on_where_it_was_stopped(
    drawn: list[str], expected: list[str], out: Path
) -> None:
    result = caption(drawn, out, rows_per_part=4, cache=False)
    _until(lambda: result.progress.done >= 8)
    result.cancel()
    assert result.progress.state == "cancelled"
    stopped = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert len(stopped) >= 2
    states = set(result.answers.state)
    assert states <= {"done", "cancelled"}

    again = caption(drawn, out, rows_per_part=4, cache=False)
    there = again.progress.done
    assert there >= 4 * len(stopped)  # at once, from the folder
    _until(lambda: again.progress.done > there)
    third = caption(drawn, out, rows_per_part=4, cache=False)  # the same cell, while it runs
    assert again.progress.state == "cancelled"
    assert list(third.wait().df.caption) == expected
    for path, written in stopped.items():
        assert path.stat().st_mtime_ns == written

    def no_ray(*_: object) -> None:
        raise AssertionError("nothing is left to compute")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blip2_widget.jobs.on_ray.plan", no_ray)
        assert list(caption(drawn, out, rows_per_part=4).wait().df.caption) == expected


def test_killed_ten_times_no_row_is_missing_or_there_twice(
    drawn: list[str], expected: list[str], out: Path
) -> None:
    chance = random.Random(0)
    times = 6
    result = caption(drawn * times, out, rows_per_part=4, cache=False, batch_size=1)
    killed = 0
    _until(lambda: result.progress.done > 0 and len(workers(title="MapWorker")) == 2)
    while killed < 10 and not result.board.wait(0):
        victims = workers()
        if victims:
            victim = chance.choice(victims)
            victim.send_signal(signal.SIGKILL)
            killed += 1
        time.sleep(chance.uniform(0.3, 1.5))
    assert killed == 10, "the job ended before ten were killed; make it longer"
    result.wait(300)
    lines = lines_in(out)
    assert list(lines.row) == list(range(96 * times))
    assert list(lines.answer) == expected * times
    assert result.progress.failed == 0


def test_a_lost_node_costs_no_row(
    cluster: Any, drawn: list[str], expected: list[str], out: Path
) -> None:
    node = cluster.add_node(num_cpus=2, object_store_memory=500_000_000)
    result = caption(drawn * 3, out, rows_per_part=4, cache=False, batch_size=1)
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    _until(lambda: result.progress.done > 0 and bool(workers(raylet)))
    cluster.remove_node(node, allow_graceful=False)
    result.wait(300)
    assert list(lines_in(out).answer) == expected * 3


def test_a_picture_that_kills_costs_its_own_row(
    drawn: list[str], expected: list[str], out: Path
) -> None:
    images: list[Any] = [*drawn[:8], Killer(), "/nowhere.png", *drawn[8:16]]
    result = caption(images, out, rows_per_part=6)
    result.wait(300)
    errors = result.errors
    assert list(errors.row) == [8, 9] and list(errors.kind) == ["unexpected", "not-found"]
    assert "two processes died" in errors.error[0]
    answers = list(result.df.caption)
    assert answers[:8] + answers[10:] == expected[:16]
    assert set(result.board.pictures.errors) == {8, 9}


def test_what_failed_is_asked_again_and_nothing_else(
    drawn: list[str], expected: list[str], out: Path, tmp_path: Path
) -> None:
    late = tmp_path / "late.png"
    result = caption([*drawn[:9], str(late)], out, rows_per_part=5).wait()
    assert list(result.errors.row) == [9]
    before = lines_in(out)
    late.write_bytes(Path(drawn[9]).read_bytes())
    assert list(result.retry().wait().df.caption) == expected[:10]
    after = lines_in(out)
    assert list(after.answered_at[:9]) == list(before.answered_at[:9])
    assert result.progress.failed == 0 and not result.board.pictures.errors


def test_rows_that_came_to_it_are_computed_alone(
    drawn: list[str], expected: list[str], out: Path
) -> None:
    options: dict[str, Any] = {"cache": False, "rows_per_part": 4}
    caption(drawn[:10], out, **options).wait()
    before = lines_in(out)
    with pytest.raises(Blip2Error, match="about other rows: write --overwrite"):
        caption(drawn[:14], out, **options)
    result = caption(drawn[:14], out, overwrite=True, **options)
    assert result.progress.done == 8  # at once: both whole pieces
    assert list(result.wait().df.caption) == expected[:14]
    # Of the third piece two rows were there, which are known by their pictures.
    assert result.progress.cached == 2
    after = lines_in(out)
    assert list(after.row) == list(range(14))
    assert list(after.answered_at[:10]) == list(before.answered_at)


def test_parquet_is_read_by_the_workers(
    drawn: list[str], expected: list[str], tmp_path: Path
) -> None:
    pd.DataFrame({"photo": drawn[:20], "n": range(20)}).to_parquet(tmp_path / "rows.parquet")
    result = blip2_widget.ask(
        str(tmp_path / "rows.parquet"),
        {"x": "is it a {n}?", "caption": "a"},
        model="demo",
        engine="ray",
        out=tmp_path / "out",
        actors=1,
        **OPTIONS,
    ).wait()
    asked = result.answers[result.answers.name == "x"]
    assert list(asked.prompt) == [f"is it a {at}?" for at in range(20)]
    assert result.board.pictures.load(3).size == (64, 64)


def test_a_ray_dataset_has_the_same_rows_every_time(
    drawn: list[str], expected: list[str], out: Path, tmp_path: Path
) -> None:
    import ray.data

    rows = ray.data.from_items(
        [{"photo": path, "n": at} for at, path in enumerate(drawn[:20])], override_num_blocks=3
    )
    options: dict[str, Any] = {"engine": "ray", "out": out, "rows_per_part": 8, "model": "demo"}
    prompts = {"caption": "is it a {n}?"}
    result = blip2_widget.ask(rows, prompts, actors=1, **options, **OPTIONS).wait()
    assert list(result.answers.prompt) == [f"is it a {at}?" for at in range(20)]
    assert list(lines_in(out).picture) == drawn[:20]
    assert [part.stem[-1] for part in sorted(out.glob("part-*"))] == ["0", "1", "2"]
    # In other blocks, as on another cluster, they are the same rows in the same order.
    again = blip2_widget.ask(rows.repartition(2), prompts, **options, **OPTIONS)
    assert again.progress.done == 20
    assert again.board.pictures.load(3).size == (64, 64)


def test_arrays_of_a_ray_dataset_are_pictures(
    drawn: list[str], expected: list[str], out: Path
) -> None:
    import ray.data

    images = ray.data.read_images(drawn[:6], mode="RGB")
    result = caption(images, out).wait()
    assert list(result.df.caption) == expected[:6]
    assert result.board.pictures.load(3).size == (64, 64)
    with pytest.raises(Blip2Error, match="engine='ray'"):
        blip2_widget.caption(images, model="demo")
    with pytest.raises(Blip2Error, match="did you mean 'image'"):
        caption(images, out, column="imag")
    with pytest.raises(Blip2Error, match="there is no row in it"):
        caption(ray.data.from_items([]), out)


def test_urls_are_fetched_by_the_workers(
    drawn: list[str], expected: list[str], out: Path, tmp_path: Path, own_session: Session
) -> None:
    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(Path(drawn[0]).parent))

    own_session.set_default("allow_private_urls", True)
    with serving(Files) as address:
        urls = [f"{address}/{Path(path).name}" for path in drawn[:5]]
        urls[2] = f"{address}/nowhere.png"
        pd.DataFrame({"url": urls}).to_parquet(tmp_path / "urls.parquet")
        result = caption(str(tmp_path / "urls.parquet"), out).wait()
        assert list(result.errors.row) == [2] and list(result.errors.kind) == ["url"]
        assert list(result.df.caption.drop(2)) == [expected[at] for at in (0, 1, 3, 4)]


def test_a_jobs_answers_are_exported_like_a_runs_and_stored_for_other_jobs(
    drawn: list[str], out: Path, tmp_path: Path
) -> None:
    images = [*drawn[:4], "/nowhere.png", Path(drawn[5]).read_bytes()]
    job = caption(images, out).wait()
    run = blip2_widget.caption(images, model="demo", **OPTIONS).wait()
    tables, cocos = [], []
    for at, each in enumerate((job, run)):
        table = pd.read_csv(each.export(tmp_path / f"{at}.csv"))
        tables.append(table.drop(columns=["answered_at", "confidence", "logprob"]))
        told = json.loads(each.export(tmp_path / f"{at}.json").read_text())["annotations"]
        cocos.append([(line["image_id"], line["caption"]) for line in told])
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert cocos[0] == cocos[1] and len(cocos[0]) == 5
    with tarfile.open(job.export(tmp_path / "x.tar")) as tar:
        assert len([name for name in tar.getnames() if name.endswith(".txt")]) == 5
    other = caption(drawn[3::-1], tmp_path / "other").wait()
    assert other.progress.cached == other.progress.done == 4


def test_the_command_told_again_goes_on_where_it_was_interrupted(
    cluster: Any, drawn: list[str], expected: list[str], out: Path, tmp_path: Path
) -> None:
    pd.DataFrame({"n": range(48), "photo": drawn[:48]}).to_csv(rows := tmp_path / "rows.csv")
    words = ["caption", str(rows), "--column", "photo", "-o", str(out), "--engine", "ray", "-q"]
    options = "--actors 1 --rows-per-part 4 --batch-size 1 --no-cache -m demo --variant cpu-fp32"
    words += [*options.split(), "--max-new-tokens", "10"]
    # Of a process that was started in the background an interrupt is not heard unless it says so.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from blip2_widget.command import main; sys.exit(main(sys.argv[1:]))"
    )
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], env=environment, stderr=subprocess.PIPE, text=True
    ) as command:
        try:
            _until(lambda: any(out.glob("part-*")) or command.poll() is not None)
            command.send_signal(signal.SIGINT)
            _, told = command.communicate(timeout=60)
        finally:
            command.kill()
    assert command.returncode == 130 and "the same command goes on from there" in told
    before = {part: part.stat().st_mtime_ns for part in out.glob("part-*")}
    assert 0 < len(before) < 12

    assert main(words) == 0
    assert {part: part.stat().st_mtime_ns for part in before} == before
    lines = lines_in(out)
    assert list(lines.row) == list(range(48)) and list(lines.answer) == expected[:48]


def _until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def test_one_job_after_another_has_the_same_ray_of_this_machine(
    drawn: list[str], tmp_path: Path
) -> None:
    code = """if True:
        import sys, time, blip2_widget, ray
        for out in ("first", "second"):
            job = blip2_widget.caption(sys.argv[1:], model="demo", engine="ray", out=out)
            assert job.wait(120).progress.failed == 0
            assert len(job.df) == len(sys.argv) - 1
            time.sleep(2)  # what dies with a job has died by then
            assert len(ray.nodes()) == 1 and ray.nodes()[0]["Alive"]
        """
    done = subprocess.run(
        [sys.executable, "-c", code, *drawn[:4]],
        cwd=tmp_path,
        env=os.environ | {"RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(tmp_path.glob("second/part-*"))) == 1

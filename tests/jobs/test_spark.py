"""docs/spark.md: its function answers frames as a run answers rows, and its job runs on Spark."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import blip2_widget
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Engine
from blip2_widget.run import Prompt
from blip2_widget.session import Session

ROOT = Path(__file__).parents[2]
JOB, BACK = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "spark.md").read_text(encoding="utf-8"), re.DOTALL
)
#: The row whose picture is none, and the one that has none.
BROKEN, MISSING = 7, 11

Frames = Iterator[pd.DataFrame]


@pytest.fixture
def names() -> dict[str, Any]:
    """What the page's job defines."""
    names: dict[str, Any] = {"__name__": "answers"}
    exec(JOB, names)
    return names


@pytest.fixture
def answer(names: dict[str, Any]) -> Callable[[Frames], Frames]:
    function: Callable[[Frames], Frames] = names["answer"]
    return function


@pytest.fixture
def rows(drawn: list[str], tmp_path: Path) -> pd.DataFrame:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    images: list[str | None] = [*drawn[:20]]
    images[BROKEN], images[MISSING] = str(broken), None
    return pd.DataFrame({"id": range(100, 120), "image": images})


def check(lines: pd.DataFrame, rows: pd.DataFrame, names: dict[str, Any]) -> None:
    """The lines are those rows' answers as the package gives them, and what is wrong with two."""
    assert list(lines.columns) == names["COLUMNS"]
    wide = lines.pivot(index="row", columns="name", values=["answer", "confidence", "error_kind"])
    assert list(wide.index) == list(rows.id)
    options: dict[str, Any] = {"model": "demo", "variant": "cpu-fp32", "cache": False}
    asked = {"colour": "what colour is it?"}
    for result in (
        blip2_widget.caption(rows.image, **options),
        blip2_widget.ask(rows.image, asked, **options),
    ):
        expected = result.wait(120).answers.set_axis(rows.id)
        name = expected.name.iloc[0]
        good = expected.state == "done"
        assert (~good).sum() == 2
        assert list(wide.answer[name][good]) == list(expected.answer[good])
        assert wide.answer[name][~good].isna().all()
        assert list(wide.error_kind[name][~good]) == ["not-an-image", "missing"]
        assert wide.error_kind[name][good].isna().all()
        # A batch of others may change the last bits, no more.
        assert list(wide.confidence[name][good].astype(float)) == pytest.approx(
            list(expected.logprob[good].map(math.exp)), abs=1e-4
        )


def test_the_page_is_linked() -> None:
    assert "(docs/spark.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("holds", ["paths", "bytes"])
def test_its_function_answers_frames_as_a_run_answers_rows(
    holds: str, answer: Any, names: dict[str, Any], rows: pd.DataFrame
) -> None:
    given = rows
    if holds == "bytes":
        read = [None if pd.isna(path) else Path(path).read_bytes() for path in rows.image]
        given = rows.assign(image=pd.Series(read, dtype=object))
    frames = [given[:8], given[8:8], given[8:]]
    answered = list(answer(iter(frames)))
    assert [len(each) for each in answered] == [16, 0, 24]
    lines = pd.concat([each for each in answered if len(each)])
    check(lines, rows, names)
    label = "100" if holds == "bytes" else rows.image[0]
    assert lines.picture.iloc[0] == label


def test_a_worker_loads_the_model_once_and_a_task_done_again_computes_nothing(
    answer: Any, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blip2_widget.model import loading

    loaded = []
    load = loading.load_model

    def counted(*given: Any, **named: Any) -> Any:
        loaded.append(given)
        return load(*given, **named)

    monkeypatch.setattr(loading, "load_model", counted)
    [first] = answer(iter([rows[:6]]))
    [second] = answer(iter([rows[12:]]))
    assert len(loaded) == 1 and not second.answer.isna().any()

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(Engine, "stream", refuse)
    [again] = answer(iter([rows[:6]]))
    pd.testing.assert_frame_equal(again, first)


def test_its_answers_come_back_into_a_notebook(
    answer: Any,
    rows: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_session: Session,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("answers").mkdir()
    for number, frame in enumerate(answer(iter([rows[:10], rows[10:]]))):
        frame.to_parquet(f"answers/part-{number}.parquet")
    own_session.store.clear()
    exec(BACK, {"pd": pd, "blip2_widget": blip2_widget, "df": rows})
    monkeypatch.setattr(Engine, "stream", None)
    result = blip2_widget.caption(rows.image, model="demo").wait(120)
    assert (result.answers.source == "answers.parquet").sum() == 18


def test_what_cannot_be_asked_is_said() -> None:
    with pytest.raises(Blip2Error, match="there is nothing to ask"):
        blip2_widget.spec()
    caption = Prompt("caption", "", "caption")
    with pytest.raises(Blip2Error, match="no option modle; did you mean model"):
        blip2_widget.spec(caption, modle="demo")
    with pytest.raises(Blip2Error, match="own choices are ranked by the local engine alone"):
        blip2_widget.spec(caption, choices="{options}")


@pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="needs Java, and pyspark, which is 456 MB: pip install 'pyspark>=4.3,<4.4'",
)
def test_its_job_runs_on_spark(names: dict[str, Any], rows: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "answers.py").write_text(JOB, encoding="utf-8")
    rows.to_parquet(tmp_path / "rows.parquet")
    done = subprocess.run(
        [sys.executable, "answers.py", "rows.parquet", "answers"],
        cwd=tmp_path,
        env=os.environ
        | {
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": "--master local[2] --conf spark.ui.enabled=false pyspark-shell",
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=570,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    check(pd.read_parquet(tmp_path / "answers"), rows, names)

"""Runs: rows keep their answers, bad rows cost themselves only, nothing is computed twice."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import blip2_widget
import blip2_widget.run.run as run_module
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import Engine, Machine, ModelManager, locate, parse
from blip2_widget.notebook.result import Result
from blip2_widget.run.pictures import Pictures
from blip2_widget.session import Session

CIRCLES = "how many circles are in the picture?"


@pytest.fixture
def paths() -> list[str]:
    return [str(path) for path in demo.samples().image[:8]]


def answers(result: Result) -> list[str | None]:
    return list(result.wait(120).df.iloc[:, -1])


def test_every_row_gets_its_own_answer_whatever_the_batch(paths: list[str]) -> None:
    one = answers(blip2_widget.caption(paths, batch_size=1, cache=False))
    for size in (3, 8, 50):
        assert answers(blip2_widget.caption(paths, batch_size=size, cache=False)) == one
    backwards = answers(blip2_widget.caption(paths[::-1], batch_size=3, cache=False))
    assert backwards == one[::-1]


def test_the_samples_are_answered_right() -> None:
    samples = demo.samples()
    result = blip2_widget.caption(samples.image, frame=samples, cache=False)
    right = [mine == known for mine, known in zip(answers(result), samples.caption, strict=True)]
    assert sum(right) >= 0.9 * len(right)


def test_bad_rows_cost_themselves_only(paths: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    images: list[object] = [paths[0], None, str(tmp_path / "broken.png"), "gone.png", paths[1]]
    result = blip2_widget.caption(images)
    found = answers(result)
    assert found[0] and found[4] and found[1:4] == [None] * 3
    assert [at for at, each in enumerate(found) if each is None] == [1, 2, 3]
    assert list(result.errors.row) == [1, 2, 3]
    assert all("\n" not in error for error in result.errors.error)
    assert found[0] == answers(blip2_widget.caption(paths[:1]))[0]


def test_a_failing_batch_is_halved_down_to_the_row(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine.stream

    def poisoned(self: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        if any("poison" in prompt for prompt in prompts):
            raise RuntimeError("a poisoned batch")
        return real(self, features, prompts, *rest, **named)

    monkeypatch.setattr(Engine, "stream", poisoned)
    kinds = ["good", "good", "poison", "good", "good"]
    import pandas as pd

    frame = pd.DataFrame({"image": paths[:5], "kind": kinds})
    result = blip2_widget.ask(frame.image, "is it {kind}?", frame=frame, batch_size=5)
    assert [each is None for each in answers(result)] == [False, False, True, False, False]
    assert list(result.errors.error) == ["RuntimeError: a poisoned batch"]


def test_a_repeated_question_loads_no_model(paths: list[str], own_session: Session) -> None:
    first = answers(blip2_widget.ask(paths, CIRCLES))
    own_session.manager.unload()
    forbidden = threading.Event()

    def refuse(*_: Any, **__: Any) -> Any:
        forbidden.set()
        raise AssertionError("a model was asked for")

    own_session.manager.hold = refuse  # type: ignore[method-assign]
    again = blip2_widget.ask(paths, CIRCLES)
    assert answers(again) == first
    assert not forbidden.is_set()
    assert again.progress.cached == len(paths)
    assert list(again.answers.cached) == [True] * len(paths)


def test_in_a_new_process_a_repeated_question_does_not_even_import_torch(
    paths: list[str],
) -> None:
    first = answers(blip2_widget.ask(paths, CIRCLES))
    code = (
        "import sys, blip2_widget\n"
        "result = blip2_widget.ask(sys.argv[2:], sys.argv[1], model='demo').wait()\n"
        "print(list(result.df.answer), result.progress.cached)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, CIRCLES, *paths], capture_output=True, text=True
    )
    assert done.stdout.strip() == f"{first} {len(paths)}", done.stderr
    assert done.returncode == 0, done.stderr


def test_a_new_question_reuses_the_stored_features(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(blip2_widget.caption(paths))

    def refuse(*_: Any) -> Any:
        raise AssertionError("the image encoder ran again")

    fresh = answers(blip2_widget.ask(paths, CIRCLES, cache=False))
    monkeypatch.setattr(Engine, "encode", refuse)
    assert answers(blip2_widget.ask(paths, CIRCLES)) == fresh


def test_equal_pictures_are_computed_once(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    real = Engine.encode

    def counting(engine: Engine, images: list[Any], *rest: Any) -> Any:
        encoded.append(len(images))
        return real(engine, images, *rest)

    monkeypatch.setattr(Engine, "encode", counting)
    picture = Image.open(paths[0]).convert("RGB")
    found = answers(blip2_widget.caption([picture, paths[0], picture.copy(), paths[1]]))
    assert found[0] == found[1] == found[2]
    assert sum(encoded) == 2


def test_refresh_computes_again_and_no_cache_leaves_no_trace(
    paths: list[str], own_session: Session
) -> None:
    answers(blip2_widget.caption(paths, cache=False))
    assert own_session.store.stats().answers == 0
    answers(blip2_widget.caption(paths))
    again = blip2_widget.caption(paths, refresh=True)
    answers(again)
    assert again.progress.cached == 0
    assert own_session.store.stats().answers == len(set(paths))


def test_settings_and_prompts_are_told_apart(paths: list[str]) -> None:
    answers(blip2_widget.caption(paths))
    for options in ({"max_new_tokens": 3}, {"num_beams": 2}, {"prompt": "a picture of"}):
        other = blip2_widget.caption(paths, **options)  # type: ignore[arg-type]
        answers(other)
        assert other.progress.cached == 0


def test_unseeded_samples_are_not_stored_and_seeded_ones_are(
    paths: list[str], own_session: Session
) -> None:
    answers(blip2_widget.caption(paths[:2], temperature=1.0))
    assert own_session.store.stats().answers == 0
    first = answers(blip2_widget.caption(paths[:2], temperature=1.0, seed=4))
    again = blip2_widget.caption(paths[:2], temperature=1.0, seed=4)
    assert answers(again) == first
    assert again.progress.cached == 2


class Gate:
    """Holds the engine before it generates, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.prompts: list[list[str]] = []
        real = Engine.stream

        def gated(engine: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
            self.prompts.append(list(prompts))
            self.reached.set()
            assert self.open.wait(60)
            return real(engine, features, prompts, *rest, **named)

        monkeypatch.setattr(Engine, "stream", gated)


def test_a_typed_prompt_goes_ahead_of_the_run(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    result = blip2_widget.caption(paths, batch_size=1)
    assert gate.reached.wait(60)
    result.ask(7, CIRCLES)
    gate.open.set()
    result.wait(120)
    assert gate.prompts[1] == [f"Question: {CIRCLES} Answer:"]
    assert list(result.answers.prompt) == [""] * 7 + [CIRCLES]


def test_a_typed_prompt_goes_into_the_middle_of_a_batch(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blip2_widget.caption(paths[:1]).wait(60)  # the model is there
    real, reached, typed = Engine.stream, threading.Event(), threading.Event()
    ended: list[int] = []

    def watched(engine: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        for at, step in enumerate(real(engine, features, prompts, *rest, **named)):
            yield step
            if at == 0 and len(prompts) > 1:
                reached.set()
                assert typed.wait(60)
        ended.append(len(prompts))

    monkeypatch.setattr(Engine, "stream", watched)
    result = blip2_widget.caption(paths[1:5], batch_size=4)
    assert reached.wait(60)
    result.ask(0, CIRCLES)
    # An answer to what stood there before comes late, with the batch.
    typed.set()
    result.wait(60)
    assert ended == [1, 4]
    assert list(result.answers.prompt) == [CIRCLES, "", "", ""]
    monkeypatch.setattr(Engine, "stream", real)
    assert answers(result)[:1] == answers(blip2_widget.ask(paths[1:2], CIRCLES, cache=False))
    assert answers(result)[1:] == answers(blip2_widget.caption(paths[2:5], cache=False))


def test_the_beginning_of_an_answer_can_be_seen(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_HEAR_INTERVAL", 0.0)
    result = blip2_widget.caption(paths[:2], start=False, cache=False)
    seen: list[str] = []

    def watch(_rows: Any) -> None:
        cell = result.run.cell(0, 0)
        if cell.partial:
            assert cell.answer is None and cell.state == "running"
            seen.append(cell.partial)

    result.run.subscribe(watch)
    result.run.start()
    [first, _] = answers(result)
    assert first is not None
    assert seen == sorted(seen, key=len) and len(seen) >= 2
    assert all(first.startswith(beginning) for beginning in seen)
    assert result.run.cell(0, 0).partial is None


def test_every_answer_comes_with_its_log_probability(paths: list[str]) -> None:
    for options in ({}, {"num_beams": 2}):
        first = blip2_widget.caption(paths, **options).wait(60).answers  # type: ignore[arg-type]
        assert first.logprob.between(-20, 0).all()
        again = blip2_widget.caption(paths, **options).wait(60).answers  # type: ignore[arg-type]
        assert again.cached.all() and list(again.logprob) == list(first.logprob)


def test_short_memory_halves_the_batch_and_keeps_what_has_ended(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(blip2_widget.caption(paths, cache=False))
    real = Engine.stream
    tried: list[int] = []
    ended: list[int] = []

    def short(engine: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        tried.append(len(prompts))
        for step in real(engine, features, prompts, *rest, **named):
            yield step
            ended.extend(step.finished)
            if len(prompts) > 3 and ended:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Engine, "stream", short)
    result = blip2_widget.caption(paths, cache=False, batch_size=8)
    assert answers(result) == expected
    assert tried[0] == 8 and max(tried[1:]) < 8
    assert sum(tried[1:]) < 3 * 8  # what had ended was not tried again
    # The run has learnt what fits, and says so where not even one does.
    monkeypatch.setattr(Engine, "encode", lambda *_: [][1], raising=True)
    alone = blip2_widget.caption(paths[:1], cache=False).wait(60)
    assert list(alone.errors.error) == ["IndexError: list index out of range"]

    def none(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Engine, "encode", none)
    alone = blip2_widget.caption(paths[:2], cache=False).wait(60)
    assert (
        list(alone.errors.error)
        == ["memory does not suffice for this answer; close something and try again"] * 2
    )


def test_python_can_end_in_the_middle_of_a_run(paths: list[str]) -> None:
    code = (
        "import sys, time, blip2_widget\n"
        "run = blip2_widget.caption(sys.argv[1:] * 2000, model='demo', cache=False)\n"
        "while not run.progress.done: time.sleep(0.01)\n"
        "print(run.progress.state)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "running"), done.stderr


def test_chunks_begin_small_and_grow_and_part_no_pictures_prompts(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blip2_widget.caption(paths[:1]).wait(60)
    real, sizes = Engine.stream, []

    def counting(engine: Engine, features: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        sizes.append(len(prompts))
        return real(engine, features, prompts, *rest, **named)

    monkeypatch.setattr(Engine, "stream", counting)
    questions = {str(number): f"how many circles are there, {number}?" for number in range(20)}
    blip2_widget.ask(paths, questions).wait(60)
    assert sizes == [20, 20, 20, 40, 60]


def test_a_late_answer_to_an_earlier_prompt_is_not_taken(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    result = blip2_widget.caption(paths[:1])
    assert gate.reached.wait(60)
    result.ask(0, CIRCLES)
    gate.open.set()
    expected = answers(blip2_widget.ask(paths[:1], CIRCLES))
    assert answers(result) == expected
    assert result.progress.done == 1


def test_cancel_keeps_what_was_answered(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = blip2_widget.caption(paths, batch_size=2)
    result.wait(60)
    gate = Gate(monkeypatch)
    gate.open.set()
    second = blip2_widget.ask(paths, CIRCLES, batch_size=2)

    cancelled: list[bool] = []

    def stop_after_two_chunks(_rows: Any) -> None:
        if len(gate.prompts) == 2 and not cancelled:
            cancelled.append(True)
            second.cancel()

    second.run.subscribe(stop_after_two_chunks)
    second.wait(60)
    states = list(second.answers.state)
    assert second.progress.state == "cancelled"
    assert states.count("done") >= 2 and states.count("cancelled") >= 2
    assert set(states) == {"done", "cancelled"}
    again = second.retry().wait(60)
    assert set(again.answers.state) == {"done"}
    assert again.progress.state == "done"


def test_cancel_while_the_model_loads(paths: list[str], own_session: Session) -> None:
    gate = threading.Event()
    real = ModelManager._load

    def slow(self: ModelManager, *arguments: Any) -> None:
        gate.wait(60)
        real(self, *arguments)

    own_session.manager._load = slow.__get__(own_session.manager)  # type: ignore[method-assign]
    result = blip2_widget.caption(paths)
    deadline = time.monotonic() + 30
    while result.progress.state != "loading" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert result.progress.state == "loading"
    result.cancel()
    assert result.wait(10).progress.state == "cancelled"
    gate.set()
    assert set(result.retry().wait(60).answers.state) == {"done"}


def test_a_model_that_cannot_be_loaded_fails_the_run_in_one_line(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("damaged\nfile")

    monkeypatch.setattr("blip2_widget.model.loading.load_model", broken)
    result = blip2_widget.caption(paths)
    with pytest.raises(Blip2Error, match=r"could not be loaded: ValueError: damaged$"):
        result.wait(60)
    assert result.progress.state == "failed"
    monkeypatch.undo()


def test_on_error_raise(paths: list[str]) -> None:
    result = blip2_widget.caption([paths[0], None], on_error="raise")
    with pytest.raises(Blip2Error, match="1 of 2 answers failed"):
        result.wait(60)
    assert result.df.caption[0]


def test_retry_asks_a_mended_row_again(paths: list[str], tmp_path: Path) -> None:
    target = tmp_path / "later.png"
    result = blip2_widget.caption([str(target)])
    result.wait(60)
    assert result.progress.failed == 1
    target.write_bytes(Path(paths[0]).read_bytes())
    assert answers(result.retry())[0]
    assert result.progress.failed == 0
    assert result.errors.empty


def test_progress_adds_up(paths: list[str]) -> None:
    result = blip2_widget.ask(paths, {"a": CIRCLES, "b": "what shape is it?"}).wait(60)
    progress = result.progress
    assert (progress.done, progress.total, progress.failed) == (16, 16, 0)
    assert progress.state == "done" and progress.model == "demo"
    assert progress.seconds_left is None and (progress.rate or 0) > 0


def test_the_time_between_a_run_and_a_later_question_is_not_counted(paths: list[str]) -> None:
    result = blip2_widget.caption(paths[:2]).wait()
    took = result.progress.seconds
    assert took is not None
    time.sleep(0.5)
    assert result.progress.seconds == took
    result.ask(0, "how many shapes are there?").wait()
    assert took < (result.progress.seconds or 0) < took + 0.5


def crowded(session: Session) -> None:
    """From now on the machine has no memory to spare."""
    session.manager.unload()
    session.manager._machine = lambda: Machine(16 * 10**9, 10**8, cpu_bf16=True)


def test_a_result_that_is_kept_keeps_no_unloaded_model(
    paths: list[str], own_session: Session
) -> None:
    result = blip2_widget.ask(paths, CIRCLES)
    first = answers(result)
    (resident,) = own_session.manager.resident()
    engine = weakref.ref(resident.future.result())
    language_model = weakref.ref(resident.future.result().model.language_model)
    del resident
    own_session.manager.unload()
    assert engine() is None and language_model() is None
    result.ask(0, "how many shapes are there?").wait()
    assert answers(result)[1:] == first[1:]


@pytest.mark.parametrize("variant", ["auto", "cpu-bf16"])
def test_stored_answers_need_no_memory_for_a_model(
    paths: list[str], own_session: Session, variant: str
) -> None:
    first = answers(blip2_widget.ask(paths, CIRCLES, variant=variant))
    crowded(own_session)
    assert answers(blip2_widget.ask(paths, CIRCLES, variant=variant)) == first
    with pytest.raises(Blip2Error, match="are free"):
        blip2_widget.ask(paths, "what is new?", variant=variant)


def test_auto_takes_what_a_better_variant_answered_before(
    paths: list[str], own_session: Session
) -> None:
    plan = own_session.manager.plan
    best = plan(locate(parse("demo")), "auto").variant.name  # by the processor: bf16 or fp32
    first = answers(blip2_widget.ask(paths, CIRCLES, variant=best))
    own_session.manager.unload()

    def only_int4(located: Any, variant: str) -> Any:
        made = plan(located, variant)
        names = [each.name for each in [*made.better, made.variant]]
        assert names[0] == best
        int4 = plan(located, "cpu-int4").variant
        return dataclasses.replace(made, variant=int4, better=[made.variant])

    own_session.manager.plan = only_int4  # type: ignore[method-assign]
    again = blip2_widget.ask(paths, CIRCLES)
    assert answers(again) == first and again.progress.cached == len(paths)


def test_images_that_are_opened_lazily_are_read_by_one_thread_at_a_time(
    paths: list[str],
) -> None:
    images = [Image.open(paths[0])] * 3 + [Image.open(path) for path in paths]
    with Path(paths[0]).open("rb") as one, Path(paths[1]).open("rb") as two:
        result = blip2_widget.caption([*images, one, two, one, two], batch_size=16)
        result.gallery._thumbnails.wish("v", list(range(len(images))), 64)
        assert list(result.wait(60).errors.error) == []


def test_a_store_that_cannot_be_written_costs_no_answer(
    paths: list[str], own_session: Session
) -> None:
    connection = own_session.store._access.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    result = blip2_widget.caption(paths).wait(60)
    assert all(answers(result)) and result.progress.state == "done"
    assert own_session.store.stats().features == 0


def test_a_run_leaves_nothing_behind_in_the_manager(paths: list[str], own_session: Session) -> None:
    blip2_widget.caption(paths, batch_size=1).wait(60)
    (resident,) = own_session.manager.resident()
    assert resident.notes == [] and resident.users == 0


def test_a_file_that_was_replaced_is_read_anew_by_retry(
    paths: list[str], own_session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "one.png"
    shutil.copy(paths[0], path)
    result = blip2_widget.caption([str(path)])
    result.wait(60)
    shutil.copy(paths[1], path)
    own_session.store.clear("features")
    result.ask(0, CIRCLES).wait(60)
    assert "was changed while it was read" in result.errors.error[0]
    result.retry().wait(60)
    assert answers(result) == answers(blip2_widget.ask([paths[1]], CIRCLES, cache=False))


def test_what_is_stored_waits_for_no_other_run(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answers(blip2_widget.ask(paths, CIRCLES))
    reached, go_on, real = threading.Event(), threading.Event(), Engine.stream

    def gated(*arguments: Any, **named: Any) -> Any:
        reached.set()
        assert go_on.wait(60)
        return real(*arguments, **named)

    monkeypatch.setattr(Engine, "stream", gated)
    long = blip2_widget.caption(paths, batch_size=1)
    assert reached.wait(60)
    # The worker's thread is in the middle of a batch: it comes to the second run after that.
    stored = blip2_widget.ask(paths, CIRCLES)
    threading.Timer(0.2, go_on.set).start()
    assert answers(stored) == first
    assert long.progress.state != "done"
    long.wait(60)


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_what_it_was(
    paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one.png"
    shutil.copy(paths[0], path)
    real = Pictures.load

    def replaced_after(pictures: Pictures, row: int) -> Image.Image:
        image = real(pictures, row)
        shutil.copy(paths[1], path)
        return image

    with monkeypatch.context() as patch:
        patch.setattr(Pictures, "load", replaced_after)
        before = answers(blip2_widget.caption([str(path)]))
    after = answers(blip2_widget.caption([str(path)]))
    assert before == answers(blip2_widget.caption([paths[0]]))
    assert after == answers(blip2_widget.caption([paths[1]])) != before


def test_a_typed_prompt_does_not_wait_for_its_runs_own_look_up(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blip2_widget.caption(paths[:1]).wait(60)  # the model is there
    monkeypatch.setattr(run_module, "LOOK_UP_ROWS", 1)
    real, looked, typed = Pictures.look_up, [], threading.Event()
    looked_when_answered: list[int] = []
    reached = threading.Event()

    def watched(self: Pictures, rows: Any) -> None:
        looked.append(list(rows))
        reached.set()
        assert typed.wait(60)
        real(self, rows)

    monkeypatch.setattr(Pictures, "look_up", watched)
    result = blip2_widget.caption(paths, start=False, cache=False)

    def note(_rows: Any) -> None:
        if result.run.cell(7, 0).state == "done" and not looked_when_answered:
            looked_when_answered.append(len(looked))

    result.run.subscribe(note)
    result.run.start()
    assert reached.wait(60)
    result.ask(7, CIRCLES)
    typed.set()
    result.wait(60)
    # One was under way; the model is asked for beside the next.
    assert looked_when_answered[0] < len(paths)
    assert list(result.answers.prompt) == [""] * 7 + [CIRCLES]


@pytest.mark.parametrize("gone", [0, 1])
def test_a_picture_that_is_gone_is_read_from_its_equal(
    paths: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_session: Session,
    gone: int,
) -> None:
    twins = [str(shutil.copy(paths[0], tmp_path / name)) for name in ("a.png", "b.png")]
    expected = answers(blip2_widget.caption(twins))
    own_session.store.clear("features")
    own_session.store.clear("answers")  # the keys of the files stay known
    real = Pictures.look_up

    def deleting(self: Pictures, rows: Any) -> None:
        real(self, rows)
        Path(twins[gone]).unlink()

    monkeypatch.setattr(Pictures, "look_up", deleting)
    assert answers(blip2_widget.caption(twins)) == expected


def test_a_store_that_cannot_be_read_costs_no_answers(
    paths: list[str],
    own_session: Session,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = answers(blip2_widget.caption(paths))

    def broken(*_: Any) -> Any:
        raise Blip2Error("the store: disk I/O error")

    for name in ("aliases", "features", "answers"):
        monkeypatch.setattr(own_session.store, name, broken)
    result = blip2_widget.caption(paths, batch_size=2)
    assert answers(result) == expected
    assert result.progress.cached == 0
    assert caplog.text.count("disk I/O error") == 1


def test_damaged_features_are_computed_again(
    paths: list[str], own_session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    expected = answers(blip2_widget.caption(paths))
    store = own_session.store
    for damage in ("data = substr(data, 1, 7)", "dtype = 'nothing'", "shape = '{'"):
        store.clear("answers")
        store._access.connection.execute(f"UPDATE features SET {damage}")
        assert answers(blip2_widget.caption(paths)) == expected
    assert caplog.text.count("computed again") == 3


def test_which_rows_fail_does_not_depend_on_the_batch(paths: list[str], tmp_path: Path) -> None:
    import pandas as pd

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    images = [paths[0], None, paths[1], str(broken), float("nan"), paths[2], paths[3], paths[0]]
    frame = pd.DataFrame({"image": images, "word": ["short"] * 8}, dtype=object)
    frame.loc[5, "word"] = "long " * 3000
    expected = ["done", "error", "done", "error", "error", "error", "done", "done"]
    found = {}
    for size in (1, 3, 8):
        result = blip2_widget.ask(
            frame.image, "is it {word}?", frame=frame, batch_size=size, cache=False
        ).wait(60)
        assert list(result.answers.state) == expected
        found[size] = (answers(result), list(result.errors.error))
    assert found[1] == found[3] == found[8]
    assert "shorten it" in found[1][1][-1]

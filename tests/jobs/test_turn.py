"""One job at a time works in a folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from blip2_widget.errors import Blip2Error
from blip2_widget.jobs import Parts, turn

HERE = {"job": "theirs", "host": socket.gethostname(), "process": os.getppid()}


def note_in(out: Path, **told: Any) -> Parts:
    parts = Parts(out)
    parts.make()
    parts.put_note("_turn.json", json.dumps(HERE | {"at": time.time()} | told))
    return parts


def test_a_turn_is_taken_and_given(out: Path) -> None:
    parts = Parts(out)
    parts.make()
    assert not turn.is_anyones(parts)
    first = turn.take(parts)
    assert turn.has(parts, first) and turn.is_anyones(parts)
    second = turn.take(parts)  # in this process the last one counts
    assert turn.has(parts, second) and not turn.has(parts, first)
    turn.give(parts, first)
    assert turn.has(parts, second)
    turn.give(parts, second)
    assert not turn.is_anyones(parts) and list(out.iterdir()) == []


@pytest.mark.parametrize("place", [{}, {"host": "another"}], ids=["here", "another machine"])
def test_another_process_is_waited_for(out: Path, place: dict[str, str]) -> None:
    parts = note_in(out, **place)
    with pytest.raises(Blip2Error, match=f"process {os.getppid()} on .* explore, wait, or cancel"):
        turn.take(parts)
    assert turn.has(parts, "theirs")


def test_who_has_died_is_not(out: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    turn.take(note_in(out, process=gone.pid))
    turn.take(note_in(out, host="another", at=time.time() - 61))
    # Who works does not go by clocks: it is not told to stop by a late note.
    assert turn.has(note_in(out, host="another", at=time.time() - 61), "theirs")


def test_a_turn_is_kept_until_it_is_over_or_anothers(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "_EVERY", 0.01)
    parts = Parts(out)
    parts.make()
    mine, over = turn.take(parts), threading.Event()
    keeper = threading.Thread(target=turn.keep, args=(parts, mine, over))
    keeper.start()
    before = parts.note("_turn.json")
    while parts.note("_turn.json") == before:
        time.sleep(0.01)
    over.set()
    keeper.join(60)
    assert not turn.is_anyones(parts)

    keeper = threading.Thread(target=turn.keep, args=(parts, turn.take(parts), threading.Event()))
    keeper.start()
    other = turn.take(parts)
    keeper.join(60)
    assert not keeper.is_alive() and turn.has(parts, other)

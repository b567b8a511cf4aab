"""One job at a time works in a folder. Whose turn it is stands in a note that is kept fresh, where
all who work look; another process may take the turn of one that has died."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from contextlib import suppress
from threading import Event
from typing import Any

import psutil

from blip2_widget.errors import Blip2Error
from blip2_widget.jobs.parts import Parts

_NOTE = "_turn.json"
#: Seconds between two notes, and after which nobody is there any more. Clocks of machines that
#: share a folder differ by less.
_EVERY = 10.0
_STALE = 60.0


def is_anyones(parts: Parts) -> bool:
    """Whether somebody works."""
    return _told(parts) is not None


def has(parts: Parts, job: str) -> bool:
    """Whether it is this job's turn, however old its note is."""
    note = parts.note(_NOTE)
    return note is not None and json.loads(note)["job"] == job


def check(parts: Parts) -> None:
    """Raise Blip2Error where it is the turn of another process."""
    told = _told(parts)
    if told is not None and _place(told) != _here():
        raise Blip2Error(
            f"process {told['process']} on {told['host']} is answering into {parts.folder}: "
            "look at it with explore, wait, or cancel it there (if it has died, wait "
            f"{_STALE:.0f} s)"
        )


def take(parts: Parts) -> str:
    """A name for a job whose turn it is from now on. Raises as `check`."""
    check(parts)
    job = uuid.uuid4().hex
    _write(parts, job)
    return job


def keep(parts: Parts, job: str, ended: Event) -> None:
    """Keep the note fresh until the job has ended or it is another's turn."""
    while not ended.wait(_EVERY):
        with suppress(Exception):  # a network that is away for a moment
            if not has(parts, job):
                return
            _write(parts, job)
    give(parts, job)


def give(parts: Parts, job: str) -> None:
    """Let it be nobody's turn: all who work on the job give up."""
    if has(parts, job):
        parts.drop_note(_NOTE)


def _write(parts: Parts, job: str) -> None:
    host, process = _here()
    note = {"job": job, "host": host, "process": process, "at": time.time()}
    parts.put_note(_NOTE, json.dumps(note))


def _told(parts: Parts) -> dict[str, Any] | None:
    """The note, unless whoever wrote it has died."""
    note = parts.note(_NOTE)
    told: dict[str, Any] | None = None if note is None else json.loads(note)
    if told is None or time.time() - told["at"] > _STALE:
        return None
    host, process = _place(told)
    return told if host != _here()[0] or psutil.pid_exists(process) else None


def _place(told: dict[str, Any]) -> tuple[str, int]:
    return told["host"], told["process"]


def _here() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()

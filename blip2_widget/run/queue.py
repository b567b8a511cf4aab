"""What a run has still to do, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from blip2_widget.run.cells import Task


class Queue:
    """Rows none of whose cells was queued before, which take no room, and then single tasks."""

    def __init__(self, prompts: int) -> None:
        self._prompts = range(prompts)
        self._rows: Sequence[int] = ()
        self._at = 0
        self._tasks: deque[Task] = deque()

    def __bool__(self) -> bool:
        return self._at < len(self._rows) or bool(self._tasks)

    def set_rows(self, rows: Sequence[int]) -> None:
        """Queue these rows, in the place of those that are still queued."""
        self._rows, self._at = rows, 0

    def extend(self, tasks: Iterable[Task]) -> None:
        self._tasks.extend(tasks)

    def pop(self) -> list[Task]:
        """The tasks of the next row; none where there are none left."""
        if self._at < len(self._rows):
            row = self._rows[self._at]
            self._at += 1
            return [Task(row, prompt, 0) for prompt in self._prompts]
        found: list[Task] = []
        while self._tasks and (not found or self._tasks[0].row == found[0].row):
            found.append(self._tasks.popleft())
        return found

    def ahead(self, most: int) -> list[int]:
        """The rows that come next."""
        rows = list(self._rows[self._at : self._at + most])
        return rows + [task.row for task in islice(self._tasks, most - len(rows))]

    def clear(self) -> list[Task]:
        """Drop everything; returns the single tasks."""
        tasks, self._tasks, self._rows = list(self._tasks), deque(), ()
        self._at = 0
        return tasks

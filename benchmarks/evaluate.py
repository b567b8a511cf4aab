"""Score a checkpoint on COCO, NoCaps, VQAv2, OK-VQA, GQA or Flickr30k, in a folder that you have.

    python -m benchmarks.evaluate vqav2 FOLDER --checkpoint flan-t5-xl --variant cuda-int4 -n 500

FOLDER holds the data set as it is published: its annotations (in itself, `annotations` or
`questions`) and its pictures (in itself, `images`, or the split's folder, such as `val2014`).
Answers are stored as any others, so an interrupted evaluation goes on where it was; of retrieval
the pictures' features are.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

import blip2_widget
from benchmarks.folders import Rows, read_folder
from benchmarks.report import table
from benchmarks.retrieval import Recalls, recalls
from benchmarks.tasks import TASKS, Retrieval, Task, Writing
from blip2_widget.errors import Blip2Error
from blip2_widget.scores import Score, score_answers, score_captions

#: What LAVIS takes out of a question, and how many of its words it asks (`blip_processors.py`).
_NOT_ASKED: Final = re.compile(r'[.!"()*#:;~]')
_ASKED_WORDS: Final = 50


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's score on some rows of a data set, and of each of its `parts`, and what to know
    when it is compared."""

    task: Task
    checkpoint: str
    split: str
    score: Score | Recalls
    notes: tuple[str, ...]
    parts: Mapping[str, Score] = field(default_factory=dict)

    @property
    def published(self) -> dict[str, float]:
        """The scores of this checkpoint that were published for these rows."""
        if self.split != self.task.split:
            return {}
        return self.task.published.get(self.checkpoint, {})

    def __str__(self) -> str:
        rows = self._lines(self.score, "")
        for name, part in self.parts.items():
            rows += self._lines(part, f", {name}")
        told = table(["metric", "value", "95 % interval", "published"], rows)
        notes = [f"- {note}" for note in (*self.notes, *self.score.notes)]
        head = f"## {self.checkpoint} on {self.task.title}, {self.split}"
        return "\n".join([head, "", told, "", *notes])

    def _lines(self, score: Score | Recalls, part: str) -> list[tuple[str, str, str, str]]:
        return [
            (
                name := metric.name + part,
                f"{metric.value:.4f}",
                f"{interval.low:.4f} to {interval.high:.4f}",
                f"{self.published[name]:.4f}" if name in self.published else "",
            )
            for metric, interval in zip(score.metrics, score.intervals, strict=True)
        ]


def evaluate(
    task: Writing | Retrieval,
    folder: Path,
    checkpoint: str,
    *,
    variant: str = "auto",
    n: int | None = None,
    spice: bool = False,
) -> Evaluation:
    """Ask a checkpoint about the task's rows, or `n` drawn of them, and score what it says; or let
    it search among them.

    Raises Blip2Error where the folder does not hold the data set, or no row is answered.
    """
    rows = read_folder(task.name, folder)
    if n is not None:
        rows = rows.sample(n)
    if isinstance(task, Retrieval):
        found = recalls(rows, checkpoint, variant, task.reranked)
        notes = (f"settings of {task.source}", *task.remarks)
        return Evaluation(task, checkpoint, rows.split, found, notes)
    return _written(task, rows, checkpoint, variant, spice)


def _written(task: Writing, rows: Rows, checkpoint: str, variant: str, spice: bool) -> Evaluation:
    import pandas as pd

    options, missing = task.options()
    frame = pd.DataFrame({"image": [str(picture) for picture in rows.pictures]})
    if task.kind == "captions":
        result = blip2_widget.caption(
            frame.image, task.prompt, frame=frame, model=checkpoint, variant=variant, **options
        )
    else:
        frame["question"] = [as_asked(question) for question in rows.questions]
        result = blip2_widget.ask(
            frame.image,
            {"answer": task.prompt},
            frame=frame,
            model=checkpoint,
            variant=variant,
            **options,
        )
    said = result.wait().answers
    failed = result.errors
    notes = [f"settings of {task.source}", *missing, *task.remarks]
    if len(failed):
        notes.append(f"{len(failed)} of {len(rows)} rows failed; the first: {failed.error[0]}")
    score = _score(task, said.answer, rows, np.exp(said.logprob.astype(float)), spice)
    parts = {}
    for domain in dict.fromkeys(rows.domains):
        of_it = [row for row, each in enumerate(rows.domains) if each == domain]
        references = [rows.references[row] for row in of_it]
        try:
            parts[domain] = score_captions(said.answer.iloc[of_it], references, spice=spice)
        except Blip2Error as error:  # none of its rows was answered
            notes.append(f"{domain}: {error}")
    return Evaluation(task, checkpoint, rows.split, score, tuple(notes), parts)


def as_asked(question: str) -> str:
    """A question in the form in which LAVIS asks it: lower case, without most punctuation."""
    plain = _NOT_ASKED.sub("", question.lower()).rstrip(" ")
    return " ".join(plain.split(" ")[:_ASKED_WORDS])


def _score(task: Writing, said: object, rows: Rows, confidence: object, spice: bool) -> Score:
    if task.kind == "captions":
        return score_captions(said, rows.references, spice=spice)
    return score_answers(said, rows.references, confidence=confidence, rule=task.rule)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    takes = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    takes.add_argument("task", choices=TASKS)
    takes.add_argument("folder", type=Path)
    takes.add_argument("--checkpoint", default="opt-2.7b", help="a name or folder, as for -m")
    takes.add_argument("--variant", default="auto", help="such as cuda-int4")
    takes.add_argument("-n", type=int, help="so many rows, drawn at random")
    takes.add_argument("--spice", action="store_true", help="of captions; needs Java and models")
    takes.add_argument("--rows", type=Path, help="write each row's score to this CSV, worst first")
    return takes


def main() -> None:
    """Print the scores as a Markdown table, with what was published beside them."""
    options = parser().parse_args()
    try:
        found = evaluate(
            TASKS[options.task],
            options.folder,
            options.checkpoint,
            variant=options.variant,
            n=options.n,
            spice=options.spice,
        )
    except Blip2Error as error:
        sys.exit(str(error))
    print(found)
    if options.rows is not None:
        found.score.rows.to_csv(options.rows, index=False)


if __name__ == "__main__":
    main()

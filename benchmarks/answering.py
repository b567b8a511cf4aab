"""One way of answering, in a process of its own: load, warm up, answer, tell the time."""

from __future__ import annotations

from typing import Any

from benchmarks import ours, peers


def answer(
    kind: str,
    variant: str,
    batch: int | None,
    task: str,
    count: int,
    checkpoint: str,
    new_tokens: int,
    seed: str,
    quick: bool,
) -> dict[str, Any]:
    """Seconds an answer with the model loaded, tokens of the prompt, and the batch's size."""
    if kind != "ours":
        peer = peers.Peer(kind, variant, checkpoint, batch or 1, new_tokens)
        return peers.time_answers(peer, task, count, seed)
    asked = ours.Asked(checkpoint, variant, batch, new_tokens)
    if task == "captions":
        return ours.captions(asked, count, seed)
    if task == "follow-up":
        return ours.follow_up(asked, count, seed)
    return ours.many_questions(asked, count, seed, questions=2 if quick else 10)

"""One way of answering, in a process of its own: load, warm up, answer, tell the time."""

from __future__ import annotations

from typing import Any

from benchmarks import limits, ours, peers
from benchmarks.memory import most_held


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
    """Seconds an answer with the model loaded, tokens of the prompt, the batch's size and the most
    memory that was held; for the package itself also what the device could do at that moment."""
    device = variant.partition("-")[0]
    if kind != "ours":
        peer = peers.Peer(kind, variant, checkpoint, batch or 1, new_tokens)
        told = peers.time_answers(peer, task, count, seed)
        return told | {"peak": most_held(device)}
    asked = ours.Asked(checkpoint, variant, batch, new_tokens)
    if task == "captions":
        told = ours.captions(asked, count, seed)
    elif task == "follow-up":
        told = ours.follow_up(asked, count, seed)
    else:
        told = ours.many_questions(asked, count, seed, questions=2 if quick else 10)
    told["peak"] = most_held(device)  # before the limits, which take memory of their own
    return told | {"limits": limits.find_limits(checkpoint, device, quick)}

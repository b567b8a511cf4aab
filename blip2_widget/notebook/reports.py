"""What `%blip2 models`, `%blip2 status` and `--dry-run` say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blip2_widget.errors import Blip2Error
from blip2_widget.model import (
    PUBLISHED,
    RETRIEVAL,
    choose,
    free_bytes,
    gigabytes,
    locate,
    needed_bytes,
    offered,
    parse,
    read_machine,
)
from blip2_widget.run import Measuring

if TYPE_CHECKING:
    from blip2_widget.notebook.result import Result
    from blip2_widget.session import Session


def models_frame() -> Any:
    """The checkpoints: parameters, memory to have free for each variant this machine can run
    (GB; bracketed where it does not fit now), and what `auto` would take."""
    import pandas as pd

    machine = read_machine()
    lines = {}
    sizes = {name: (size, "t5" if "t5" in name else "opt") for name, size in PUBLISHED.items()}
    sizes |= {name: (size, "itm") for name, size in RETRIEVAL.items()}
    for demo in (locate(parse("demo")), locate(parse("demo-retrieval"), "match")):
        sizes[demo.checkpoint.name] = (demo.sizes, demo.family)
    for name, (size, family) in sizes.items():
        try:
            auto = choose("auto", size, family, machine).name
        except Blip2Error:
            auto = "none fits"
        line = {"parameters": f"{size.total / 1e9:.2f} B", "auto": auto}
        if size.total < 1e8:
            line["parameters"] = f"{size.total / 1e6:.1f} M"
        for each in offered(machine, family):
            needed = needed_bytes(size, each)
            fits = needed <= free_bytes(each, machine)
            line[each.name] = gigabytes(needed) if fits else f"({gigabytes(needed)})"
        lines[name] = line
    return pd.DataFrame.from_dict(lines, orient="index").fillna("")


def status_text(session: Session) -> str:
    """Defaults, machine, models in memory, and the store, a line each."""
    machine = read_machine()
    defaults = session.defaults
    lines = [
        f"default   {defaults.model} · {defaults.variant}, up to {defaults.max_new_tokens} tokens, "
        + ("greedy" if defaults.num_beams == 1 else f"{defaults.num_beams} beams"),
        f"matching  {defaults.matching}",
        f"memory    {gigabytes(machine.ram_free)} free of {gigabytes(machine.ram_total)}"
        + ("" if machine.cpu_bf16 else ", no bf16 arithmetic"),
    ]
    for gpu in machine.gpus:
        lines.append(f"gpu       {gpu.name}, {gigabytes(gpu.free)} free of {gigabytes(gpu.total)}")
    for each in session.manager.resident():
        state = "loading"
        if engine := each.engine:
            state = "in memory"
            if engine.vision_distance is not None:
                state += f", int8 moves its features by {engine.vision_distance:.1%}"
        lines.append(
            f"model     {each.name} · {each.variant.name}, {gigabytes(each.weights)}, {state}"
        )
    if not session.manager.resident():
        lines.append("model     none in memory")
    return "\n".join([*lines, f"store     {_store_line(session)}"])


def _store_line(session: Session) -> str:
    try:
        stats = session.store.stats()
    except Blip2Error as error:
        return str(error)
    return (
        f"{stats.answers} answers, {stats.matches} matches and {stats.features} features of "
        f"{stats.pictures} pictures, "
        f"{stats.said}, {gigabytes(stats.file_bytes)}" + (f"; {stats.note}" if stats.note else "")
    )


def plan_text(result: Result) -> str:
    """What a run would do, for --dry-run."""
    board = result.board
    total, stored = board.progress.total, sum(run.count_stored() for run in board.runs)
    names = [f"{run.located.checkpoint.name} · {run.variant.name}" for run in board.runs]
    measuring = board.runs[0] if board.runs else None
    if isinstance(measuring, Measuring):
        prepared = measuring.count_prepared()
        return (
            f"{total} pictures: {stored} measured already, {total - stored} to measure with "
            f"{names[0]}" + (f", {prepared} of them from stored features" if prepared else "")
        )
    return (
        f"{len(board)} pictures, {total} answers: {stored} stored already, "
        f"{total - stored} to compute" + (f" with {', '.join(names)}" if names else "")
    )

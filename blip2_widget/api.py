"""`caption` and `ask`: what the magic does, as two functions with the same words."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from blip2_widget.data.frames import row_values, take_rows
from blip2_widget.errors import Blip2Error, at_least_one
from blip2_widget.images import Column, read_column
from blip2_widget.model import GenerationSettings, locate, parse
from blip2_widget.run import Prompt, Run, columns_in, fill
from blip2_widget.session import current
from blip2_widget.store import Store

if TYPE_CHECKING:
    from blip2_widget.notebook.result import Result

#: One prompt, several, or several by name.
Prompts = str | Sequence[str] | Mapping[str, str]


def caption(images: Any, prompt: str = "", *, name: str = "caption", **options: Any) -> Result:
    """Caption every picture of a column.

    `images` is a column of a data frame, a list, a glob, a folder or one picture. `prompt` is
    how every caption begins ("a photo of"), with `{column}` for the row's value; empty for none.
    `name` names the column of answers. The options are those of `ask`.

    Returns at once; answers arrive while the kernel stays free. Shown at the end of a cell the
    result is a gallery; `.wait().df` is the finished frame. Raises Blip2Error where no row can
    be answered; what is wrong with one row stands on that row.
    """
    return _run(images, [Prompt(name, prompt, "caption")], **options)


def ask(images: Any, prompts: Prompts, **options: Any) -> Result:
    """Ask one or more questions about every picture of a column.

    `prompts` is a question, a list of them, or a dict of column name to question; `{column}` in
    a question is the row's value. Options, all by name:

    - `frame`: the data frame the column belongs to; its columns come along and fill templates.
    - `model`: a checkpoint name, folder or Hub id ("opt-2.7b", "demo", "owner/name@revision").
    - `variant`: "auto", or one of `cpu-` fp32, bf16, int8, int4, `cuda-` fp32, fp16, bf16, int8,
      int4; or `cpu-VISION+LANGUAGE` for a precision on each side, such as `cpu-int8+int4`.
    - `n`: only the first n rows; `sample`: only so many rows, drawn with `seed`.
    - `max_new_tokens`, `num_beams`, `temperature`, `top_p`, `seed`: how tokens are picked.
    - `batch_size`: answers computed at a time.
    - `refresh`: compute again what is stored; `cache=False`: neither read nor write the store.
    - `on_error`: "null" leaves failed rows empty, "raise" makes `.wait()` raise at the end.
    - `title`: the gallery's heading.

    Returns and raises as `caption`.
    """
    return _run(images, _named(prompts), **options)


def _named(prompts: Prompts) -> list[Prompt]:
    if isinstance(prompts, Mapping):
        pairs = [(str(name), text) for name, text in prompts.items()]
    elif isinstance(prompts, str):
        pairs = [("answer", prompts)]
    else:
        texts = list(prompts)
        pairs = [("answer", texts[0])] if len(texts) == 1 else [(str(t), t) for t in texts]
    if not pairs:
        raise Blip2Error('there is nothing to ask; give a question: "how many dogs are there?"')
    for _, text in pairs:
        if not isinstance(text, str) or not text.strip():
            raise Blip2Error(f"a question must be a text that is not empty, not {text!r}")
    if len({name for name, _ in pairs}) < len(pairs):
        raise Blip2Error("two questions have one name; each names a column, so make them differ")
    return [Prompt(name, text.strip(), "question") for name, text in pairs]


def _run(
    images: Any,
    prompts: list[Prompt],
    *,
    frame: Any = None,
    model: str | None = None,
    variant: str | None = None,
    n: int | None = None,
    sample: int | None = None,
    seed: int | None = None,
    max_new_tokens: int | None = None,
    num_beams: int | None = None,
    temperature: float | None = None,
    top_p: float = 1.0,
    batch_size: int | None = None,
    refresh: bool = False,
    cache: bool = True,
    on_error: str = "null",
    title: str | None = None,
    start: bool = True,
) -> Result:
    from blip2_widget.notebook.result import Result

    if on_error not in ("null", "raise"):
        raise Blip2Error(f"on_error is 'null' or 'raise', not {on_error!r}")
    at_least_one(n=n, sample=sample, batch_size=batch_size)
    session = current()
    defaults = session.defaults
    settings = GenerationSettings(
        max_new_tokens=defaults.max_new_tokens if max_new_tokens is None else max_new_tokens,
        num_beams=defaults.num_beams if num_beams is None else num_beams,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    column = _rows_of(read_column(images, frame=frame), n, sample, seed)
    if not column.values:
        raise Blip2Error("the column is empty; there is no picture to look at")
    texts = [_texts(prompt, column) for prompt in prompts]
    located = locate(parse(model or defaults.model))
    plan = session.manager.plan(located, variant or defaults.variant)
    run = Run(
        column,
        prompts,
        texts,
        title=title or column.name or "pictures",
        located=located,
        variant=plan.variant,
        better=plan.better,
        settings=settings,
        manager=session.manager,
        store=session.store if cache else Store.in_memory(),
        worker=session.worker,
        batch_size=batch_size or defaults.batch_size,
        refresh=refresh,
        max_pixels=defaults.max_pixels,
    )
    if plan.refusal is not None and run.count_stored() < run.progress.total:
        raise plan.refusal
    if start:
        run.start()
    return Result(run, raises=on_error == "raise", stored=cache, started=start)


def _rows_of(column: Column, n: int | None, sample: int | None, seed: int | None) -> Column:
    """The first `n` rows, or `sample` rows drawn at random, in the column's order."""
    total = len(column.values)
    rows = list(range(total))[:n]
    if sample is not None and sample < len(rows):
        rows = sorted(random.Random(seed).sample(rows, sample))
    if len(rows) == total:
        return column
    return dataclasses.replace(
        column,
        values=[column.values[row] for row in rows],
        labels=[column.labels[row] for row in rows],
        index=column.index[rows] if hasattr(column.index, "take") else rows,
        frame=take_rows(column.frame, rows),
    )


def _texts(prompt: Prompt, column: Column) -> list[str]:
    """The prompt on every row, its {column} fields filled in."""
    names = columns_in(prompt.text)
    if names and column.frame is None:
        raise Blip2Error(
            f"{{{names[0]}}} in a prompt needs the data frame; give its column as df.{names[0]} is "
            "written, with frame=df, or write {{" + names[0] + "}} for the braces themselves"
        )
    values = {name: row_values(column.frame, name) for name in names}
    if not names:
        return [fill(prompt.text, str)] * len(column.values)
    return [
        fill(prompt.text, lambda name, row=row: values[name][row])  # type: ignore[misc]
        for row in range(len(column.values))
    ]

"""What the magic does, as functions with the same words."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL.Image import registered_extensions

from blip2_widget.data.frames import row_values, rows_of, take_rows
from blip2_widget.errors import Blip2Error, at_least_one
from blip2_widget.images import Column, is_ray_dataset, read_column
from blip2_widget.model import (
    GenerationSettings,
    Located,
    Task,
    Variant,
    locate,
    parse,
    preset_named,
)
from blip2_widget.run import (
    LEAST,
    Board,
    Chats,
    Embedding,
    Fit,
    KeptVectors,
    Matching,
    Means,
    Measure,
    Measured,
    Measuring,
    MultimodalEmbedding,
    Pictures,
    Projecting,
    Prompt,
    Query,
    Run,
    Searching,
    check_method,
    column_of_choices,
    columns_in,
    escaped,
    fill,
    quoted,
    row_choices,
    vectors_of_texts,
)
from blip2_widget.scores import read_texts
from blip2_widget.session import current
from blip2_widget.store import Store
from blip2_widget.texts import listed, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from blip2_widget.formats import Imported
    from blip2_widget.jobs import Parts, Spec
    from blip2_widget.notebook.result import Result

#: Seconds between looks at the interrupt while waiting.
_TICK = 0.1

#: A measure, of whichever kind.
AnyMeasure = TypeVar("AnyMeasure", bound=Measure)

#: One prompt, several, or several by name.
Prompts = str | Sequence[str] | Mapping[str, str]


def caption(
    images: Any, prompt: str | None = None, *, name: str = "caption", **options: Any
) -> Result:
    """Caption every picture of a column.

    `images` is a column of a data frame, a list, a glob, a folder, a Hugging Face data set or one
    picture. `prompt` is how every caption begins ("a photo of"), with `{column}` for the row's
    value; empty for nothing, None for what the preset begins with, if there is one. `name` names
    the column of answers. The options are those of `ask`.

    Returns at once; answers arrive while the kernel stays free. Shown at the end of a cell the
    result is a gallery; `.wait().df` is the finished frame. Raises Blip2Error where no row can
    be answered; what is wrong with one row stands on that row.
    """
    return _run(images, [_caption(name, prompt, **options)], **options)


def ask(images: Any, prompts: Prompts, **options: Any) -> Result:
    """Ask one or more questions about every picture of a column.

    `prompts` is a question, a list of them, or a dict of column name to question; `{column}` in
    a question is the row's value. Options, all by name:

    - `frame`: the data frame the column belongs to; its columns come along and fill templates.
    - `model`: a checkpoint name, folder or Hub id ("opt-2.7b", "demo", "owner/name@revision").
    - `variant`: "auto", or one of `cpu-` fp32, bf16, int8, int4, `cuda-` fp32, fp16, bf16, int8,
      int4; or `cpu-VISION+LANGUAGE` for a precision on each side, such as `cpu-int8+int4`.
    - `n`: only the first n rows; `sample`: only so many rows, drawn with `seed`.
    - `max_new_tokens`, `num_beams`, `temperature`, `top_p`, `seed`, `min_new_tokens`,
      `length_penalty`, `repetition_penalty`: how tokens are picked, as in transformers' `generate`.
    - `preset`: "coco" or "vqa", settings of LAVIS; what is given beside it wins.
    - `k`: so many answers to choose from; by beams, or sampled where there is a `temperature`.
    - `choices`: the answers there are, as a list or "yes,no": they are ranked by how likely each
      is, and the likeliest is the answer; `length_normalised`: by how likely its tokens are on
      average, so that long ones are at no disadvantage. `.probabilities()` has each.
      "{column}" are each row's own: a list of them, or a text with commas between.
    - `batch_size`: answers computed at a time.
    - `refresh`: compute again what is stored; `cache=False`: neither read nor write the store.
    - `on_error`: "null" leaves failed rows empty, "raise" makes `.wait()` raise at the end.
    - `title`: the gallery's heading.
    - `engine`: "ray" answers in pieces, by Ray's actors on this machine or a cluster, into a folder
      of Parquet, and then `images` may be Parquet files ("rows/*.parquet") or WebDataset's shards
      ("shards/*.tar"), a list or folder of these, or a Ray Dataset, too. `out`: the folder, in
      which the same call goes on where it was stopped; None takes one beside the store. `actors`:
      how many; `rows_per_part`; `column`: that of the pictures; `overwrite`: replace another job's
      answers, or of the same questions about other rows those whose rows are others now.

    Returns and raises as `caption`.
    """
    return _run(images, _named(prompts), **options)


def chat(
    image: Any, questions: str | Sequence[str], *, refresh: bool = False, **options: Any
) -> list[tuple[str, str]]:
    """Ask questions about one picture in turn, each with what was said before it.

    `image` is a path, a URL, bytes, an array, a Pillow image, or a column of one row. The questions
    are taken as they are, with no `{column}` in them. Of the options of `ask` those for model,
    tokens and store are known here too.

    Blocks, and returns each question with its answer. Raises Blip2Error where one is not answered.
    """
    asked = [questions] if isinstance(questions, str) else list(questions)
    if not asked:
        raise Blip2Error('there is nothing to ask; give a question: "how many dogs are there?"')
    _check_texts(asked)
    column, asking = _asking(image, refresh=refresh, **options)
    if asking != asking.freely():
        raise Blip2Error(
            "a conversation answers freely, once; leave choices and k out, or write ask"
        )
    if len(column.values) != 1:
        raise Blip2Error(
            f"a conversation is about one picture, and here are {len(column.values)}; "
            "give one, such as df.image.iloc[0]"
        )
    chats = asking.chats(Pictures(column, asking.store, current().defaults.limits))
    for number, text in enumerate(asked):
        chats.say(0, text)
        try:
            while not chats.wait(0, _TICK):
                pass
        except KeyboardInterrupt:
            chats.cancel(0)
            raise Blip2Error(
                f"interrupted with {number} of {len(asked)} answers; running it again goes on "
                "from there"
            ) from None
        turn = chats.turns(0)[-1]
        if turn.state != "done":
            raise Blip2Error(f"{turn.question!r} was not answered: {turn.error or turn.state}")
    return [(turn.question, turn.answer or "") for turn in chats.turns(0)]


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
    _check_texts([text for _, text in pairs])
    if len({name for name, _ in pairs}) < len(pairs):
        raise Blip2Error("two questions have one name; each names a column, so make them differ")
    return [Prompt(whole(name), text.strip(), "question") for name, text in pairs]


def _caption(name: str, prompt: str | None, **options: Any) -> Prompt:
    if prompt is None:
        prompt = preset_named(options.get("preset")).caption
    return Prompt(name, prompt, "caption")


def _check_texts(texts: Sequence[object], what: str = "a question") -> None:
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise Blip2Error(f"{what} must be a text that is not empty, not {text!r}")


def explore(images: Any, *, title: str | None = None, **options: Any) -> Result:
    """Look at the pictures of a column without a model: search, filter, sort, review, select.

    The options are those of `ask`; what is asked in the gallery is asked by them, and no model is
    looked for before. Raises Blip2Error where there are no pictures.

    `images` may be the folder of a job (`engine="ray"`), here or at an fsspec URL: what other
    processes have answered there, and answer while it is looked at, without what they were told.
    """
    from blip2_widget.jobs import find_job
    from blip2_widget.notebook.result import Result

    parts = find_job(images)
    if parts is not None:
        return _explore_job(parts, title=title, **options)
    options.pop("start", None)  # there is nothing to start
    column, asking = _asking(images, **options)
    pictures = Pictures(column, asking.store, current().defaults.limits)
    pictures.learns = True
    board = Board(column, pictures, title or column.name or "pictures")
    return Result(board, [asking])


def _explore_job(
    parts: Parts,
    *,
    title: str | None,
    start: bool = True,
    model: str | None = None,
    variant: str | None = None,
    **options: Any,
) -> Result:
    from blip2_widget.jobs import Watching
    from blip2_widget.notebook.result import Result

    for name in ("n", "sample", "frame"):
        if options.pop(name, None) is not None:
            raise Blip2Error(f"a job's folder is shown as it is; leave {name} out")
    session = current()
    job = Watching(
        parts,
        title=title or parts.folder,
        store=session.store,
        limits=session.defaults.limits,
    )
    # No line is known that says these rows.
    options["expression"] = ""
    _, asking = _asking(
        job.column, model=model or job.model, variant=variant or job.wanted_variant, **options
    )
    board = Board(job.column, job.pictures, job.title)
    board.add(job.start() if start else job)
    # A program does not wait for what others may never end.
    return Result(board.put_probabilities(), [asking], started=False)


def compare(
    images: Any,
    prompts: Prompts = "",
    *,
    models: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    **options: Any,
) -> Result:
    """Answers side by side: of several prompts, several checkpoints, or several variants.

    `prompts` is as in `ask`; empty for captions. Every prompt is put to every one of `models` and,
    with each, of `variants`. The other options are those of `ask`. Answers that differ are marked
    in the gallery, and `.agreement` counts how often each two of them agree. Raises Blip2Error
    where fewer than two columns come of it, and as `ask`.
    """
    from blip2_widget.notebook.result import Result

    named = _named(prompts) if prompts else [_caption("caption", None, **options)]
    model, variant = options.pop("model", None), options.pop("variant", None)
    makers = [(m, v) for m in models or [model] for v in variants or [variant]]
    if len(named) * len(makers) < 2:
        raise Blip2Error(
            "there is nothing to compare; give two prompts, or variants=['cpu-fp32', 'cpu-int8'], "
            "or models=[…]"
        )
    title, start = options.pop("title", None), options.pop("start", True)
    column, asking = _asking(images, **options)
    askings = [
        dataclasses.replace(
            asking, model=m or asking.model, variant=v or asking.variant, imports=False
        )
        for m, v in makers
    ]
    runs: list[Run] = []
    for (m, v), with_it in zip(makers, askings, strict=True):
        others = [str(each) for each, several in ((m, models), (v, variants)) if several]
        prompts_here = [
            dataclasses.replace(each, name=" · ".join([each.name, *others])) for each in named
        ]
        runs.append(with_it.run(prompts_here, title=title, beside=runs[0] if runs else None))
    board = Board(column, runs[0].pictures, runs[0].title)
    board.comparing = True
    for run in runs:
        board.add(run.start() if start else run)
    return Result(board.put_probabilities(), askings, started=start)


def match(
    images: Any,
    texts: str | Sequence[str],
    *,
    model: str | None = None,
    title: str | None = None,
    start: bool = True,
    **options: Any,
) -> Result:
    """How well each of some texts fits every picture of a column.

    `images` is as in `caption`; `texts` is one text or several, with `{column}` for the row's
    value. Each has two columns: "match: TEXT" is the probability that it fits, from 0 to 1, of a
    model that reads picture and text together; "similarity: TEXT" compares what each is by itself,
    from -1 to 1. The gallery shows the best match of the first text first, and so does `.found`.

    `model` is a checkpoint that matches ("itm-vit-g", "demo-retrieval"). Of the options of `ask`
    those are known that say which rows, which frame, which variant, how many at a time, and what is
    done about the store and errors. Returns and raises as `caption`.
    """
    from blip2_widget.notebook.result import Result

    column, asking = _asking(images, measures="match", **options)
    wanted = [texts] if isinstance(texts, str) else list(dict.fromkeys(texts))
    if not wanted:
        raise Blip2Error('there is nothing to match; give a text: "a dog on a beach"')
    _check_texts(wanted, "a text to match")
    per_row = [asking.texts(Prompt(text, text.strip(), "question")) for text in wanted]
    measuring, matching = asking.measuring(
        lambda *checkpoint, **how: Matching(*checkpoint, texts=per_row, **how),
        model=model or current().defaults.matching,
        title=title,
    )
    board = Board(column, measuring.pictures, measuring.title)
    shown = [
        board.put(f"{kind}: {text}", _number_of(found, kind))
        for text, found in zip(wanted, matching.fits, strict=True)
        for kind in ("match", "similarity")
    ]
    board.query = {"sort": f"column:{shown[0]}", "descending": True}
    said = {} if model is None else {"model": model}
    board.measured = Measured("match", [quoted(text) for text in wanted], said | asking.options)
    board.found = lambda: _best_first(matching.fits[0])
    board.measure(measuring.start() if start else measuring)
    return Result(board, [asking], started=start)


def search(
    images: Any,
    query: Any,
    *,
    n: int = 20,
    rerank: bool = True,
    model: str | None = None,
    title: str | None = None,
    start: bool = True,
    query_expression: str = "",
    **options: Any,
) -> Result:
    """The n pictures of a column that are nearest to a text or to another picture, best first.

    `images` is as in `caption`. `query` is a text; or a picture: a path, a URL, bytes, an array, a
    Pillow image, or the number of one of the column's rows, counted from 0. A text that is the path
    of a file is that file.

    "similarity: …" is how near each is, from -1 to 1, and "rank: …" its place, from 1; the gallery
    shows those that are found, and until then all as they come. For a text the first 16 come in the
    order of "match: …", the probability that it fits (see `match`), unless `rerank` is False.
    `.found` is their rows of the frame in order. Other options, returns and raises as `match`.
    """
    from blip2_widget.notebook.result import Result

    at_least_one(n=n)
    column, asking = _asking(images, measures="search", **options)
    name, wanted = _query(query, column)
    kept = current().vectors if asking.cache else KeptVectors()
    measuring, searching = asking.measuring(
        lambda *checkpoint, **how: Searching(
            *checkpoint,
            query=wanted,
            count=n,
            rerank=rerank,
            rows=len(column.values),
            kept=kept,
            **how,
        ),
        model=model or current().defaults.matching,
        title=title,
    )
    board = Board(column, measuring.pictures, measuring.title)
    rank = board.put(f"rank: {name}", lambda row: searching.ranks.get(row))
    near = board.put(f"similarity: {name}", lambda row: searching.nearness.get(row))
    if rerank and wanted.text is not None:
        board.put(f"match: {name}", lambda row: searching.matches.get(row))
    board.query = {"sort": f"column:{near}", "descending": True}
    said: dict[str, Any] = {} if model is None else {"model": model}
    said |= {"n": n} if n != 20 else {}
    said |= {} if rerank else {"no_rerank": True}
    word = _written(query, wanted, query_expression)
    board.measured = Measured("search", None if word is None else [word], said | asking.options)
    board.found = lambda: searching.found

    def show_found(_rows: Iterable[int]) -> None:
        if searching.is_finished:
            ranked = [{"key": f"column:{rank}", "min": 1}]
            board.query = {"filters": ranked, "sort": f"column:{rank}"}

    measuring.subscribe(show_found)  # before the board, whose galleries then look at the query
    board.measure(measuring.start() if start else measuring)
    return Result(board, [asking], started=start)


def _query(query: Any, column: Column) -> tuple[str, Query]:
    """What is searched for, and what it is called. Raises Blip2Error."""
    if isinstance(query, str) and not _is_address(query):
        if " " not in query and Path(query).suffix.lower() in registered_extensions():
            raise Blip2Error(f"there is no file {query} (looked from {Path.cwd()})")
        _check_texts([query], "what is searched for")
        if columns_in(query):
            raise Blip2Error(
                "one text is searched for on all rows, so it has no {column}; write {{ and }} for "
                "the braces themselves"
            )
        text = fill(query, str).strip()
        return text, Query(text=text)
    row = 0
    if isinstance(query, Integral) and not isinstance(query, bool):
        row = int(query)
        if not 0 <= row < len(column.values):
            raise Blip2Error(f"there is no row {row}; rows go from 0 to {len(column.values) - 1}")
    else:
        column = read_column([query])
    session = current()
    picture = Pictures(column, session.store, session.defaults.limits).load(row)
    is_file = column.address(row) != str(column.index[row])
    return column.labels[row] if is_file else f"picture {column.index[row]}", Query(picture=picture)


def _written(query: Any, wanted: Query, expression: str) -> str | None:
    """How a line says what is searched for; None where none can: a picture without a name."""
    if wanted.text is not None:
        return quoted(escaped(wanted.text))
    if expression:
        return expression
    if isinstance(query, Integral):
        return str(query)
    return quoted(str(query)) if isinstance(query, str | Path) else None


def _is_address(text: str) -> bool:
    """Whether a text is the address of a picture."""
    if "://" in text or text.startswith("data:"):
        return True
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long for a path, no such home, NUL
        return False


def embed(
    images: Any,
    texts: Any = None,
    *,
    pooled: bool = False,
    projected: bool = False,
    model: str | None = None,
    **options: Any,
) -> NDArray[np.float32]:
    """The Q-Former's features of every picture of a column, for clustering and the like.

    `images` is as in `caption`. Returns (rows, query tokens, width) in fp32, 32 by 768 for the
    published checkpoints, or with `pooled` their mean over the query tokens, (rows, width); NaN on
    rows whose picture cannot be read. These are LAVIS' `image_embeds`.

    With `texts` each picture is read together with a text: one with `{column}` for the row's value,
    or a list or column with one a row. The shape is the same; a row is NaN as well where it has no
    text, or one that is too long. These are LAVIS' `multimodal_embeds`.

    With `projected` they are the vectors that pictures are compared with texts by, (rows, query
    tokens, 256) of length 1, or with `pooled` one of these a row, their direction. These are LAVIS'
    `image_embeds_proj`; it has none of picture and text together.

    `model` is any checkpoint, with `texts` or `projected` one that matches, as for `match`, whose
    options these are.

    Blocks; where it is interrupted, what was computed is stored and need not be again, and so are
    features that captions and questions were computed from. Raises Blip2Error where no row has
    features, or with on_error="raise" where one has none, and where no model can run.
    """
    if projected and texts is not None:
        raise Blip2Error(
            "pictures read with a text are not projected to anything; leave out projected or texts"
        )
    column, asking = _asking(images, measures="embed", **options)
    make: Callable[..., Embedding]
    if texts is None:
        make = functools.partial(Embedding, pooled=pooled, projected=projected)
    else:
        make = functools.partial(
            MultimodalEmbedding, texts=_text_of_rows(texts, asking), pooled=pooled
        )
    matches = projected or texts is not None
    measuring, embedding = asking.measuring(
        make,
        model=model or (current().defaults.matching if matches else asking.model),
        task="match" if matches else None,
    )
    measuring.start()
    try:
        while not measuring.wait(_TICK):
            pass
    except KeyboardInterrupt:
        measuring.cancel()
        raise Blip2Error(
            f"interrupted with {measuring.progress.done} of {len(column.values)} pictures; "
            + ("running it again goes on from there" if asking.cache else "nothing was stored")
        ) from None
    errors = measuring.pictures.errors
    if errors and (asking.raises or len(errors) == len(column.values)):
        row = min(errors)
        raise Blip2Error(
            f"{len(errors)} of {len(column.values)} rows failed; the first, "
            f"{column.labels[row]}: {errors[row]}"
        )
    return embedding.array(len(column.values))


def embed_texts(
    texts: Any,
    *,
    projected: bool = False,
    model: str | None = None,
    variant: str | None = None,
    on_error: str = "null",
) -> NDArray[np.float32]:
    """The Q-Former's features of texts, of a checkpoint that matches.

    `texts` is one text, or a list or column of them. Returns (texts, width) in fp32, the output at
    each text's first token, which stands for the whole: LAVIS' `text_embeds[:, 0]`, 768 numbers for
    the published checkpoints. With `projected` it is the vector that the text is compared with
    pictures by, (texts, 256) of length 1: LAVIS' `text_embeds_proj[:, 0]`. A text that is missing,
    empty or too long is NaN.

    `model` and `variant` are those of `match`. Blocks, and stores nothing: texts are read quickly.
    Raises Blip2Error where no text can be read, or with on_error="raise" where one cannot, and
    where no model can run.
    """
    import numpy as np

    _check_on_error(on_error)
    wanted = _texts_in([texts] if isinstance(texts, str) else texts)
    session = current()
    located = locate(parse(model or session.defaults.matching), "match")
    named = variant_for(located, variant or session.defaults.variant)
    resident = session.manager.hold(located, session.manager.choose(located, named))
    try:
        found, wrong = vectors_of_texts(resident.retrieval.result(), wanted, projected)
    except KeyboardInterrupt:
        raise Blip2Error("interrupted; features of texts are not stored") from None
    finally:
        session.manager.release(resident)
    if not found or (wrong and on_error == "raise"):
        if not wanted:
            raise Blip2Error('there is no text; give one: "a dog on a beach"')
        first = min(wrong)
        raise Blip2Error(
            f"{len(wrong)} of {len(wanted)} texts failed; the first, number {first}: {wrong[first]}"
        )
    vectors = np.full((len(wanted), len(next(iter(found.values())))), np.nan, np.float32)
    for at, vector in found.items():
        vectors[at] = vector
    return vectors


def _text_of_rows(texts: Any, asking: Asking) -> str | list[str | None]:
    """The text of all rows, or each row's, None where there is none. Raises Blip2Error."""
    if isinstance(texts, str):
        _check_texts([texts], "a text to read with the pictures")
        filled = asking.texts(Prompt("text", texts.strip(), "question"))
        return filled if isinstance(filled, str) else _texts_in(filled)
    return _texts_in(rows_of(asking.column, texts, "texts"))


def _texts_in(values: Any) -> list[str | None]:
    """A column's texts, None where a value is none or is empty. Raises Blip2Error."""
    if not hasattr(values, "__len__"):
        raise Blip2Error(f"texts are one text, or a list or column of them, not {values!r}")
    return [text.strip() or None if text is not None else None for text in read_texts(values)]


def map(
    images: Any,
    *,
    method: str = "pca",
    model: str | None = None,
    title: str | None = None,
    start: bool = True,
    **options: Any,
) -> Result:
    """A map of a column's pictures beside their gallery: what looks alike lies together.

    `images` is as in `caption`. The map is the Q-Former's features, each picture's mean over the
    query tokens (see `embed`), in two dimensions: by PCA, or with `method="umap"` by UMAP, which
    shows clusters better and takes longer. Both are the same every time. In the gallery rows are
    selected by a line around their points; `.coordinates` has the places. `model` is any
    checkpoint; the options are those of `match`.

    Returns and raises as `caption`, and where there are fewer than three pictures, no such method,
    or no UMAP. Of a picture that cannot be read only its own point is missing.
    """
    from blip2_widget.notebook.result import Result

    column, asking = _asking(images, measures="map", **options)
    measuring, projecting = asking.mapping(method, model, title=title)
    board = Board(column, measuring.pictures, measuring.title)
    board.lay_out(measuring.start() if start else measuring, projecting)
    return Result(board, [asking], started=start)


def import_answers(
    path: str | Path,
    images: Any = None,
    *,
    frame: Any = None,
    format: str | None = None,
    column: str | None = None,
    text: str | None = None,
    kind: str | None = None,
    prompt: str | None = None,
    dry_run: bool = False,
) -> Imported:
    """Take earlier texts in from a file or folder, so that runs compute only what is missing.

    `path` is what `Result.export` writes, or anything in these formats: Parquet, CSV, JSON Lines,
    COCO captions, WebDataset, an imagefolder, a saved Dataset, a folder of pictures with texts
    beside them. `images` is the column that the texts are about, as in `ask`; without it they are
    about the pictures that the file holds or names. Options, all by name:

    - `format`: its name ("coco"), where neither the path's end nor what is there says it.
    - `column`, `text`: the file's columns that name the pictures, and that hold the texts.
    - `kind`: "caption" or "question"; `prompt`: the question, or how every caption begins.
    - `dry_run`: only say what would come in.

    From then on `caption` and `ask` give these texts as the answers to that prompt about those
    pictures, and `.answers` says where they came from; `compare` and `refresh=True` ask the model.
    What people said of the answers comes in, too. Returns what came in, with the rows that did not
    as `.errors`. Raises Blip2Error where the file cannot be read.
    """
    from blip2_widget.formats import Meaning, import_texts

    session = current()
    try:
        return import_texts(
            Path(path).expanduser(),
            session.store,
            target=None if images is None else read_column(images, frame=frame),
            format=format,
            meaning=Meaning(column, text, kind, prompt),
            limits=session.defaults.limits,
            keep=not dry_run,
        )
    except KeyboardInterrupt:
        raise Blip2Error(
            "interrupted, and nothing was imported; running it again opens no picture twice"
        ) from None


def spec(*prompts: Prompt, **options: Any) -> Spec:
    """What is asked, for whoever shares rows out by another engine than ours: what `Answering` of
    `blip2_widget.jobs` takes, as docs/spark.md shows with Spark.

    `prompts` are captions and questions together; their `{column}` fields are for who makes the
    rows to fill in. The options are those of `ask` that say how a row is answered: model, variant,
    tokens, choices, batch size and store. With `variant="auto"` it is what this machine can hold.
    Raises Blip2Error where no model can be asked so.
    """
    from blip2_widget.jobs import spec_of

    if not prompts:
        raise Blip2Error('there is nothing to ask; give spec(Prompt("caption", "", "caption"))')
    _, asking = _asking(Column([None], range(1)), **options)
    return spec_of(prompts, asking, locate(parse(asking.model)))


def _run(
    images: Any,
    prompts: list[Prompt],
    *,
    title: str | None = None,
    start: bool = True,
    engine: str = "local",
    out: str | Path | None = None,
    actors: int | None = None,
    rows_per_part: int | None = None,
    column: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Result:
    from blip2_widget.notebook.result import Result

    of_ray: dict[str, Any] = {
        "out": out,
        "actors": actors,
        "rows_per_part": rows_per_part,
        "column": column,
    }
    if engine == "ray":
        return _on_ray(
            images, prompts, title=title, start=start, overwrite=overwrite, **of_ray, **options
        )
    if engine != "local":
        raise Blip2Error(f"engine is 'local' or 'ray', not {engine!r}")
    for name, value in of_ray.items():
        if value is not None:
            raise Blip2Error(f"{name} is for engine='ray'; leave it out")
    rows, asking = _asking(images, **options)
    run = asking.run(prompts, title=title)
    board = Board(rows, run.pictures, run.title)
    board.add(run.start() if start else run)
    return Result(board.put_probabilities(), [asking], started=start)


def _on_ray(
    images: Any,
    prompts: list[Prompt],
    *,
    title: str | None,
    start: bool,
    out: str | Path | None,
    actors: int | None,
    rows_per_part: int | None,
    column: str | None,
    overwrite: bool,
    **options: Any,
) -> Result:
    from blip2_widget.jobs import ROWS_PER_PART, begin, files_of, is_read_there
    from blip2_widget.notebook.result import Result

    at_least_one(actors=actors, rows_per_part=rows_per_part)
    size = rows_per_part or ROWS_PER_PART
    source = None
    if is_read_there(images):
        if any(options.get(name) is not None for name in ("n", "sample")):
            raise Blip2Error(
                "n and sample choose rows of a column; of files and data sets all are answered"
            )
        if not start and is_ray_dataset(images):
            raise Blip2Error(
                "a Ray Dataset is written before its rows are known; leave --dry-run "
                "(start=False) out"
            )
        # What is wrong with the options is said before anything is read.
        _asking(Column([None], range(1)), **options)
        source = files_of(images, column, prompts, size, out)
    rows, asking = _asking(images if source is None else source.column, **options)
    job = begin(
        source,
        rows,
        prompts,
        asking,
        title=title or rows.name or "pictures",
        out=out,
        actors=actors,
        rows=size,
        overwrite=overwrite,
    )
    board = Board(rows, job.pictures, job.title)
    board.add(job.start() if start else job)
    return Result(board.put_probabilities(), [asking], started=start)


def variant_for(located: Located, variant: str) -> str:
    """What a variant means with a checkpoint: the default that quantises language models says
    nothing of one that has none."""
    is_default = variant == current().defaults.variant
    return "auto" if located.task == "match" and is_default and "int" in variant else variant


def _check_on_error(on_error: str) -> None:
    if on_error not in ("null", "raise"):
        raise Blip2Error(f"on_error is 'null' or 'raise', not {on_error!r}")


def _best_first(fits: Mapping[int, Fit]) -> list[int]:
    """The rows that a text was matched with, by how well it fits."""
    now = dict(fits)  # to which the worker's thread may be adding
    return sorted(now, key=lambda row: (-now[row].match, row))


def _number_of(found: Mapping[int, Fit], kind: str) -> Callable[[int], float | None]:
    """Gives a row's number of that kind, None while there is none."""
    return lambda row: getattr(found.get(row), kind, None)


def _asking(
    images: Any,
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
    top_p: float | None = None,
    min_new_tokens: int | None = None,
    length_penalty: float | None = None,
    repetition_penalty: float | None = None,
    preset: str | None = None,
    k: int | None = None,
    choices: str | Sequence[str] | None = None,
    length_normalised: bool = False,
    batch_size: int | None = None,
    refresh: bool = False,
    cache: bool = True,
    on_error: str = "null",
    expression: str = "",
    max_length: int | None = None,
    min_length: int | None = None,
    num_captions: int | None = None,
    measures: str | None = None,
    **unknown: Any,
) -> tuple[Column, Asking]:
    """The rows that are meant, and how they are asked; LAVIS' names of three options count too.
    `measures` is what is done where the pictures are measured, and nothing is generated. Raises
    Blip2Error, also for options that have no effect."""
    for name in unknown:
        parameters = inspect.signature(_asking).parameters
        known = [each for each in parameters if each not in ("measures", "unknown")]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known[1:])}"
        raise Blip2Error(f"there is no option {name}; {hint}")
    max_new_tokens = max_length if max_new_tokens is None else max_new_tokens
    min_new_tokens = min_length if min_new_tokens is None else min_new_tokens
    k = num_captions if k is None else k
    _check_on_error(on_error)
    at_least_one(n=n, sample=sample, batch_size=batch_size)
    session = current()
    defaults = session.defaults
    choices_of = column_of_choices(choices)
    if isinstance(choices, str):
        choices = choices.split(",")
    if choices is not None and not len(choices):
        raise Blip2Error("there are no choices; write choices=['yes', 'no'], or leave it out")
    of_tokens = {
        "max_new_tokens": max_new_tokens,
        "num_beams": num_beams,
        "temperature": temperature,
        "top_p": top_p,
        "min_new_tokens": min_new_tokens,
        "length_penalty": length_penalty,
        "repetition_penalty": repetition_penalty,
        "k": k,
    }
    if measures is not None:
        of_answers = {
            "preset": preset,
            "choices": choices,
            "length_normalised": length_normalised or None,
        }
        _check_effect(of_tokens | of_answers, f"{measures} generates nothing")
    elif choices is not None:
        _check_effect(of_tokens, "choices are ranked, not generated")
    said = of_tokens | {
        "seed": seed,
        "choices": None if choices is None or choices_of else tuple(choices),
        "choices_of": choices_of,
        "length_normalised": length_normalised or None,
    }
    how = How(
        {name: value for name, value in said.items() if value is not None},
        {"max_new_tokens": defaults.max_new_tokens, "num_beams": defaults.num_beams},
        preset,
    )
    for family in ("opt", "t5"):
        how.settings(family)  # what is wrong with it is said before anything is read
    read = images if isinstance(images, Column) else read_column(images, frame=frame, first=n)
    column = _rows_of(read, n, sample, seed)
    if not column.values:
        raise Blip2Error("the column is empty; there is no picture to look at")
    store = session.store if cache else Store.in_memory()
    return column, Asking(
        column,
        store,
        how,
        model=model or defaults.model,
        variant=variant or defaults.variant,
        batch_size=batch_size or defaults.batch_size,
        refresh=refresh,
        cache=cache,
        raises=on_error == "raise",
        n=n,
        sample=sample,
        expression=expression,
    )


def _check_effect(options: Mapping[str, Any], why: str) -> None:
    """Raise Blip2Error where one of these options is given, which have no effect."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        have, them = ("has", "it") if len(given) == 1 else ("have", "them")
        raise Blip2Error(f"{why}, so {listed(given)} {have} no effect; leave {them} out")


@dataclass(frozen=True)
class How:
    """How answers come about: what one call `said`, over its `preset`, over what is `usual`."""

    said: Mapping[str, Any]
    usual: Mapping[str, Any]
    preset: str | None

    def settings(self, family: str) -> GenerationSettings:
        """The settings with a family of checkpoints. Several answers come of as many beams where
        nothing else is said. Raises Blip2Error."""
        chosen = {**self.usual, **preset_named(self.preset).settings(family), **self.said}
        if "num_beams" not in self.said and "temperature" not in self.said:
            chosen["num_beams"] = max(chosen["num_beams"], chosen.get("k", 1))
        return GenerationSettings(**chosen)

    def freely(self) -> How:
        """The same for one answer, which may be any."""
        narrow = ("k", "choices", "choices_of", "length_normalised")
        said = {name: value for name, value in self.said.items() if name not in narrow}
        return dataclasses.replace(self, said=said)

    @property
    def options(self) -> dict[str, Any]:
        """What says the same in the words of `ask`."""
        settings = self.settings("opt")
        said = dataclasses.asdict(settings)
        if self.preset is not None:
            said = {**self.said, "preset": self.preset}
        if settings.ranks:  # beside which nothing is said of tokens
            of_answers = ("choices", "choices_of", "length_normalised", "preset", "seed")
            said = {name: value for name, value in said.items() if name in of_answers}
        column = said.pop("choices_of", None)
        return said if column is None else said | {"choices": f"{{{column}}}"}


@dataclass(frozen=True)
class Asking:
    """How the pictures of a column are asked: what one call said, for all runs that it makes."""

    column: Column
    store: Store
    how: How
    model: str
    variant: str
    batch_size: int | None
    refresh: bool
    cache: bool
    #: Whether answers that came from elsewhere are taken, too.
    imports: bool = True
    #: Whether waiting for answers raises where some have failed.
    raises: bool = False
    #: Of how many rows the column's are the first, or were drawn: as `n` and `sample` were given.
    n: int | None = None
    sample: int | None = None
    #: What the column is called in the notebook: "df.image". Empty where nobody said.
    expression: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What is asked otherwise than by the defaults, in the words of `ask`."""
        said = {
            "model": self.model,
            "variant": self.variant,
            "n": self.n,
            "sample": self.sample,
            "batch_size": self.batch_size,
            **self.how.options,
            "refresh": self.refresh,
            "cache": self.cache,
            "on_error": "raise" if self.raises else "null",
        }
        usual = {
            **dataclasses.asdict(GenerationSettings()),
            **dataclasses.asdict(current().defaults),
            "refresh": False,
            "cache": True,
            "on_error": "null",
        }
        return {name: value for name, value in said.items() if value != usual.get(name)}

    def about(self, column: Column, anew: bool = False) -> Asking:
        """The same of other pictures; with `anew` what is stored is computed again."""
        return dataclasses.replace(self, column=column, refresh=self.refresh or anew)

    def freely(self) -> Asking:
        """The same, with one answer to a prompt, which may be any."""
        return dataclasses.replace(self, how=self.how.freely())

    def texts(self, prompt: Prompt) -> str | list[str]:
        """The prompt as it is for all rows, or on every row, its {column} fields filled in."""
        names = self._columns_in(prompt)
        if not names:
            return whole(fill(prompt.text, str))
        values = {name: row_values(self.column.frame, name) for name in names}
        return [
            whole(fill(prompt.text, lambda name, row=row: values[name][row]))  # type: ignore[misc]
            for row in range(len(self.column.values))
        ]

    def text(self, prompt: Prompt, row: int) -> str:
        """The same on one row."""
        self._columns_in(prompt)
        frame = take_rows(self.column.frame, [row])
        return whole(fill(prompt.text, lambda name: row_values(frame, name)[0]))

    def _columns_in(self, prompt: Prompt) -> list[str]:
        names = columns_in(prompt.text)
        if names and self.column.frame is None:
            raise Blip2Error(
                f"{{{names[0]}}} in a prompt needs the data frame; give its column as "
                f"df.{names[0]} is written, with frame=df, or write {{{{{names[0]}}}}} for the "
                "braces themselves"
            )
        return names

    def _own_choices(self, column: str | None) -> Callable[[int], tuple[str, ...]] | None:
        """Gives each row's own choices, which stand in a column, if they do."""
        if column is None:
            return None
        if self.column.frame is None:
            raise Blip2Error(
                f"{{{column}}} as choices needs the data frame; give its column as df.{column} is "
                "written, with frame=df"
            )
        values = row_values(self.column.frame, column)
        return lambda row: row_choices(values[row], column)

    def chats(self, pictures: Pictures, store: Store | None = None) -> Chats:
        """Conversations about these pictures, which with a `store` are kept there."""
        # The model is asked, and nobody else.
        free = dataclasses.replace(self.freely(), imports=False)
        return Chats(
            self.column,
            pictures.key_of,
            lambda column, prompt, anew: free.about(column, anew).run([prompt]),
            model=parse(self.model).known_as,
            store=store,
        )

    def run(
        self,
        prompts: list[Prompt],
        *,
        title: str | None = None,
        rows: Collection[int] | None = None,
        beside: Run | Pictures | None = None,
    ) -> Run:
        """A run that is not started yet, over all rows or some, beside another one's pictures.

        Raises Blip2Error where a prompt names no column, or where no model can answer here.
        """
        session = current()
        texts = [self.texts(prompt) for prompt in prompts]
        located = locate(parse(self.model))
        plan = session.manager.plan(located, self.variant)
        settings = self.how.settings(located.family)
        run = Run(
            self.column,
            prompts,
            texts,
            better=plan.better,
            settings=settings,
            question_form=preset_named(self.how.preset).question,
            refresh=self.refresh,
            # What somebody else wrote is none of the choices, and no k answers.
            imports=self.imports and not settings.ranks and settings.k == 1,
            rows=rows,
            choices_of=self._own_choices(settings.choices_of),
            **self._means(
                located, plan.variant, title, beside.pictures if isinstance(beside, Run) else beside
            ),
        )
        if plan.refusal is not None and run.count_stored() < run.progress.total:
            raise plan.refusal
        return run

    def measuring(
        self,
        make: Callable[..., AnyMeasure],
        *,
        model: str,
        task: Task | None = "match",
        title: str | None = None,
        beside: Pictures | None = None,
    ) -> tuple[Measuring, AnyMeasure]:
        """What measures the pictures and is not started yet, and the measure that `make` makes of a
        checkpoint, a variant and a store. Raises Blip2Error where no model can do it here."""
        session = current()
        located = locate(parse(model), task)
        plan = session.manager.plan(located, variant_for(located, self.variant))
        # What better variants have stored is not taken: rows are compared with each other, in their
        # order and in what is near what, so all have to be of one variant.
        measure = make(located, plan.variant, self.store, refresh=self.refresh)
        measuring = Measuring(
            self.column, measure, **self._means(located, plan.variant, title, beside)
        )
        if plan.refusal is not None and (
            measure.needs_model or measuring.count_stored() < len(self.column.values)
        ):
            raise plan.refusal
        return measuring, measure

    def _means(
        self, located: Located, variant: Variant, title: str | None, beside: Pictures | None
    ) -> Means:
        session = current()
        return {
            "title": title or self.column.name or "pictures",
            "located": located,
            "variant": variant,
            "manager": session.manager,
            "store": self.store,
            "worker": session.worker,
            "batch_size": self.batch_size,
            "limits": session.defaults.limits,
            "beside": beside,
        }

    def mapping(
        self,
        method: str,
        model: str | None = None,
        *,
        title: str | None = None,
        beside: Pictures | None = None,
    ) -> tuple[Measuring, Projecting]:
        """What lays the pictures out on a map, which is not started yet. Raises Blip2Error where
        there is no such method, too little to lay out, or no model."""
        known, rows = check_method(method), len(self.column.values)
        if rows < LEAST:
            pictures = "1 picture" if rows == 1 else f"{rows} pictures"
            raise Blip2Error(f"a map needs {LEAST} pictures, and here is only {pictures}")
        return self.measuring(
            lambda *checkpoint, **how: Projecting(*checkpoint, method=known, rows=rows, **how),
            model=model or self.model,
            task=None,
            title=title,
            beside=beside,
        )


def _rows_of(column: Column, n: int | None, sample: int | None, seed: int | None) -> Column:
    """The first `n` rows, or `sample` rows drawn at random, in the column's order."""
    total = len(column.values)
    rows: Sequence[int] = range(total)[:n]
    if sample is not None and sample < len(rows):
        rows = sorted(random.Random(seed).sample(rows, sample))
    return column if len(rows) == total else column.take(rows, take_rows(column.frame, rows))

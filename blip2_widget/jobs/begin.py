"""From what a person asks to a job: which rows, which folder, which model."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from PIL.Image import registered_extensions

from blip2_widget.errors import Blip2Error
from blip2_widget.images import Column, is_ray_dataset, is_remote
from blip2_widget.jobs import on_ray, turn
from blip2_widget.jobs.answering import Spec
from blip2_widget.jobs.datasets import of_dataset
from blip2_widget.jobs.job import Job, description
from blip2_widget.jobs.parts import Parts
from blip2_widget.jobs.sources import Source, of_column, of_parquet, of_tars, reading
from blip2_widget.model import (
    Gpu,
    Located,
    Machine,
    locate,
    parse,
    picture_size,
    preset_named,
    variant_named,
)
from blip2_widget.run import Pictures, Prompt
from blip2_widget.session import current
from blip2_widget.store import default_path

if TYPE_CHECKING:
    from blip2_widget.api import Asking

#: Rows in a part, where nobody says how many: what a killed worker costs at most, and 80 MB of
#: pictures between who opens and who answers.
ROWS_PER_PART = 512
#: How the files end that are read where they are worked on.
_FILES = (".parquet", ".tar")


def is_read_there(images: Any) -> bool:
    """Whether these are read by those who work on them: Parquet files or WebDataset's shards, a
    list of them or a folder without pictures, or a Ray Dataset. Anything else is a column."""
    return is_ray_dataset(images) or bool(_named(images))


def files_of(
    images: Any,
    column: str | None,
    prompts: Sequence[Prompt],
    rows: int,
    out: str | Path | None = None,
) -> Source:
    """The rows of what is read there; a Ray Dataset's are written to the job's folder `out` first.
    Raises Blip2Error where there are none."""
    if is_ray_dataset(images):
        parts = _parts(out or default_path().parent / "jobs")
        if out is not None:
            parts.check_ours()
        limits = current().defaults.limits
        return of_dataset(images, column, prompts, rows, parts.input, limits)
    paths = [path for name in _named(images) for path in _expanded(name)]
    are_shards = {path.lower().endswith(".tar") for path in paths}
    if len(are_shards) > 1:
        raise Blip2Error("these are Parquet files and WebDataset's shards; give one of both")
    if are_shards.pop():
        return of_tars(paths, prompts, rows)
    return of_parquet(paths, column, prompts, rows)


def _parts(folder: str | Path) -> Parts:
    return Parts(folder if "://" in str(folder) else Path(folder).expanduser().absolute())


def _expanded(text: str) -> list[str]:
    """The files of a path, folder, URL or glob, in their order. Raises Blip2Error where there is
    none."""
    with reading(text):
        files, place = _placed(text)
        if "://" in text:
            found = files.glob(place, detail=True)
        else:
            paths = [place] if files.exists(place) else glob.glob(place, recursive=True)  # noqa: PTH207
            found = {path: files.info(path) for path in paths}
        listed = [
            file
            for path, info in sorted(found.items())
            for file in (_below(files, path) if info["type"] == "directory" else [path])
        ]
    if not listed:
        raise Blip2Error(f"no file matches {text!r} (looked from {Path.cwd()})")
    return [files.unstrip_protocol(path) for path in listed] if "://" in text else listed


def _named(images: Any) -> list[str]:
    """What is read there by its paths, URLs, globs and folders; none of anything else."""
    several = images if isinstance(images, list | tuple) else [images]
    if all(isinstance(one, str | Path) and str(one).lower().endswith(_FILES) for one in several):
        return [str(one) for one in several]
    return [str(images)] if isinstance(images, str | Path) and _is_folder(str(images)) else []


def _is_folder(text: str) -> bool:
    """Whether it is a folder of such files, and none of pictures, which is a column."""
    if ("://" in text and not is_remote(text)) or _is_picture(text):
        return False
    try:
        files, place = _placed(text)
        if not files.isdir(place) or any(map(_is_picture, files.ls(place, detail=False))):
            return False
        return bool(_below(files, place))
    except Exception:  # whatever a store's library raises; who reads a column of it tells
        return False


def _is_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in registered_extensions()


def _below(files: Any, folder: str) -> list[str]:
    """The Parquet files below a folder, in order, or else the shards. What begins with _ or . is
    something beside the data, by the custom of those who write them."""
    found = [
        path
        for path in sorted(files.find(folder))
        if not any(name[0] in "_." for name in PurePosixPath(path).relative_to(folder).parts)
    ]
    listed = ([path for path in found if path.lower().endswith(end)] for end in _FILES)
    return next(filter(None, listed), [])


def _placed(text: str) -> tuple[Any, str]:
    """The file system that a path or URL lies in, and its place there."""
    from fsspec.core import url_to_fs

    files, place = url_to_fs(text if "://" in text else str(Path(text).expanduser().absolute()))
    return files, str(place)


#: What is asked for by its name may be right on another machine.
_ELSEWHERE = Machine(0, 0, cpu_bf16=True, gpus=(Gpu(0, "a GPU", 0, 0, (9, 0)),))


def spec_of(
    prompts: Sequence[Prompt], asking: Asking, located: Located, elsewhere: bool = False
) -> Spec:
    """What a worker is told, for the variant that this machine can hold, or `elsewhere` for one by
    its name that another may hold. Raises Blip2Error."""
    session = current()
    settings = asking.how.settings(located.family)
    if settings.choices_of is not None:
        raise Blip2Error("each row's own choices are ranked by the local engine alone")
    if elsewhere and asking.variant != "auto":
        chosen = variant_named(asking.variant, _ELSEWHERE, located.family)
    else:
        chosen = session.manager.plan(located, asking.variant).variant
    return Spec(
        prompts=tuple(prompts),
        checkpoint=located.checkpoint,
        commit=located.commit,
        variant=chosen,
        settings=settings,
        question_form=preset_named(asking.how.preset).question,
        limits=session.defaults.limits,
        size=picture_size(located),
        batch_size=asking.batch_size,
        refresh=asking.refresh,
        cache=asking.cache,
    )


def begin(
    source: Source | None,
    column: Column,
    prompts: Sequence[Prompt],
    asking: Asking,
    *,
    title: str,
    out: str | Path | None,
    actors: int | None,
    rows: int,
    overwrite: bool,
) -> Job:
    """The job that is asked for, which is not started yet. Raises Blip2Error where its folder holds
    something else or another process is at work in it, and where no model can answer."""
    on_ray.check_installed()
    if source is None:
        source = of_column(column, [asking.texts(prompt) for prompt in prompts], rows)
    located = locate(parse(asking.model))
    spec = spec_of(prompts, asking, located, elsewhere=True)
    job = description(spec, source, asking.variant, rows)
    parts = _parts(out or default_path().parent / "jobs" / job["fingerprint"][:16])
    is_there = parts.holds(job, overwrite) and not asking.refresh
    turn.check(parts)
    fingerprints = [piece.fingerprint for piece in source.pieces]
    pictures = Pictures(source.column, asking.store, spec.limits)
    return Job(
        source,
        spec,
        title=title,
        located=located,
        parts=parts,
        describe=None if is_there else partial(parts.describe, job, fingerprints, asking.refresh),
        pictures=pictures,
        ask=lambda row, prompt: asking.run([prompt], rows=[row], beside=pictures).start(),
        variant=asking.variant,
        actors=actors,
    )

"""`blip2-widget caption FOLDER_OR_TABLE -o OUT`: what a line of `%blip2` does, for jobs that nobody
watches.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blip2_widget import __version__, api
from blip2_widget.errors import Blip2Error
from blip2_widget.formats import (
    check_absent,
    check_folder,
    format_to_write,
    has_format,
    no_package,
)
from blip2_widget.images import column_names, column_of, find_pictures, is_remote, reason_of
from blip2_widget.notebook import line as grammar
from blip2_widget.notebook.reports import plan_text
from blip2_widget.run import Progress, no_such_column

if TYPE_CHECKING:
    from blip2_widget.notebook.result import Result

_USAGE = """\
blip2-widget caption FOLDER_OR_TABLE ["a photo of"] -o OUT [OPTIONS]
blip2-widget ask FOLDER_OR_TABLE "how many dogs are there?" … -o OUT [OPTIONS]

FOLDER_OR_TABLE  a folder of pictures, a glob in quotes, or a table of paths or URLs: .parquet,
                 .csv, .jsonl (--column NAME: which of its columns); of --engine ray also several
                 Parquet files ("rows/*.parquet"), WebDataset's shards ("shards/*.tar"), or a
                 folder of either
-o OUT           the file or folder that is written: .parquet, .csv, .jsonl, .json (COCO), .tar
                 (WebDataset); of --engine ray any other name is a folder of Parquet

The options are those of %blip2; run again, it goes on where it was stopped.
"""

#: Seconds between two looks at how far it is, and between two lines where there is no terminal.
_TICK = 0.2
_EVERY = 60.0
#: So many rows that failed are told one by one.
_SHOWN = 10
#: How a table ends that is read here.
_TABLES = (".parquet", ".csv", ".tsv", ".jsonl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 where all was answered, 1 where rows failed or it was stopped half way, 2
    where nothing could be done, 130 where it was interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_USAGE)
        grammar.PARSER.print_help()
        return 0
    if words == ["--version"]:
        print(__version__)
        return 0
    try:
        return _run(words)
    except Blip2Error as error:
        _tell(str(error))
        return 2
    except KeyboardInterrupt:  # before anything was asked, or while answers were written
        _tell("interrupted; the same command goes on from what is stored")
        return 130


def _run(words: Sequence[str]) -> int:
    options = grammar.parse_words(words)
    if options.sub not in ("caption", "ask"):
        raise Blip2Error(f"the command has caption and ask, not {options.sub}; see --help")
    if not options.words or options.out is None:
        raise Blip2Error(f"write blip2-widget {options.sub} FOLDER_OR_TABLE … -o OUT")
    grammar.check_options(options)
    if options.to is not None:
        raise Blip2Error("-o is where the answers go; leave --to out")
    target, out = options.words[0], Path(options.out).expanduser()
    is_job = options.engine == "ray" and options.format is None and not has_format(out)
    if not is_job:  # before anything is computed that could not be written
        if is_remote(options.out):
            raise Blip2Error(
                f"{options.out} is on no disk; write a file here, or with --engine ray a folder, "
                "which may be there"
            )
        format_to_write(out, options.format)
        with _refusals(options.out):
            if has_format(out):
                check_folder(out)
            check_absent(out, options.overwrite)
    with _refusals(f"{target} to {options.out}"):
        folder = options.out if is_remote(options.out) else str(out)
        result = _asked(options, folder if is_job else None)
    if options.dry_run:
        print(plan_text(result))
        return 0
    try:
        _wait(result, options.quiet)
    except KeyboardInterrupt:
        result.cancel()
        _tell_stopped("interrupted", result.progress, options)
        return 130
    except Blip2Error as error:
        if not result.progress.done:
            raise
        return 1 if _tell_stopped(str(error), result.progress, options) else 2
    progress = result.progress
    if progress.state == "cancelled":  # by whoever took up the folder
        return 1 if _tell_stopped("stopped from elsewhere", progress, options) else 2
    if not is_job:
        with _refusals(options.out):
            result.write(out, options.format, None, options.overwrite)
    if not options.quiet:
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        answers = f"{progress.done - progress.failed:,} answers"
        print(f"{answers} in {options.out}{failed}", file=sys.stderr)
        for each in result.errors.itertuples() if progress.failed <= _SHOWN else ():
            print(f"  {each.picture}: {each.error}", file=sys.stderr)
    return 1 if progress.failed else 0


def _tell(text: str) -> None:
    print(f"blip2-widget: {text}", file=sys.stderr)


def _tell_stopped(why: str, progress: Progress, options: argparse.Namespace) -> bool:
    """Say what became of the answers that are there; True where there are some to go on from."""
    answers = f"{progress.done:,} of {progress.total:,} answers"
    if options.no_cache and options.engine != "ray":
        _tell(f"{why}; --no-cache keeps none of {answers}")
        return False
    _tell(f"{why}; {answers} are kept, and the same command goes on from there")
    return progress.done > progress.failed


@contextmanager
def _refusals(of: str) -> Iterator[None]:
    """What a disk or network refuses, or a package that they need and that is not there, in one
    line; what is missing of this package is a defect."""
    try:
        yield
    except (OSError, ImportError) as error:
        if isinstance(error, ImportError) and (error.name or "").startswith("blip2_widget"):
            raise
        raise Blip2Error(f"{of}: {reason_of(error)}") from None


def _asked(options: argparse.Namespace, folder: str | None) -> Result:
    """The run that is asked for, under way."""
    target, *texts = options.words
    call: dict[str, Any] = {
        **grammar.options_given(options),
        "title": f"{options.sub} · {target}",
        "start": not options.dry_run,
    }
    call |= grammar.engine_given(options) | {"out": folder}
    images: Any = target
    if not _is_read_there(options):
        call["column"] = None
        if Path(target).suffix.lower() in _TABLES:
            call["frame"] = table = _read_table(target)
            name = options.column or find_pictures(table)
            if name not in column_names(table):
                raise no_such_column(name, column_names(table))
            images = column_of(table, name)
        elif options.column is not None:
            raise Blip2Error(f"{target} is no table, so it has no column; leave --column out")
    if options.sub == "ask":
        return api.ask(images, texts, **call)
    if len(texts) > 1:
        raise Blip2Error("a caption has one beginning; write ask for several prompts")
    return api.caption(images, texts[0] if texts else None, **call)


def _is_read_there(options: argparse.Namespace) -> bool:
    """Whether the rows are read by Ray's workers, and not here."""
    if options.engine != "ray":
        return False
    from blip2_widget.jobs import is_read_there

    return is_read_there(options.words[0])


def _read_table(target: str) -> Any:
    """A table of paths or URLs, as pandas or, of Parquet, as pyarrow reads it."""
    path = Path(target).expanduser()
    if not path.is_file():
        raise Blip2Error(f"there is no file {target} (looked from {Path.cwd()})")
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path)
        import pandas as pd

        if path.suffix.lower() == ".jsonl":
            return pd.read_json(path, lines=True)
        return pd.read_csv(path, sep="\t" if path.suffix.lower() == ".tsv" else ",")
    except ImportError as error:
        raise no_package(error.name or "pyarrow", "Parquet") from None
    except Exception as error:  # whatever a file raises that is none
        raise Blip2Error(f"{path} cannot be read as a table: {reason_of(error)}") from None


def _wait(result: Result, is_quiet: bool) -> None:
    """Show how far it is until it has ended: a bar on a terminal, else a line now and then. Raises
    what stopped it."""
    from tqdm import tqdm

    is_bar = sys.stderr.isatty() and not is_quiet
    is_lines = not is_bar and not is_quiet
    told, has_ended = -math.inf, False
    with tqdm(total=result.progress.total, unit=" answers", disable=not is_bar) as bar:
        while not has_ended:
            if is_lines and time.monotonic() - told >= _EVERY:
                told = time.monotonic()
                print(_line(result.progress), file=sys.stderr, flush=True)
            has_ended = result.board.wait(_TICK)
            progress = result.progress
            bar.set_description_str(progress.note or progress.state, refresh=False)
            if progress.failed:
                bar.set_postfix_str(f"{progress.failed:,} failed", refresh=False)
            bar.update(progress.done - bar.n)
    if is_lines:
        print(_line(result.progress), file=sys.stderr)


def _line(progress: Progress) -> str:
    """How far it is: "1,234 of 10,000 · 12/s · 2 failed · about 3 min left"."""
    words = [f"{progress.done:,} of {progress.total:,}"]
    if progress.rate:
        units = {"s": 1, "min": 60, "h": 3600}
        unit = next((unit for unit, size in units.items() if progress.rate * size >= 1), "h")
        value = progress.rate * units[unit]
        words.append(f"{value:.1f}/{unit}" if value < 10 else f"{value:,.0f}/{unit}")
    if progress.failed:
        words.append(f"{progress.failed:,} failed")
    if progress.seconds_left is not None:
        hours, minutes = divmod(round(progress.seconds_left / 60), 60)
        words.append(f"about {f'{hours:,} h {minutes}' if hours else max(minutes, 1)} min left")
    if progress.state in ("waiting", "loading"):
        words.append(progress.note or progress.state)
    return " · ".join(words)

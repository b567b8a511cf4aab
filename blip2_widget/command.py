"""`blip2-widget caption FOLDER_OR_TABLE -o OUT`: what a line of `%blip2` does, for jobs that nobody
watches.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blip2_widget import __version__, api
from blip2_widget.errors import Blip2Error
from blip2_widget.formats import check_absent, format_to_write, has_format, no_package
from blip2_widget.images import column_names, column_of, find_pictures, reason_of
from blip2_widget.notebook import line as grammar
from blip2_widget.notebook.reports import plan_text
from blip2_widget.run import no_such_column

if TYPE_CHECKING:
    from blip2_widget.notebook.result import Result

_USAGE = """\
blip2-widget caption FOLDER_OR_TABLE ["a photo of"] -o OUT [OPTIONS]
blip2-widget ask FOLDER_OR_TABLE "how many dogs are there?" … -o OUT [OPTIONS]

FOLDER_OR_TABLE  a folder of pictures, a glob in quotes, or a table of paths or URLs: .parquet,
                 .csv, .jsonl (--column NAME: which of its columns); of --engine ray also several
                 Parquet files ("rows/*.parquet") and WebDataset's shards ("shards/*.tar")
-o OUT           the file or folder that is written: .parquet, .csv, .jsonl, .json (COCO), .tar
                 (WebDataset); of --engine ray any other name is a folder of Parquet

The options are those of %blip2; run again, it goes on where it was stopped.
"""

#: Seconds between two looks at how far it is.
_TICK = 0.2
#: So many rows that failed are told one by one.
_SHOWN = 10
#: How a table ends that is read here.
_TABLES = (".parquet", ".csv", ".tsv", ".jsonl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 where all was answered, 1 where rows failed, 2 where nothing could be
    done, 130 where it was interrupted."""
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
        print(f"blip2-widget: {error}", file=sys.stderr)
        return 2


def _run(words: Sequence[str]) -> int:
    options = grammar.parse_words(words)
    if options.sub not in ("caption", "ask"):
        raise Blip2Error(f"the command has caption and ask, not {options.sub}; see --help")
    if not options.words or options.out is None:
        raise Blip2Error(f"write blip2-widget {options.sub} FOLDER_OR_TABLE … -o OUT")
    grammar.check_options(options)
    out = Path(options.out).expanduser()
    is_job = options.engine == "ray" and options.format is None and not has_format(out)
    if not is_job:  # before anything is computed that could not be written
        format_to_write(out, options.format)
        check_absent(out, options.overwrite)
    result = _asked(options, options.out if is_job else None)
    if options.dry_run:
        print(plan_text(result))
        return 0
    if not _wait(result, options.quiet):
        progress = result.progress
        print(
            f"blip2-widget: interrupted with {progress.done} of {progress.total} answers; they are "
            "kept, and the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    if not is_job:
        result.write(out, options.format, None, options.overwrite)
    progress = result.progress
    if not options.quiet:
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        print(f"{progress.done - progress.failed:,} answers in {out}{failed}", file=sys.stderr)
        for error in result.errors.itertuples() if progress.failed <= _SHOWN else ():
            print(f"  {error.picture}: {error.error}", file=sys.stderr)
    return 1 if progress.failed else 0


def _asked(options: argparse.Namespace, folder: str | None) -> Result:
    """The run that is asked for, under way."""
    target, *texts = options.words
    call: dict[str, Any] = {
        **grammar.options_given(options),
        "title": f"{options.sub} · {target}",
        "start": not options.dry_run,
    }
    images: Any = target
    is_read_here = options.engine == "local"
    call |= grammar.engine_given(options) | {"out": folder}
    if is_read_here:
        call["column"] = None
    if is_read_here and Path(target).suffix.lower() in _TABLES:
        call["frame"] = table = _read_table(Path(target).expanduser())
        name = options.column or find_pictures(table)
        if name not in column_names(table):
            raise no_such_column(name, column_names(table))
        images = column_of(table, name)
    elif is_read_here and options.column is not None:
        raise Blip2Error(f"{target} is no table, so it has no column; leave --column out")
    if options.sub == "ask":
        return api.ask(images, texts, **call)
    if len(texts) > 1:
        raise Blip2Error("a caption has one beginning; write ask for several prompts")
    return api.caption(images, texts[0] if texts else None, **call)


def _read_table(path: Path) -> Any:
    """A table of paths or URLs, as pandas or, of Parquet, as pyarrow reads it."""
    if not path.is_file():
        raise Blip2Error(f"there is no file {path} (looked from {Path.cwd()})")
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


def _wait(result: Result, is_quiet: bool) -> bool:
    """Show how far it is until it has ended; False where it was interrupted."""
    from tqdm import tqdm

    total = result.progress.total
    try:
        with tqdm(total=total, unit=" answers", disable=is_quiet or None) as bar:
            while True:
                has_ended = result.board.wait(_TICK)
                progress = result.progress
                bar.set_description_str(progress.note or progress.state, refresh=False)
                if progress.failed:
                    bar.set_postfix_str(f"{progress.failed:,} failed", refresh=False)
                bar.update(progress.done - bar.n)
                if has_ended:
                    return True
    except KeyboardInterrupt:
        result.cancel()
        return False

"""`%blip2` and `%%blip2`: each line is one call of the Python API with the same words."""

from __future__ import annotations

import argparse
import keyword
from dataclasses import asdict
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    output_can_be_silenced,
)
from IPython.core.magic import no_var_expand as keeps_braces
from IPython.display import display
from traitlets import Bool, Float, Int, Unicode

import blip2_widget.api as api
from blip2_widget.errors import Blip2Error, at_least_one
from blip2_widget.images import column_names, column_of, find_pictures, is_table
from blip2_widget.model import gigabytes, locate, parse
from blip2_widget.notebook import line as grammar
from blip2_widget.notebook.reports import models_frame, plan_text, status_text
from blip2_widget.notebook.result import Result
from blip2_widget.notebook.targets import target, texts, with_variables
from blip2_widget.session import current

#: What `use` sets beside model and variant.
_COUNTS = ("max_new_tokens", "num_beams", "batch_size")


#: What a line says of a map of a result, whose rows and settings are there.
_OF_MAPS = ("model", "variant", "refresh")

#: How many words may follow a sub-command.
_MOST_WORDS = {"models": 0, "status": 0, "use": 1, "unload": 1, "cache": 2, "help": 0}


@magics_class
class Blip2Magics(Magics):
    """BLIP-2 in the notebook; the traits are the defaults of every line."""

    model = Unicode(help="the checkpoint where a line has no -m").tag(config=True)
    matching_model = Unicode(
        help="the checkpoint where match and search have no -m; empty: what goes with model"
    ).tag(config=True)
    variant = Unicode(help="the variant where a line has no --variant").tag(config=True)
    max_new_tokens = Int(1, min=1, help="the longest answer, in tokens").tag(config=True)
    num_beams = Int(1, min=1, help="beams to search; 1 is greedy").tag(config=True)
    batch_size = Int(
        None, min=1, allow_none=True, help="answers computed at a time; None: what suits the device"
    ).tag(config=True)
    max_pixels = Int(
        None, min=1, allow_none=True, help="the largest picture that is decoded, in pixels"
    ).tag(config=True)
    max_bytes = Int(
        None, min=1, allow_none=True, help="the largest file or download that is read, in bytes"
    ).tag(config=True)
    max_seconds = Float(
        None, min=0.0, allow_none=True, help="how long a download may take, in seconds"
    ).tag(config=True)
    allow_private_urls = Bool(False, help="whether URLs in a private network are read from").tag(
        config=True
    )
    max_resident = Int(1, min=1, help="how many model variants stay in memory").tag(config=True)
    store_gigabytes = Float(
        0.0, min=0.0, help="the most the store's features take on disk, in GB"
    ).tag(config=True)

    shell: InteractiveShell
    #: What the last line made that shows pictures.
    _last: Result | None = None

    def __init__(self, shell: Any = None, **kwargs: Any) -> None:
        super().__init__(shell=shell, **kwargs)
        session = current()
        configured = self.config.get(type(self).__name__, {})
        for name, value in asdict(session.defaults).items():
            if name in configured:
                session.set_default(name, getattr(self, name))
            else:
                setattr(self, name, value)
        self.observe(self._set_default, list(asdict(session.defaults)))

    def _set_default(self, change: Any) -> None:
        current().set_default(change.name, change.new)

    @needs_local_scope
    @keeps_braces
    @output_can_be_silenced
    @line_cell_magic
    def blip2(self, line: str, cell: str | None = None, local_ns: Any = None) -> Any:
        """Captions and answers for columns of pictures; `%blip2 help` shows the grammar."""
        line = line.rstrip()
        options = grammar.parse(line.rstrip(";"))
        options.quiet |= line.endswith(";")
        names = {**self.shell.user_ns, **(local_ns or {})}
        grammar.check_options(options)
        # Only what has ended can fail for its rows.
        options.wait |= options.on_error == "raise"
        if options.sub in ("caption", "ask", "compare", "explore", "map", "match", "search"):
            return self._look(options, cell, names)
        if options.sub in ("chat", "export", "import", "retry", "score") and cell is None:
            return getattr(self, f"_{options.sub}")(options, names)
        if cell is not None:
            raise Blip2Error(f"%%blip2 {options.sub} takes no body; write %blip2 {options.sub}")
        too_many = options.words[_MOST_WORDS[options.sub] :]
        if too_many:
            raise Blip2Error(
                f"%blip2 {options.sub} has no use for {too_many[0]!r}; leave it out, "
                "or see %blip2 help"
            )
        command = getattr(self, f"_{options.sub}")
        return command(options)

    def _look(self, options: argparse.Namespace, cell: str | None, names: dict[str, Any]) -> Any:
        if not options.words:
            raise Blip2Error(
                f"%blip2 {options.sub} needs pictures: %blip2 {options.sub} df.image …"
            )
        _check_name(options.out)
        images, frame = target(options.words[0], names)
        if options.sub == "map" and (len(options.words) > 1 or cell is not None):
            raise Blip2Error("map asks nothing; write %blip2 map df.image, or the name of a result")
        if options.sub == "map" and isinstance(images, Result):
            return self._map(images, options)
        if options.sub in ("explore", "map") and frame is None and is_table(images):
            images, frame = column_of(images, name := find_pictures(images)), images
            options.words[0] += f"[{name!r}]"
        if options.sub == "search":
            query = _query(options.words[1:], cell, names)
        given = texts(options.words[1:], names) if options.sub != "search" else []
        if cell is not None and given:
            raise Blip2Error("the prompts stand in the cell's body; take them off the first line")
        said = grammar.options_given(options)
        if options.sub in ("caption", "ask"):
            said |= grammar.engine_given(options)
        call = said | {
            "frame": frame,
            "title": f"{options.sub} · {options.words[0]}",
            "start": not options.dry_run,
            "expression": options.words[0],
        }
        if options.sub == "explore":
            if given or cell is not None:
                raise Blip2Error("explore asks nothing; write %blip2 ask, or ask in the gallery")
            result = api.explore(images, **call)
        elif options.sub == "map":
            result = api.map(images, method=options.method, **call)
        elif options.sub == "search":
            count = {"n": 20 if options.n is None else options.n}
            how = {"rerank": not options.no_rerank, "query_expression": options.words[1]}
            result = api.search(images, query, **call | count | how)
        elif options.sub == "match":
            listed = list(grammar.prompts_in(cell).values()) if cell is not None else given
            result = api.match(images, [with_variables(text, names) for text in listed], **call)
        elif options.sub == "compare":
            prompts = grammar.prompts_in(cell) if cell is not None else {t: t for t in given}
            filled = {name: with_variables(text, names) for name, text in prompts.items()}
            wide = {"models": options.models, "variants": options.variants}
            result = api.compare(images, filled, **wide, **call)
        elif options.sub == "caption":
            if len(given) > 1 or cell is not None:
                raise Blip2Error("a caption has one beginning; use %%blip2 ask for several prompts")
            beginning = with_variables(given[0], names) if given else None
            result = api.caption(images, beginning, **call)
        else:
            prompts = grammar.prompts_in(cell) if cell is not None else {t: t for t in given}
            filled = {name: with_variables(text, names) for name, text in prompts.items()}
            several = filled if cell is not None or len(filled) > 1 else list(filled.values())
            result = api.ask(images, several, **call)
        if options.dry_run:
            print(plan_text(result))
            return None
        self._last = result
        if options.out:
            self.shell.user_ns[options.out] = result
        return _shown(result, options)

    def _map(self, result: Result, options: argparse.Namespace) -> Any:
        """A map of a result's pictures, and its gallery again."""
        said = _of_map(options)
        if options.dry_run:
            print(f"{len(result.board)} pictures to lay out by {options.method}")
            return None
        result.map(options.method, **said)
        self._last = result
        if options.out:
            self.shell.user_ns[options.out] = result
        return _shown(result, options)

    def _retry(self, options: argparse.Namespace, names: dict[str, Any]) -> Any:
        """Go on with a result, or with the last one that a line made."""
        result = self._result(options, names)
        _check_name(options.out)
        if options.dry_run:
            progress = result.progress
            again = "measure" if progress.counted == "pictures" else "ask"
            left = progress.total - progress.done + progress.failed
            print(f"{left} {progress.counted} to {again} again")
            return None
        if options.out:
            self.shell.user_ns[options.out] = result
        result.retry(on_error=options.on_error if options.on_error == "raise" else None)
        return _shown(result, options)

    def _score(self, options: argparse.Namespace, names: dict[str, Any]) -> Any:
        """Score a result; below the scores stands its gallery, the worst first."""
        result = self._result(options, names)
        if options.refs is None:
            raise Blip2Error(
                "score needs what is right: %blip2 score dogs --refs df.answer, a text or a list "
                "of texts a row"
            )
        _check_name(options.out)
        is_column = options.refs in column_names(result.board.column.frame)
        is_plain = is_column and options.refs not in names
        references = options.refs if is_plain else target(options.refs, names)[0]
        score = result.score(
            references,
            options.column,
            rule=options.rule,
            spice=options.spice,
            expression=options.refs,
        )
        if options.out:
            self.shell.user_ns[options.out] = score
        if options.quiet or options.display == "none":
            return None
        display(score.rows if options.display == "table" else score)
        return result if options.display == "widget" else None

    def _result(self, options: argparse.Namespace, names: dict[str, Any]) -> Result:
        """The result that a line is about, or the last one that a line made."""
        if len(options.words) > 1:
            raise Blip2Error(f"%blip2 {options.sub} takes one result, or nothing for the last one")
        found = target(options.words[0], names)[0] if options.words else self._last
        if found is None:
            raise Blip2Error(
                f"nothing was asked in this kernel yet; ask something, then {options.sub} it"
            )
        if not isinstance(found, Result):
            raise Blip2Error(
                f"{options.words[0]} is a {type(found).__name__}; give a result, "
                f"such as -o binds: %blip2 {options.sub} dogs"
            )
        return found

    def _chat(self, options: argparse.Namespace, names: dict[str, Any]) -> None:
        """Print a conversation, which is the same on every run: saved notebooks are compared."""
        if not options.words:
            raise Blip2Error('%blip2 chat needs a picture: %blip2 chat df.image.iloc[0] "…"')
        _check_name(options.out)
        image, frame = target(options.words[0], names)
        questions = texts(options.words[1:], names)
        if options.dry_run:
            print(f"1 picture, {len(questions)} questions in turn")
            return
        turns = api.chat(image, questions, **grammar.options_given(options), frame=frame)
        if options.out:
            self.shell.user_ns[options.out] = turns
        if not options.quiet:
            for question, answer in turns:
                print(f"Q: {question}\nA: {answer}")

    def _export(self, options: argparse.Namespace, names: dict[str, Any]) -> None:
        *words, word = options.words or [""]
        if not word:
            raise Blip2Error("export takes a result and a path: %blip2 export dogs dogs.parquet")
        path = Path(grammar.path_in(word)).expanduser()
        options.words = words
        result = self._result(options, names)
        if options.dry_run:
            progress = result.progress
            done = progress.done - progress.failed
            print(f"would write {_count(done, progress.counted)} to {path}")
            return
        if options.wait:
            result.wait()
        written = result.write(path, options.format, options.column, options.overwrite)
        progress = result.progress
        left = progress.total - progress.done
        still = f"; {left:,} are not there yet (--wait waits for them)" if left else ""
        if not options.quiet:
            print(f"wrote {_count(written, progress.counted)} to {path}{still}")

    def _import(self, options: argparse.Namespace, names: dict[str, Any]) -> Any:
        if not 1 <= len(options.words) <= 2:
            raise Blip2Error(
                "import takes a path and the column that it is about: "
                "%blip2 import old.csv df.image"
            )
        _check_name(options.out)
        images, frame = target(options.words[1], names) if options.words[1:] else (None, None)
        imported = api.import_answers(
            grammar.path_in(options.words[0]),
            images,
            frame=frame,
            format=options.format,
            column=options.column,
            text=options.text,
            kind=options.kind,
            prompt=options.prompt,
            dry_run=options.dry_run,
        )
        if options.out:
            self.shell.user_ns[options.out] = imported
        if not options.quiet:
            print(imported)
        return None

    def _models(self, _options: argparse.Namespace) -> Any:
        return models_frame()

    def _status(self, _options: argparse.Namespace) -> None:
        print(status_text(current()))

    def _use(self, options: argparse.Namespace) -> None:
        """Set defaults, once it is known that they can be run here; a checkpoint that matches is
        that of `match` and `search`, beside the one that answers."""
        counts = {name: getattr(options, name) for name in _COUNTS}
        at_least_one(**counts)
        if options.model or options.words or options.variant:
            model = options.model or (options.words[0] if options.words else self.model)
            variant = options.variant or self.variant
            located = locate(parse(model), None)
            meant = api.variant_for(located, variant)
            chosen = current().manager.choose(located, meant)
            matches = located.task == "match"
            setattr(self, "matching_model" if matches else "model", model)
            self.variant = variant
            print(
                f"using {model} · {chosen.name}"
                + (" (auto)" if meant == "auto" else "")
                + (" to match and search" if matches else "")
            )
        for name, count in counts.items():
            if count is not None:
                setattr(self, name, count)

    def _unload(self, options: argparse.Namespace) -> None:
        name = options.model or (options.words[0] if options.words else None)
        dropped = current().manager.unload(name, options.variant)
        if not dropped:
            print("nothing was loaded" if name is None else f"{name} was not loaded")
        for each in dropped:
            print(f"unloaded {each.name} · {each.variant.name} ({gigabytes(each.weights)})")

    def _cache(self, options: argparse.Namespace) -> None:
        words = options.words or ["stats"]
        store, weights = current().store, current().manager.weights
        if words == ["stats"]:
            print(store.stats())
            if weights is not None and weights.size():
                print(f"converted weights of checkpoints: {gigabytes(weights.size())}")
        elif words == ["path"]:
            print(store.path)
        elif words[0] == "clear" and (words[1:] or ["all"])[0] in grammar.CLEARED:
            what = (words[1:] or ["all"])[0]
            if what in ("weights", "all") and weights is not None:
                weights.clear()
            if what in ("features", "all"):
                current().vectors.clear()
            if what != "weights":
                store.clear(what)
            print(f"cleared {what if what != 'all' else 'features, answers, aliases and weights'}")
        else:
            raise Blip2Error(
                f"%blip2 cache has no {' '.join(words)!r}; write stats, path, or clear "
                f"[{' | '.join(grammar.CLEARED)}]"
            )

    def _help(self, _options: argparse.Namespace) -> None:
        print(grammar.help_text())


def _count(number: int, counted: str) -> str:
    return f"{number:,} {counted[:-1] if number == 1 and ' ' not in counted else counted}"


def _check_name(name: str | None) -> None:
    """Raise Blip2Error where what is to be bound is no variable's name."""
    if name and (not name.isidentifier() or keyword.iskeyword(name)):
        raise Blip2Error(f"-o takes a variable's name, and {name!r} is none")


def _query(words: list[str], cell: str | None, names: dict[str, Any]) -> Any:
    """What a line searches for: a text, or an expression that gives a picture."""
    if len(words) != 1 or cell is not None:
        raise Blip2Error(
            "search takes one text in quotes, or one picture: %blip2 search df.image "
            '"a dog on a beach"'
        )
    found = target(words[0], names)[0]
    return with_variables(found, names) if words[0][0] in "\"'" else found


def _of_map(options: argparse.Namespace) -> dict[str, Any]:
    """What a line says of a map of a result; Blip2Error where it says what is not known."""
    given, usual = (grammar.options_given(each) for each in (options, grammar.parse("map")))
    for name, value in given.items():
        if name not in _OF_MAPS and value != usual[name]:
            of_rows = name in grammar.MEASURES
            why = "a result has its rows" if of_rows else "map generates nothing"
            raise Blip2Error(f"{why}, so {grammar.flag_of(name)} has no use here; leave it out")
    return {name: given[name] for name in _OF_MAPS}


def _shown(result: Result, options: argparse.Namespace) -> Result:
    """Show a result as the line asks. The gallery appears before a `--wait`, not after it."""
    how = "none" if options.quiet else options.display
    if how == "widget" and options.wait:
        result.show()
    if how == "table" or options.wait:
        result.wait()
    if how == "table":
        frame = result.found if result.board.found is not None else result.df
        # A pyarrow table or a Dataset shows its pictures' bytes or nothing at all.
        display(frame if hasattr(frame, "_repr_html_") else result.answers)
    return result.quiet() if how != "widget" or options.wait else result

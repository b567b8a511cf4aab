"""`%blip2` and `%%blip2`: each line is one call of the Python API with the same words."""

from __future__ import annotations

import argparse
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope
from IPython.core.magic import no_var_expand as keeps_braces
from traitlets import Float, Int, Unicode, observe

import blip2_widget.api as api
from blip2_widget.errors import Blip2Error
from blip2_widget.model import gigabytes, locate, parse
from blip2_widget.notebook import line as grammar
from blip2_widget.notebook.reports import models_frame, status_text
from blip2_widget.notebook.result import Result
from blip2_widget.notebook.targets import target, texts, with_variables
from blip2_widget.session import current


@magics_class
class Blip2Magics(Magics):
    """BLIP-2 in the notebook; the traits are the defaults of every line."""

    model = Unicode(help="the checkpoint where a line has no -m").tag(config=True)
    variant = Unicode(help="the variant where a line has no --variant").tag(config=True)
    max_new_tokens = Int(help="the longest answer, in tokens").tag(config=True)
    num_beams = Int(help="beams to search; 1 is greedy").tag(config=True)
    batch_size = Int(
        None, allow_none=True, help="answers computed at a time; None: what suits the device"
    ).tag(config=True)
    max_pixels = Int(
        None, allow_none=True, help="the largest picture that is decoded, in pixels"
    ).tag(config=True)
    max_resident = Int(help="how many model variants stay in memory").tag(config=True)
    store_gigabytes = Float(help="the most the store's features take on disk, in GB").tag(
        config=True
    )

    shell: InteractiveShell

    def __init__(self, shell: Any = None, **kwargs: Any) -> None:
        session = current()
        super().__init__(shell=shell, **kwargs)
        # What the user's configuration does not set is as the session has it.
        for name in _DEFAULTS:
            if name not in self._trait_values or self._trait_values[name] in ("", 0):
                setattr(self, name, getattr(session.defaults, name))
        if not self.max_resident:
            self.max_resident = session.manager.max_resident

    @observe("model", "variant", "max_new_tokens", "num_beams", "batch_size", "max_pixels")
    def _default_changed(self, change: Any) -> None:
        if change.new not in ("", 0):
            setattr(current().defaults, change.name, change.new)

    @observe("max_resident")
    def _max_resident_changed(self, change: Any) -> None:
        current().manager.max_resident = max(change.new, 1)

    @observe("store_gigabytes")
    def _store_size_changed(self, change: Any) -> None:
        current().store.max_bytes = int(change.new * 1e9)

    @needs_local_scope
    @keeps_braces
    @line_cell_magic
    def blip2(self, line: str, cell: str | None = None, local_ns: Any = None) -> Any:
        """Captions and answers for columns of pictures; `%blip2 help` shows the grammar."""
        options = grammar.parse(line.rstrip().rstrip(";"))
        names = {**self.shell.user_ns, **(local_ns or {})}
        if options.sub in ("caption", "ask"):
            return self._look(options, cell, names)
        if cell is not None:
            raise Blip2Error(f"%%blip2 {options.sub} takes no body; write %blip2 {options.sub}")
        command = getattr(self, f"_{options.sub}")
        return command(options)

    def _look(self, options: argparse.Namespace, cell: str | None, names: dict[str, Any]) -> Any:
        if not options.words:
            raise Blip2Error(
                f"%blip2 {options.sub} needs pictures: %blip2 {options.sub} df.image …"
            )
        images, frame = target(options.words[0], names)
        given = texts(options.words[1:], names)
        if cell is not None and given:
            raise Blip2Error("the prompts stand in the cell's body; take them off the first line")
        call = grammar.options_given(options) | {
            "frame": frame,
            "title": f"{options.sub} · {options.words[0]}",
            "start": not options.dry_run,
        }
        if options.sub == "caption":
            if len(given) > 1 or cell is not None:
                raise Blip2Error("a caption has one beginning; use %%blip2 ask for several prompts")
            result = api.caption(images, with_variables("".join(given), names), **call)
        else:
            prompts = grammar.prompts_in(cell) if cell is not None else {t: t for t in given}
            filled = {name: with_variables(text, names) for name, text in prompts.items()}
            several = filled if cell is not None or len(filled) > 1 else list(filled.values())
            result = api.ask(images, several, **call)
        if options.dry_run:
            print(_plan(result))
            return None
        if options.out:
            if not options.out.isidentifier():
                raise Blip2Error(f"-o takes a variable's name, and {options.out!r} is none")
            self.shell.user_ns[options.out] = result
        return _shown(result, options)

    def _models(self, _options: argparse.Namespace) -> Any:
        return models_frame()

    def _status(self, _options: argparse.Namespace) -> None:
        print(status_text(current()))

    def _use(self, options: argparse.Namespace) -> None:
        """Set defaults, once it is known that they can be run here."""
        defaults = current().defaults
        model = options.model or (options.words[0] if options.words else defaults.model)
        variant = options.variant or defaults.variant
        located = locate(parse(model))
        chosen = current().manager.choose(located, variant)
        self.model, self.variant = model, variant
        for name in ("max_new_tokens", "num_beams", "batch_size"):
            if getattr(options, name) is not None:
                setattr(self, name, getattr(options, name))
        print(f"using {model} · {chosen.name}" + (" (auto)" if variant == "auto" else ""))

    def _unload(self, options: argparse.Namespace) -> None:
        name = options.model or (options.words[0] if options.words else None)
        dropped = current().manager.unload(name, options.variant)
        if not dropped:
            print("nothing was loaded" if name is None else f"{name} was not loaded")
        for each in dropped:
            print(f"unloaded {each.name} · {each.variant.name} ({gigabytes(each.weights)})")

    def _cache(self, options: argparse.Namespace) -> None:
        words = options.words or ["stats"]
        store = current().store
        if words == ["stats"]:
            print(store.stats())
        elif words == ["path"]:
            print(store.path)
        elif words[0] == "clear" and (words[1:] or ["all"])[0] in ("all", "answers", "features"):
            what = (words[1:] or ["all"])[0]
            store.clear(what)
            print(f"cleared {what if what != 'all' else 'features, answers and aliases'}")
        else:
            raise Blip2Error(
                f"%blip2 cache has no {' '.join(words)!r}; write stats, path, or clear "
                "[answers | features | all]"
            )

    def _help(self, _options: argparse.Namespace) -> None:
        print(grammar.help_text())


_DEFAULTS = ("model", "variant", "max_new_tokens", "num_beams", "batch_size", "max_pixels")


def _shown(result: Result, options: argparse.Namespace) -> Any:
    """Show a result as the line asks. The gallery appears before a `--wait`, not after it."""
    display = "none" if options.quiet else options.display
    if display == "table":
        from IPython.display import display as show

        show(result.wait().df)
        return None
    if display == "widget" and options.wait:
        result.show(once=True)
    if options.wait:
        result.wait()
    return result if display == "widget" else None


def _plan(result: Result) -> str:
    """What a run would do, for --dry-run."""
    run = result.run
    total, stored = run.progress.total, run.count_stored()
    return (
        f"{len(run.cells)} pictures, {total} answers: {stored} stored already, "
        f"{total - stored} to compute with {run.located.checkpoint.name} · {run.variant.name}"
    )

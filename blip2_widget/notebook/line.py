"""The grammar of `%blip2`: SUB [TARGET] [TEXT …] [OPTIONS], and the body of `%%blip2`.

A target is a Python expression and a text may hold anything, so the line is first cut at the
spaces outside brackets and quotes, and only then given to argparse.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, get_args

from blip2_widget.errors import Blip2Error
from blip2_widget.formats import FORMATS
from blip2_widget.model import PRESETS
from blip2_widget.run import Method, choices_in, quoted
from blip2_widget.texts import listed

#: Every sub-command with the line that help shows for it.
SUBCOMMANDS = {
    "caption": 'caption pictures:  %blip2 caption df.image ["a photo of"]',
    "ask": 'ask about pictures:  %blip2 ask df.image "how many dogs are there?"',
    "chat": 'ask about one picture in turn:  %blip2 chat df.image.iloc[0] "what is it?" '
    '"what colour is it?"',
    "explore": "look at pictures without a model:  %blip2 explore df",
    "compare": 'answers side by side:  %blip2 compare df.image "a photo of" --variants '
    "cpu-fp32,cpu-int8",
    "match": "how well texts fit pictures, the best first:  %blip2 match df.image "
    '"a dog on a beach"',
    "search": "find the pictures nearest to a text or a picture:  %blip2 search df.image "
    '"a dog on a beach" -n 20',
    "map": "a map of pictures beside their gallery:  %blip2 map df.image [--method umap]",
    "retry": "ask again what failed or was stopped, of a result or of the last one:  "
    "%blip2 retry dogs",
    "score": "score answers against references, worst first:  %blip2 score dogs --refs df.answer",
    "export": "write answers to a file:  %blip2 export dogs dogs.parquet [--format imagefolder]",
    "import": "take earlier answers in:  %blip2 import old.csv df.image [--text caption]",
    "models": "list the checkpoints and what each needs on this machine",
    "status": "show what is in memory, what is in use by default, and what is stored",
    "use": "set defaults:  %blip2 use -m demo --variant cpu-bf16",
    "unload": "give models' memory back:  %blip2 unload [-m demo]",
    "cache": "the store of features and answers:  %blip2 cache [stats | path | clear [answers | "
    "features | imported | weights | all]]",
    "help": "show this help",
}

#: What `cache clear` can clear; weights are those that were quantised. What was imported is not
#: among all, since nothing can compute it again.
CLEARED = ("answers", "features", "imported", "weights", "all")

#: The options that match, search and map know of those of `ask`, in the words of the Python API.
MEASURES = (
    *("model", "variant", "n", "sample", "seed", "batch_size", "refresh", "cache", "on_error"),
)

_OPENING = {"(": ")", "[": "]", "{": "}"}


def split(line: str) -> list[str]:
    """Cut a line at spaces outside brackets and quotes; pieces keep their quotes.

    Raises Blip2Error for a quote or a bracket that is never closed.
    """
    pieces: list[str] = []
    piece = ""
    closing: list[str] = []
    at = 0
    while at < len(line):
        char = line[at]
        if char in "\"'":
            text = _quoted(line, at)
            piece += text
            at += len(text)
            continue
        if char.isspace() and not closing:
            if piece:
                pieces.append(piece)
            piece = ""
        else:
            if char in _OPENING:
                closing.append(_OPENING[char])
            elif closing and char == closing[-1]:
                closing.pop()
            piece += char
        at += 1
    if closing:
        raise Blip2Error(f"a bracket is not closed: {closing[-1]} is missing in {line.strip()!r}")
    return [*pieces, piece] if piece else pieces


def _quoted(line: str, start: int) -> str:
    """The string literal that begins at `start`, quotes included."""
    quote = line[start : start + 3]
    if quote not in ('"""', "'''"):
        quote = line[start]
    at = start + len(quote)
    while at < len(line):
        if line[at] == "\\":
            at += 2
        elif line.startswith(quote, at):
            return line[start : at + len(quote)]
        else:
            at += 1
    raise Blip2Error(f"a quote is not closed; put {quote} at the end of {line[start:].strip()}")


class _Parser(argparse.ArgumentParser):
    """argparse with errors in one line for the person, instead of an exit."""

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings]
            close = difflib.get_close_matches(unknown[1], known, n=1)
            hint = f"did you mean {close[0]}?" if close else "%blip2 help lists them"
            raise Blip2Error(f"there is no option {unknown[1]}; {hint}")
        raise Blip2Error(f"{message}; %blip2 help shows how the line is written")


def _bare(text: str) -> str:
    """An option's value without the quotes that a space in it calls for."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _listed(text: str) -> list[str]:
    return [piece.strip() for piece in _bare(text).split(",") if piece.strip()]


def _choices(text: str) -> list[str]:
    """Choices with commas between, or a Python list where they hold commas or quotes."""
    try:
        return choices_in(_bare(text))
    except Blip2Error as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="%blip2", add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("words", nargs="*")
    add("-o", "--out", metavar="NAME", type=_bare, help="bind the result to this name as well")
    add(
        "-m",
        "--model",
        type=_bare,
        help="a checkpoint: opt-2.7b, demo, …, a folder, a Hub id[@revision]",
    )
    add("--variant", type=_bare, help="auto, or one such as cpu-bf16 or cuda-int4")
    add("--models", type=_listed, metavar="M,M", help="compare: checkpoints, with commas between")
    add("--variants", type=_listed, metavar="V,V", help="compare: variants, with commas between")
    add("-n", type=int, help="only the first N rows; search: find N, of all (20)")
    add("--sample", type=int, metavar="N", help="only N rows, drawn at random (with --seed)")
    add("--seed", type=int, help="makes a random choice repeatable")
    add("--batch-size", type=int, metavar="N", help="answers computed at a time")
    add(
        "--choices",
        type=_choices,
        metavar="A,B",
        help="rank these answers, with commas between, by how likely each is; {column}: each "
        "row's own",
    )
    add("--length-normalised", action="store_true", help="rank choices by their tokens' mean")
    add(
        "-k",
        "--num-captions",
        dest="k",
        type=int,
        metavar="N",
        help="N answers to choose from: of N beams, or sampled",
    )
    add("--preset", choices=list(PRESETS), help="LAVIS' settings for captions or for questions")
    add(
        "--max-new-tokens",
        "--max-length",
        type=int,
        metavar="N",
        help="the longest answer, in tokens",
    )
    add(
        "--min-new-tokens",
        "--min-length",
        type=int,
        metavar="N",
        help="the shortest answer, in tokens",
    )
    add("--num-beams", type=int, metavar="N", help="search this many beams")
    add("--length-penalty", type=float, metavar="P", help="above 0 beams prefer long answers")
    add("--repetition-penalty", type=float, metavar="P", help="above 1 words are repeated less")
    add("--temperature", type=float, metavar="T", help="sample, more freely the higher it is")
    add("--top-p", type=float, metavar="P", help="sample from the likeliest P only")
    add("--refresh", action="store_true", help="compute again what is stored")
    add("--no-cache", action="store_true", help="neither read nor write the store")
    add("--on-error", choices=["null", "raise"], default="null", help="failed rows: empty, or fail")
    add("--no-rerank", action="store_true", help="search: by similarity alone, without matching")
    add("--method", choices=list(get_args(Method)), default="pca", help="map: how it is laid out")
    add("--refs", metavar="COLUMN", help="score: the right texts, one or several a row")
    add("--rule", choices=["vqa", "gqa"], default="vqa", help="score: whose rule is right")
    add("--spice", action="store_true", help="score: SPICE too, which takes long")
    add(
        "--format",
        metavar="F",
        type=_bare,
        help=f"export, import: {', '.join(FORMATS)}",
    )
    add(
        "--column",
        metavar="NAME",
        type=_bare,
        help="export, score: only this column of answers; import, ray: the file's pictures",
    )
    add("--overwrite", action="store_true", help="export, ray: replace what is there")
    add("--text", metavar="NAME", type=_bare, help="import: the file's column of texts")
    add("--kind", choices=["caption", "question"], help="import: what the texts are")
    add("--prompt", metavar="TEXT", type=_bare, help="import: the question that the texts answer")
    add(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="caption, ask: ray answers in pieces, on this machine or a cluster, into a folder",
    )
    add("--to", metavar="FOLDER", type=_bare, help="ray: where the answers go, in Parquet")
    add("--actors", type=int, metavar="N", help="ray: so many processes, each with the model")
    add("--rows-per-part", type=int, metavar="N", help="ray: rows answered at a time (512)")
    add("--wait", action="store_true", help="end the cell only when the run has ended")
    add(
        "--display",
        choices=["widget", "table", "none"],
        default="widget",
        help="the gallery, the finished frame, or nothing",
    )
    add("-q", "--quiet", action="store_true", help="show nothing")
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")
    return parser


#: Parses a cut line; also where completion and help take their options from.
PARSER = _parser()


def parse(line: str) -> argparse.Namespace:
    """A `%blip2` line as options; `.sub` is the sub-command, `.words` what follows it."""
    return parse_words(split(line))


def parse_words(words: Sequence[str]) -> argparse.Namespace:
    """The same of a line that is cut already."""
    # LAVIS and Python write --num_beams.
    dashed = [re.sub(r"^--[a-z_]+", lambda flag: flag[0].replace("_", "-"), word) for word in words]
    options = PARSER.parse_intermixed_args(dashed)
    options.sub, options.words = (
        (options.words[0], options.words[1:]) if options.words else ("help", [])
    )
    if options.sub not in SUBCOMMANDS:
        close = difflib.get_close_matches(options.sub, SUBCOMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"write one of {', '.join(SUBCOMMANDS)}"
        raise Blip2Error(f"%blip2 has no {options.sub!r}; {hint}")
    return options


#: The options that belong to some sub-commands alone.
_OF = {
    **dict.fromkeys(("models", "variants"), ("compare",)),
    **dict.fromkeys(("refs", "rule", "spice"), ("score",)),
    "format": ("export", "import"),
    "column": ("export", "import", "score", "caption", "ask"),
    "method": ("map",),
    "overwrite": ("export", "caption", "ask"),
    **dict.fromkeys(("engine", "to", "actors", "rows_per_part"), ("caption", "ask")),
    "no_rerank": ("search",),
    **dict.fromkeys(("text", "kind", "prompt"), ("import",)),
}
#: What is said of asking means nothing to these; on_error to those that ask again.
_ASK_NOTHING = ("export", "import", "score", "retry")


def check_options(options: argparse.Namespace) -> None:
    """Raise Blip2Error for an option that the sub-command has no use for, which would else be
    passed over in silence."""
    said, usual = vars(options), vars(parse(options.sub))
    given = [name for name in said if said[name] != usual[name]]
    for name in given:
        subs = _OF.get(name, (options.sub,))
        if options.sub not in subs:
            raise Blip2Error(f"{flag_of(name)} is for {listed(subs)}; leave it out")
    if options.sub in _ASK_NOTHING:
        asking = {*options_given(options), "no_cache"} - (
            {"on_error"} if options.sub == "retry" else set()
        )
        for name in given:
            if name in asking:
                raise Blip2Error(
                    f"{options.sub} has no use for {flag_of(name)}; leave it out, or ask anew"
                )


def path_in(word: str) -> str:
    """A path as it is written in a line: bare, or in quotes."""
    return _bare(word)


def options_given(options: argparse.Namespace) -> dict[str, Any]:
    """What the line says, in the words of the Python API."""
    return {
        "model": options.model,
        "variant": options.variant,
        "n": options.n,
        "sample": options.sample,
        "seed": options.seed,
        "batch_size": options.batch_size,
        "max_new_tokens": options.max_new_tokens,
        "num_beams": options.num_beams,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "min_new_tokens": options.min_new_tokens,
        "length_penalty": options.length_penalty,
        "repetition_penalty": options.repetition_penalty,
        "preset": options.preset,
        "k": options.k,
        "choices": options.choices,
        "length_normalised": options.length_normalised,
        "refresh": options.refresh,
        "cache": not options.no_cache,
        "on_error": options.on_error,
    }


def engine_given(options: argparse.Namespace) -> dict[str, Any]:
    """What the line says of where it is run, in the words of the Python API."""
    return {
        "engine": options.engine,
        "out": options.to,
        "actors": options.actors,
        "rows_per_part": options.rows_per_part,
        "column": options.column,
        "overwrite": options.overwrite,
    }


def options_written(options: Mapping[str, Any]) -> str:
    """The end of a line that says these options of the Python API, as `options_given` reads them.

    None cannot be written: it is what a line says that leaves an option out.
    """
    words: list[str] = []
    for name, value in options.items():
        flag = flag_of(name)
        if isinstance(value, bool):
            words += [flag] if value != (name == "cache") else []
        elif isinstance(value, str):
            words += [flag, _in_quotes(value)]
        elif isinstance(value, Sequence):
            words += [flag, _choices_written(value)]
        elif value is not None:
            # Not every negative number is one to argparse.
            words += [f"{flag}={value}"] if value < 0 else [flag, str(value)]
    return " ".join(words)


def flag_of(name: str) -> str:
    """How a line writes an option of the Python API."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


#: The options whose flags are not their names.
_FLAGS = {"model": "-m", "n": "-n", "k": "-k", "cache": "--no-cache"}


def _in_quotes(text: str) -> str:
    """An option's value, in quotes where it would be cut or taken for something else."""
    if re.fullmatch(r"[^\s\"'()\[\]{}-][^\s\"'()\[\]{}]*", text):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


def _choices_written(choices: Sequence[str]) -> str:
    """Choices with commas between, or as a list where one holds what would be cut."""
    if all(re.fullmatch(r"[^\s\"'()\[\]{},-][^\s\"'()\[\]{},]*", each) for each in choices):
        return ",".join(choices)
    return f"[{', '.join(map(quoted, choices))}]"


def prompts_in(body: str) -> dict[str, str]:
    """The prompts of a cell's body: one a line, or "name: prompt"; blank and # lines skipped.

    A line without a name is named by its text.
    """
    prompts: dict[str, str] = {}
    for line in body.splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        named = re.match(r"([A-Za-z_]\w*)\s*:\s*(\S.*)", text)
        name, prompt = (named[1], named[2]) if named else (text, text)
        if name in prompts:
            raise Blip2Error(f"two prompts are called {name!r}; each names a column")
        prompts[name] = prompt
    if not prompts:
        raise Blip2Error("the cell's body holds no prompt; write one a line, or name: prompt")
    return prompts


def help_text() -> str:
    """All of the grammar on one page."""
    width = max(len(name) for name in SUBCOMMANDS)
    lines = [
        "%blip2 SUB [TARGET] [TEXT …] [OPTIONS]",
        "%%blip2 SUB TARGET [OPTIONS]     body: a prompt a line, or  name: prompt",
        "",
        *(f"  {name:{width}}  {text}" for name, text in SUBCOMMANDS.items()),
        "",
        'TARGET is a Python expression or a glob: df.image, df["my image"], paths, "photos/*.jpg".',
        "TEXT stands in quotes, or is the name of a str or a list of str. {column} in it is the",
        "row's value, {@name} a variable, {{ }} are braces. Always quote a question: IPython takes",
        "a line that ends in ? outside quotes as a call for help.",
        "",
    ]
    for action in PARSER._actions:
        if action.option_strings:
            names = ", ".join(action.option_strings)
            value = action.metavar or ("|".join(action.choices) if action.choices else "")
            value = str(value or ("" if action.nargs == 0 else (action.dest or "").upper()))
            lines.append(f"  {f'{names} {value}':32} {action.help or ''}".rstrip())
    return "\n".join(lines)

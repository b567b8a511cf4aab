"""Captions against references: CIDEr-D, BLEU, ROUGE-L, METEOR and SPICE as COCO counts them.

All are computed by `pycocoevalcap`, the COCO caption challenge's own code for Python 3
(https://github.com/salaniz/pycocoevalcap). METEOR, SPICE and the tokenizer are Java programs that
come with it; SPICE has models beside it that it would download, which is never done here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from blip2_widget.errors import Blip2Error
from blip2_widget.scores.metric import Metric
from blip2_widget.scores.tokenizer import words

JAVA_TOKENIZER: Final = "Stanford PTBTokenizer 3.4.1"
OWN_TOKENIZER: Final = "plain Python after PTB rules"

#: What the tokenizer must give back last: else a line of it was cut in two or lost.
_LAST: Final = "lastcaption"
#: What `pycocoevalcap` writes between the parts of METEOR's lines.
_PARTING: Final = "|||"
_BLEU_ORDERS: Final = 4
#: Of the published BLEU, so that nothing is divided by zero.
_SMALL, _TINY = 1e-9, 1e-15
#: METEOR's parameters for English: of precision and recall, of fragments, of content words, and of
#: exact matches, stems, synonyms and paraphrases.
_METEOR_ALPHA, _METEOR_BETA, _METEOR_GAMMA, _METEOR_CONTENT = 0.85, 0.2, 0.6, 0.75
_METEOR_KINDS: Final = np.array([1.0, 0.6, 0.8, 0.6])


@dataclass(frozen=True)
class Tokenized:
    """Captions and their references as words, by which tokenizer, and what to know of that."""

    captions: list[str]
    references: list[list[str]]
    tokenizer: str
    notes: tuple[str, ...] = ()


def measure(tokens: Tokenized, *, spice: bool = False) -> tuple[list[Metric], list[str]]:
    """Every metric that can be had here, CIDEr-D first, and why others cannot.

    Raises Blip2Error where pycocoevalcap is not installed.
    """
    _require()
    found = [_cider(tokens), *_bleu(tokens), _rouge(tokens)]
    notes = []
    for name, compute in {"METEOR": _meteor, **({"SPICE": _spice} if spice else {})}.items():
        if shutil.which("java") is None:
            notes.append(f"{name} is left out, since it needs Java, which was not found")
            continue
        try:
            found.append(compute(tokens))
        except Blip2Error as error:
            notes.append(str(error))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            notes.append(f"{name} is left out, since its program failed: {_line(error)}")
    return found, notes


def tokenize(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Tokenized:
    """Words as COCO's evaluation has them; without Java by `tokenizer.words`, and a note says so.

    Raises Blip2Error where pycocoevalcap is not installed.
    """
    _require()
    rows = [
        [_on_one_line(text) for text in (caption, *said)]
        for caption, said in zip(captions, references, strict=True)
    ]
    why = "Java was not found"
    if shutil.which("java") is not None:
        try:
            return _tokenized(_by_java(rows), JAVA_TOKENIZER)
        except (OSError, ValueError) as error:
            why = f"Java's tokenizer failed ({_line(error)})"
    note = f"{why}, so captions are cut into words by another tokenizer than COCO's"
    return _tokenized([[words(text) for text in row] for row in rows], OWN_TOKENIZER, note)


def _tokenized(rows: list[list[str]], tokenizer: str, *notes: str) -> Tokenized:
    return Tokenized([row[0] for row in rows], [row[1:] for row in rows], tokenizer, notes)


def _on_one_line(text: str) -> str:
    """The same with a space for whatever Java takes for the end of a line."""
    return " ".join(text.split())


def _by_java(rows: list[list[str]]) -> list[list[str]]:
    """The words that `pycocoevalcap` takes, by its tokenizer's program. Its own `tokenize` lets the
    program write to the terminal, and needs to write beside itself.

    Raises ValueError where the program fails, or gives back no line for each caption.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    texts = [text for row in [*rows, [_LAST]] for text in row]
    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    program = ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    ended = subprocess.run(
        ["java", "-cp", str(jar), *program], input="\n".join(texts).encode(), capture_output=True
    )
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").split("\n")
        raise ValueError(said[0].strip() or f"it ended in {ended.returncode}")
    lines = iter(
        " ".join(word for word in line.split() if word not in ptbtokenizer.PUNCTUATIONS)
        for line in ended.stdout.decode().removesuffix("\n").split("\n")
    )
    found = [[next(lines, "") for _ in row] for row in rows]
    if list(lines) != [_LAST]:
        raise ValueError("a line is missing")
    return found


def _keyed(tokens: Tokenized) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """References and captions by row, as pycocoevalcap wants them."""
    return dict(enumerate(tokens.references)), {
        at: [caption] for at, caption in enumerate(tokens.captions)
    }


def _cider(tokens: Tokenized) -> Metric:
    from pycocoevalcap.cider.cider import Cider

    _, rows = Cider().compute_score(*_keyed(tokens))
    return Metric.mean_of("CIDEr-D", rows)


def _rouge(tokens: Tokenized) -> Metric:
    from pycocoevalcap.rouge.rouge import Rouge

    _, rows = Rouge().compute_score(*_keyed(tokens))
    return Metric.mean_of("ROUGE-L", rows)


def _bleu(tokens: Tokenized) -> list[Metric]:
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=_BLEU_ORDERS)
    for caption, references in zip(tokens.captions, tokens.references, strict=True):
        scorer += (caption, references)
    values, rows = scorer.compute_score(option="closest", verbose=0)
    counted = np.array([_bleu_counts(row) for row in scorer.ctest], np.float64)
    return [
        Metric(
            f"BLEU-{order}",
            float(values[order - 1]),
            np.array(rows[order - 1]),
            counted,
            lambda sums, order=order: _bleu_of(sums, order),  # type: ignore[misc]
        )
        for order in range(1, _BLEU_ORDERS + 1)
    ]


def _bleu_counts(row: dict[str, Any]) -> list[float]:
    """What BLEU sums over rows: lengths of caption and reference, and of each order how many
    n-grams there are and how many of them are right."""
    length = row["testlen"]
    closest = min(row["reflen"], key=lambda each: (abs(each - length), each))
    return [length, closest, *row["guess"], *row["correct"]]


def _bleu_of(sums: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """BLEU of summed counts, as published with its small constants."""
    guessed, correct = sums[..., 2 : 2 + order], sums[..., 2 + _BLEU_ORDERS :][..., :order]
    precision = np.prod((correct + _TINY) / (guessed + _SMALL), axis=-1) ** (1 / order)
    ratio = (sums[..., 0] + _TINY) / (sums[..., 1] + _SMALL)
    scores: NDArray[np.float64] = precision * np.exp(np.minimum(0, 1 - 1 / ratio))
    return scores


def _meteor(tokens: Tokenized) -> Metric:
    """METEOR sums counts over rows too."""
    with closing(_Meteor()) as program:
        lines = [
            program.counts(caption, references)
            for caption, references in zip(tokens.captions, tokens.references, strict=True)
        ]
        counted = np.array([line.split() for line in lines], np.float64)
        *rows, value = program.scores(counted)
    # Its sum over rows leaves out the one chunk of a caption that is its reference.
    length, wanted, chunks, found, of_wanted = counted[:, [0, 1, 20, 21, 22]].T
    counted[(found == length) & (of_wanted == wanted) & (chunks == 1), 20] = 0
    return Metric("METEOR", value, np.array(rows), counted, _meteor_of)


def _meteor_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """METEOR 1.5 of summed counts for English (Denkowski and Lavie 2014), as its program computes
    it, which takes 10 s to start.

    The counts are lengths of caption and reference, how many of these words are function words,
    for each of four kinds of match the matched content and function words on either side, the
    chunks, and the matched words on either side.
    """
    length, wanted, function, wanted_function = np.moveaxis(sums[..., :4], -1, 0)
    matched = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    chunks, found, of_wanted = np.moveaxis(sums[..., 20:], -1, 0)
    content = _METEOR_CONTENT
    with np.errstate(divide="ignore", invalid="ignore"):  # where nothing matches
        precision = (content * matched[..., 0] + (1 - content) * matched[..., 2]) @ _METEOR_KINDS
        precision = precision / (content * (length - function) + (1 - content) * function)
        recall = (content * matched[..., 1] + (1 - content) * matched[..., 3]) @ _METEOR_KINDS
        recall = recall / (content * (wanted - wanted_function) + (1 - content) * wanted_function)
        both = precision * recall / (_METEOR_ALPHA * precision + (1 - _METEOR_ALPHA) * recall)
        fragments = 2 * chunks / (found + of_wanted)
        scores = both * (1 - _METEOR_GAMMA * fragments**_METEOR_BETA)
    known: NDArray[np.float64] = np.nan_to_num(scores)
    return known


class _Meteor:
    """METEOR's program, asked line by line."""

    def __init__(self) -> None:
        from pycocoevalcap.meteor.meteor import Meteor

        self._library = Meteor()
        self._process = self._library.meteor_p

    def counts(self, caption: str, references: list[str]) -> str:
        """The counts of one row, against the best of its references."""
        told = [each.replace(_PARTING, "") for each in references]
        # Not `compute_score`: where that fails it keeps a lock that its own end waits for.
        return str(self._library._stat(caption, told))

    def scores(self, counted: NDArray[np.float64]) -> list[float]:
        """The score of each line of counts, and at last that of all together."""
        lines = [" ".join(map(str, row)) for row in counted.tolist()]
        self._process.stdin.write(f"EVAL {_PARTING} {f' {_PARTING} '.join(lines)}\n".encode())
        self._process.stdin.flush()
        return [float(self._process.stdout.readline()) for _ in range(len(lines) + 1)]

    def close(self) -> None:
        with suppress(OSError):  # what was still to be written, to a program that has ended
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            pipe.close()


def _spice(tokens: Tokenized) -> Metric:
    from pycocoevalcap.spice import spice

    if not has_spice_models():  # without which it would go for them
        raise Blip2Error(
            "SPICE is left out, since its language models are not there; "
            "python -m pycocoevalcap.spice.get_stanford_models downloads them"
        )
    _, parts = spice.Spice().compute_score(*_keyed(tokens))
    rows = np.array([row["All"]["f"] for row in parts], np.float64)
    return Metric.mean_of("SPICE", rows)


def has_spice_models() -> bool:
    """Whether Stanford's parser and its models, which SPICE needs, lie beside it."""
    from pycocoevalcap.spice import spice

    found = (Path(spice.__file__).parent / "lib").glob("stanford-corenlp-*.jar")
    return len(list(found)) >= 2


def _require() -> None:
    try:
        import pycocoevalcap.cider.cider  # noqa: F401
    except ModuleNotFoundError:
        raise Blip2Error(
            "scores of captions need pycocoevalcap; pip install 'blip2-widget[scores]'"
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

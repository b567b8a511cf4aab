"""Which checkpoints there are, what a person may call them, and where their files lie.

Nothing here imports torch or transformers: a question that was answered before must be found
in the store without either.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model.sizes import Sizes, sizes_of_folder, sizes_of_tensors, weights_in

DEFAULT = "opt-2.7b"
DEFAULT_RETRIEVAL = "itm-vit-g"

#: Parameter counts of the published checkpoints, so that a plan needs no download. They were
#: counted on the architectures built without weights; tests/model/test_catalogue.py counts again.
_OPT_27B = Sizes(985_952_256, 107_130_880, 2_516_582_400, 135_096_320)
_OPT_67B = Sizes(985_952_256, 108_312_064, 6_442_450_944, 216_154_112)
_T5_XL = Sizes(985_952_256, 106_737_152, 2_717_908_992, 131_848_192)
_T5_XXL = Sizes(985_952_256, 108_312_064, 10_871_635_968, 263_696_384)

PUBLISHED: dict[str, Sizes] = {
    "opt-2.7b": _OPT_27B,
    "opt-2.7b-coco": _OPT_27B,
    "opt-6.7b": _OPT_67B,
    "opt-6.7b-coco": _OPT_67B,
    "flan-t5-xl": _T5_XL,
    "flan-t5-xl-coco": _T5_XL,
    "flan-t5-xxl": _T5_XXL,
}

#: Those that match pictures with texts: no language model, and a Q-Former that reads texts.
RETRIEVAL: dict[str, Sizes] = {
    "itm-vit-g": Sizes(985_952_256, 186_080_002, 0, 0),
    "itm-vit-g-coco": Sizes(986_543_616, 186_080_002, 0, 0),  # for pictures of 364 pixels
}

#: What a checkpoint is for: writing answers to prompts, or matching pictures with texts.
Task = Literal["answer", "match"]

#: The bundled checkpoints by name: where they are, and what each is for.
_BUNDLED: dict[str, tuple[Path, Task]] = {
    "demo": (demo.CHECKPOINT, "answer"),
    "demo-retrieval": (demo.RETRIEVAL, "match"),
}

#: transformers' class of the checkpoints that match, as their configuration names it.
_MATCHES = "Blip2ForImageTextRetrieval"

#: What is fetched from the Hub. Weights by safetensors only: a pickle may run code.
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]

#: Seconds to wait for the Hub's first answer before it counts as unreachable.
_HUB_TIMEOUT = 5.0

#: Called with the bytes that are there and the bytes there will be.
DownloadProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint by name, before anything of it was read.

    `name` is what a person wrote, `source` a folder or a Hub id, `revision` a branch, tag or
    commit of the Hub repository (None: main; always None for a folder).
    """

    name: str
    source: str
    revision: str | None = None

    @property
    def label(self) -> str:
        """The name as it is shown: of a folder its last part, which is the same everywhere."""
        return Path(self.name).name if self.is_folder else self.name

    @property
    def known_as(self) -> str:
        """What people's words on its answers are kept under: readable, and the same by whichever
        name it was asked for."""
        if self.name in _BUNDLED:  # whose folder is where the package is installed
            return self.name
        return f"{self.source}@{self.revision}" if self.revision else self.source

    @property
    def is_folder(self) -> bool:
        return Path(self.source).is_dir()


@dataclass(frozen=True)
class Located:
    """A checkpoint whose configuration and exact revision are known.

    `folder` is None while the weights are still to be downloaded. `commit` is the Hub's commit,
    or a fingerprint of a folder's files; answers are stored under it.
    """

    checkpoint: Checkpoint
    commit: str
    config: dict[str, Any]
    sizes: Sizes
    folder: Path | None

    @property
    def task(self) -> Task:
        return "match" if _MATCHES in (self.config.get("architectures") or ()) else "answer"

    @property
    def family(self) -> str:
        """The language model's family, "opt" or "t5"; "itm" of one that matches and has none."""
        if self.task == "match":
            return "itm"
        return str(self.config.get("text_config", {}).get("model_type", "opt"))

    @property
    def identity(self) -> str:
        """What the store knows this checkpoint by: its source at its exact revision.

        A folder is known by its fingerprint alone: moved or installed elsewhere, it is the same.
        """
        source = "folder" if self.checkpoint.is_folder else self.checkpoint.source
        return f"{source}@{self.commit}"


def names(task: Task = "answer") -> list[str]:
    """The names that need no path or Hub id, of the checkpoints for a task."""
    published = PUBLISHED if task == "answer" else RETRIEVAL
    return [*published, *(name for name, (_, for_task) in _BUNDLED.items() if for_task == task)]


def parse(name: str) -> Checkpoint:
    """The checkpoint that `name` means: a catalogue name, a folder, or a Hub id with an
    optional `@revision`.

    Raises Blip2Error with close names where it means none.
    """
    if name in _BUNDLED:
        return Checkpoint(name, str(_BUNDLED[name][0]))
    stem, _, revision = name.partition("@")
    short = stem.removeprefix("Salesforce/").removeprefix("blip2-")
    if short in PUBLISHED or short in RETRIEVAL:
        return Checkpoint(name, f"Salesforce/blip2-{short}", revision or None)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise Blip2Error(
                f"the folder {name} holds no config.json, so it is no checkpoint; give the folder "
                "that save_pretrained wrote"
            )
        return Checkpoint(name, str(folder.resolve()))
    if stem.count("/") == 1 and not name.startswith((".", "/", "~")):
        return Checkpoint(name, stem, revision or None)
    known = [*names(), *names("match")]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"write one of {', '.join(known)}"
    raise Blip2Error(
        f"there is no checkpoint {name!r}; {hint} A folder or a Hub id (owner/name) works too."
        if close
        else f"there is no checkpoint {name!r}; {hint}, a folder, or a Hub id (owner/name)"
    )


def locate(checkpoint: Checkpoint, task: Task | None = "answer") -> Located:
    """Find a checkpoint's configuration, revision and sizes; downloads no weights. None takes it
    for whichever task it is.

    What is on disk is taken as it is, without asking the Hub. Otherwise config.json is fetched.
    Raises Blip2Error in one line where the Hub is offline, unreachable or lacks the checkpoint, and
    where the checkpoint is for another task: before anything is asked of the Hub, if it is known.
    """
    if task is None:
        return _locate(checkpoint)
    short = checkpoint.source.removeprefix("Salesforce/blip2-")
    if short in (RETRIEVAL if task == "answer" else PUBLISHED):
        raise _for_another(checkpoint, task)
    located = _locate(checkpoint)
    if located.task != task:
        raise _for_another(checkpoint, task)
    return located


def fetch(located: Located, progress: DownloadProgress | None = None) -> Path:
    """The folder of a checkpoint's files, downloaded to the Hub's own cache where they are not
    on disk. `progress` hears the bytes so far and in all."""
    if located.folder is not None:
        return located.folder
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                located.checkpoint.source,
                revision=located.commit,
                allow_patterns=_FILES,
                tqdm_class=_reporting_tqdm(progress),
            )
        )
    except Exception as error:
        raise _unreachable(located.checkpoint, error) from error


def _locate(checkpoint: Checkpoint) -> Located:
    if checkpoint.is_folder:
        folder = Path(checkpoint.source)
        return Located(
            checkpoint, _fingerprint(folder), _read_config(folder), sizes_of_folder(folder), folder
        )
    cached = _cached_snapshot(checkpoint)
    if cached is not None:
        return Located(
            checkpoint, cached.name, _read_config(cached), sizes_of_folder(cached), cached
        )
    config = _from_hub(checkpoint, "config.json")
    short = checkpoint.source.removeprefix("Salesforce/blip2-")
    sizes = PUBLISHED.get(short) or RETRIEVAL.get(short) or _sizes_on_hub(checkpoint)
    return Located(checkpoint, config.parent.name, _read_config(config.parent), sizes, None)


def _for_another(checkpoint: Checkpoint, task: Task) -> Blip2Error:
    """What to write in place of a checkpoint that is not for this task."""
    if task == "answer":
        return Blip2Error(
            f"{checkpoint.label} matches pictures with texts and writes none; "
            f"write -m {DEFAULT} (or -m demo)"
        )
    return Blip2Error(
        f"{checkpoint.label} writes texts and was not trained to match them with pictures; "
        f"write -m {DEFAULT_RETRIEVAL} (or -m demo-retrieval)"
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config["model_type"]
    except (ValueError, TypeError, KeyError, RecursionError):  # no JSON, or of something else
        raise Blip2Error(
            f"{folder / 'config.json'} is no configuration of a model; save the checkpoint again "
            "with save_pretrained"
        ) from None
    if kind != "blip-2":
        raise Blip2Error(f"{folder} holds a model of type {kind!r}; give a BLIP-2 checkpoint")
    return dict(config)


def _cached_snapshot(checkpoint: Checkpoint) -> Path | None:
    """The Hub cache's folder for a checkpoint that is there in full, without a request."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                checkpoint.source,
                revision=checkpoint.revision,
                allow_patterns=_FILES,
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None
    complete = (folder / "config.json").is_file() and weights_in(folder)
    return folder if complete else None


def _from_hub(checkpoint: Checkpoint, filename: str) -> Path:
    """One small file of a repository, or one line at once where it cannot be had."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        # Asked first because, unlike a download, it is not tried again and again.
        HfApi().model_info(checkpoint.source, revision=checkpoint.revision, timeout=_HUB_TIMEOUT)
        # By the revision's name and not by its commit, so that the cache notes which commit the
        # name stands for, and the checkpoint is found there without the Hub next time.
        return Path(hf_hub_download(checkpoint.source, filename, revision=checkpoint.revision))
    except GatedRepoError as error:
        raise Blip2Error(
            f"{checkpoint.source} asks for a licence to be accepted on its Hub page; do that and "
            "log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise Blip2Error(
            f"{checkpoint.source} has no revision {checkpoint.revision!r}; leave @… out for main"
        ) from error
    except RepositoryNotFoundError as error:
        raise Blip2Error(
            f"the Hub has no {checkpoint.source} (or it is private: `hf auth login`); "
            f"write one of {', '.join(names())}, or a folder"
        ) from error
    except Exception as error:  # of one of several HTTP libraries, by the Hub client's version
        raise _unreachable(checkpoint, error) from error


def _sizes_on_hub(checkpoint: Checkpoint) -> Sizes:
    """Sizes from the headers of a repository's safetensors files, read without their tensors."""
    from huggingface_hub import get_safetensors_metadata
    from huggingface_hub.errors import NotASafetensorsRepoError

    try:
        metadata = get_safetensors_metadata(checkpoint.source, revision=checkpoint.revision)
    except NotASafetensorsRepoError as error:
        raise Blip2Error(
            f"{checkpoint.source} has no safetensors weights, and pickled ones may run code; "
            "give a revision that has them (owner/name@refs/pr/…)"
        ) from error
    except Exception as error:
        raise _unreachable(checkpoint, error) from error
    shapes = {
        name: tuple(tensor.shape)
        for file in metadata.files_metadata.values()
        for name, tensor in file.tensors.items()
    }
    return sizes_of_tensors(shapes)


def _unreachable(checkpoint: Checkpoint, error: Exception) -> Blip2Error:
    from huggingface_hub import constants

    why = f"the Hub cannot be reached ({type(error).__name__})"
    if constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE is set"
    if isinstance(error, OSError) and error.errno == 28:
        return Blip2Error("the disk is full; free some space, or move the Hub's cache by HF_HOME")
    matches = checkpoint.source.removeprefix("Salesforce/blip2-") in RETRIEVAL
    bundled = "demo-retrieval" if matches else "demo"
    return Blip2Error(
        f"{checkpoint.source} is not on this disk and {why}; write -m {bundled} for the bundled "
        "demo checkpoint, or -m FOLDER for one that save_pretrained wrote, or put the weights "
        f"into {constants.HF_HUB_CACHE}"
    )


def _fingerprint(folder: Path) -> str:
    """Names a folder's contents: small files by their bytes, large weights by size and time."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix not in {".json", ".safetensors", ".txt", ".model"}:
            continue
        status = file.stat()
        digest.update(f"{file.name}\0{status.st_size}\0".encode())
        if status.st_size <= 32 << 20:
            digest.update(file.read_bytes())
        else:
            digest.update(str(status.st_mtime_ns).encode())
    return digest.hexdigest()[:40]


def _reporting_tqdm(progress: DownloadProgress | None) -> Any:
    """A tqdm class that prints nothing and tells how far a download is.

    The Hub's client draws the same bytes twice, as they are received and as they are written.
    """
    from tqdm import tqdm

    bars: dict[int, tuple[int, int]] = {}
    numbers = itertools.count()

    class Reporting(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._number = next(numbers)
            self._counts_bytes = kwargs.get("unit") == "B"
            kwargs.pop("name", None)  # the Hub client's own, which tqdm does not know
            super().__init__(*args, **(kwargs | {"file": io.StringIO()}))

        def update(self, n: float | None = 1) -> None:
            super().update(n)
            if self._counts_bytes and progress is not None:
                bars[self._number] = (int(self.n), int(self.total or self.n))
                # The last bar counts what is on the disk.
                progress(*bars[max(bars)])

    return Reporting

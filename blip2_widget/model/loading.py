"""A checkpoint's folder in, a model and its processor out, in the precision of a variant."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from blip2_widget.errors import Blip2Error
from blip2_widget.model import distance, nf4_packing
from blip2_widget.model.memory import trim
from blip2_widget.model.sides import (
    NOTHING_KEPT,
    VISION_PARTS,
    Files,
    Side,
    notes,
    opened,
    side_of,
    stored,
    write,
)
from blip2_widget.model.variants import Variant

if TYPE_CHECKING:
    import torch
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2PreTrainedModel,
        Blip2Processor,
    )

_log = logging.getLogger(__name__)

#: Called with how many weights have been placed, and of how many.
LoadProgress = Callable[[int, int], None]

#: What int8 and int4 leave alone. It replaces bitsandbytes' own list, so the head is named too.
_NOT_QUANTIZED = ["vision_model", "qformer", "language_projection", "lm_head"]
#: Held while transformers loads: meanwhile it patches its own classes, and two loads at a time in
#: one process would leave the patch there, after which no tied weight is found any more.
_loading = threading.Lock()
#: Seconds to wait at most while another thread makes a model, before it reads the weights.
_OTHERS_TAKE = 10.0
#: How far a kept int8 vision side was measured to move features, as its file notes it.
_DISTANCE = "vision_distance"


class UnreadableError(Blip2Error):
    """Files that are no checkpoint that transformers can read."""


def load_model(
    folder: Path,
    variant: Variant,
    progress: LoadProgress | None = None,
    *,
    files: Files = NOTHING_KEPT,
    vision: Mapping[str, Any] | None = None,
) -> tuple[Blip2PreTrainedModel, Blip2Processor]:
    """Load a checkpoint from safetensors files onto the variant's device, ready to be used: a
    `Blip2ForImageTextRetrieval` where its configuration says so, else one that generates.

    `files` stand for the checkpoint's own, side by side: already in the variant's precision.
    `vision` is the `vision_side` of a model of this checkpoint that has it in common with this
    variant: it is shared, and not loaded again.

    Raises UnreadableError where the files are not a BLIP-2 checkpoint that transformers can read,
    and TooFarError where int8 vision changes its features too much.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import Blip2Config, GenerationConfig

    quantizes = variant.quantization is not None and files.language is None
    reads_int8 = variant.int8_vision and files.vision is not None and vision is None
    quantizes_vision = variant.int8_vision and files.vision is None and vision is None
    if reads_int8 or quantizes_vision:
        _check_int8_runs(variant)
    options: dict[str, Any] = {}

    def placed(done: int, total: int) -> None:
        if quantizes and not variant.is_cuda:
            # Quantising frees blocks that the C library keeps: 10 GB of them for opt-2.7b in
            # int4, five times the model. Source: `python -m benchmarks load`, with and without.
            trim()
        if progress is not None:
            progress(done, total)

    with _loading, _quiet(), _weights_bar(placed):
        try:
            config = Blip2Config.from_pretrained(folder, local_files_only=True)
            if variant.quantization:
                # It warns at every product that int8 casts its input, and that a kernel is absent.
                logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
                if quantizes:
                    options["quantization_config"] = _quantization(variant)
                else:
                    config.quantization_config = _quantization(variant).to_dict()
            sides: list[Side] = ["vision", "language"] if vision is None else ["language"]
            with _left_as_found() as tie_weights, opened(folder, files, sides) as tensors:
                architecture = _architecture(config, vision is not None, reads_int8)
                model, found = architecture.from_pretrained(
                    None,
                    config=config,
                    state_dict=tensors,
                    dtype=getattr(torch, variant.dtype),
                    device_map={"": variant.device},
                    output_loading_info=True,
                    **options,
                )
            if missing := set(found["missing_keys"]):
                # What is tied is missing where another thread had tying switched off just then.
                tie_weights(model, missing_keys=missing, recompute_mapping=False)
            if missing:
                # transformers would answer with random numbers in their place.
                raise ValueError(f"{len(missing)} weights are missing, such as {min(missing)}")
            if reads_int8 and files.vision is not None:
                measured = float(notes(files.vision)[_DISTANCE])
            if (folder / "generation_config.json").is_file():
                model.generation_config = GenerationConfig.from_pretrained(
                    folder, local_files_only=True
                )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            _log.debug("loading failed", exc_info=True)
            line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise UnreadableError(f"{folder} cannot be loaded as {variant.name}: {line}") from error
        processor = load_processor(
            folder, model.config.num_query_tokens, "right" if _matches(config) else "left"
        )
    model.eval()
    for part, module in (vision or {}).items():
        setattr(model, part, module)
    if reads_int8:
        _pack_vision(model, measured, variant)
    elif quantizes_vision:
        _quantize_vision(model, processor, variant)
    if packs_nf4(variant):
        (nf4_packing.pack if quantizes else nf4_packing.mark_packed)(model)
    return model, processor


def vision_side(model: Blip2ForConditionalGeneration) -> dict[str, Any]:
    """A model's vision side, part by part, to be shared with another variant."""
    return {part: getattr(model, part) for part in VISION_PARTS}


def save_side(model: Blip2ForConditionalGeneration, side: Side, file: Path) -> None:
    """Write a side of a model as it is in memory, quantised."""
    tensors: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if nf4_packing.is_packed(module):
            tensors |= nf4_packing.packed_state(module, prefix)
        else:
            module._save_to_state_dict(tensors, prefix, keep_vars=False)
    tied = model.all_tied_weights_keys
    kept = {n: t for n, t in tensors.items() if side_of(n) == side and n not in tied}
    measured = {_DISTANCE: str(model.vision_model.distance)} if side == "vision" else {}
    write(file, stored(kept), measured)


def packs_nf4(variant: Variant) -> bool:
    """Whether a variant's language side is packed for this processor, in memory and when kept."""
    return variant.quantization == "int4" and not variant.is_cuda and nf4_packing.packs_here()


def load_processor(
    folder: Path, num_query_tokens: int, padding_side: Literal["left", "right"] = "left"
) -> Blip2Processor:
    """The checkpoint's processor, with the traps taken out.

    Without `num_query_tokens` it silently inserts no image tokens. Its image backends differ in
    the last bits, and features are stored, so the Pillow one is pinned. A model that generates
    goes on from a text's last token, and one that matches takes its first for the whole text. And
    where a tokenizer brings code of its own, transformers would ask whether to run it.
    """
    from transformers import AutoTokenizer, Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    image_processor = BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, use_fast=True, trust_remote_code=False
    )
    tokenizer.padding_side = padding_side
    return Blip2Processor(image_processor, tokenizer, num_query_tokens=num_query_tokens)


def _matches(config: Blip2Config) -> bool:
    return "Blip2ForImageTextRetrieval" in (config.architectures or ())


def _architecture(config: Blip2Config, without_vision: bool, with_int8_vision: bool) -> Any:
    """transformers' class, with nothing in the vision side's place, or int8 layers in it."""
    from transformers import Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval

    if _matches(config):
        return Blip2ForImageTextRetrieval

    class Architecture(Blip2ForConditionalGeneration):
        def __init__(self, config: Blip2Config) -> None:
            super().__init__(config)
            if without_vision:
                for part in VISION_PARTS:
                    setattr(self, part, None)
            if with_int8_vision:
                from blip2_widget.model import int8_vision

                int8_vision.make_room(self.vision_model.encoder)

    return Architecture if without_vision or with_int8_vision else Blip2ForConditionalGeneration


def _check_int8_runs(variant: Variant) -> None:
    from blip2_widget.model import int8_vision

    if not int8_vision.runs_here():
        raise Blip2Error(
            f"{variant.name} needs a torch with oneDNN, and this one has none; "
            f"write --variant {variant.float_vision_name}"
        )


def _quantize_vision(
    model: Blip2ForConditionalGeneration, processor: Blip2Processor, variant: Variant
) -> None:
    """Put a model's image encoder into int8, unless its features would change too much."""
    import torch

    from blip2_widget.model import int8_vision

    # Beside a language model that is quantised already, transformers leaves some of the vision side
    # in the type that it is stored in.
    for part in vision_side(model).values():
        if isinstance(part, torch.nn.Module):
            part.to(getattr(torch, variant.dtype))
        else:
            part.data = part.data.to(getattr(torch, variant.dtype))
    before = distance.features(model, processor)
    int8_vision.quantize(model.vision_model.encoder)
    int8_vision.pack(model.vision_model.encoder)
    measured = distance.between(before, distance.features(model, processor))
    distance.check(measured, variant)
    model.vision_model.distance = measured
    trim()


def _pack_vision(model: Blip2ForConditionalGeneration, measured: float, variant: Variant) -> None:
    """Make an int8 image encoder ready that was measured when it was made."""
    from blip2_widget.model import int8_vision

    distance.check(measured, variant)
    model.vision_model.distance = measured
    int8_vision.pack(model.vision_model.encoder)


def _quantization(variant: Variant) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    if variant.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_NOT_QUANTIZED)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, variant.dtype),
        llm_int8_skip_modules=_NOT_QUANTIZED,
    )


@contextmanager
def _left_as_found() -> Iterator[Callable[..., None]]:
    """transformers' own `tie_weights`, which, as torch's default type, is as before at the end.

    Any thread that makes a model in transformers switches both for the whole process, and puts back
    what it found: two that do at a time can leave the switched ones there for good.
    """
    import torch
    from transformers import PreTrainedModel

    deadline = time.monotonic() + _OTHERS_TAKE
    while PreTrainedModel.tie_weights.__name__ != "tie_weights" and time.monotonic() < deadline:
        time.sleep(0.01)
    tie_weights, dtype = PreTrainedModel.tie_weights, torch.get_default_dtype()
    try:
        yield tie_weights
    finally:
        PreTrainedModel.tie_weights = tie_weights
        torch.set_default_dtype(dtype)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' and bitsandbytes' notices for developers out of the notebook."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


@contextmanager
def _weights_bar(progress: LoadProgress) -> Iterator[None]:
    """Hear transformers' loading bar instead of printing it; other threads' bars stay theirs."""
    from transformers.utils import logging

    here = threading.get_ident()

    def hook(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != here:
            return factory(*args, **kwargs)
        return _Bar(progress, *args, **kwargs)

    previous = logging.set_tqdm_hook(hook)
    try:
        yield
    finally:
        logging.set_tqdm_hook(previous)


class _Bar:
    """As much of tqdm as transformers' loader uses."""

    def __init__(self, progress: LoadProgress, iterable: Any = None, **kwargs: Any) -> None:
        self._iterable = iterable
        self._total = kwargs.get("total") or (len(iterable) if hasattr(iterable, "__len__") else 0)
        self._progress = progress
        self.n = 0

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable:
            yield item
            self.update()

    def update(self, count: int = 1) -> None:
        self.n += count
        self._progress(self.n, self._total)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None

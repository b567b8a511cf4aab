"""Pictures to features, features and prompts to answers: BLIP-2 in two steps.

The language model sees nothing of a picture but the Q-Former's output, so that output is
computed once and every question asked on it. Both steps together give, token for token, what
`Blip2ForConditionalGeneration.generate` gives.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from blip2_widget.errors import Blip2Error, at_least_one
from blip2_widget.model.memory import trim
from blip2_widget.model.variants import Variant

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import Blip2ForConditionalGeneration, Blip2Processor


@dataclass(frozen=True)
class GenerationSettings:
    """How the language model picks its tokens.

    Greedy by default; `num_beams` > 1 searches beams; a `temperature` samples, from the smallest
    set of tokens whose probabilities reach `top_p`. With a `seed` a sample can be repeated.
    """

    max_new_tokens: int = 30
    num_beams: int = 1
    temperature: float | None = None
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        at_least_one(max_new_tokens=self.max_new_tokens, num_beams=self.num_beams)
        if self.temperature is not None and self.temperature <= 0:
            raise Blip2Error("temperature must be above 0; leave it out for the likeliest answer")
        if not 0 < self.top_p <= 1:
            raise Blip2Error("top_p must be above 0 and at most 1")

    @property
    def samples(self) -> bool:
        return self.temperature is not None

    @property
    def repeatable(self) -> bool:
        """Whether the same input gives the same answer again, so that it may be stored."""
        return not self.samples or self.seed is not None

    def stored_as(self) -> Mapping[str, object]:
        """What of the settings decides an answer; the seed only does where it samples."""
        settings = asdict(self)
        settings.pop("seed")
        if not self.samples:
            settings.pop("temperature")
            settings.pop("top_p")
        return settings


@dataclass(frozen=True)
class Answer:
    """`text` without special tokens and outer blanks; `tokens` as generated, end token left out."""

    text: str
    tokens: tuple[int, ...]


class Cancelled(Exception):  # noqa: N818 - it is no error
    """Generation was stopped by its cancel event; nothing of the batch is kept."""


class Engine:
    """One loaded checkpoint in one variant. Calls are serialised: one batch at a time."""

    def __init__(
        self, model: Blip2ForConditionalGeneration, processor: Blip2Processor, variant: Variant
    ) -> None:
        self.model = model
        self.processor = processor
        self.variant = variant
        self._lock = threading.Lock()
        # bitsandbytes packs a weight anew when a processor first uses it, and frees the old one.
        self._to_trim = variant.quantization is not None and not variant.is_cuda
        config = model.config
        self.is_encoder_decoder: bool = not config.use_decoder_only_language_model
        self.end_tokens = _as_set(config.text_config.eos_token_id)

    def encode(self, images: Sequence[Image]) -> torch.Tensor:
        """The Q-Former's output of RGB pictures: (len(images), query tokens, Q-Former width),
        on the CPU in the variant's unquantised type; 32 by 768 for the published checkpoints."""
        import torch

        pixels = self.processor.image_processor(list(images), return_tensors="pt").pixel_values
        with self._lock, torch.inference_mode():
            pixels = pixels.to(self.model.device, self.model.vision_model.dtype)
            output = self.model.get_image_features(pixels, return_dict=True)
            features = output.qformer_outputs.last_hidden_state
            # In fp16 the Q-Former runs in fp32, and generate casts back just here.
            return features.to(pixels.dtype).cpu()

    def token_ids(self, prompt: str) -> list[int]:
        """A prompt's token ids, with the family's start or end token as the processor adds it."""
        ids: list[int] = self.processor.tokenizer(prompt).input_ids
        return ids

    def generate(
        self,
        features: torch.Tensor,
        prompts: Sequence[str] | Sequence[Sequence[int]],
        settings: GenerationSettings,
        cancel: threading.Event | None = None,
    ) -> list[Answer]:
        """An answer for each row of `features` (rows, query tokens, width) and its prompt, a
        text or token ids that follow the picture's.

        Raises Cancelled within one decoding step of `cancel` being set, ValueError where the
        counts differ.
        """
        if len(features) != len(prompts):
            raise ValueError(f"{len(features)} rows of features but {len(prompts)} prompts")
        ids = [self.token_ids(p) if isinstance(p, str) else list(p) for p in prompts]
        if settings.samples and settings.seed is not None:
            # One at a time, so that a row's answer does not depend on who shares its batch.
            return [
                self._generate(features[row : row + 1], [ids[row]], settings, cancel)[0]
                for row in range(len(ids))
            ]
        return self._generate(features, ids, settings, cancel)

    def _generate(
        self,
        features: torch.Tensor,
        ids: list[list[int]],
        settings: GenerationSettings,
        cancel: threading.Event | None,
    ) -> list[Answer]:
        import torch
        from transformers import StoppingCriteriaList

        with self._lock, torch.inference_mode(), _Seeded(settings, self.model.device):
            embeddings, mask = self._inputs(features, ids)
            # The submodule's own generate, which returns new tokens only; eos and padding come
            # from its configuration, that is the family's.
            output = self.model.language_model.generate(
                inputs_embeds=embeddings,
                attention_mask=mask,
                stopping_criteria=StoppingCriteriaList([_stop_when(cancel)] if cancel else []),
                **_arguments(settings),
            )
        if self._to_trim:
            trim()
            self._to_trim = False
        if cancel is not None and cancel.is_set():
            raise Cancelled
        if self.is_encoder_decoder:
            output = output[:, 1:]  # the decoder's start token
        return [self._answer(row) for row in output.tolist()]

    def _inputs(
        self, features: torch.Tensor, ids: list[list[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (rows, tokens, width) and attention mask (rows, tokens): each picture at
        the first positions, then the prompts, padded on their left as the models expect."""
        import torch

        model = self.model
        device = model.device
        longest = max(len(row) for row in ids)
        pad = self.processor.tokenizer.pad_token_id
        text = torch.tensor([[pad] * (longest - len(row)) + row for row in ids], device=device)
        text_mask = torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=device
        )
        projected = model.language_projection(
            features.to(device, model.language_projection.weight.dtype)
        )
        embedded = model.get_input_embeddings()(text)
        image_mask = text_mask.new_ones(projected.shape[:2])
        return (
            torch.cat([projected.to(embedded.dtype), embedded], dim=1),
            torch.cat([image_mask, text_mask], dim=1),
        )

    def _answer(self, row: list[int]) -> Answer:
        """Cut a row at its end token: what follows there is padding."""
        end = next((at for at, token in enumerate(row) if token in self.end_tokens), len(row))
        tokens = tuple(row[:end])
        text = self.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return Answer(text.strip(), tokens)


def _arguments(settings: GenerationSettings) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "max_new_tokens": settings.max_new_tokens,
        "num_beams": settings.num_beams,
        "do_sample": settings.samples,
    }
    if settings.samples:
        arguments |= {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    return arguments


class _Seeded:
    """Seed torch's generators for one call and give them back as they were."""

    def __init__(self, settings: GenerationSettings, device: torch.device) -> None:
        import torch

        self._seed = settings.seed if settings.samples else None
        devices = [device] if device.type == "cuda" else []
        self._fork = torch.random.fork_rng(devices=devices, enabled=self._seed is not None)

    def __enter__(self) -> None:
        import torch

        self._fork.__enter__()
        if self._seed is not None:
            torch.manual_seed(self._seed)

    def __exit__(self, *details: Any) -> None:
        self._fork.__exit__(*details)


def _stop_when(cancel: threading.Event) -> Any:
    import torch
    from transformers import StoppingCriteria

    class StopWhenSet(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> torch.Tensor:
            done = cancel.is_set()
            return torch.full((input_ids.shape[0],), done, device=input_ids.device)

    return StopWhenSet()


def _as_set(token_ids: int | list[int] | None) -> frozenset[int]:
    if token_ids is None:
        return frozenset()
    return frozenset([token_ids] if isinstance(token_ids, int) else token_ids)

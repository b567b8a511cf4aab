"""Pictures to features, features and prompts to answers: BLIP-2 in two steps.

The language model sees nothing of a picture but the Q-Former's output, so that output is
computed once and every question asked on it. Both steps together give, token for token, what
`Blip2ForConditionalGeneration.generate` gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from blip2_widget.errors import Blip2Error, at_least_one
from blip2_widget.model.loaded import Between, LoadedModel
from blip2_widget.model.machine import read_machine
from blip2_widget.model.memory import give_memory_back, trim
from blip2_widget.model.variants import Variant, free_bytes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    from blip2_widget.model.decoding import Row

#: Bytes of keys and values kept for pictures that were just looked at, at most, and the share of
#: what memory is free once a model is loaded.
_PREFIX_BYTES = 1 << 30
_PREFIX_SHARE = 0.1
#: The share of a batch that must have ended before the rest is gathered into a smaller one.
_LEAVING_SHARE = 0.25


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
    """`text` without special tokens and outer blanks; `tokens` as generated, end token left out.

    `logprob` is the natural logarithm of the answer's probability under the model: the sum over
    its tokens and, where it came to an end by itself, the end token. Sampling changes which tokens
    are picked, not what the model thinks of them.
    """

    text: str
    tokens: tuple[int, ...]
    logprob: float


@dataclass(frozen=True)
class Step:
    """What one decoding step of a batch brought: the rows that ended, by number, and the tokens
    so far of those that go on."""

    finished: Mapping[int, Answer]
    running: Mapping[int, Sequence[int]]


class Engine(LoadedModel):
    """A checkpoint that writes answers, in one variant."""

    #: How many devices share every batch.
    devices = 1

    def __init__(
        self, model: Blip2ForConditionalGeneration, processor: Blip2Processor, variant: Variant
    ) -> None:
        from blip2_widget.model.graphs import StepGraphs
        from blip2_widget.model.key_values import Buffers
        from blip2_widget.model.prefixes import PrefixCache

        super().__init__(model, processor, variant)
        self._buffers = Buffers()
        self._graphs: StepGraphs | None = None
        if variant.is_cuda and variant.quantization is None:
            # Quantised products wait for the GPU in their middle, which cannot be recorded.
            self._graphs = StepGraphs(self._recordable_step)
        # bitsandbytes packs a weight anew when a processor first uses it, and frees the old one.
        self._to_trim = variant.quantization is not None and not variant.is_cuda
        config = model.config
        self.is_encoder_decoder: bool = not config.use_decoder_only_language_model
        self.end_tokens = _as_set(config.text_config.eos_token_id)
        self._start = self.token_ids("")
        free = max(free_bytes(variant, read_machine()) - self.mapped, 0)
        self.prefixes = PrefixCache(min(_PREFIX_BYTES, int(free * _PREFIX_SHARE)))

    def encode(
        self, images: Sequence[Image | NDArray[np.float32]], between: Between | None = None
    ) -> torch.Tensor:
        """The Q-Former's output of RGB pictures, prepared or not: (len(images), query tokens,
        Q-Former width), on the CPU in the variant's unquantised type; 32 by 768 for the published
        checkpoints. Raises Cancelled where `between` does."""
        pixels = self._pixels(images)
        with self._computing(between), self._in_its_precision():
            pixels = self._placed(pixels)
            output = self.model.get_image_features(pixels, return_dict=True)
            features = output.qformer_outputs.last_hidden_state
            # In fp16 the Q-Former runs in fp32, and generate casts back just here.
            return features.to(pixels.dtype).cpu()

    def token_ids(self, prompt: str) -> list[int]:
        """A prompt's token ids, with the family's start or end token as the processor adds it."""
        ids: list[int] = self.processor.tokenizer(prompt).input_ids
        return ids

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as a person reads them, without special tokens and outer blanks."""
        decoded: str = self.processor.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return decoded.strip()

    def check(self, ids: Sequence[int], settings: GenerationSettings) -> None:
        """Raise Blip2Error where a prompt is longer than the language model can read."""
        config = self.model.config
        limit = getattr(config.text_config, "max_position_embeddings", None)
        needed = config.num_query_tokens + len(ids) + settings.max_new_tokens
        if limit is not None and needed > limit:
            raise Blip2Error(
                f"the prompt has {len(ids)} tokens; with the picture's and "
                f"{settings.max_new_tokens} new ones that is {needed}, and this model reads "
                f"{limit}: shorten it"
            )

    def generate(
        self,
        features: torch.Tensor,
        prompts: Sequence[str] | Sequence[Sequence[int]],
        settings: GenerationSettings,
        between: Between | None = None,
    ) -> list[Answer]:
        """An answer for each row of `features` and its prompt; the arguments are `stream`'s."""
        answers: dict[int, Answer] = {}
        for step in self.stream(features, prompts, settings, between=between):
            answers |= step.finished
        return [answers[row] for row in range(len(prompts))]

    def stream(
        self,
        features: torch.Tensor,
        prompts: Sequence[str] | Sequence[Sequence[int]],
        settings: GenerationSettings,
        *,
        pictures: Sequence[str] | None = None,
        remember: bool = False,
        between: Between | None = None,
    ) -> Iterator[Step]:
        """Answer each row of `features` (rows, query tokens, width) and its prompt, a text or
        token ids that follow the picture's, and yield after every decoding step.

        `pictures` names each row's picture: rows of one name are read once, and not again while
        it is remembered. With `remember` a row's prompt and answer are too, for a prompt that goes
        on from there. Beams come all at once, in one last step.

        Raises Cancelled where `between` does, ValueError where the counts differ, Blip2Error for
        a prompt that is too long.
        """
        if len(features) != len(prompts):
            raise ValueError(f"{len(features)} rows of features but {len(prompts)} prompts")
        ids = [self.token_ids(p) if isinstance(p, str) else list(p) for p in prompts]
        for row in ids:
            self.check(row, settings)
        if settings.num_beams > 1:
            yield Step(dict(enumerate(self._search_beams(features, ids, settings, between))), {})
            return
        yield from self._decode(features, ids, settings, pictures, remember, between)

    def _decode(
        self,
        features: torch.Tensor,
        ids: list[list[int]],
        settings: GenerationSettings,
        pictures: Sequence[str] | None,
        remember: bool,
        between: Between | None,
    ) -> Iterator[Step]:
        from blip2_widget.model.decoding import CausalDecoder, Row
        from blip2_widget.model.picking import Picker

        with self._computing(between):
            if self.is_encoder_decoder:
                decoder = self._encoder_decoder(features, ids)
            else:
                names = pictures or [f"row {row}" for row in range(len(ids))]
                rows = [Row(names[at], at, row) for at, row in enumerate(ids)]
                decoder = self._causal_decoder(features, rows, settings, shared=bool(pictures))
            logits = decoder.begin()
        self._trim_once()
        picker = Picker(settings, len(ids), logits.device)
        tokens: list[list[int]] = [[] for _ in ids]
        logprobs = [0.0] * len(ids)
        rows_at = list(range(len(ids)))  # the row at each place of the batch
        running = dict(enumerate(tokens))
        while True:
            with self._computing(between):
                picked, gained = picker.pick(logits, rows_at)
            finished = {}
            for place, (row, token, gain) in enumerate(
                zip(rows_at, picked.tolist(), gained.tolist(), strict=True)
            ):
                if row not in running:
                    continue
                if math.isnan(gain):
                    raise self._overflow()
                logprobs[row] += gain
                ended = token in self.end_tokens
                if not ended:
                    tokens[row].append(token)
                if ended or len(tokens[row]) == settings.max_new_tokens:
                    finished[row] = Answer(
                        self.text(tokens[row]), tuple(tokens[row]), logprobs[row]
                    )
                    del running[row]
                    if remember and isinstance(decoder, CausalDecoder) and pictures is not None:
                        read = tokens[row] if ended else tokens[row][:-1]
                        with self._computing(None):
                            seen = decoder.prefix(place, [*ids[row], *read], logits[place])
                        self.prefixes.put(pictures[row], seen)
            if not running:
                with self._computing(None):
                    decoder.close()
            yield Step(finished, running)
            if not running:
                return
            with self._computing(between):
                if between is not None:
                    between()
                size = self._size_for(len(running), len(rows_at))
                if size < len(rows_at):
                    staying = _gathered([row in running for row in rows_at], size)
                    decoder.keep(staying)
                    picked, rows_at = picked[staying], [rows_at[at] for at in staying]
                logits = decoder.step(picked)

    def make_room(self) -> None:
        """Let go of all that is kept for speed alone."""
        with self._lock:
            self.prefixes.clear()
            self._buffers.clear()
            if self._graphs is not None:
                self._graphs.clear()
        give_memory_back()

    def rest(self) -> None:
        """Let go of what only batches use, up to 2 GB; what was seen of pictures stays."""
        if not self.variant.is_cuda:  # where torch keeps it, and recorded steps use it
            self._buffers.clear()

    def _size_for(self, running: int, size: int) -> int:
        """The size of a batch of which so many rows are running: to gather them has its cost, and
        recorded steps want few sizes."""
        if self._graphs is not None:
            while size > 1 and running <= size // 2:
                size //= 2
            return size
        return running if size - running >= _LEAVING_SHARE * size else size

    def _causal_decoder(
        self, features: torch.Tensor, rows: list[Row], settings: GenerationSettings, shared: bool
    ) -> Any:
        from blip2_widget.model.decoding import CausalDecoder
        from blip2_widget.model.prefixes import PrefixCache

        return CausalDecoder(
            self.model.language_model,
            rows,
            lambda numbers: self._project(features[numbers]),
            self.prefixes if shared else PrefixCache(0),
            self._buffers,
            self._start,
            settings.max_new_tokens,
            self._graphs,
        )

    def _encoder_decoder(self, features: torch.Tensor, ids: list[list[int]]) -> Any:
        from blip2_widget.model.decoding import EncoderDecoder

        embeddings, mask = self._inputs(features, ids)
        start = self.model.config.text_config.decoder_start_token_id
        return EncoderDecoder(self.model.language_model, embeddings, mask, start)

    def _recordable_step(
        self, cache: Any, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        from blip2_widget.model.decoding import forward

        with self._computing(None):  # other work between its layers would be recorded with it
            return forward(
                self.model.language_model, cache, mask, positions, input_ids=tokens[:, None]
            )

    def _search_beams(
        self,
        features: torch.Tensor,
        ids: list[list[int]],
        settings: GenerationSettings,
        between: Between | None,
    ) -> list[Answer]:
        """Beam search as transformers has it."""
        if settings.samples and len(ids) > 1:
            # It draws for a whole batch at once, and who shares it must not change an answer.
            each = zip(features.split(1), ids, strict=True)
            return [self._search_beams(one, [row], settings, between)[0] for one, row in each]
        language_model = self.model.language_model
        sampling: dict[str, Any] = {}
        if settings.samples:
            sampling = {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
        with self._computing(between), _seeded(settings, self.model.device):
            embeddings, mask = self._inputs(features, ids)
            # The submodule's own generate, which returns new tokens only; eos and padding come
            # from its configuration, that is the family's.
            output = language_model.generate(
                inputs_embeds=embeddings,
                attention_mask=mask,
                max_new_tokens=settings.max_new_tokens,
                num_beams=settings.num_beams,
                do_sample=settings.samples,
                return_dict_in_generate=True,
                output_logits=True,
                **sampling,
            )
            gained = language_model.compute_transition_scores(
                output.sequences, output.logits, output.beam_indices, normalize_logits=True
            )
        self._trim_once()
        sequences = output.sequences[:, 1:] if self.is_encoder_decoder else output.sequences
        answers = []
        for row, gains in zip(sequences.tolist(), gained.tolist(), strict=True):
            end = next((at for at, token in enumerate(row) if token in self.end_tokens), len(row))
            tokens = tuple(row[:end])
            answers.append(Answer(self.text(tokens), tokens, sum(gains[: end + 1])))
        return answers

    def _inputs(
        self, features: torch.Tensor, ids: list[list[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (rows, tokens, width) and attention mask (rows, tokens): each picture at
        the first positions, then the prompts, padded on their left as the models expect."""
        import torch

        device = self.model.device
        longest = max(len(row) for row in ids)
        pad = self.processor.tokenizer.pad_token_id
        text = torch.tensor([[pad] * (longest - len(row)) + row for row in ids], device=device)
        text_mask = torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=device
        )
        projected = self._project(features)
        image_mask = text_mask.new_ones(projected.shape[:2])
        embedded = self.model.get_input_embeddings()(text)
        return (
            torch.cat([projected, embedded], dim=1),
            torch.cat([image_mask, text_mask], dim=1),
        )

    def _project(self, features: torch.Tensor) -> torch.Tensor:
        """Features as the language model's input embeddings: (rows, query tokens, its width)."""
        projection = self.model.language_projection
        projected = projection(features.to(self.model.device, projection.weight.dtype))
        embedded: torch.Tensor = projected.to(self.model.get_input_embeddings().weight.dtype)
        return embedded

    def _trim_once(self) -> None:
        if self._to_trim:
            trim()
            self._to_trim = False


def _gathered(stays: Sequence[bool], size: int) -> list[int]:
    """The places that make up a smaller batch: those that stay, of whom few have to move to the
    front, and others where they are too few."""
    movers = [at for at in range(size, len(stays)) if stays[at]]
    return [movers.pop() if not stays[at] and movers else at for at in range(size)]


@contextmanager
def _seeded(settings: GenerationSettings, device: torch.device) -> Iterator[None]:
    """Seed torch's generators for one call and give them back as they were."""
    import torch

    seed = settings.seed if settings.samples else None
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices, enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def _as_set(token_ids: int | list[int] | None) -> frozenset[int]:
    if token_ids is None:
        return frozenset()
    return frozenset([token_ids] if isinstance(token_ids, int) else token_ids)

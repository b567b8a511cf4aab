"""Pictures to features, features and prompts to answers: BLIP-2 in two steps.

The language model sees nothing of a picture but the Q-Former's output, so that output is
computed once and every question asked on it. Both steps together give, token for token, what
`Blip2ForConditionalGeneration.generate` gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from blip2_widget.errors import Blip2Error
from blip2_widget.model.loaded import Between, LoadedModel
from blip2_widget.model.machine import read_machine
from blip2_widget.model.memory import give_memory_back, trim
from blip2_widget.model.settings import GenerationSettings
from blip2_widget.model.variants import Variant, free_bytes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    from blip2_widget.model.decoding import Decoder
    from blip2_widget.model.ranking import Likelihood

#: Bytes of keys and values kept for pictures that were just looked at, at most, and the share of
#: what memory is free once a model is loaded.
_PREFIX_BYTES = 1 << 30
_PREFIX_SHARE = 0.1
#: The share of a batch that must have ended before the rest is gathered into a smaller one.
_LEAVING_SHARE = 0.25


@dataclass(frozen=True)
class Answer:
    """`text` without special tokens and outer blanks; `tokens` as generated, end token left out.

    `logprob` is the natural logarithm of the answer's probability under the model: the sum over
    its tokens and, where it came to an end by itself, the end token. Sampling changes which tokens
    are picked, not what the model thinks of them.

    `alternatives` are all answers that there are to choose from, this one too, each with the
    logarithm of its probability: of several that were asked for, or of choices that were ranked,
    where it is, as is `logprob`, that within the choices.
    """

    text: str
    tokens: tuple[int, ...]
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


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

    def choice_ids(self, prompt: str, choice: str) -> list[int]:
        """The tokens that a choice would be written with after a prompt."""
        text = f" {choice}" if prompt and not self.is_encoder_decoder else choice
        ids: list[int] = self.processor.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def check(self, ids: Sequence[int], new_tokens: int) -> None:
        """Raise Blip2Error where a prompt is longer than the language model can read."""
        config = self.model.config
        limit = getattr(config.text_config, "max_position_embeddings", None)
        needed = config.num_query_tokens + len(ids) + new_tokens
        if limit is not None and needed > limit:
            raise Blip2Error(
                f"the prompt has {len(ids)} tokens; with the picture's and "
                f"{new_tokens} new ones that is {needed}, and this model reads "
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
            self.check(row, settings.max_new_tokens)
        if settings.num_beams > 1:
            yield Step(dict(enumerate(self._search_beams(features, ids, settings, between))), {})
        elif settings.k > 1:
            yield from self._draw_several(features, ids, settings, pictures, between)
        else:
            yield from self._decode(features, ids, settings, pictures, remember, between)

    def rank(
        self,
        features: torch.Tensor,
        prompts: Sequence[str],
        choices: Sequence[Sequence[str]],
        *,
        pictures: Sequence[str] | None = None,
        remember: bool = False,
        between: Between | None = None,
    ) -> list[list[Likelihood]]:
        """How likely each of a row's `choices` is as the answer to its prompt about its picture:
        picture and prompt are read once, then all choices of all rows together.

        `pictures` is as in `stream`; with `remember` what was read of a row's prompt is kept too,
        for more choices that follow. Raises as `stream`.
        """
        from blip2_widget.model.decoding import CausalDecoder
        from blip2_widget.model.ranking import likelihoods

        if not len(features) == len(prompts) == len(choices):
            raise ValueError(
                f"{len(features)} rows of features, {len(prompts)} prompts and choices for "
                f"{len(choices)}"
            )
        ids = [self.token_ids(prompt) for prompt in prompts]
        texts = [
            [self.choice_ids(prompt, choice) for choice in row]
            for prompt, row in zip(prompts, choices, strict=True)
        ]
        for row, of_row in zip(ids, texts, strict=True):
            self.check(row, max(map(len, of_row)))
        most = max(sum(map(len, of_row)) for of_row in texts)
        with self._computing(between):
            decoder = self._decoder(features, ids, pictures, most)
            first = decoder.begin()
            if remember and isinstance(decoder, CausalDecoder) and pictures is not None:
                for at, row in enumerate(ids):
                    self.prefixes.put(pictures[at], decoder.prefix(at, row, first[at]))
            rows = [at for at, of_row in enumerate(texts) for _ in of_row]
            found = likelihoods(decoder, first, rows, list(chain(*texts)), self.end_tokens)
            decoder.close()
        self._trim_once()
        if any(math.isnan(each.logprob) for each in found):
            raise self._overflow()
        left = iter(found)
        return [[next(left) for _ in of_row] for of_row in texts]

    def _draw_several(
        self,
        features: torch.Tensor,
        ids: list[list[int]],
        settings: GenerationSettings,
        pictures: Sequence[str] | None,
        between: Between | None,
    ) -> Iterator[Step]:
        """So many samples of each row, side by side; of those under way the first is told."""
        from blip2_widget.model.alternatives import by_likelihood, merged

        k = settings.k
        drawn: list[list[Answer]] = [[] for _ in ids]
        steps = self._decode(
            features.repeat_interleave(k, dim=0),
            [row for row in ids for _ in range(k)],
            settings,
            pictures and [name for name in pictures for _ in range(k)],
            False,
            between,
        )
        for step in steps:
            for at, answer in step.finished.items():
                drawn[at // k].append(answer)
            whole = {at // k for at in step.finished if len(drawn[at // k]) == k}
            yield Step(
                {row: merged(by_likelihood(drawn[row])) for row in whole},
                {at // k: tokens for at, tokens in step.running.items() if at % k == 0},
            )

    def _decode(
        self,
        features: torch.Tensor,
        ids: list[list[int]],
        settings: GenerationSettings,
        pictures: Sequence[str] | None,
        remember: bool,
        between: Between | None,
    ) -> Iterator[Step]:
        from blip2_widget.model.decoding import CausalDecoder
        from blip2_widget.model.picking import Picker

        with self._computing(between):
            decoder = self._decoder(features, ids, pictures, settings.max_new_tokens)
            logits = decoder.begin()
        self._trim_once()
        before = [self._before_answer(row) for row in ids]
        picker = Picker(settings, before, self.end_tokens, logits.device)
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

    def _decoder(
        self,
        features: torch.Tensor,
        ids: list[list[int]],
        pictures: Sequence[str] | None,
        new_tokens: int,
    ) -> Decoder:
        """What reads these prompts and up to so many tokens after each."""
        from blip2_widget.model.decoding import CausalDecoder, EncoderDecoder, Row
        from blip2_widget.model.prefixes import PrefixCache

        language_model: Any = self.model.language_model
        if self.is_encoder_decoder:
            embeddings, mask = self._inputs(features, ids)
            return EncoderDecoder(language_model, embeddings, mask, self._before_answer([])[0])
        names = pictures or [f"row {row}" for row in range(len(ids))]
        return CausalDecoder(
            language_model,
            [Row(names[at], at, row) for at, row in enumerate(ids)],
            lambda numbers: self._project(features[numbers]),
            self.prefixes if pictures else PrefixCache(0),
            self._buffers,
            self._start,
            new_tokens,
            self._graphs,
        )

    def _before_answer(self, ids: list[int]) -> list[int]:
        """The tokens that generation sees before an answer: T5's decoder sees its start alone."""
        config = self.model.config
        if self.is_encoder_decoder:
            return [config.text_config.decoder_start_token_id]
        return [config.image_token_index, *ids]

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
        import torch

        from blip2_widget.model.alternatives import merged

        if settings.samples and len(ids) > 1:
            # It draws for a whole batch at once, and who shares it must not change an answer.
            each = zip(features.split(1), ids, strict=True)
            return [self._search_beams(one, [row], settings, between)[0] for one, row in each]
        language_model = self.model.language_model
        options: dict[str, Any] = {}
        if settings.samples:
            options = {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
        with self._computing(between), _seeded(settings, self.model.device):
            embeddings, mask = self._inputs(features, ids)
            width = 1
            if not self.is_encoder_decoder:
                # What a repetition is told by. The picture's token stands for padding, too.
                width = embeddings.shape[1]
                [image] = self._before_answer([])
                filled = [[image] * (width - len(row)) + row for row in ids]
                options["input_ids"] = torch.tensor(filled, device=mask.device)
            # The submodule's own generate; eos and padding come from its configuration, that is
            # the family's.
            output = language_model.generate(
                inputs_embeds=embeddings,
                attention_mask=mask,
                max_new_tokens=settings.max_new_tokens,
                min_new_tokens=settings.min_new_tokens or None,
                num_beams=settings.num_beams,
                num_return_sequences=settings.k,
                length_penalty=settings.length_penalty,
                repetition_penalty=settings.repetition_penalty,
                do_sample=settings.samples,
                return_dict_in_generate=True,
                output_logits=True,
                **options,
            )
            gained = language_model.compute_transition_scores(
                output.sequences, output.logits, output.beam_indices, normalize_logits=True
            )
        self._trim_once()
        answers = []
        for row, gains in zip(output.sequences[:, width:].tolist(), gained.tolist(), strict=True):
            end = next((at for at, token in enumerate(row) if token in self.end_tokens), len(row))
            tokens = tuple(row[:end])
            answers.append(Answer(self.text(tokens), tokens, sum(gains[: end + 1])))
        k = settings.k
        if k == 1:
            return answers
        # In the search's own order, so that the answer is the one that is found alone.
        return [merged(answers[at : at + k]) for at in range(0, len(answers), k)]

    def _inputs(
        self, features: torch.Tensor, ids: list[list[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (rows, tokens, width) and attention mask (rows, tokens): each picture at
        the first positions, then the prompts.

        OPT's are padded on their left, since its answer follows the last token. T5's are padded on
        their right, as in LAVIS' blip2_t5.py: its encoder counts how far prompt and picture are
        apart, padding too, so that only then a row is read as if it were alone.
        """
        import torch

        device = self.model.device
        longest = max(len(row) for row in ids)
        pad = self.processor.tokenizer.pad_token_id

        def padded(row: list[int], filler: int) -> list[int]:
            pads = [filler] * (longest - len(row))
            return [*row, *pads] if self.is_encoder_decoder else [*pads, *row]

        text = torch.tensor([padded(row, pad) for row in ids], device=device)
        text_mask = torch.tensor([padded([1] * len(row), 0) for row in ids], device=device)
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

"""The language model's side of an answer: a first pass over prompts, then a token a step.

Each family has a decoder with the same three moves: `begin` and `step` give the logits of every
row's next token, `keep` lets rows leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from blip2_widget.model.graphs import StepGraphs
from blip2_widget.model.key_values import GROWTH, Buffers, KeyValues
from blip2_widget.model.prefixes import Prefix, PrefixCache


class Decoder(Protocol):
    """A batch of rows that are being answered."""

    def begin(self) -> torch.Tensor:
        """Logits (rows, vocabulary) of each row's first token."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of each row's next token after `tokens` (rows,)."""

    def read(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits (tokens, vocabulary) after every token of texts, one behind the other: each text
        follows what was read of its row, by its place, and none sees another. Texts of one row
        stand together, in the order of rows. No step can follow."""

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, by their places in the batch as it is. A row may only
        come to a place that is no later than its own, or to that of one that leaves."""

    def close(self) -> None:
        """Give back what the batch has held."""


@dataclass(frozen=True)
class Row:
    """One answer to come: what its picture is known by, the picture's number among those that are
    given, and the token ids that follow the picture's."""

    picture: str
    number: int
    ids: list[int]


def forward(
    language_model: Any,
    cache: KeyValues,
    mask: torch.Tensor,
    positions: torch.Tensor,
    **inputs: torch.Tensor,
) -> torch.Tensor:
    """One pass through a decoder-only model: the logits (rows, vocabulary) after the last token.

    `mask` is added to attention's scores and `positions` (rows, tokens) counts real tokens alone.
    """
    return forward_all(language_model, cache, mask, positions, 1, **inputs)[:, -1].float()


def forward_all(
    language_model: Any,
    cache: KeyValues,
    mask: torch.Tensor,
    positions: torch.Tensor,
    last: int,
    **inputs: torch.Tensor,
) -> torch.Tensor:
    """The same, with the logits (rows, last, vocabulary) after each of the last tokens, in the
    model's own type."""
    output = language_model(
        **inputs,
        attention_mask=mask,
        position_ids=positions,
        cache=cache,
        use_cache=True,
        logits_to_keep=last,
    )
    cache.advance(positions.shape[1])
    logits: torch.Tensor = output.logits
    return logits


class CausalDecoder:
    """A decoder-only language model such as OPT: what it saw of a picture serves every prompt."""

    def __init__(
        self,
        language_model: Any,
        rows: Sequence[Row],
        embed: Callable[[list[int]], torch.Tensor],
        prefixes: PrefixCache,
        buffers: Buffers,
        start: Sequence[int],
        new_tokens: int,
        graphs: StepGraphs | None = None,
    ) -> None:
        """`embed` gives the embeddings (pictures, tokens, width) of pictures by their numbers.
        `start` are the ids that every prompt begins with; `new_tokens` at most are generated.
        With `graphs` steps are recorded, and the shapes of batches are kept few for that."""
        self._model = language_model
        self._rows = list(rows)
        self._embed = embed
        self._prefixes = prefixes
        self._buffers = buffers
        self._start = list(start)
        self._new_tokens = new_tokens
        self._graphs = graphs
        weight = language_model.get_input_embeddings().weight
        self._device, self._dtype = weight.device, weight.dtype

    def begin(self) -> torch.Tensor:
        """Prefill: pictures that were not seen yet together, then what is left of the prompts."""
        found = self._find_prefixes()
        used = [prefix.common(row.ids) for row, prefix in zip(self._rows, found, strict=True)]
        places = [
            prefix.keys_values.shape[-2] - len(prefix.tokens) + count
            for prefix, count in zip(found, used, strict=True)
        ]
        left = [row.ids[count:] for row, count in zip(self._rows, used, strict=True)]
        width = max(len(ids) for ids in left)
        self._cache = self._filled(found, places, width)
        self._written = torch.zeros(
            (len(left), self._cache.room), dtype=torch.bool, device=self._device
        )
        for row, count in enumerate(places):
            self._written[row, :count] = True
        self._next = torch.tensor(places, device=self._device)  # each row's next position
        known = torch.stack([prefix.logits for prefix in found]).float()
        if width == 0:
            return known
        logits = self._read(left, width)
        whole = torch.tensor([not ids for ids in left], device=self._device)
        return torch.where(whole[:, None], known, logits)

    def _filled(self, found: Sequence[Prefix], places: Sequence[int], width: int) -> KeyValues:
        """Keys and values with the first places of every row taken from its prefix."""
        layers, both, heads, _, size = found[0].keys_values.shape
        most = max(places) + width + self._new_tokens
        room = min(most, max(places) + width + GROWTH)
        if self._graphs is not None:
            room = most = -(-most // GROWTH) * GROWTH
        shape = (layers, both, len(found), heads, room, size)
        cache = KeyValues(shape, most, found[0].keys_values, self._buffers)
        cache.length = max(places)
        for row, (prefix, count) in enumerate(zip(found, places, strict=True)):
            cache.data[:, :, row, :, :count] = prefix.keys_values[..., :count, :]
        return cache

    def _find_prefixes(self) -> list[Prefix]:
        """A prefix for every row; the pictures of those without one are read now, once each."""
        found = {at: self._prefixes.find(row.picture, row.ids) for at, row in enumerate(self._rows)}
        missing = {row.picture: row for at, row in enumerate(self._rows) if found[at] is None}
        read = {}
        if missing:
            prefixes = self._read_pictures([row.number for row in missing.values()])
            read = dict(zip(missing, prefixes, strict=True))
            for picture, prefix in read.items():
                self._prefixes.put(picture, prefix)
        return [found[at] or read[row.picture] for at, row in enumerate(self._rows)]

    def _read_pictures(self, numbers: list[int]) -> list[Prefix]:
        """The prefix of each picture: its tokens and the start that all prompts share."""
        pictures = self._embed(numbers)
        start = torch.tensor([self._start] * len(numbers), device=self._device).long()
        embeddings = torch.cat([pictures, self._model.get_input_embeddings()(start)], dim=1)
        count = embeddings.shape[1]
        config = self._model.config
        heads = config.num_attention_heads
        shape = (config.num_hidden_layers, 2, len(numbers), heads, count)
        cache = KeyValues((*shape, config.hidden_size // heads), count, embeddings, self._buffers)
        causal = torch.ones((count, count), dtype=torch.bool, device=self._device).tril()
        positions = torch.arange(count, device=self._device).expand(len(numbers), count)
        mask = self._additive(causal.expand(len(numbers), 1, count, count))
        logits = self._forward(cache, mask, positions, inputs_embeds=embeddings)
        everything = torch.arange(count, device=self._device)
        prefixes = [
            Prefix(tuple(self._start), cache.row(row, everything), logits[row].to(self._dtype))
            for row in range(len(numbers))
        ]
        cache.close()
        return prefixes

    def _read(self, left: Sequence[list[int]], width: int) -> torch.Tensor:
        """One pass over what is left of the prompts, padded on their left."""
        pad = [width - len(ids) for ids in left]
        ids = torch.tensor([[0] * p + row for p, row in zip(pad, left, strict=True)])
        real = torch.arange(width) >= torch.tensor(pad)[:, None]
        ids, real = ids.to(self._device), real.to(self._device)
        begin = self._cache.length
        self._written[:, begin : begin + width] = real
        causal = torch.ones((width, width), dtype=torch.bool, device=self._device).tril()
        seen = self._written[:, None, None].repeat(1, 1, width, 1)
        seen[..., begin : begin + width] &= causal
        positions = self._next[:, None] + (real.cumsum(1) - 1).clamp(min=0)
        self._next = self._next + real.sum(1)
        return self._forward(self._cache, self._additive(seen), positions, input_ids=ids)

    def read(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """All texts of a row one behind the other on its own keys and values, of which there need
        be no copies: a mask keeps them apart."""
        of_row: list[list[Sequence[int]]] = [[] for _ in self._rows]
        for row, text in zip(rows, texts, strict=True):
            of_row[row].append(text)
        width = max(sum(map(len, some)) for some in of_row)
        ids = torch.zeros((len(of_row), width), dtype=torch.long)
        text_at = torch.full((len(of_row), width), -1)
        place_at = torch.zeros((len(of_row), width), dtype=torch.long)
        for row, some in enumerate(of_row):
            begin = 0
            for number, text in enumerate(some):
                part = slice(begin, begin + len(text))
                ids[row, part], text_at[row, part] = torch.tensor(text), number
                place_at[row, part] = torch.arange(len(text))
                begin += len(text)
        ids, text_at, place_at = (each.to(self._device) for each in (ids, text_at, place_at))
        self._make_room(width)
        begin = self._cache.length
        seen = self._written[:, None, None].repeat(1, 1, width, 1)
        earlier = torch.ones((width, width), dtype=torch.bool, device=self._device).tril()
        same = text_at[:, :, None] == text_at[:, None, :]
        seen[:, 0, :, begin : begin + width] = same & earlier
        logits = forward_all(
            self._model,
            self._cache,
            self._additive(seen),
            self._next[:, None] + place_at,
            width,
            input_ids=ids,
        )
        return logits[text_at >= 0].float()

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """One token for every row."""
        self._make_room(1)
        self._written[:, self._cache.length] = True
        mask = self._additive(self._written[:, None, None])
        positions = self._next[:, None]
        self._next = self._next + 1
        if self._graphs is not None:
            return self._graphs.run(self._cache, tokens, positions, mask)
        return self._forward(self._cache, mask, positions, input_ids=tokens[:, None])

    def _make_room(self, count: int) -> None:
        self._cache.make_room(count)
        more = self._cache.room - self._written.shape[1]
        if more:
            self._written = torch.nn.functional.pad(self._written, (0, more))

    def keep(self, rows: Sequence[int]) -> None:
        """Let the other rows leave."""
        self._cache.select(rows)
        places = torch.tensor(rows, device=self._device)
        self._written, self._next = self._written[places], self._next[places]

    def close(self) -> None:
        """Give the batch's memory back for the next one."""
        self._cache.close()

    def prefix(self, row: int, ids: Sequence[int], logits: torch.Tensor) -> Prefix:
        """What was computed for a row, of whose ids all but the last were read."""
        places = self._written[row, : self._cache.length].nonzero()[:, 0]
        return Prefix(tuple(ids), self._cache.row(row, places), logits.to(self._dtype))

    def _forward(
        self, cache: KeyValues, mask: torch.Tensor, positions: torch.Tensor, **inputs: torch.Tensor
    ) -> torch.Tensor:
        return forward(self._model, cache, mask, positions, **inputs)

    def _additive(self, seen: torch.Tensor) -> torch.Tensor:
        """A mask to be added to scores: 0 where a place is seen, the lowest number elsewhere."""
        lowest = torch.finfo(self._dtype).min
        return torch.zeros(seen.shape, dtype=self._dtype, device=self._device).masked_fill_(
            ~seen, lowest
        )


class EncoderDecoder:
    """An encoder-decoder language model such as FLAN-T5. Its encoder reads picture and prompt both
    ways, so that nothing of a picture can be kept for the next prompt."""

    def __init__(
        self, language_model: Any, embeddings: torch.Tensor, mask: torch.Tensor, start: int
    ) -> None:
        """`embeddings` (rows, tokens, width) and `mask` (rows, tokens) of pictures and prompts;
        `start` is the token that every answer begins after."""
        self._model = language_model
        self._embeddings, self._mask, self._start = embeddings, mask, start
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def begin(self) -> torch.Tensor:
        """Read the prompts."""
        self._encoded = self._model.get_encoder()(
            inputs_embeds=self._embeddings, attention_mask=self._mask
        ).last_hidden_state
        return self.step(self._mask.new_full((len(self._mask),), self._start))

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """One token for every row."""
        return self._forward(tokens[:, None])[:, -1].float()

    def read(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Each text on a copy of its row; what comes after a text's last token is not seen by it,
        and T5 counts positions by their order, so that texts cannot share a row."""
        self.keep(rows)
        width = max(map(len, texts))
        ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts])
        lengths = torch.tensor([len(text) for text in texts])
        real = torch.arange(width) < lengths[:, None]
        return self._forward(ids.to(self._mask.device))[real.to(self._mask.device)].float()

    def _forward(self, tokens: torch.Tensor) -> torch.Tensor:
        output = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=self._mask,
            decoder_input_ids=tokens,
            cache=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = output.logits
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Let the other rows leave."""
        places = torch.tensor(rows, device=self._mask.device)
        self._encoded, self._mask = self._encoded[places], self._mask[places]
        self._cache.batch_select_indices(places)

    def close(self) -> None:
        """Nothing is held beyond the batch."""

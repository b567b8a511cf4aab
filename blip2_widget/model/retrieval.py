"""Pictures and texts to vectors that can be compared, and to the probability that they match.

A retrieval checkpoint has two answers to "does this text fit this picture?". Similarity compares
vectors that each side has by itself, so they are computed once and stored. Matching reads picture
and text together: it is the better judge, and costs a pass through the Q-Former a pair.

Both give what `Blip2ForImageTextRetrieval.forward` gives, and features of pictures, of texts and of
both together are those of LAVIS' `extract_features`. Sources: Li et al., BLIP-2 (2023), 3.2;
salesforce/LAVIS, lavis/models/blip2_models/blip2_qformer.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blip2_widget.errors import Blip2Error
from blip2_widget.model.loaded import Between, LoadedModel

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image


class RetrievalEngine(LoadedModel):
    """A checkpoint that matches pictures with texts, in one variant."""

    def see(
        self, images: Sequence[Image | NDArray[np.float32]], between: Between | None = None
    ) -> torch.Tensor:
        """The image encoder's output of RGB pictures, prepared or not: (pictures, patches + 1,
        width), where the model is, for `features` and `match`. Raises Cancelled where `between`
        does."""
        pixels = self._pixels(images)
        with self._computing(between):
            seen: torch.Tensor = self.model.vision_model(self._placed(pixels)).last_hidden_state
            return seen

    def features(self, seen: torch.Tensor, between: Between | None = None) -> torch.Tensor:
        """The Q-Former's output of what `see` gave: (pictures, query tokens, Q-Former width), on
        the CPU in the variant's type; 32 by 768 for the published checkpoints."""
        with self._computing(between), self._in_its_precision():
            queries = self.model.query_tokens.expand(len(seen), -1, -1)
            output = self.model.qformer(query_embeds=queries, encoder_hidden_states=seen)
            features: torch.Tensor = output.last_hidden_state.to(seen.dtype).cpu()
            return features

    def embed_images(
        self, images: Sequence[Image | NDArray[np.float32]], between: Between | None = None
    ) -> torch.Tensor:
        """`features` of RGB pictures, prepared or not."""
        return self.features(self.see(images, between), between)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Features as vectors to compare with those of texts: (pictures, query tokens, 256), fp32
        on the CPU, each of length 1. Blip2Error where fp16 overflowed."""
        with self._computing(None):
            return self._unit_vectors(self.model.vision_projection, features)

    def text_features(self, texts: Sequence[str], between: Between | None = None) -> torch.Tensor:
        """The Q-Former's output at the first token of texts, which stands for the whole: (texts,
        Q-Former width), fp32 on the CPU. Blip2Error for a text that is too long, as `check`."""
        ids, mask = self._tokens(texts)
        with self._computing(between), self._in_its_precision():
            output = self.model.qformer(
                query_embeds=self.model.embeddings(input_ids=ids),
                query_length=0,
                attention_mask=mask,
            )
            first: torch.Tensor = output.last_hidden_state[:, 0].float().cpu()
            return first

    def embed_texts(self, texts: Sequence[str], between: Between | None = None) -> torch.Tensor:
        """Texts as vectors to compare with those of pictures: (texts, 256), fp32 on the CPU, each
        of length 1. Blip2Error for a text that is too long, as `check`."""
        features = self.text_features(texts, between)
        with self._computing(between):
            return self._unit_vectors(self.model.text_projection, features)

    def multimodal_features(
        self, seen: torch.Tensor, texts: Sequence[str], between: Between | None = None
    ) -> torch.Tensor:
        """The Q-Former's output where each picture of what `see` gave is read together with the
        text in the same place: (pictures, query tokens, Q-Former width), on the CPU in the
        variant's type. Raises as `match`."""
        with self._computing(between), self._in_its_precision():
            return self._together(seen, texts).to(seen.dtype).cpu()

    def match(
        self, seen: torch.Tensor, texts: Sequence[str], between: Between | None = None
    ) -> list[float]:
        """The probability, under the model, that each text fits the picture in the same place of
        what `see` gave. Raises Cancelled where `between` does, ValueError where the counts differ,
        Blip2Error for a text that is too long, as `check`, and where fp16 overflowed."""
        found: list[float] = self.votes(seen, texts, between).softmax(dim=1)[:, 1].tolist()
        return found

    def votes(
        self, seen: torch.Tensor, texts: Sequence[str], between: Between | None = None
    ) -> torch.Tensor:
        """What `match` is the softmax of, the mean over the query tokens: (pictures, 2), fp32 on
        the CPU, that the text does not fit and that it does. Raises as `match`."""
        with self._computing(between), self._in_its_precision():
            head = self.model.itm_head
            each = head(self._together(seen, texts).to(head.weight.dtype))
            votes: torch.Tensor = each.mean(dim=1).float().cpu()
        if votes.isnan().any():
            raise self._overflow()
        return votes

    def check(self, text: str) -> None:
        """Raise Blip2Error where a text is longer than the Q-Former can read."""
        limit = self.model.config.qformer_config.max_position_embeddings
        count = len(self._token_ids([text])[0])
        if count > limit:
            raise Blip2Error(
                f"the text has {count} tokens and this model reads {limit}: shorten it"
            )

    def _together(self, seen: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """The output at the query tokens, where the model is."""
        import torch

        if len(seen) != len(texts):
            raise ValueError(f"{len(seen)} pictures but {len(texts)} texts")
        ids, mask = self._tokens(texts)
        queries = self.model.query_tokens.expand(len(seen), -1, -1)
        count = queries.shape[1]
        output = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=ids, query_embeds=queries),
            query_length=count,
            attention_mask=torch.cat([mask.new_ones(len(seen), count), mask], dim=1),
            encoder_hidden_states=seen,
        )
        at_queries: torch.Tensor = output.last_hidden_state[:, :count]
        return at_queries

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        # What looks like a special token is a person's text; the Q-Former has no row for <image>.
        encoded = self.processor.tokenizer(list(texts), split_special_tokens=True)
        ids: list[list[int]] = encoded.input_ids
        return ids

    def _tokens(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask, (texts, tokens) each, padded on the right: a text's vector
        is read from its first token, and positions count from there."""
        import torch

        for text in texts:
            self.check(text)
        rows = self._token_ids(texts)
        longest = max(map(len, rows))
        pad = self.processor.tokenizer.pad_token_id
        ids = [row + [pad] * (longest - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        device = self.model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _unit_vectors(self, projection: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        weight: torch.Tensor = projection.weight
        projected = projection(values.to(self.model.device, weight.dtype))
        vectors: torch.Tensor = functional.normalize(projected, dim=-1).float().cpu()
        if vectors.isnan().any():
            raise self._overflow()
        return vectors


def similarity(pictures: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """How near texts (texts, size) are to pictures (pictures, query tokens, size), both of length
    1: the cosine with the nearest of a picture's vectors, as (pictures, texts), from -1 to 1."""
    return (pictures @ texts.T).amax(dim=1)


def pooled(pictures: torch.Tensor) -> torch.Tensor:
    """One vector a picture, (pictures, size), of length 1: the mean of its own (pictures, query
    tokens, size). Pictures are compared with each other by it; texts less well than by all."""
    from torch.nn import functional

    return functional.normalize(pictures.mean(dim=1), dim=-1)

"""Train the retrieval checkpoint: `python -m blip2_widget.demo.train_retrieval [--out DIR]`.

It sees by the demo checkpoint's image encoder, which stays as it is, and learns, from drawn scenes
and easy-VQA's train split, what the first stage of BLIP-2's own training teaches the Q-Former:

- contrast: a text's embedding comes near to one of the query embeddings of each picture that it is
  true of, and of no other in the batch;
- matching: asked of a picture and a text together, the Q-Former says whether it is true. The false
  pairs are those in the batch that contrast takes for the likeliest.

Source: Li et al., BLIP-2 (2023), section 3.2. Other than there, texts are written with their truth
known, so that a text true of several pictures in a batch has all of them for its target, and half
of the texts are others with a word changed. The third part, writing texts, is left out.
"""

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Blip2ForConditionalGeneration

from blip2_widget.demo import CHECKPOINT, RETRIEVAL
from blip2_widget.demo.architecture import (
    build_processor,
    build_retrieval_model,
    build_retrieval_tokenizer,
)
from blip2_widget.demo.sayings import Saying, alter, looks, say, truths
from blip2_widget.demo.scenes import draw_scene
from blip2_widget.demo.train import (
    Picture,
    draw_pictures,
    optimise,
    read_easy_vqa,
    report,
    save,
    vision_features,
)

SCENES: Final = 20_000
EASY_VQA_SHARE: Final = 0.15
BATCH: Final = 64
CONTRAST_STEPS: Final = 800
BOTH_STEPS: Final = 2400
FIRST_TEMPERATURE: Final = 0.07


def main() -> None:
    """Train from the demo checkpoint and save the retrieval checkpoint."""
    parser = argparse.ArgumentParser(description="Train the demo's retrieval checkpoint.")
    parser.add_argument("--out", type=Path, default=RETRIEVAL, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train(options.out, options.seed)


def train(out: Path, seed: int) -> None:
    """Train with this seed and save model and processor to `out`."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    rng = random.Random(seed)

    easy = read_easy_vqa()
    pictures = easy + draw_pictures(f"retrieval-{seed}", SCENES)
    report(started, f"{len(easy)} easy-VQA pictures, {SCENES} scenes")

    tokenizer = build_retrieval_tokenizer(sample_texts(rng))
    processor = build_processor(tokenizer)
    first = Blip2ForConditionalGeneration.from_pretrained(CHECKPOINT)
    model = build_retrieval_model(tokenizer, first)
    # For training on CPU the plain attention is twice as fast as the fused one.
    model.set_attn_implementation("eager")
    report(started, f"{sum(p.numel() for p in model.parameters()):,} parameters")

    features = vision_features(model, processor, pictures)
    report(started, "features of every picture computed")
    teacher = Teacher(model, tokenizer)
    batches = Batches(rng, pictures, features, len(easy))
    for step, optimiser in optimise(teacher, CONTRAST_STEPS, peak=1e-3):
        seen, sayings, truth = batches.draw(BATCH)
        loss = teacher.contrast(seen, teacher.tokens(sayings), truth)[0]
        optimiser(loss)
        if step % 100 == 0:
            report(started, f"contrast {step}: loss {loss:.4f}")
    for step, optimiser in optimise(teacher, BOTH_STEPS, peak=1e-3):
        seen, sayings, truth = batches.draw(BATCH)
        tokens = teacher.tokens(sayings)
        loss, likeness = teacher.contrast(seen, tokens, truth)
        matching, right = teacher.matching(seen, tokens, truth, likeness)
        optimiser(loss + matching)
        if step % 100 == 0:
            report(started, f"both {step}: losses {loss:.4f} {matching:.4f}, right {right:.1%}")
    # In 16 bit it takes half the file; what it scores is measured on what is saved.
    save(model.half(), processor, out)
    report(started, f"saved to {out}")


def sample_texts(rng: random.Random) -> Iterator[str]:
    """Texts of the kind that training will show, to make the vocabulary from."""
    for number in range(5000):
        shapes = draw_scene(random.Random(f"words-{number}"), size=8).shapes
        yield say(rng, shapes).text


class Batches:
    """Draws pictures, and texts of which each picture has a true one."""

    def __init__(
        self, rng: random.Random, pictures: Sequence[Picture], features: Tensor, easy: int
    ) -> None:
        self._rng = rng
        self._pictures = pictures
        self._features = features
        self._easy = easy  # the first so many pictures are easy-VQA's
        self._looks = np.stack([looks(picture.shapes) for picture in pictures])

    def draw(self, size: int) -> tuple[Tensor, list[Saying], Tensor]:
        """Features of pictures, twice as many texts, and truth (texts, pictures). Text number n is
        true of picture n, text `size` + n is the same, altered."""
        rng = self._rng
        own = round(size * EASY_VQA_SHARE)
        chosen = [rng.randrange(self._easy) for _ in range(own)]
        chosen += [rng.randrange(self._easy, len(self._pictures)) for _ in range(size - own)]
        true = [say(rng, self._pictures[number].shapes) for number in chosen]
        sayings = true + [alter(rng, saying) for saying in true]
        return (
            self._features[chosen],
            sayings,
            torch.from_numpy(truths(sayings, self._looks[chosen])),
        )


class Teacher(nn.Module):
    """What learns of a retrieval model, with the losses that teach it."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.query_tokens = model.query_tokens
        self.embeddings = model.embeddings
        self.qformer = model.qformer
        self.vision_projection = model.vision_projection
        self.text_projection = model.text_projection
        self.itm_head = model.itm_head
        self.scale = nn.Parameter(torch.tensor(1 / FIRST_TEMPERATURE).log())
        self._tokenizer = tokenizer

    def tokens(self, sayings: Sequence[Saying]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask: (texts, tokens) each."""
        texts = [saying.text for saying in sayings]
        encoded = self._tokenizer(texts, padding=True, return_tensors="pt")
        return encoded.input_ids, encoded.attention_mask

    def contrast(
        self, seen: Tensor, tokens: tuple[Tensor, Tensor], truth: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The contrastive loss, both ways, and the likeness (texts, pictures) that it is of."""
        ids, mask = tokens
        with torch.autocast("cpu", torch.bfloat16):
            queries = self.query_tokens.expand(len(seen), -1, -1)
            read = self.qformer(query_embeds=queries, encoder_hidden_states=seen.float())
            pictures = self.vision_projection(read.last_hidden_state)
            words = self.embeddings(input_ids=ids)
            read = self.qformer(query_embeds=words, query_length=0, attention_mask=mask)
            texts = self.text_projection(read.last_hidden_state[:, 0])
        pictures = functional.normalize(pictures.float(), dim=-1)
        texts = functional.normalize(texts.float(), dim=-1)
        likeness = torch.einsum("td,pqd->tpq", texts, pictures).amax(-1)
        logits = likeness * self.scale.exp().clamp(max=100)
        return _both_ways(logits, truth), likeness.detach()

    def matching(
        self, seen: Tensor, tokens: tuple[Tensor, Tensor], truth: Tensor, likeness: Tensor
    ) -> tuple[Tensor, float]:
        """The matching loss, and the share of pairs that are told rightly: each picture with a true
        text, and either the picture with a false one or the text with another picture."""
        size = len(seen)
        weights = (likeness * self.scale.detach().exp().clamp(max=100)).softmax(1) + 1e-6
        weights = weights.masked_fill(truth, 0)
        each = torch.arange(size)
        false_text = torch.multinomial(weights.T, 1)[:, 0]
        false_picture = torch.multinomial(weights[:size], 1)[:, 0]
        swaps_text = each % 2 == 0
        text = torch.cat([each, torch.where(swaps_text, false_text, each)])
        picture = torch.cat([each, torch.where(swaps_text, each, false_picture)])
        label = torch.cat([torch.ones(size), torch.zeros(size)]).long()
        ids, mask = tokens[0][text], tokens[1][text]
        with torch.autocast("cpu", torch.bfloat16):
            queries = self.query_tokens.expand(len(text), -1, -1)
            count = queries.shape[1]
            read = self.qformer(
                query_embeds=self.embeddings(input_ids=ids, query_embeds=queries),
                query_length=count,
                attention_mask=torch.cat([mask.new_ones(len(text), count), mask], dim=1),
                encoder_hidden_states=seen[picture].float(),
            )
            logits = self.itm_head(read.last_hidden_state[:, :count]).mean(dim=1).float()
        loss = functional.cross_entropy(logits, label)
        return loss, float((logits.argmax(1) == label).float().mean())


def _both_ways(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of texts over pictures and of pictures over texts, what is true sharing the
    target evenly; a text that is true of none here has no target, and is only told apart."""
    target = truth.float()
    of_texts = -(target * logits.log_softmax(1)).sum(1) / target.sum(1).clamp(min=1)
    of_pictures = -(target * logits.log_softmax(0)).sum(0) / target.sum(0)
    return of_texts[truth.any(1)].mean() + of_pictures.mean()


if __name__ == "__main__":
    main()

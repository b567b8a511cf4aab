"""Train the demo checkpoint: `python -m blip2_widget.demo.train [--out DIR] [--seed 0]`.

Three stages, fed only by drawn scenes and by easy-VQA's train split:

1. the vision tower learns to say, patch by patch, which shape has its centre there, and from its
   class token how many shapes of each look there are;
2. the tower is frozen, and its features of every picture are computed once;
3. Q-Former, projection and language model learn together, from captions alone at first, then from
   captions and conversations.

Some train pictures of easy-VQA are held out, to see how well the training went.
"""

import argparse
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from blip2_widget.demo import CHECKPOINT
from blip2_widget.demo.architecture import (
    GRID,
    IMAGE_SIZE,
    QUERY_TOKENS,
    WIDTH,
    build_model,
    build_processor,
    build_tokenizer,
)
from blip2_widget.demo.pictures import easy_vqa_pictures
from blip2_widget.demo.scenes import COLOURS, KINDS, MAX_SHAPES, Shape, caption, draw_scene
from blip2_widget.demo.texts import CAPTION_PREFIXES, Example, ask, converse, vary
from blip2_widget.model import conversation_text

SCENES: Final = 40_000
HELD_OUT: Final = 200

VISION_STEPS: Final = 3600
VISION_BATCH: Final = 128
CAPTION_STEPS: Final = 600
CAPTION_BATCH: Final = 256
MIXED_STEPS: Final = 2000
MIXED_BATCH: Final = 96
CONVERSATIONS: Final = 3
EASY_VQA_SHARE: Final = 0.25

LOOKS: Final = tuple((kind, colour) for kind in KINDS for colour in COLOURS)
NOTHING: Final = len(LOOKS)


@dataclass(frozen=True)
class Picture:
    """A picture to learn from: its pixels as the model sees them, its shapes, given questions."""

    pixels: Tensor
    shapes: tuple[Shape, ...]
    questions: tuple[Example, ...] = ()


def main() -> None:
    """Train from nothing and save the checkpoint."""
    parser = argparse.ArgumentParser(description="Train the demo checkpoint.")
    parser.add_argument("--out", type=Path, default=CHECKPOINT, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train(options.out, options.seed)


def train(out: Path, seed: int) -> None:
    """Train with this seed and save model and processor to `out`."""
    started = time.perf_counter()
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    rng = random.Random(seed)

    easy = read_easy_vqa()
    easy, held_out = easy[:-HELD_OUT], easy[-HELD_OUT:]
    pictures = easy + draw_pictures(f"train-{seed}", SCENES)
    held_out += draw_pictures(f"held-out-{seed}", HELD_OUT)
    report(started, f"{len(easy)} easy-VQA pictures, {SCENES} scenes")

    tokenizer = build_tokenizer(sample_texts(rng, pictures))
    processor = build_processor(tokenizer)
    model = build_model(tokenizer)
    # For training on CPU the plain attention is twice as fast as the fused one.
    model.set_attn_implementation("eager")
    report(started, f"{sum(p.numel() for p in model.parameters()):,} parameters")

    train_vision(model, processor, pictures, held_out, started)
    features = vision_features(model, processor, pictures)
    report(started, "features of every picture computed")

    writer = RowWriter(processor.tokenizer)
    train_language(model, writer, rng, pictures, features, len(easy), started)
    save(model, processor, out)
    report(started, f"saved to {out}")


def report(started: float, text: str) -> None:
    """Print a line of progress with the minutes since the start."""
    print(f"{(time.perf_counter() - started) / 60:5.1f} min  {text}", flush=True)


def save(model: Any, processor: Any, out: Path) -> None:
    """Write the checkpoint in the standard format."""
    model.eval().save_pretrained(out)
    processor.save_pretrained(out)


# Pictures


def read_easy_vqa() -> list[Picture]:
    """easy-VQA's train pictures; they are already of the model's size."""
    return [
        Picture(_pixels(picture.open()), (picture.shape,), tuple(picture.questions))
        for picture in easy_vqa_pictures("train")
    ]


def draw_pictures(name: str, count: int) -> list[Picture]:
    """Draw scenes in full size and shrink them as the image processor does."""
    with get_context("spawn").Pool(2) as pool:
        drawn = pool.map(_draw, [f"{name}-{number}" for number in range(count)], chunksize=200)
    return [Picture(torch.from_numpy(pixels), shapes) for pixels, shapes in drawn]


def _draw(seed: str) -> tuple[Any, tuple[Shape, ...]]:
    scene = draw_scene(random.Random(seed))
    return _pixels(scene.image).numpy(), scene.shapes


def _pixels(image: Image.Image) -> Tensor:
    side = (IMAGE_SIZE, IMAGE_SIZE)
    return torch.from_numpy(np.array(image.resize(side, Image.Resampling.BICUBIC)))


def normalise(pixels: Tensor, processor: Any) -> Tensor:
    """Bytes (batch, height, width, 3) to the model's pixel values (batch, 3, height, width)."""
    mean = torch.tensor(processor.image_processor.image_mean).view(3, 1, 1)
    std = torch.tensor(processor.image_processor.image_std).view(3, 1, 1)
    return (pixels.permute(0, 3, 1, 2) / 255 - mean) / std


# Stage 1: the vision tower


def train_vision(
    model: Any,
    processor: Any,
    pictures: Sequence[Picture],
    held_out: Sequence[Picture],
    started: float,
) -> None:
    """Teach the vision tower where each shape is and how many of each look there are."""
    tower = model.vision_model
    centre_head = nn.Linear(WIDTH, len(LOOKS) + 1)
    count_head = nn.Linear(WIDTH, len(LOOKS) * (MAX_SHAPES + 1))
    # Nearly every patch is no centre; less weight on those keeps the centres audible.
    weights = torch.ones(len(LOOKS) + 1)
    weights[NOTHING] = 0.2

    def heads(pixels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            tokens = tower(pixel_values=normalise(pixels, processor)).last_hidden_state
            centres, counts = centre_head(tokens[:, 1:]), count_head(tokens[:, 0])
        return centres.float(), counts.float().unflatten(1, (len(LOOKS), MAX_SHAPES + 1))

    pixels = torch.stack([picture.pixels for picture in pictures])
    centres = torch.stack([centre_grid(picture.shapes) for picture in pictures])
    counts = torch.stack([look_counts(picture.shapes) for picture in pictures])
    trained = nn.ModuleList([tower, centre_head, count_head])
    for step, optimiser in optimise(trained, VISION_STEPS, peak=1e-3):
        rows = torch.randint(len(pictures), (VISION_BATCH,))
        batch, batch_centres = pixels[rows], centres[rows]
        if step % 2:  # a mirrored picture is as good as another
            batch, batch_centres = batch.flip(2), batch_centres.flip(2)
        centre_logits, count_logits = heads(batch)
        centre_loss = functional.cross_entropy(
            centre_logits.flatten(0, 1), batch_centres.flatten(), weights
        )
        count_loss = functional.cross_entropy(count_logits.flatten(0, 1), counts[rows].flatten())
        optimiser(centre_loss + 6 * count_loss)
        if step % 100 == 0:
            report(started, f"vision {step}: centres {centre_loss:.4f} counts {count_loss:.4f}")

    with torch.no_grad():
        _, logits = heads(torch.stack([picture.pixels for picture in held_out]))
    right = logits.argmax(-1).eq(torch.stack([look_counts(p.shapes) for p in held_out])).all(1)
    easy, scenes = right[:HELD_OUT].float().mean(), right[HELD_OUT:].float().mean()
    report(started, f"all counts right: easy-VQA {easy:.1%}, scenes {scenes:.1%}")


def centre_grid(shapes: Sequence[Shape]) -> Tensor:
    """For every patch, the look of the shape whose box has its centre there, or NOTHING."""
    grid = torch.full((GRID, GRID), NOTHING)
    for shape in shapes:
        left, top, right, bottom = shape.box
        row, column = int((top + bottom) / 2 * GRID), int((left + right) / 2 * GRID)
        grid[row, column] = LOOKS.index((shape.kind, shape.colour))
    return grid


def look_counts(shapes: Sequence[Shape]) -> Tensor:
    """How many shapes of each look there are."""
    looks = [(shape.kind, shape.colour) for shape in shapes]
    return torch.tensor([looks.count(look) for look in LOOKS])


# Stage 2: features


@torch.no_grad()
def vision_features(model: Any, processor: Any, pictures: Sequence[Picture]) -> Tensor:
    """The frozen tower's output for every picture, in 16 bit to save memory."""
    features = []
    for start in range(0, len(pictures), 500):
        pixels = torch.stack([picture.pixels for picture in pictures[start : start + 500]])
        with torch.autocast("cpu", torch.bfloat16):
            output = model.vision_model(pixel_values=normalise(pixels, processor))
        features.append(output.last_hidden_state.bfloat16())
    return torch.cat(features)


# Stage 3: Q-Former, projection and language model


@dataclass(frozen=True)
class Row:
    """Token ids of one training text, and which of them the model must learn to write."""

    ids: list[int]
    learnt: list[bool]


class RowWriter:
    """Writes captions and conversations as token ids, laid out as the processor does."""

    def __init__(self, tokenizer: Any) -> None:
        image = tokenizer.convert_tokens_to_ids("<image>")
        self._start = [image] * QUERY_TOKENS + [tokenizer.bos_token_id]
        self._encode = lru_cache(maxsize=200_000)(
            lambda text: tokenizer.encode(text, add_special_tokens=False)
        )

    def caption(self, rng: random.Random, shapes: Sequence[Shape]) -> Row:
        """A caption, by itself or after a prefix such as "a picture of"."""
        text, prefix = caption(shapes), ""
        if rng.random() < 0.4:
            prefix = rng.choice(CAPTION_PREFIXES)
            prefix = prefix[0].upper() + prefix[1:] if rng.random() < 0.3 else prefix
            text = " " + text
        return self._row([(prefix, False), (text + "\n", True)])

    def conversation(self, talk: Sequence[Example]) -> Row:
        """Questions and answers; only the last answer is ended by a line break."""
        parts: list[tuple[str, bool]] = []
        for question, answer in talk:
            space = " " if parts else ""
            parts += [(space + conversation_text([], question), False), (f" {answer}", True)]
            parts.append((".", False))
        return self._row([*parts[:-1], ("\n", True)])

    def _row(self, parts: Sequence[tuple[str, bool]]) -> Row:
        ids, learnt = list(self._start), [False] * len(self._start)
        for text, learn in parts:
            tokens = self._encode(text)
            ids += tokens
            learnt += [learn] * len(tokens)
        return Row(ids, learnt)


def sample_texts(rng: random.Random, pictures: Sequence[Picture]) -> Iterator[str]:
    """Texts of the kind that training will show, to make the vocabulary from."""
    for picture in rng.sample(pictures, 5000):
        yield f"{rng.choice(CAPTION_PREFIXES)} {caption(picture.shapes)}\n"
        for question, answer in converse(rng, picture.shapes, 4):
            yield f"{conversation_text([], question)} {answer}\n"


def talk_about(rng: random.Random, picture: Picture, turns: int) -> list[Example]:
    """A conversation about a picture, from its own questions where it has some."""
    if not picture.questions or rng.random() < 0.3:
        return converse(rng, picture.shapes, turns)
    talk = []
    for _ in range(turns):
        if rng.random() < 0.3:
            talk.append(ask(rng, picture.shapes))
            continue
        question, answer = rng.choice(picture.questions)
        talk.append((vary(rng, question) if rng.random() < 0.4 else question, answer))
    return talk


def train_language(
    model: Any,
    writer: RowWriter,
    rng: random.Random,
    pictures: Sequence[Picture],
    features: Tensor,
    easy: int,
    started: float,
) -> None:
    """Teach everything after the vision tower; the first `easy` pictures are easy-VQA's."""
    model.vision_model.requires_grad_(False)
    learner = nn.ModuleList([model.qformer, model.language_projection, model.language_model])
    learner.register_parameter("query_tokens", model.query_tokens)

    def choose(count: int) -> list[int]:
        own = round(count * EASY_VQA_SHARE)
        chosen = [rng.randrange(easy) for _ in range(own)]
        return chosen + [rng.randrange(easy, len(pictures)) for _ in range(count - own)]

    for step, optimiser in optimise(learner, CAPTION_STEPS, peak=1e-3):
        chosen = choose(CAPTION_BATCH)
        rows = [writer.caption(rng, pictures[number].shapes) for number in chosen]
        loss = language_loss(model, features[chosen], rows)
        optimiser(loss)
        if step % 100 == 0:
            report(started, f"captions {step}: loss {loss:.4f}")

    for step, optimiser in optimise(learner, MIXED_STEPS, peak=1e-3):
        chosen = choose(MIXED_BATCH)
        turns = rng.choice((1, 2, 3, 3, 4))
        rows = []
        for number in chosen:
            picture = pictures[number]
            rows.append(writer.caption(rng, picture.shapes))
            for _ in range(CONVERSATIONS):
                rows.append(writer.conversation(talk_about(rng, picture, turns)))
        loss = language_loss(model, features[chosen], rows)
        optimiser(loss)
        if step % 100 == 0:
            report(started, f"mixed {step}: loss {loss:.4f}")


def language_loss(model: Any, features: Tensor, rows: Sequence[Row]) -> Tensor:
    """The loss on what is learnt in `rows`; each picture has the same number of rows."""
    longest = max(len(row.ids) for row in rows)
    pad = model.config.text_config.pad_token_id
    ids = torch.tensor([row.ids + [pad] * (longest - len(row.ids)) for row in rows])
    learnt = torch.tensor([row.learnt + [False] * (longest - len(row.ids)) for row in rows])
    language_model = model.language_model
    with torch.autocast("cpu", torch.bfloat16):
        queries = model.query_tokens.expand(len(features), -1, -1)
        seen = model.qformer(query_embeds=queries, encoder_hidden_states=features.float())
        prefix = model.language_projection(seen.last_hidden_state)
        prefix = prefix.repeat_interleave(len(rows) // len(features), dim=0)
        words = language_model.get_input_embeddings()(ids[:, QUERY_TOKENS:])
        embeddings = torch.cat([prefix.float(), words], dim=1)
        # Padding stands on the right, where a causal model never looks: no mask is needed.
        states = language_model.model(inputs_embeds=embeddings, use_cache=False)
        before = states.last_hidden_state[:, :-1][learnt[:, 1:]]
        logits = language_model.lm_head(before)
    return functional.cross_entropy(logits.float(), ids[:, 1:][learnt[:, 1:]])


# Optimisation


class Optimiser:
    """AdamW with a warm-up, a cosine decay and clipped gradients; call it with a loss."""

    def __init__(self, module: nn.Module, steps: int, peak: float) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        decayed = [p for p in self.parameters if p.ndim == 2]
        plain = [p for p in self.parameters if p.ndim != 2]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.adam,
            lambda step: min((step + 1) / 100, 0.5 * (1 + math.cos(math.pi * step / steps))),
        )

    def __call__(self, loss: Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self.schedule.step()


def optimise(module: nn.Module, steps: int, peak: float) -> Iterator[tuple[int, Optimiser]]:
    """Yield every step's number, from 1, with the optimiser to give its loss to."""
    optimiser = Optimiser(module, steps, peak)
    module.train()
    for step in range(1, steps + 1):
        yield step, optimiser


if __name__ == "__main__":
    main()

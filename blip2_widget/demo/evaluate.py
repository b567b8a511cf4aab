"""Score the demo checkpoint: `python -m blip2_widget.demo.evaluate [--dtype bfloat16] [--json]`.

Every answer is generated freely, token by token, by the checkpoint as saved. The pictures are
easy-VQA's test split, and scenes that no training has drawn.
"""

import argparse
import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    BitsAndBytesConfig,
    Blip2ForConditionalGeneration,
    Blip2Processor,
)

from blip2_widget.demo import CHECKPOINT
from blip2_widget.demo.pictures import easy_vqa_pictures
from blip2_widget.demo.scenes import Scene, caption, draw_scene
from blip2_widget.demo.texts import (
    CAPTION_PREFIXES,
    Example,
    ask,
    ask_count,
    converse,
    question_prompt,
    vary,
)

SCENES: Final = 1000
SEED: Final = "evaluation"
NOT_QUANTISED: Final = ["vision_model", "qformer", "language_projection", "lm_head"]


@dataclass(frozen=True)
class Score:
    """How many of some answers were right, and a few that were not."""

    name: str
    right: int
    asked: int
    mistakes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Right answers as a share of those asked."""
        return self.right / self.asked


@dataclass(frozen=True)
class Asked:
    """A prompt on the picture of this number, and the one right answer."""

    picture: int
    prompt: str
    answer: str


def load(
    path: Path = CHECKPOINT, dtype: torch.dtype = torch.float32, quantise: str | None = None
) -> tuple[Any, Any]:
    """The model and processor of a saved checkpoint; `quantise` may be "int8" or "int4"."""
    options: dict[str, Any] = {"dtype": dtype}
    if quantise == "int8":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_skip_modules=NOT_QUANTISED
        )
    elif quantise == "int4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=NOT_QUANTISED,
        )
    if quantise is not None:
        options["device_map"] = {"": "cpu"}
    model = Blip2ForConditionalGeneration.from_pretrained(path, **options)
    return model.eval(), Blip2Processor.from_pretrained(path)


@torch.no_grad()
def picture_features(
    model: Any, processor: Any, images: Sequence[Image.Image], batch_size: int = 250
) -> Tensor:
    """What the language model sees of each picture: (pictures, query tokens, width)."""
    features = []
    for start in range(0, len(images), batch_size):
        inputs = processor.image_processor(
            images=list(images[start : start + batch_size]), return_tensors="pt"
        )
        pixels = inputs["pixel_values"].to(model.dtype)
        features.append(model.get_image_features(pixel_values=pixels).pooler_output)
    return torch.cat(features)


@torch.no_grad()
def generate(
    model: Any,
    processor: Any,
    features: Tensor,
    asked: Sequence[tuple[int, str]],
    batch_size: int = 500,
) -> list[str]:
    """The model's answer to each prompt on the picture of this number, without spaces around."""
    answers = [""] * len(asked)
    tokenizer, config = processor.tokenizer, model.config
    image_ids = [config.image_token_index] * config.num_query_tokens
    ids = [image_ids + tokenizer(prompt)["input_ids"] for _, prompt in asked]
    by_length = sorted(range(len(asked)), key=lambda number: len(ids[number]))
    for start in range(0, len(asked), batch_size):
        numbers = by_length[start : start + batch_size]
        batch = tokenizer.pad({"input_ids": [ids[n] for n in numbers]}, return_tensors="pt")
        embeddings = model.get_input_embeddings()(batch["input_ids"])
        places = (batch["input_ids"] == config.image_token_index).unsqueeze(-1)
        seen = features[[asked[n][0] for n in numbers]].to(embeddings.dtype)
        written = model.language_model.generate(
            inputs_embeds=embeddings.masked_scatter(places, seen),
            attention_mask=batch["attention_mask"],
            max_new_tokens=40,
            do_sample=False,
            # The whole model's settings hold the line break that ends an answer.
            generation_config=model.generation_config,
        )
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        for number, text in zip(numbers, texts, strict=True):
            answers[number] = text.strip()
    return answers


def score(
    name: str, model: Any, processor: Any, features: Tensor, questions: Sequence[Asked]
) -> Score:
    """Generate an answer to every question and count the right ones."""
    answers = generate(model, processor, features, [(q.picture, q.prompt) for q in questions])
    mistakes = [
        f"picture {q.picture}: {q.prompt!r} gave {answer!r}, not {q.answer!r}"
        for q, answer in zip(questions, answers, strict=True)
        if answer != q.answer
    ]
    return Score(name, len(questions) - len(mistakes), len(questions), tuple(mistakes[:10]))


def score_easy_vqa(
    model: Any, processor: Any, pictures: int | None = None, questions: int | None = None
) -> list[Score]:
    """Questions and captions of easy-VQA's test split (all of them unless told how many)."""
    chosen = easy_vqa_pictures("test")[:pictures]
    features = picture_features(model, processor, [picture.open() for picture in chosen])
    official = [
        Asked(number, question_prompt(question), answer)
        for number, picture in enumerate(chosen)
        for question, answer in picture.questions
    ][:questions]
    captions = [Asked(n, "", caption([picture.shape])) for n, picture in enumerate(chosen)]
    return [
        score("easy-VQA test questions", model, processor, features, official),
        score("easy-VQA test captions", model, processor, features, captions),
    ]


def score_scenes(model: Any, processor: Any, scenes: int = SCENES, seed: str = SEED) -> list[Score]:
    """Counts, captions, other questions and conversations about freshly drawn scenes."""
    drawn = [draw_scene(random.Random(f"{seed}-{number}")) for number in range(scenes)]
    features = picture_features(model, processor, [scene.image for scene in drawn])
    rng = random.Random(seed)
    asked = {
        "scene counts": list(_counts(rng, drawn)),
        "scene captions": [
            Asked(number, "", caption(scene.shapes)) for number, scene in enumerate(drawn)
        ],
        "scene captions after a prefix": [
            Asked(number, rng.choice(CAPTION_PREFIXES), caption(scene.shapes))
            for number, scene in enumerate(drawn)
        ],
        "scene questions of all sorts": [
            Asked(number, question_prompt(question), answer)
            for number, scene in enumerate(drawn)
            for question, answer in [ask(rng, scene.shapes) for _ in range(2)]
        ],
        "last answers of conversations": list(_conversations(rng, drawn)),
    }
    return [score(name, model, processor, features, asked[name]) for name in asked]


def _counts(rng: random.Random, scenes: Sequence[Scene]) -> Iterable[Asked]:
    for number, scene in enumerate(scenes):
        for _ in range(2):
            question, answer = ask_count(rng, scene.shapes)
            yield Asked(number, question_prompt(vary(rng, question)), answer)


def _conversations(rng: random.Random, scenes: Sequence[Scene]) -> Iterable[Asked]:
    for number, scene in enumerate(scenes):
        talk: list[Example] = converse(rng, scene.shapes, rng.randint(2, 4))
        yield Asked(number, question_prompt(talk[-1][0], talk[:-1]), talk[-1][1])


def main() -> None:
    """Print all scores as a table or as JSON."""
    parser = argparse.ArgumentParser(description="Score the demo checkpoint.")
    parser.add_argument("--path", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--quantise", choices=("int8", "int4"), help="with bitsandbytes")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mistakes", action="store_true", help="show some wrong answers")
    options = parser.parse_args()

    started = time.perf_counter()
    model, processor = load(options.path, getattr(torch, options.dtype), options.quantise)
    scores = score_easy_vqa(model, processor) + score_scenes(model, processor, options.scenes)
    if options.json:
        print(json.dumps([asdict(entry) | {"share": entry.share} for entry in scores], indent=2))
        return
    print(f"{'':32} right / asked")
    for entry in scores:
        print(f"{entry.name:32} {entry.right:5} / {entry.asked:5}  {entry.share:7.2%}")
        for mistake in entry.mistakes if options.mistakes else ():
            print(f"    {mistake}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

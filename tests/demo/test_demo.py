"""The bundled checkpoint does what its card says, by free generation from the saved files."""

import random
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from blip2_widget.demo import CHECKPOINT, SAMPLES, samples
from blip2_widget.demo.draw_samples import write_samples
from blip2_widget.demo.evaluate import (
    Score,
    generate,
    load,
    picture_features,
    score_easy_vqa,
    score_scenes,
)
from blip2_widget.demo.pictures import easy_vqa_pictures
from blip2_widget.demo.scenes import COLOURS, KINDS, Scene, Shape, caption, draw_scene
from blip2_widget.demo.texts import ASKERS, ask, converse, vary
from blip2_widget.model import Engine, conversation_text

BARS = {
    "easy-VQA test questions": 0.99,
    "easy-VQA test captions": 0.97,
    "scene counts": 0.95,
    "scene captions": 0.85,
    "scene captions after a prefix": 0.85,
    "scene questions of all sorts": 0.95,
    "last answers of conversations": 0.95,
}


@pytest.fixture(scope="module", params=["cpu-fp32", "cpu-bf16", "cpu-int8", "cpu-int4"])
def every_variant(request: pytest.FixtureRequest) -> Engine:
    return load(CHECKPOINT, request.param)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load(CHECKPOINT)


def above_the_bars(scores: list[Score]) -> None:
    for score in scores:
        assert score.share >= BARS[score.name], (score.name, score.share, score.mistakes)


# The checkpoint's files


def test_the_checkpoint_has_every_file_and_stays_small() -> None:
    files = {path.name for path in CHECKPOINT.iterdir()}
    assert files >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= 12_000_000


def test_the_layout_is_that_of_the_real_checkpoint(engine: Engine) -> None:
    model, processor = engine.model, engine.processor
    config, tokenizer = model.config, processor.tokenizer
    picture = draw_scene(random.Random(1)).image
    inputs = processor(images=picture, text="Question: what is it? Answer:", return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    queries = config.num_query_tokens
    assert processor.num_query_tokens == queries
    assert ids[:queries] == [config.image_token_index] * queries
    assert ids[queries] == tokenizer.bos_token_id
    (newline,) = tokenizer.encode("\n", add_special_tokens=False)
    assert config.text_config.eos_token_id == newline
    assert model.generation_config.eos_token_id == newline
    assert config.text_config.pad_token_id == tokenizer.pad_token_id != newline
    assert tokenizer.padding_side == "left"
    assert config.text_config.model_type == "opt"
    assert config.vision_config.initializer_range == 0.02


def test_linear_layers_can_be_quantised_in_blocks_of_64(engine: Engine) -> None:
    for name, module in engine.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            assert module.in_features % 64 == 0 and module.out_features % 64 == 0, name


def test_any_text_can_be_written_and_read_back(engine: Engine) -> None:
    processor = engine.processor
    text = 'Wie heißt "das"? 😀 \t 北京\nüber 12345'
    ids = processor.tokenizer.encode(text, add_special_tokens=False)
    assert processor.tokenizer.unk_token_id not in ids
    assert processor.tokenizer.decode(ids) == text


# What the model knows


def test_scores_on_a_part_stay_above_the_bars(every_variant: Engine) -> None:
    above_the_bars(score_easy_vqa(every_variant, pictures=200, questions=300))
    above_the_bars(score_scenes(every_variant, scenes=200, seed="test"))


def test_all_scores_are_above_the_bars(engine: Engine) -> None:
    scores = score_easy_vqa(engine) + score_scenes(engine)
    assert [score.asked for score in scores[:2]] == [9673, 1000]
    above_the_bars(scores)


def test_the_samples_are_answered_right(engine: Engine) -> None:
    frame = samples()
    images = [Image.open(path).convert("RGB") for path in frame["image"]]
    features = picture_features(engine, images)
    prompts = [(n, conversation_text([], question)) for n, question in enumerate(frame["question"])]
    captions = [(number, "") for number in range(len(frame))]
    for asked, known in ((prompts, frame["answer"]), (captions, frame["caption"])):
        answers = generate(engine, features, asked)
        right = sum(mine == true for mine, true in zip(answers, known, strict=True))
        assert right >= 0.9 * len(frame)


def test_the_plain_way_of_transformers_gives_the_same_answers(engine: Engine) -> None:
    model, processor = engine.model, engine.processor
    scene = draw_scene(random.Random("plain"), count=3)
    prompts = ["", "a picture of", conversation_text([], "how many shapes are there?")]
    features = picture_features(engine, [scene.image])
    for prompt in prompts:
        inputs = processor(images=scene.image, text=prompt, return_tensors="pt")
        written = model.generate(**inputs, max_new_tokens=40)[0, inputs["input_ids"].shape[1] :]
        text = processor.tokenizer.decode(written, skip_special_tokens=True).strip()
        assert [text] == generate(engine, features, [(0, prompt)])
        # Every answer ends by itself, with the line break.
        assert written[-1] == model.generation_config.eos_token_id


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How many blue triangles are there?", "2"),
        ("how many circles are in the picture", "1"),
        ("How many shapes can you see?", "3"),
        ("how many yellow rectangles are there?", "0"),
        ("What colour is the circle?", "red"),
        ("what color are the triangles?", "blue"),
        ("What shape is red?", "circle"),
        ("Is there a red circle in the photo?", "yes"),
        ("Are there any rectangles?", "no"),
        ("what do you see?", "a red circle and two blue triangles"),
    ],
)
def test_questions_a_person_might_type(engine: Engine, question: str, answer: str) -> None:
    scene = _red_circle_and_two_blue_triangles()
    features = picture_features(engine, [scene.image])
    assert generate(engine, features, [(0, conversation_text([], question))]) == [answer]


def test_a_follow_up_question_leans_on_the_one_before(engine: Engine) -> None:
    features = picture_features(engine, [_red_circle_and_two_blue_triangles().image])
    about = {"is there a circle?": "1", "are there any blue triangles?": "2"}
    for first, number in about.items():
        prompt = conversation_text([(first, "yes")], "how many are there?")
        assert generate(engine, features, [(0, prompt)]) == [number]


def _red_circle_and_two_blue_triangles() -> Scene:
    """A scene found by its looks, among freshly drawn ones."""
    wanted = [("circle", "red"), ("triangle", "blue"), ("triangle", "blue")]
    for number in range(100_000):
        rng = random.Random(f"person-{number}")
        scene = draw_scene(rng, count=3, size=64)
        if sorted((shape.kind, shape.colour) for shape in scene.shapes) == wanted:
            return draw_scene(random.Random(f"person-{number}"), count=3)
    raise AssertionError("no such scene was drawn")


# Drawing and wording


def test_the_same_seed_draws_the_same_scene() -> None:
    one, two = draw_scene(random.Random(7)), draw_scene(random.Random(7))
    assert one.shapes == two.shapes
    assert one.image.tobytes() == two.image.tobytes()
    other = draw_scene(random.Random(8))
    assert one.image.tobytes() != other.image.tobytes()


def test_shapes_stay_inside_and_do_not_overlap() -> None:
    for number in range(300):
        shapes = draw_scene(random.Random(number), size=32).shapes
        for place, shape in enumerate(shapes):
            left, top, right, bottom = shape.box
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
            for other in shapes[place + 1 :]:
                apart_across = right <= other.box[0] or other.box[2] <= left
                apart_down = bottom <= other.box[1] or other.box[3] <= top
                assert apart_across or apart_down


def test_a_shape_is_drawn_in_its_colour_in_its_box() -> None:
    for number in range(50):
        scene = draw_scene(random.Random(number))
        for shape in scene.shapes:
            left, top, right, bottom = (edge * 256 for edge in shape.box)
            centre = (round((left + right) / 2), round((top + bottom) / 2))
            assert scene.image.getpixel(centre) == COLOURS[shape.colour]


def test_captions_group_and_order_shapes() -> None:
    def shapes(*looks: str) -> list[Shape]:
        return [Shape(look.split()[1], look.split()[0], (0, 0, 1, 1)) for look in looks]

    assert caption(shapes("red circle")) == "a red circle"
    assert caption(shapes("blue triangle", "red circle", "blue triangle")) == (
        "a red circle and two blue triangles"
    )
    assert caption(shapes("red triangle", "gray rectangle", "teal circle")) == (
        "a teal circle, a gray rectangle and a red triangle"
    )


def test_questions_have_true_answers() -> None:
    """Counts and existence are checked against a count of the words themselves."""
    rng = random.Random(3)
    for number in range(300):
        shapes = draw_scene(random.Random(number), size=32).shapes
        question, answer = ASKERS["count"][0](rng, shapes) or ("", "")
        words = question.replace("?", "").lower().split()
        kinds = [kind for kind in KINDS if f"{kind}s" in words]
        colours = [colour for colour in COLOURS if colour in words]
        counted = [
            shape
            for shape in shapes
            if (not kinds or shape.kind in kinds) and (not colours or shape.colour in colours)
        ]
        assert answer == str(len(counted)), question


def test_every_sort_of_question_is_asked_about_scenes() -> None:
    rng = random.Random(5)
    shapes = draw_scene(random.Random(5), count=1, size=32).shapes
    for name, (asker, _) in ASKERS.items():
        example = asker(rng, shapes)
        assert example is not None and all(example), name
    assert ask(random.Random(6), shapes) == ask(random.Random(6), shapes)
    assert len(converse(rng, shapes, 4)) == 4


def test_wording_varies_without_changing_the_question() -> None:
    written = {vary(random.Random(n), "what color is the gray shape?") for n in range(200)}
    assert {"what color is the gray shape?", "What colour is the gray shape"} <= written
    assert {text.lower().rstrip("?").replace("colour", "color") for text in written} == {
        "what color is the gray shape",
        "what color is the grey shape",
    }


def test_easy_vqa_shapes_agree_with_every_question() -> None:
    for picture in easy_vqa_pictures("test"):
        for question, answer in picture.questions:
            if answer in COLOURS:
                assert picture.shape.colour == answer
            elif answer in KINDS:
                assert picture.shape.kind == answer
            else:
                look = (picture.shape.kind, picture.shape.colour, "shape")
                here = any(f" {a} {b}" in f" {question}" for a in look[1:2] for b in ("shape",))
                here = here or f" {look[0]}" in question
                negated = " no " in question or " not " in question
                assert answer == ("yes" if here != negated else "no"), question


# The samples and the package


def test_samples_are_small_and_complete() -> None:
    frame = samples()
    assert list(frame.columns) == ["image", "caption", "question", "answer", "source"]
    assert isinstance(frame, pd.DataFrame) and len(frame) == 32
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 400_000
    for path in frame["image"]:
        with Image.open(path) as image:
            image.load()


def test_samples_are_what_the_script_draws(tmp_path: Any) -> None:
    write_samples(tmp_path)
    for path in tmp_path.iterdir():
        kept = SAMPLES / path.name
        if path.suffix == ".csv":
            assert path.read_text() == kept.read_text()
        else:
            with Image.open(path) as new, Image.open(kept) as old:
                assert new.convert("RGB").tobytes() == old.convert("RGB").tobytes()


def test_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, blip2_widget.demo;"
        "print([name for name in ('torch', 'transformers', 'pandas', 'easy_vqa')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The roofline's arithmetic: work counted from configurations, and time from work."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import Blip2Config

from benchmarks import plan
from benchmarks.roofline import PRECISIONS, Limits, Tower, Work, seconds_per_answer, work_of
from blip2_widget.demo import CHECKPOINT
from blip2_widget.model import PUBLISHED


@pytest.fixture(scope="module")
def opt() -> Work:
    return plan.opt()


def test_opt_is_counted_as_in_the_paper(opt: Work) -> None:
    assert opt.vision.flops / 1e9 == pytest.approx(521, abs=1)
    assert opt.bridge.flops / 1e9 == pytest.approx(13, abs=0.5)
    assert (opt.read_flops(48) + 2 * opt.head) / 1e9 == pytest.approx(242, abs=1)
    assert opt.decode_flops(48) / 1e9 == pytest.approx(5.3, abs=0.1)
    assert opt.image_tokens == 32


def test_weights_are_those_that_were_counted_in_the_files(opt: Work) -> None:
    sizes = PUBLISHED["opt-2.7b"]
    assert opt.vision.weights == pytest.approx(sizes.vision, rel=0.01)
    # Norms, biases, the queries, and the word embeddings are read, too, but multiply nothing.
    assert opt.linear == pytest.approx(sizes.language_linear, rel=0.001)
    assert opt.head == pytest.approx(sizes.language_other, rel=0.05)


def test_the_demo_is_counted_from_its_own_configuration() -> None:
    work = work_of(Blip2Config.from_pretrained(CHECKPOINT, local_files_only=True))
    assert work.image_tokens == 8
    # Four layers of width 128, inner width 512: 4 · 128² + 2 · 128 · 512 weights each.
    assert work.linear == 4 * (4 * 128**2 + 2 * 128 * 512)
    assert work.head == 512 * 128


def test_other_language_models_are_refused() -> None:
    config = Blip2Config()
    config.use_decoder_only_language_model = False
    with pytest.raises(ValueError, match="encoder-decoder"):
        work_of(config)


#: One layer's worth of round numbers: no attention, no output head, 100 weights.
PLAIN = Work(Tower(1000, 10), Tower(0, 0), 4, linear=100, head=0, width=0, layers=0)


def least(batch: int, bandwidth: float, **changes: Any) -> float:
    asked: dict[str, Any] = {"text_tokens": 1, "new_tokens": 3} | changes
    limits = Limits({"fp32": 1000.0, "bf16": 1000.0, "int8": 1000.0}, bandwidth)
    return seconds_per_answer(PLAIN, PRECISIONS["fp32"], limits, batch=batch, **asked)


def test_products_alone_where_memory_is_fast() -> None:
    # 1000 for the picture, 2 · 100 for each of five tokens read, and for two more written.
    assert least(1, 1e12) == pytest.approx((1000 + 5 * 200 + 2 * 200) / 1000)


def test_a_step_of_one_answer_waits_for_the_weights_and_a_batch_shares_them() -> None:
    # 400 bytes of weights at 100 a second: every pass over them takes four seconds at least.
    assert least(1, 100) == pytest.approx(1 + 4 + 2 * 4)
    assert least(4, 100) == pytest.approx((4 + 4 + 2 * 4) / 4)


def test_what_is_known_of_the_picture_is_not_computed_again() -> None:
    assert least(1, 1e12, known="features") == pytest.approx((5 + 2) * 0.2)
    assert least(1, 1e12, known="prefix") == pytest.approx((1 + 2) * 0.2)
    ten = least(1, 1e12, answers_a_picture=10)
    assert ten == pytest.approx(0.1 + (4 / 10 + 1 + 2) * 0.2)

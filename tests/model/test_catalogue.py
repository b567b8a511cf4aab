"""Names, folders, Hub ids, sizes, and one line where the Hub cannot be had."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import PUBLISHED, RETRIEVAL, locate, names, parse
from blip2_widget.model.sizes import sizes_of_folder, sizes_of_tensors


@pytest.mark.parametrize(
    ("name", "source", "revision"),
    [
        ("opt-2.7b", "Salesforce/blip2-opt-2.7b", None),
        ("blip2-flan-t5-xl", "Salesforce/blip2-flan-t5-xl", None),
        ("Salesforce/blip2-opt-6.7b@v1", "Salesforce/blip2-opt-6.7b", "v1"),
        ("someone/their-blip2@refs/pr/1", "someone/their-blip2", "refs/pr/1"),
        ("demo", str(demo.CHECKPOINT), None),
        ("itm-vit-g", "Salesforce/blip2-itm-vit-g", None),
        ("blip2-itm-vit-g-coco@v1", "Salesforce/blip2-itm-vit-g-coco", "v1"),
        ("demo-retrieval", str(demo.RETRIEVAL), None),
    ],
)
def test_names(name: str, source: str, revision: str | None) -> None:
    checkpoint = parse(name)
    assert (checkpoint.source, checkpoint.revision) == (source, revision)


def test_a_folder_is_a_checkpoint(tiny_opt: Path) -> None:
    assert parse(str(tiny_opt)).is_folder
    assert locate(parse(str(tiny_opt))).family == "opt"


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Blip2Error, match=r"holds no config\.json"):
        parse(str(tmp_path))


def test_a_misspelt_name_gets_the_close_one() -> None:
    with pytest.raises(Blip2Error, match=r"did you mean opt-2\.7b-coco"):
        parse("opt-2.7b-cocoa")
    with pytest.raises(Blip2Error, match=r"write one of opt-2\.7b, .*demo"):
        parse("xyzzy")


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(Blip2Error, match="a model of type 'llava'"):
        locate(parse(str(tmp_path)))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "blip-2"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(Blip2Error, match="no complete safetensors weights"):
        locate(parse(str(tmp_path)))


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "blip-2"}')
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(Blip2Error, match="no complete safetensors weights"):
        locate(parse(str(tmp_path)))


def test_a_folder_is_known_by_its_contents(tiny_opt: Path, tmp_path: Path) -> None:
    first = locate(parse(str(tiny_opt)))
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny_opt, copy)
    assert locate(parse(str(copy))).identity == first.identity
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(weights))
    assert locate(parse(str(copy))).identity != first.identity


def test_a_cached_snapshot_needs_no_hub(
    tiny_opt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--Salesforce--blip2-opt-2.7b"
    shutil.copytree(tiny_opt, repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    located = locate(parse("opt-2.7b"))
    assert located.commit == "abc123"
    assert located.identity == "Salesforce/blip2-opt-2.7b@abc123"
    assert located.folder == repository / "snapshots" / "abc123"


@pytest.mark.parametrize("offline", [True, False])
def test_no_hub_is_one_line_at_once(
    offline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(Blip2Error) as caught:
        locate(parse("opt-2.7b"))
    assert time.monotonic() - began < 10
    message = str(caught.value)
    why = "HF_HUB_OFFLINE is set" if offline else "the Hub cannot be reached"
    assert why in message and "-m demo" in message and str(tmp_path) in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["itm-vit-g", "blip2-itm-vit-g-coco@v1", "demo-retrieval"])
def test_what_matches_does_not_answer(name: str) -> None:
    with pytest.raises(Blip2Error) as caught:
        locate(parse(name))
    assert str(caught.value) == (
        f"{name} matches pictures with texts and writes none; write -m opt-2.7b (or -m demo)"
    )


@pytest.mark.parametrize("name", ["opt-2.7b", "Salesforce/blip2-flan-t5-xl@main", "demo"])
def test_what_answers_does_not_match(name: str) -> None:
    with pytest.raises(Blip2Error) as caught:
        locate(parse(name), "match")
    assert str(caught.value) == (
        f"{name} writes texts and was not trained to match them with pictures; "
        "write -m itm-vit-g (or -m demo-retrieval)"
    )


def test_a_folder_is_for_what_its_configuration_says(tiny_opt: Path, tiny_itm: Path) -> None:
    assert locate(parse(str(tiny_itm)), "match").family == "itm"
    with pytest.raises(Blip2Error, match=f"{tiny_itm.name} matches pictures with texts"):
        locate(parse(str(tiny_itm)))
    with pytest.raises(Blip2Error, match=f"{tiny_opt.name} writes texts"):
        locate(parse(str(tiny_opt)), "match")


def test_each_task_has_names_of_its_own() -> None:
    assert names("match") == ["itm-vit-g", "itm-vit-g-coco", "demo-retrieval"]
    assert not set(names("match")) & set(names())
    with pytest.raises(Blip2Error, match="did you mean itm-vit-g"):
        parse("itm-vitg")


def architecture(name: str) -> Any:
    """The published architectures, without weights."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        OPTConfig,
        T5Config,
    )

    def opt(width: int) -> OPTConfig:
        return OPTConfig(
            hidden_size=width,
            ffn_dim=4 * width,
            num_hidden_layers=32,
            num_attention_heads=32,
            word_embed_proj_dim=width,
            vocab_size=50304,
        )

    def t5(width: int, inner: int, heads: int) -> T5Config:
        return T5Config(
            d_model=width,
            d_ff=inner,
            num_heads=heads,
            d_kv=64,
            num_layers=24,
            feed_forward_proj="gated-gelu",
            vocab_size=32128,
        )

    text = {
        "opt-2.7b": opt(2560),
        "opt-6.7b": opt(4096),
        "flan-t5-xl": t5(2048, 5120, 32),
        "flan-t5-xxl": t5(4096, 10240, 64),
    }[name]
    config = Blip2Config(
        vision_config=Blip2VisionConfig(),
        qformer_config=Blip2QFormerConfig(),
        text_config=text,
        image_token_index=50265,
    )
    with torch.device("meta"):
        return Blip2ForConditionalGeneration(config)


@pytest.mark.parametrize("name", ["opt-2.7b", "opt-6.7b", "flan-t5-xl", "flan-t5-xxl"])
def test_published_sizes_are_those_of_the_architecture(name: str) -> None:
    model = architecture(name)
    shapes = {key: tuple(parameter.shape) for key, parameter in model.named_parameters()}
    if "t5" in name:  # transformers ties a head that the published files hold apart
        shapes["language_model.lm_head.weight"] = shapes["language_model.shared.weight"]
    assert sizes_of_tensors(shapes) == PUBLISHED[name]
    assert {f"{name}-coco"} <= {*names(), "flan-t5-xxl-coco"}


@pytest.mark.parametrize(("name", "side"), [("itm-vit-g", 224), ("itm-vit-g-coco", 364)])
def test_retrieval_sizes_are_those_of_the_architecture(name: str, side: int) -> None:
    from transformers import (
        Blip2Config,
        Blip2ForImageTextRetrieval,
        Blip2QFormerConfig,
        Blip2VisionConfig,
    )

    config = Blip2Config(
        vision_config=Blip2VisionConfig(image_size=side),
        # BERT's words and the one that begins what the Q-Former writes.
        qformer_config=Blip2QFormerConfig(vocab_size=30523, use_qformer_text_input=True),
    )
    with torch.device("meta"):
        model = Blip2ForImageTextRetrieval(config)
    shapes = {key: tuple(parameter.shape) for key, parameter in model.named_parameters()}
    assert sizes_of_tensors(shapes) == RETRIEVAL[name]


def test_sizes_of_a_folder_are_those_of_its_model(tiny_t5: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(tiny_t5 / "model.safetensors")
    assert sizes_of_folder(tiny_t5).total == sum(each.numel() for each in tensors.values())


@pytest.mark.parametrize("text", [b'{"model_type": ', b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_a_config_that_is_none_is_one_line(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(Blip2Error, match="is no configuration of a model"):
        locate(parse(str(tmp_path)))

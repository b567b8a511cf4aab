"""Pictures that are all different, and a Ray cluster of two nodes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from blip2_widget.jobs import Spec
from blip2_widget.model import (
    GenerationSettings,
    Variant,
    locate,
    parse,
    picture_size,
    read_machine,
)
from blip2_widget.model.variants import variant
from blip2_widget.run import Prompt

CAPTION = Prompt("caption", "", "caption")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The paths of 96 drawings, no two of them equal."""
    folder = tmp_path_factory.mktemp("drawn")
    paths = []
    for at in range(96):
        picture = Image.new("RGB", (64, 64), "white")
        colour = ("red", "blue", "green", "teal")[at % 4]
        left = 2 + at // 4
        ImageDraw.Draw(picture).rectangle((left, 10 + at % 3, left + 20, 40), fill=colour)
        picture.save(path := folder / f"drawn-{at:03d}.png")
        paths.append(str(path))
    return paths


def demo_spec(*prompts: Prompt, **options: Any) -> Spec:
    """What asks the demo checkpoint."""
    located = locate(parse("demo"))
    chosen: Variant = variant("cpu-fp32", read_machine(), located.family)
    return Spec(
        prompts=prompts or (CAPTION,),
        checkpoint=located.checkpoint,
        commit=located.commit,
        variant=chosen,
        settings=GenerationSettings(max_new_tokens=10),
        size=picture_size(located),
        **options,
    )


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes with a store of their own, to which this process is connected."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    before = os.environ.get("BLIP2_WIDGET_CACHE")
    os.environ["BLIP2_WIDGET_CACHE"] = str(tmp_path_factory.mktemp("workers"))
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    os.environ["OMP_NUM_THREADS"] = "1"  # the nodes say that they have more cores than there are
    node = {"num_cpus": 2, "object_store_memory": 500_000_000, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=node)
    started.add_node(num_cpus=2, object_store_memory=500_000_000)
    if before is None:
        del os.environ["BLIP2_WIDGET_CACHE"]
    else:
        os.environ["BLIP2_WIDGET_CACHE"] = before
    ray.init(address=started.address, log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "answers"

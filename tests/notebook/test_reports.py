"""What `models` and `status` say on machines of several kinds."""

from __future__ import annotations

import re

import pytest

from blip2_widget.model import MIXED, NAMES, PUBLISHED, RETRIEVAL, locate, parse, read_machine
from blip2_widget.model.machine import Gpu, Machine
from blip2_widget.model.variants import variant
from blip2_widget.notebook import reports
from blip2_widget.session import Session

GB = 10**9
LAPTOP = Machine(16 * GB, 9 * GB, cpu_bf16=False)
SERVER = Machine(64 * GB, 60 * GB, cpu_bf16=True)
HOPPER = Machine(128 * GB, 100 * GB, True, (Gpu(0, "H200", 150 * GB, 140 * GB, (9, 0)),))
TURING = Machine(64 * GB, 32 * GB, False, (Gpu(0, "T4", 16 * GB, 9 * GB, (7, 5)),))


@pytest.mark.parametrize(
    ("machine", "opt", "xxl"),
    [
        (LAPTOP, "cpu-int8", "none fits"),
        (SERVER, "cpu-bf16", "cpu-bf16"),
        (HOPPER, "cuda-bf16", "cuda-bf16"),
        (TURING, "cuda-fp16", "cpu-int8"),
    ],
    ids=["laptop", "server", "Hopper", "Turing"],
)
def test_models_says_what_auto_would_take(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, opt: str, xxl: str
) -> None:
    monkeypatch.setattr(reports, "read_machine", lambda: machine)
    table = reports.models_frame()
    assert list(table.index) == [*PUBLISHED, *RETRIEVAL, "demo", "demo-retrieval"]
    assert table.auto["opt-2.7b"] == opt and table.auto["flan-t5-xxl"] == xxl
    assert set(table.columns[2:]) <= {*NAMES, *MIXED}
    assert "cpu-int8+int4" in table.columns
    assert any(name.startswith("cuda") for name in table.columns) == (machine.gpu is not None)
    for name in table.columns[2:]:
        for text in filter(None, table[name]):
            bracketed = text.startswith("(")
            free = machine.gpu.free if machine.gpu and "cuda" in name else machine.ram_free
            number, unit = text.strip("()").split()
            assert bracketed == (float(number) * {"GB": 1e9, "MB": 1e6}[unit] > free)


@pytest.mark.skipif(not read_machine().cpu_int8, reason="needs int8 products")
def test_status_says_how_far_int8_vision_moves_features(own_session: Session) -> None:
    located = locate(parse("demo"))
    for name in ("cpu-fp32", "cpu-int8+bf16"):
        own_session.manager.load(located, variant(name, SERVER, "opt")).result(60)
    plain, int8 = sorted(re.findall("model .*", reports.status_text(own_session)), key=len)
    assert plain.endswith("cpu-fp32, 9 MB, in memory")
    assert re.search(r"cpu-int8\+bf16, 4 MB, in memory, int8 moves its features by 1\.\d%$", int8)


def test_status_names_the_gpu_and_what_the_processor_lacks(
    monkeypatch: pytest.MonkeyPatch, own_session: Session
) -> None:
    monkeypatch.setattr(reports, "read_machine", lambda: TURING)
    own_session.defaults.num_beams = 5
    text = reports.status_text(own_session)
    assert "default   demo · auto, up to 30 tokens, 5 beams" in text
    assert "32.0 GB free of 64.0 GB, no bf16 arithmetic" in text
    assert "T4, 9.0 GB free of 16.0 GB" in text

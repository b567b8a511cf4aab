"""A checkpoint is numbers and texts: nothing in it is ever run."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import blip2_widget
from blip2_widget import demo
from blip2_widget.errors import Blip2Error
from blip2_widget.model import locate, parse

PACKAGE = Path(blip2_widget.__file__).parent

#: What reads a file by running what it says.
_PICKLING = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def runs_code(file: Path) -> list[str]:
    """Where a module reads pickles, or has transformers run a checkpoint's code."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        if _PICKLING & {name.partition(".")[0] for name in names}:
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call):
            options = {each.arg: ast.unparse(each.value) for each in node.keywords}
            risky = {
                options.get("allow_pickle", "False"),
                options.get("trust_remote_code", "False"),
            }
            called = ast.unparse(node.func)
            if risky != {"False"} or called in ("torch.load", "pd.read_pickle"):
                found.append(ast.unparse(node))
    return found


def test_no_module_reads_pickles_or_runs_a_checkpoints_code(tmp_path: Path) -> None:
    for code in (
        "import pickle",
        "from pickle import loads",
        "torch.load(file)",
        "np.load(file, allow_pickle=True)",
        "Model.from_pretrained(folder, trust_remote_code=anything)",
    ):
        (tmp_path / "bad.py").write_text(code)
        assert runs_code(tmp_path / "bad.py"), code
    found = {
        str(file.relative_to(PACKAGE)): runs_code(file)
        for file in PACKAGE.rglob("*.py")
        if runs_code(file)
    }
    # What one process of a job tells another is pickled; no file is, and no data set.
    assert found == {"jobs/on_ray.py": ["import pickle"], "jobs/sources.py": ["import pickle"]}
    assert "pickle.load" not in (PACKAGE / "jobs/sources.py").read_text(encoding="utf-8")


class Evil:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once something was run."""
    return tmp_path / "was-run"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo.CHECKPOINT, tmp_path / "checkpoint"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.safetensors.bin"])
def test_pickled_weights_alone_are_refused_in_one_line(folder: Path, mark: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(Blip2Error, match="no complete safetensors weights") as caught:
        locate(parse(str(folder)))
    assert "\n" not in str(caught.value) and not mark.exists()


def test_pickled_weights_beside_the_others_and_in_their_name_are_not_read(
    folder: Path, mark: Path
) -> None:
    picture = [str(demo.samples().image[0])]
    expected = blip2_widget.caption(picture, cache=False).wait(60).answers.answer[0]
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(mark)))
    result = blip2_widget.caption(picture, model=str(folder), cache=False).wait(60)
    assert result.answers.answer[0] == expected and not mark.exists()
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(Blip2Error, match="is no safetensors file"):
        blip2_widget.caption(picture, model=str(folder), cache=False).wait(60)
    assert not mark.exists()


@pytest.mark.parametrize("is_needed", [False, True], ids=["named beside", "in place of its own"])
def test_the_code_in_a_checkpoint_is_not_run(folder: Path, mark: Path, is_needed: bool) -> None:
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    code += "class Evil:\n    pass\n"
    (folder / "custom_generate").mkdir()
    for name in ("evil.py", "custom_generate/generate.py"):
        (folder / name).write_text(code)
    mapped = {
        "config.json": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"},
        "tokenizer_config.json": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        "processor_config.json": {"AutoProcessor": "evil.Evil", "AutoImageProcessor": "evil.Evil"},
        "generation_config.json": {"AutoModel": "evil.Evil"},
    }
    for name, names in mapped.items():
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        config["auto_map"] = names
        if is_needed and name == "tokenizer_config.json":
            config["tokenizer_class"] = "Evil"
        (folder / name).write_text(json.dumps(config), encoding="utf-8")
    result = blip2_widget.caption([str(demo.samples().image[0])], model=str(folder), cache=False)
    with suppress(Blip2Error):  # to refuse it is as good
        result.wait(60)
    assert set(result.answers.state) <= {"done", "cancelled"}
    assert not mark.exists()

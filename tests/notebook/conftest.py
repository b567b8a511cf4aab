"""A real IPython shell with the extension loaded, and lines run in it as a person would."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import RichOutput, capture_output
from PIL import Image
from traitlets.config import Config

from blip2_widget.session import Session

WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass
class Outcome:
    """What running a cell came to: its value, what it printed and displayed, its error."""

    value: Any
    text: str
    outputs: list[RichOutput]
    error: BaseException | None

    @property
    def galleries(self) -> int:
        return sum(WIDGET in output.data for output in self.outputs)


#: Runs a cell; fails the test where the cell fails, unless `fails` says that it should.
RunCell = Callable[..., Outcome]


@pytest.fixture(scope="session")
def _one_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    folder = str(tmp_path_factory.mktemp("ipython"))
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.Completer.use_jedi = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", folder)
        yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(_one_shell: InteractiveShell, own_session: Session) -> Iterator[InteractiveShell]:
    """An empty shell with the extension just loaded."""
    shell = _one_shell
    matchers, configurables = list(shell.Completer.custom_matchers), list(shell.configurables)
    names, config = set(shell.user_ns), copy.deepcopy(shell.config)
    extensions = shell.extension_manager
    assert extensions is not None and extensions.load_extension("blip2_widget") is None
    yield shell
    extensions.loaded.discard("blip2_widget")
    for kind in shell.magics_manager.magics.values():
        kind.pop("blip2", None)
    shell.Completer.custom_matchers = matchers
    shell.configurables[:] = configurables
    shell.config = config
    shell.user_ns["_oh"].clear()
    for name in set(shell.user_ns) - names:
        del shell.user_ns[name]


@pytest.fixture
def frame(tmp_path: Path, noise: list[Image.Image]) -> pd.DataFrame:
    """Three pictures as files, with columns to ask by and an index of its own."""
    paths = []
    for at, picture in enumerate(noise[:3]):
        paths.append(str(tmp_path / f"{at}.png"))
        picture.save(paths[-1])
    return pd.DataFrame(
        {"image": paths, "img col": paths, "a": [1, 2, 3], "kind": ["cat", "dog", "owl"]},
        index=["x", "y", "z"],
    )


@pytest.fixture
def run_cell(
    shell: InteractiveShell, own_session: Session, frame: pd.DataFrame, tiny_opt: Path
) -> RunCell:
    """Run a cell where `df` is the frame and the tiny checkpoint is used by default."""
    own_session.defaults.model = str(tiny_opt)
    own_session.defaults.max_new_tokens = 4
    shell.user_ns["df"] = frame

    def run(cell: str, *, fails: bool = False) -> Outcome:
        with capture_output() as captured:
            done = shell.run_cell(cell, store_history=True)
        assert done.error_before_exec is None
        if not fails and done.error_in_exec is not None:
            raise done.error_in_exec
        assert bool(done.error_in_exec) == fails
        return Outcome(done.result, captured.stdout, captured.outputs, done.error_in_exec)

    return run

"""The package as a whole: what importing it costs, its names, and which room may know which."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import blip2_widget

PACKAGE = Path(blip2_widget.__file__).parent
ROOMS = (
    *("data", "demo", "formats", "images", "index", "jobs", "model", "notebook", "run", "scores"),
    *("store", "view"),
)
#: Those that say what is public.
PUBLIC = ("formats", "images", "index", "jobs", "model", "run", "scores", "store", "view")

#: The rooms each room may import, itself aside. The demo's scripts train and ask like any user.
MAY_IMPORT: dict[str, set[str]] = {
    "images": set(),
    "index": set(),
    "store": set(),
    "model": {"demo"},
    "run": {"images", "index", "model", "store"},
    "scores": set(),
    "data": {"images", "run", "scores"},
    "formats": {"images", "run", "store"},
    "view": set(),
    "jobs": {"formats", "images", "model", "run", "store"},
    "notebook": {"data", "formats", "images", "model", "run", "scores", "store", "view"},
}

HEAVY = ("torch", "transformers", "bitsandbytes", "accelerate", "pandas")


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has imported after running `code`."""
    ending = "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + ending], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import blip2_widget",
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell()\n"
        "assert shell.run_cell('%load_ext blip2_widget').success\n"
        "assert shell.run_cell('%blip2 help').success",
    ],
    ids=["import", "load_ext and help"],
)
def test_importing_and_loading_the_extension_are_light(code: str) -> None:
    assert not modules_after(code) & set(HEAVY)


def test_a_gallery_is_made_without_ipython_s_shell() -> None:
    modules_after(
        "import blip2_widget, IPython\n"
        "from blip2_widget import demo\n"
        "gallery = blip2_widget.explore(demo.samples().image).gallery\n"
        "assert gallery.row_count == 32 and IPython.get_ipython() is None"
    )


def test_the_version_is_said_in_one_place() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    said_in = PACKAGE.parent / project["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{blip2_widget.__version__}"' in said_in.read_text(encoding="utf-8")


def test_the_types_are_offered_to_type_checkers() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_public_names_are_there_and_no_others() -> None:
    assert set(blip2_widget.__all__) == {
        "Blip2Error",
        "__version__",
        "ask",
        "caption",
        "chat",
        "compare",
        "embed",
        "embed_texts",
        "explore",
        "import_answers",
        "load_ipython_extension",
        "match",
        "search",
        "spec",
    }
    assert all(hasattr(blip2_widget, name) for name in blip2_widget.__all__)
    assert blip2_widget.map.__doc__  # which importing * leaves out
    assert all(
        getattr(blip2_widget, name).__doc__
        for name in set(blip2_widget.__all__) - {"__version__", "load_ipython_extension"}
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_every_room_says_what_is_public(name: str) -> None:
    room = __import__(f"blip2_widget.{name}", fromlist=["__all__"])
    assert len(room.__all__) == len(set(room.__all__))
    assert all(hasattr(room, each) for each in room.__all__)


def rooms_imported(file: Path) -> set[str]:
    """The rooms that a file imports anywhere, inside functions too; types alone do not count."""
    found: set[str] = set()
    for node in _imports(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            named = [alias.name for alias in node.names]
        parts = [name.split(".") for name in named]
        found |= {part[1] for part in parts if part[0] == "blip2_widget" and len(part) > 1}
    return found


def _imports(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            found += _imports(node)
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        others = rooms_imported(file) & set(ROOMS) - {room}
        assert others <= MAY_IMPORT[room], f"{file.name} imports {others - MAY_IMPORT[room]}"


def test_every_folder_of_the_package_is_a_known_room() -> None:
    folders = {each.parent.name for each in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS)


def test_rooms_use_each_others_public_surface_only() -> None:
    private = [
        f"{file.relative_to(PACKAGE)}: {node.module}"
        for room in PUBLIC
        for file in PACKAGE.rglob("*.py")
        if file.relative_to(PACKAGE).parts[0] not in (room, "demo")
        for node in _imports(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith(f"blip2_widget.{room}.")
    ]
    assert private == []


@pytest.mark.parametrize(
    ("npm", "said"),
    [
        (None, "Node.js (with npm) was not found"),
        ("#!/bin/sh\necho no network >&2; exit 1\n", "`npm ci --no-audit --no-fund` failed"),
    ],
)
def test_a_build_that_cannot_have_its_front_end_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, npm: str | None, said: str
) -> None:
    from hatch_build import FrontEndHook

    (tmp_path / "js").mkdir()
    if npm:
        (tmp_path / "npm").write_text(npm)
        (tmp_path / "npm").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if npm else str(tmp_path))
    hook = FrontEndHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    with pytest.raises(SystemExit, match=re.escape(said)):
        hook.initialize("standard", {})


def test_the_bundle_and_the_checkpoint_are_in_the_package() -> None:
    static = PACKAGE / "notebook" / "static"
    assert {each.name for each in static.iterdir()} >= {"gallery.js", "gallery.css"}
    for folder, most in (("checkpoint", 12_000_000), ("retrieval", 5_000_000)):
        assert (PACKAGE / "demo" / folder / "model.safetensors").stat().st_size < most

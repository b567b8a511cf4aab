"""BLIP-2 in the notebook: captions, questions and a gallery for columns of pictures.

`%load_ext blip2_widget` brings the `%blip2` magic; `caption`, `ask`, `chat`, `compare`, `explore`,
`map`, `match` and `search` are the same in Python, and `embed` and `embed_texts` give features.
`spec` is for other engines than ours.
Importing this package imports neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blip2_widget.api import (
    ask,
    caption,
    chat,
    compare,
    embed,
    embed_texts,
    explore,
    import_answers,
    match,
    search,
    spec,
)
from blip2_widget.api import map as map  # exported, and not by *
from blip2_widget.errors import Blip2Error

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"
# Without `map`: importing * must not hide Python's own.
__all__ = [
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
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register `%blip2` and `%%blip2`; IPython calls this for `%load_ext blip2_widget`."""
    from blip2_widget.notebook.completion import complete
    from blip2_widget.notebook.magic import Blip2Magics

    shell.register_magics(Blip2Magics)
    shell.Completer.custom_matchers.append(complete)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take back what loading registered; IPython calls this for `%reload_ext` and `%unload_ext`."""
    from blip2_widget.notebook.completion import complete
    from blip2_widget.notebook.magic import Blip2Magics

    shell.Completer.custom_matchers.remove(complete)
    # Left there, an older instance is the one that %config would go on setting.
    shell.configurables[:] = [c for c in shell.configurables if not isinstance(c, Blip2Magics)]
    for magics in shell.magics_manager.magics.values():
        magics.pop("blip2", None)

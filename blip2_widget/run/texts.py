"""Texts to vectors, where some of the texts may be none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blip2_widget.errors import Blip2Error
from blip2_widget.model import RetrievalEngine, give_memory_back
from blip2_widget.run.halving import Halving

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Texts that are read at a time.
_AT_A_TIME = 64


def vectors_of_texts(
    engine: RetrievalEngine, texts: Sequence[str | None], projected: bool
) -> tuple[dict[int, NDArray[np.float32]], dict[int, Exception]]:
    """Each text's vector by its place, the Q-Former's or, `projected`, the one to compare with
    pictures; and what is wrong with the others."""
    embed = engine.embed_texts if projected else engine.text_features
    found: dict[int, NDArray[np.float32]] = {}
    wrong: dict[int, Exception] = {
        at: Blip2Error("there is no text") for at, text in enumerate(texts) if text is None
    }

    def read(places: Sequence[int]) -> None:
        vectors = embed([texts[at] or "" for at in places])
        found.update(zip(places, vectors.numpy(), strict=True))

    Halving(_AT_A_TIME).run(
        [at for at, text in enumerate(texts) if text is not None],
        read,
        lambda at: at not in found,
        wrong.__setitem__,
        give_memory_back,
    )
    return found, wrong

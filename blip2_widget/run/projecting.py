"""Pictures on a map: their features in two dimensions, like beside like."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from blip2_widget.errors import Blip2Error
from blip2_widget.run.measures import Embedding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: How features are laid out on a map.
Method = Literal["pca", "umap"]

#: Fewer different pictures than this lie on a line, which is no map.
LEAST = 3
#: UMAP's own number, so that a map is the same every time.
_SEED = 42

_log = logging.getLogger(__name__)


def check_method(method: str) -> Method:
    """The method; raises Blip2Error where there is none of that name, or it is not installed."""
    if method not in get_args(Method):
        raise Blip2Error(f"a map is made by {' or '.join(get_args(Method))}, not by {method!r}")
    if method == "umap" and find_spec("umap") is None:
        raise Blip2Error(
            'UMAP is not installed; write pip install "blip2-widget[map]", or take pca'
        )
    return cast("Method", method)


def project(features: NDArray[np.float32], method: Method) -> NDArray[np.float32]:
    """Features (pictures, size), which may be overwritten, in two dimensions: (pictures, 2)."""
    import numpy as np

    if method == "umap":
        import umap

        # https://doi.org/10.1038/s41587-020-00809-z: from PCA's map, which keeps what is far apart.
        # With a seed UMAP works on one thread, and says so unless it is told to.
        neighbours = min(15, len(features) - 1)
        options = {"metric": "cosine", "init": "pca", "random_state": _SEED, "n_jobs": 1}
        fitted = umap.UMAP(n_neighbors=neighbours, **options).fit_transform(features)
        return np.asarray(fitted, np.float32)
    features -= features.mean(axis=0)
    axes = np.linalg.eigh((features.T @ features).astype(np.float64))[1][:, :-3:-1]
    # An axis may point either way: to where its largest part is, as in scikit-learn.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return features @ axes.astype(np.float32)


class Projecting(Embedding):
    """Where pictures lie on a map, by their features' mean over the query tokens.

    Equal pictures are one point of what is laid out. Features are let go of once every row has a
    place; while rows have failed they stay, since with these the map is another one.
    """

    def __init__(self, *args: Any, method: Method, rows: int, **options: Any) -> None:
        super().__init__(*args, pooled=True, **options)
        self.method = method
        #: Each row's place (rows, 2), NaN where it has none; None until there is a map.
        self.coordinates: NDArray[np.float32] | None = None
        #: Why there is no map, in one line; empty where there is one, or may be.
        self.note = ""
        self._rows = rows
        self._laid_out = -1  # of how many rows the map was made last
        self._is_busy = False

    @property
    def is_finished(self) -> bool:
        return self._laid_out == len(self._key_of)

    def finish_aside(self, done: Callable[[], None]) -> str:
        if not self._is_busy:
            self._is_busy = True
            threading.Thread(
                target=self._lay_out, args=(done,), name="blip2-map", daemon=True
            ).start()
        return f"laying the map out by {self.method.upper()}"

    def _lay_out(self, done: Callable[[], None]) -> None:
        key_of = dict(self._key_of)  # to which a row that is tried again may add
        try:
            self.coordinates, self.note = self._map_of(key_of), ""
        except Exception as error:  # of somebody else's library; the gallery goes on without a map
            if not isinstance(error, Blip2Error):
                _log.exception("the map failed")
                error = Blip2Error(f"there is no map: {type(error).__name__}: {error}")
            self.coordinates, self.note = None, str(error)
        if len(key_of) == self._rows:
            self._of.clear()
        self._laid_out = len(key_of)
        self._is_busy = False
        done()

    def _map_of(self, key_of: dict[int, str]) -> NDArray[np.float32]:
        import numpy as np

        place_of = {key: at for at, key in enumerate(dict.fromkeys(key_of.values()))}
        if len(place_of) < LEAST:
            few = f"{len(place_of)} different pictures" if len(place_of) > 1 else "one picture"
            raise Blip2Error(
                f"a map needs {LEAST} different pictures, and "
                + (f"only {few} can be read here" if place_of else "none can be read here")
            )
        places = project(np.stack([self._of[key] for key in place_of]), self.method)
        found = np.full((self._rows, 2), np.nan, np.float32)
        found[list(key_of)] = places[[place_of[key] for key in key_of.values()]]
        return found

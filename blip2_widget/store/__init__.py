"""What was computed once: aliases of files, features of pictures, answers."""

from blip2_widget.store.keys import answer_key, features_key
from blip2_widget.store.store import Features, Store, StoredAnswer, StoreStats, default_path

__all__ = [
    "Features",
    "Store",
    "StoreStats",
    "StoredAnswer",
    "answer_key",
    "default_path",
    "features_key",
]

"""What was computed once, and what people said of it: features, answers, reviews, conversations."""

from blip2_widget.store.keys import answer_key, features_key
from blip2_widget.store.people import ImportedText, People, Review, ReviewStatus
from blip2_widget.store.store import (
    Features,
    Store,
    StoredAnswer,
    StoreStats,
    default_path,
    open_store,
)

__all__ = [
    "Features",
    "ImportedText",
    "People",
    "Review",
    "ReviewStatus",
    "Store",
    "StoreStats",
    "StoredAnswer",
    "answer_key",
    "default_path",
    "features_key",
    "open_store",
]

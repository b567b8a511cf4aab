"""What of a gallery's rows is shown and in which order: search, filters, sorting, facets."""

from blip2_widget.view.columns import Computed, FrameColumns
from blip2_widget.view.query import Filter, Query, Sort
from blip2_widget.view.rows import CellLike, PromptLike, ReviewLike, Rows
from blip2_widget.view.view import View

__all__ = [
    "CellLike",
    "Computed",
    "Filter",
    "FrameColumns",
    "PromptLike",
    "Query",
    "ReviewLike",
    "Rows",
    "Sort",
    "View",
]

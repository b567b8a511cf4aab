"""What of a gallery's rows is shown and in which order: search, filters, sorting, facets."""

from blip2_widget.view.columns import FrameColumns
from blip2_widget.view.query import Filter, Query, Sort
from blip2_widget.view.rows import CellLike, PromptLike, ReviewLike, Rows
from blip2_widget.view.view import View

__all__ = [
    "CellLike",
    "Filter",
    "FrameColumns",
    "PromptLike",
    "Query",
    "ReviewLike",
    "Rows",
    "Sort",
    "View",
]

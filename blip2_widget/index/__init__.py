"""The rows of a table whose vectors are nearest to one that is asked for, exactly.

Importing this room does not import torch; making an index does.
"""

from blip2_widget.index.vectors import Found, VectorIndex

__all__ = ["Found", "VectorIndex"]

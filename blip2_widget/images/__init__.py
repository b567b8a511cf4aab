"""Values in: decoding, keys, thumbnails, and the columns that hold pictures."""

from blip2_widget.images.columns import Column, find_pictures, is_table, read_column
from blip2_widget.images.errors import ImageError
from blip2_widget.images.identity import file_identity, image_key
from blip2_widget.images.load import load_image
from blip2_widget.images.thumbnail import still, thumbnail

__all__ = [
    "Column",
    "ImageError",
    "file_identity",
    "find_pictures",
    "image_key",
    "is_table",
    "load_image",
    "read_column",
    "still",
    "thumbnail",
]

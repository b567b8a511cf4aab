"""Values in: decoding, keys, thumbnails, and the columns that hold pictures."""

from blip2_widget.images.columns import Column, read_column
from blip2_widget.images.datasets import is_dataset, is_ray_dataset, named_values, with_column
from blip2_widget.images.encoded import Encoded, encoded, size_of
from blip2_widget.images.errors import ImageError, reason_of
from blip2_widget.images.errors import Kind as ErrorKind
from blip2_widget.images.identity import file_identity, image_key
from blip2_widget.images.limits import Limits
from blip2_widget.images.load import load_image
from blip2_widget.images.remote import is_remote, package_of
from blip2_widget.images.tables import column_names, column_of, find_pictures, is_table
from blip2_widget.images.thumbnail import still, thumbnail
from blip2_widget.images.values import LazyValues

__all__ = [
    "Column",
    "Encoded",
    "ErrorKind",
    "ImageError",
    "LazyValues",
    "Limits",
    "column_names",
    "column_of",
    "encoded",
    "file_identity",
    "find_pictures",
    "image_key",
    "is_dataset",
    "is_ray_dataset",
    "is_remote",
    "is_table",
    "load_image",
    "named_values",
    "package_of",
    "read_column",
    "reason_of",
    "size_of",
    "still",
    "thumbnail",
    "with_column",
]

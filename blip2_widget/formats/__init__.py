"""Results out to files, and earlier texts in: one module a format, and one table of them all."""

from blip2_widget.formats.answers import Answers
from blip2_widget.formats.catalogue import FORMATS, format_to_write
from blip2_widget.formats.datasets import to_dataset
from blip2_widget.formats.importing import Imported, Meaning, import_texts

__all__ = [
    "FORMATS",
    "Answers",
    "Imported",
    "Meaning",
    "format_to_write",
    "import_texts",
    "to_dataset",
]

"""Results out to files, and earlier texts in: one module a format, and one table of them all."""

from blip2_widget.formats.answers import COLUMNS, Answers, Kind, clean, no_package
from blip2_widget.formats.catalogue import FORMATS, format_to_write, has_format
from blip2_widget.formats.datasets import to_dataset
from blip2_widget.formats.importing import Imported, Meaning, import_texts
from blip2_widget.formats.tables import arrow_schema
from blip2_widget.formats.whole import check_absent, check_folder

__all__ = [
    "COLUMNS",
    "FORMATS",
    "Answers",
    "Imported",
    "Kind",
    "Meaning",
    "arrow_schema",
    "check_absent",
    "check_folder",
    "clean",
    "format_to_write",
    "has_format",
    "import_texts",
    "no_package",
    "to_dataset",
]

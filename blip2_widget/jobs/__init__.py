"""Runs in pieces, by many processes or machines, into a folder of Parquet."""

from blip2_widget.jobs.answering import Answering, Row, Spec, open_pictures
from blip2_widget.jobs.begin import ROWS_PER_PART, begin, files_of, is_read_there
from blip2_widget.jobs.job import Job

__all__ = [
    "ROWS_PER_PART",
    "Answering",
    "Job",
    "Row",
    "Spec",
    "begin",
    "files_of",
    "is_read_there",
    "open_pictures",
]

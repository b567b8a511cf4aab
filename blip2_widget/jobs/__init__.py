"""Runs in pieces, by many processes or machines, into a folder of Parquet."""

from blip2_widget.jobs.answering import Answering, Row, Spec, open_pictures
from blip2_widget.jobs.begin import ROWS_PER_PART, begin, files_of, is_read_there, spec_of
from blip2_widget.jobs.job import Job
from blip2_widget.jobs.parts import Parts, lines_of
from blip2_widget.jobs.watching import Watching, find_job

__all__ = [
    "ROWS_PER_PART",
    "Answering",
    "Job",
    "Parts",
    "Row",
    "Spec",
    "Watching",
    "begin",
    "files_of",
    "find_job",
    "is_read_there",
    "lines_of",
    "open_pictures",
    "spec_of",
]

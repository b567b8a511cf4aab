"""Runs over many rows: scheduling, batching, progress, cancelling and asking again."""

from blip2_widget.run.answers import Answers, Reports, Wanted, suitable_sizes
from blip2_widget.run.board import Answerer, Board, free_name, same
from blip2_widget.run.cells import Cell, Progress, Prompt, RunState
from blip2_widget.run.chat import Chats, MakeRun, Turn
from blip2_widget.run.measures import Embedding, Fit, Matching, Measure
from blip2_widget.run.measuring import Measuring
from blip2_widget.run.outcomes import failure, several
from blip2_widget.run.pictures import Pictures
from blip2_widget.run.records import Record, records_of
from blip2_widget.run.reviews import Action, ReviewOf, Reviews, Target, target_of
from blip2_widget.run.run import Run
from blip2_widget.run.searching import RERANKED, KeptVectors, Query, Searching
from blip2_widget.run.templates import columns_in, escaped, fill, no_such_column, quoted
from blip2_widget.run.worker import Worker

__all__ = [
    "RERANKED",
    "Action",
    "Answerer",
    "Answers",
    "Board",
    "Cell",
    "Chats",
    "Embedding",
    "Fit",
    "KeptVectors",
    "MakeRun",
    "Matching",
    "Measure",
    "Measuring",
    "Pictures",
    "Progress",
    "Prompt",
    "Query",
    "Record",
    "Reports",
    "ReviewOf",
    "Reviews",
    "Run",
    "RunState",
    "Searching",
    "Target",
    "Turn",
    "Wanted",
    "Worker",
    "columns_in",
    "escaped",
    "failure",
    "fill",
    "free_name",
    "no_such_column",
    "quoted",
    "records_of",
    "same",
    "several",
    "suitable_sizes",
    "target_of",
]

"""Runs over many rows: scheduling, batching, progress, cancelling and asking again."""

from blip2_widget.run.board import Board, free_name, same
from blip2_widget.run.cells import Cell, Progress, Prompt
from blip2_widget.run.chat import Chats, MakeRun, Turn
from blip2_widget.run.measures import Embedding, Fit, Matching, Measure
from blip2_widget.run.measuring import Measuring
from blip2_widget.run.pictures import Pictures
from blip2_widget.run.projecting import LEAST, Method, Projecting, check_method
from blip2_widget.run.records import Record, records_of
from blip2_widget.run.reviews import Action, ReviewOf, Reviews, Target, target_of
from blip2_widget.run.run import Run
from blip2_widget.run.searching import RERANKED, KeptVectors, Query, Searching
from blip2_widget.run.templates import columns_in, escaped, fill, no_such_column, quoted
from blip2_widget.run.worker import Worker

__all__ = [
    "LEAST",
    "RERANKED",
    "Action",
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
    "Method",
    "Pictures",
    "Progress",
    "Projecting",
    "Prompt",
    "Query",
    "Record",
    "ReviewOf",
    "Reviews",
    "Run",
    "Searching",
    "Target",
    "Turn",
    "Worker",
    "check_method",
    "columns_in",
    "escaped",
    "fill",
    "free_name",
    "no_such_column",
    "quoted",
    "records_of",
    "same",
    "target_of",
]

"""Runs over many rows: scheduling, batching, progress, cancelling and asking again."""

from blip2_widget.run.answers import Answers, Reports, Wanted, suitable_sizes
from blip2_widget.run.board import Board, Measured, compared, free_name
from blip2_widget.run.cells import Cell, CellField, Progress, Prompt, RunState
from blip2_widget.run.chat import Chats, MakeRun, Turn
from blip2_widget.run.choices import choices_in, column_of_choices, row_choices
from blip2_widget.run.life import Answerer, Counts
from blip2_widget.run.measures import Embedding, Fit, Matching, Measure, MultimodalEmbedding
from blip2_widget.run.measuring import Measuring
from blip2_widget.run.outcomes import failure, several
from blip2_widget.run.pictures import Pictures
from blip2_widget.run.projecting import LEAST, Method, Projecting, check_method
from blip2_widget.run.records import Record, records_of
from blip2_widget.run.reviews import Action, ReviewOf, Reviews, Target, target_of
from blip2_widget.run.run import Run
from blip2_widget.run.searching import RERANKED, KeptVectors, Query, Searching
from blip2_widget.run.templates import columns_in, escaped, fill, no_such_column, quoted
from blip2_widget.run.texts import vectors_of_texts
from blip2_widget.run.work import Means
from blip2_widget.run.worker import Worker

__all__ = [
    "LEAST",
    "RERANKED",
    "Action",
    "Answerer",
    "Answers",
    "Board",
    "Cell",
    "CellField",
    "Chats",
    "Counts",
    "Embedding",
    "Fit",
    "KeptVectors",
    "MakeRun",
    "Matching",
    "Means",
    "Measure",
    "Measured",
    "Measuring",
    "Method",
    "MultimodalEmbedding",
    "Pictures",
    "Progress",
    "Projecting",
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
    "check_method",
    "choices_in",
    "column_of_choices",
    "columns_in",
    "compared",
    "escaped",
    "failure",
    "fill",
    "free_name",
    "no_such_column",
    "quoted",
    "records_of",
    "row_choices",
    "several",
    "suitable_sizes",
    "target_of",
    "vectors_of_texts",
]

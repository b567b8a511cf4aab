"""Runs over many rows: scheduling, batching, progress, cancelling and asking again."""

from blip2_widget.run.cells import Cell, Progress, Prompt
from blip2_widget.run.chat import Chats, MakeRun, Turn
from blip2_widget.run.reviews import Reviews, Target, target_of
from blip2_widget.run.run import Run
from blip2_widget.run.templates import columns_in, fill, no_such_column
from blip2_widget.run.worker import Worker

__all__ = [
    "Cell",
    "Chats",
    "MakeRun",
    "Progress",
    "Prompt",
    "Reviews",
    "Run",
    "Target",
    "Turn",
    "Worker",
    "columns_in",
    "fill",
    "no_such_column",
    "target_of",
]

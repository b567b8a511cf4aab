"""Checkpoints, variants, and the engines that turn pictures and prompts into answers, and pictures
and texts into how well they match.

Importing this room does not import torch; loading a model does.
"""

from blip2_widget.model.batches import BatchSizes, batch_sizes
from blip2_widget.model.catalogue import (
    DEFAULT,
    DEFAULT_RETRIEVAL,
    PUBLISHED,
    RETRIEVAL,
    Checkpoint,
    Located,
    Task,
    locate,
    names,
    parse,
)
from blip2_widget.model.engine import Answer, Engine, Step
from blip2_widget.model.loaded import Between, Cancelled
from blip2_widget.model.machine import Gpu, Machine, read_machine
from blip2_widget.model.manager import ModelManager, Resident
from blip2_widget.model.memory import give_memory_back, is_out_of_memory
from blip2_widget.model.pixels import PictureSize, picture_size
from blip2_widget.model.presets import PRESETS, preset_named
from blip2_widget.model.prompts import Kind, conversation_text, kind_of, prompt_text
from blip2_widget.model.ranking import Likelihood, ranked
from blip2_widget.model.retrieval import RetrievalEngine, pooled, similarity
from blip2_widget.model.settings import GenerationSettings
from blip2_widget.model.sizes import Sizes
from blip2_widget.model.variants import (
    MIXED,
    NAMES,
    Variant,
    choose,
    free_bytes,
    gigabytes,
    needed_bytes,
    offered,
    runnable,
    weight_bytes,
)
from blip2_widget.model.variants import variant as variant_named
from blip2_widget.model.weights import KeptWeights

__all__ = [
    "DEFAULT",
    "DEFAULT_RETRIEVAL",
    "MIXED",
    "NAMES",
    "PRESETS",
    "PUBLISHED",
    "RETRIEVAL",
    "Answer",
    "BatchSizes",
    "Between",
    "Cancelled",
    "Checkpoint",
    "Engine",
    "GenerationSettings",
    "Gpu",
    "KeptWeights",
    "Kind",
    "Likelihood",
    "Located",
    "Machine",
    "ModelManager",
    "PictureSize",
    "Resident",
    "RetrievalEngine",
    "Sizes",
    "Step",
    "Task",
    "Variant",
    "batch_sizes",
    "choose",
    "conversation_text",
    "free_bytes",
    "gigabytes",
    "give_memory_back",
    "is_out_of_memory",
    "kind_of",
    "locate",
    "names",
    "needed_bytes",
    "offered",
    "parse",
    "picture_size",
    "pooled",
    "preset_named",
    "prompt_text",
    "ranked",
    "read_machine",
    "runnable",
    "similarity",
    "variant_named",
    "weight_bytes",
]

"""Decoding steps recorded once for a batch's shape and replayed.

A step of a language model is some hundreds of small kernels, which Python starts more slowly than a
GPU ends them. A CUDA graph starts them all at once. Source: PyTorch's documentation, "CUDA Graphs".
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from blip2_widget.model.key_values import KeyValues
from blip2_widget.model.memory import is_out_of_memory

_log = logging.getLogger(__name__)

#: Layouts that are remembered; those of one run are few, since its batches shrink by halves.
_MOST = 32
#: Held while a step is recorded: a process can record one at a time, whatever the device.
_recording = threading.Lock()

#: A step: logits (rows, vocabulary) from the cache, tokens (rows,), positions (rows, 1) and mask.
Step = Callable[[KeyValues, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class Recording:
    """A step's input, where it stands on the device, and its output. `graph` is None where there
    is no GPU: the step is then taken anew each time, on the same tensors."""

    tokens: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    place: torch.Tensor
    logits: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    graph: Any = None


class StepGraphs:
    """Recordings of one model's steps, by the place and layout of the keys and values they use.

    A smaller batch may lie in a larger one's memory, with its strides, so these count too.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._recordings: OrderedDict[tuple[Any, ...], Recording] = OrderedDict()
        self._stream: Any = None
        self._fails = False

    def run(
        self, cache: KeyValues, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """As the step itself, whose result it gives."""
        if self._fails:
            return self._step(cache, tokens, positions, mask)
        key = (cache.data.data_ptr(), cache.data.shape, cache.data.stride())
        recording = self._recordings.get(key)
        if recording is None:
            try:
                recording = self._record(cache, tokens, positions, mask)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                # An operation that cannot be recorded.
                _log.debug("a step could not be recorded", exc_info=True)
                self._fails = True
                return self._step(cache, tokens, positions, mask)
            self._recordings[key] = recording
            if len(self._recordings) > _MOST:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        recording.tokens.copy_(tokens)
        recording.positions.copy_(positions)
        recording.mask.copy_(mask)
        recording.place.fill_(cache.length)
        if recording.graph is None:
            with cache.writing_at(recording.place):
                return self._step(cache, recording.tokens, recording.positions, recording.mask)
        recording.graph.replay()
        cache.advance(1)
        return recording.logits.clone()

    def clear(self) -> None:
        """Forget all recordings, and the memory that they keep."""
        self._recordings.clear()

    def _record(
        self, cache: KeyValues, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor
    ) -> Recording:
        place = torch.full((1,), cache.length, device=tokens.device)
        recording = Recording(tokens.clone(), positions.clone(), mask.clone(), place)
        if tokens.device.type != "cuda":
            return recording

        def step() -> torch.Tensor:
            logits = self._step(cache, recording.tokens, recording.positions, recording.mask)
            cache.advance(-1)  # it is the replay that counts
            return logits

        # A stream of this device: torch's own for recordings is that of the first that recorded.
        self._stream = self._stream or torch.cuda.Stream(tokens.device)
        with _recording, cache.writing_at(place):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):  # libraries choose before the recording
                for _ in range(2):
                    step()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use other devices meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                recording.logits = step()
            recording.graph = graph
        return recording

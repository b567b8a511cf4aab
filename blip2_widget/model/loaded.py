"""A model in memory: one pass through it at a time, with what is urgent let in between layers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

from blip2_widget.errors import Blip2Error
from blip2_widget.model.memory import mapped_at
from blip2_widget.model.tf32 import tf32_allowed
from blip2_widget.model.variants import Variant

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image
    from transformers import Blip2PreTrainedModel, Blip2Processor

#: Called between the layers of a model. It may do work of its own with the same engine, so that
#: what is urgent need not wait for a batch, and ends the batch by raising `Cancelled`.
Between = Callable[[], None]


class Cancelled(Exception):  # noqa: N818 - it is no error
    """A batch was stopped by the call between its layers; what had ended before is kept."""


class LoadedModel:
    """One loaded checkpoint in one variant. One pass through the model at a time."""

    def __init__(
        self, model: Blip2PreTrainedModel, processor: Blip2Processor, variant: Variant
    ) -> None:
        from blip2_widget.model.pixels import PixelTable

        self.model = model
        self.processor = processor
        self.variant = variant
        self._table = PixelTable.of(processor.image_processor)
        # Reentrant, since what is urgent runs between the layers of what is not.
        self._lock = threading.RLock()
        if not variant.is_cuda:
            _suit_processor(model)
        #: How far int8 vision moves features, by their length; None where vision is not int8.
        self.vision_distance: float | None = getattr(model.vision_model, "distance", None)
        #: Bytes of weights that the system counts as free memory, by their address, since variants
        #: may share some.
        self.mapped_at = mapped_at(chain(model.parameters(), model.buffers()))
        for layer in _layers(model):
            # A vision side may be shared, and outlive this engine: its layers know of none.
            if _before_layer not in layer._forward_pre_hooks.values():
                layer.register_forward_pre_hook(_before_layer)

    @property
    def mapped(self) -> int:
        """Bytes of weights that the system counts as free memory."""
        return sum(self.mapped_at.values())

    def prepare(self, image: Image) -> NDArray[np.float32]:
        """An RGB picture as the image encoder reads it: (3, height, width). May be called from any
        thread.

        It is no tensor, since torch would start threads for that: where OpenMP has more of them
        than there are processors, all sleep between two products, and a step of one row in int4
        takes 1.3 times as long.
        """
        if self._table is not None:
            return self._table(image)
        pixels: NDArray[np.float32] = self.processor.image_processor(
            [image], return_tensors="np"
        ).pixel_values[0]
        return pixels

    def rest(self) -> None:
        """Let go of what only batches use; does nothing where nothing is held."""

    def _pixels(self, images: Sequence[Image | NDArray[np.float32]]) -> torch.Tensor:
        """RGB pictures, prepared or not, as one tensor on the CPU: (pictures, 3, height, width)."""
        import numpy as np
        import torch

        prepared = [each if isinstance(each, np.ndarray) else self.prepare(each) for each in images]
        pixels = torch.from_numpy(np.stack(prepared))
        return pixels.pin_memory() if self.variant.is_cuda else pixels

    def _placed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels on the model's device in its type."""
        pixels = pixels.to(self.model.device, non_blocking=True)
        return pixels.to(self.model.vision_model.dtype)

    def _in_its_precision(self) -> AbstractContextManager[None]:
        """TF32 where the Q-Former stays in fp32 beside fp16; else nothing."""
        fp16 = self.variant.is_cuda and self.variant.dtype == "float16"
        return tf32_allowed() if fp16 else nullcontext()

    def _overflow(self) -> Blip2Error:
        name = self.variant.name
        return Blip2Error(
            f"numbers overflow in {name} on this row; write --variant {name.partition('-')[0]}-fp32"
        )

    @contextmanager
    def _computing(self, between: Between | None) -> Iterator[None]:
        """The model to oneself, and `between` called before each of its layers."""
        import torch

        is_cuda = self.variant.is_cuda
        device = torch.cuda.device(self.variant.device) if is_cuda else nullcontext()
        with self._lock, torch.inference_mode(), device:
            outer = getattr(_thread, "between", None)
            _thread.between = between
            try:
                yield
            finally:
                _thread.between = outer


#: What a thread's pass through a model calls between layers, as `between`.
_thread = threading.local()


def _before_layer(_layer: Any, _inputs: Any) -> None:
    between: Between | None = getattr(_thread, "between", None)
    if between is not None:
        between()


def _suit_processor(model: Blip2PreTrainedModel) -> None:
    """Take the faster of equal ways on a processor with bf16."""
    import torch

    from blip2_widget.model import attention, nf4_linear
    from blip2_widget.model.packing import can_pack, pack

    if model.vision_model.dtype == torch.bfloat16 and can_pack():
        pack(model)
        parts = [model.vision_model, model.qformer]
        language_model = getattr(model, "language_model", None)
        if language_model is not None:
            nf4_linear.quicken(model)
            if model.config.use_decoder_only_language_model:
                parts.append(language_model)
        for part in parts:
            part.set_attn_implementation(attention.NAME)


def _layers(model: Blip2PreTrainedModel) -> Iterator[torch.nn.Module]:
    """Every block of every stack of blocks in a model."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            yield from module

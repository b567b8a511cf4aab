"""A tiny BLIP-2 that knows drawn shapes, with sample pictures: what runs where there is no Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

CHECKPOINT: Final = Path(__file__).parent / "checkpoint"
"""The checkpoint's folder, for `Blip2ForConditionalGeneration.from_pretrained`."""

RETRIEVAL: Final = Path(__file__).parent / "retrieval"
"""The retrieval checkpoint's folder, for `Blip2ForImageTextRetrieval.from_pretrained`."""

SAMPLES: Final = Path(__file__).parent / "samples"
"""The folder of the sample pictures and of `samples.csv`."""


def samples() -> "pd.DataFrame":
    """The sample pictures, one a row: image (path), caption, question, answer, source."""
    import pandas as pd

    frame = pd.read_csv(SAMPLES / "samples.csv", dtype=str)
    frame.insert(0, "image", [str(SAMPLES / file) for file in frame["file"]])
    return frame[["image", "caption", "question", "answer", "source"]]

"""Settings that others have used, by name, each with where they stand.

They are those of the LAVIS repository (salesforce/LAVIS, folder `lavis`), in which BLIP-2 was
published. Its `max_len` is `max_new_tokens` here. Its `min_len` counts new tokens for OPT, and for
T5 the start of its decoder too, so that `min_new_tokens` is one less there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from blip2_widget.errors import Blip2Error


@dataclass(frozen=True)
class Preset:
    """`opt` and `t5` are the settings with each family, `caption` is how captions begin where
    nothing is written, and `question` the form of a question, None for the family's own."""

    source: str
    opt: Mapping[str, int | float]
    t5: Mapping[str, int | float]
    caption: str = ""
    question: str | None = None

    def settings(self, family: str) -> Mapping[str, int | float]:
        return self.t5 if family == "t5" else self.opt


#: What is so where no preset is named.
NO_PRESET: Final = Preset("", {}, {})

PRESETS: Final[dict[str, Preset]] = {
    "coco": Preset(
        "projects/blip2/eval/caption_coco_opt2.7b_eval.yaml and caption_coco_flant5xl_eval.yaml; "
        "the beginning of captions: configs/models/blip2/blip2_caption_opt2.7b.yaml and "
        "blip2_caption_flant5xl.yaml",
        opt={"num_beams": 5, "max_new_tokens": 30, "min_new_tokens": 8},
        t5={"num_beams": 5, "max_new_tokens": 30, "min_new_tokens": 7},
        caption="a photo of",
    ),
    "vqa": Preset(
        "projects/blip2/eval/vqav2_zeroshot_opt_eval.yaml and vqav2_zeroshot_flant5xl_eval.yaml; "
        "the length penalty: the default of predict_answers in "
        "models/blip2_models/blip2_opt.py and blip2_t5.py",
        opt={"num_beams": 5, "max_new_tokens": 10, "min_new_tokens": 1, "length_penalty": 0.0},
        t5={"num_beams": 5, "max_new_tokens": 10, "min_new_tokens": 0, "length_penalty": -1.0},
        question="Question: {} Short answer:",
    ),
}


def preset_named(name: str | None) -> Preset:
    """The preset of that name; Blip2Error with the names there are where it is none of them."""
    if name is None:
        return NO_PRESET
    if name not in PRESETS:
        close = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"write one of {', '.join(PRESETS)}"
        raise Blip2Error(f"there is no preset {name!r}; {hint}")
    return PRESETS[name]

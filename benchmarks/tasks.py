"""The data sets that BLIP-2 was evaluated on, and how: its paper's and LAVIS' settings.

LAVIS is https://github.com/salesforce/LAVIS, whose `lavis/projects/blip2/eval` holds a file of
settings for each; the paper is https://arxiv.org/abs/2301.12597, version 3.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

from blip2_widget.model import GenerationSettings
from blip2_widget.scores import Rule


@dataclass(frozen=True)
class Task:
    """One data set: how its pictures are asked, and what is known of the answers.

    `prompt` is how a caption begins, or what is asked, with `{question}` in it. `published` has
    the scores of checkpoints by metric, as shares (CIDEr-D 1.458 is told elsewhere as 145.8), for
    all rows of the split that `split` names.
    """

    name: str
    title: str
    kind: Literal["captions", "answers"]
    prompt: str
    max_new_tokens: int
    min_new_tokens: int
    length_penalty: float
    source: str
    num_beams: int = 5
    rule: Rule = "vqa"
    split: str = ""
    published: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def options(self) -> tuple[dict[str, Any], list[str]]:
        """The settings as options of `caption` and `ask`, and those that are no option yet."""
        wanted = {
            "num_beams": self.num_beams,
            "max_new_tokens": self.max_new_tokens,
            "min_new_tokens": self.min_new_tokens,
            "length_penalty": self.length_penalty,
        }
        known = {field.name for field in dataclasses.fields(GenerationSettings)}
        return (
            {name: value for name, value in wanted.items() if name in known},
            [
                f"{name} should be {value:g}, which this package cannot be told"
                for name, value in wanted.items()
                if name not in known and value != _USUAL[name]
            ],
        )


#: What decoding does that is not told.
_USUAL: Final = {"num_beams": 1, "min_new_tokens": 1, "length_penalty": 1.0}

_SHORT_ANSWER: Final = "Question: {question} Short answer:"
_EVAL: Final = "LAVIS, lavis/projects/blip2/eval/"

COCO: Final = Task(
    "coco",
    "COCO captions",
    "captions",
    prompt="a photo of",
    max_new_tokens=30,
    min_new_tokens=8,
    length_penalty=1.0,
    source=_EVAL + "caption_coco_opt2.7b_eval.yaml, and the paper's section 4.2",
    split="Karpathy's test split",
    published={  # the paper's table 3
        "opt-2.7b-coco": {"CIDEr-D": 1.458, "BLEU-4": 0.437},
        "opt-6.7b-coco": {"CIDEr-D": 1.452, "BLEU-4": 0.435},
        "flan-t5-xl-coco": {"CIDEr-D": 1.445, "BLEU-4": 0.424},
    },
)
NOCAPS: Final = Task(
    "nocaps",
    "NoCaps, validation",
    "captions",
    prompt="a photo of",
    max_new_tokens=30,
    min_new_tokens=8,
    length_penalty=1.0,
    source="the paper's section 4.2, which takes the checkpoints fine-tuned on COCO as they are",
)
VQAV2: Final = Task(
    "vqav2",
    "VQAv2",
    "answers",
    prompt=_SHORT_ANSWER,
    max_new_tokens=10,
    min_new_tokens=1,
    length_penalty=-1.0,
    source=_EVAL + "vqav2_zeroshot_flant5xl_eval.yaml, and its authors in its issue 99",
    split="val2014",
    published={  # told in LAVIS' files of settings
        "opt-2.7b": {"VQA accuracy": 0.5188},
        "flan-t5-xl": {"VQA accuracy": 0.6313},
    },
)
OKVQA: Final = dataclasses.replace(
    VQAV2,
    name="okvqa",
    title="OK-VQA",
    source=_EVAL + "okvqa_zeroshot_flant5xl_eval.yaml",
    published={"flan-t5-xl": {"VQA accuracy": 0.4122}},
    remarks=(
        "OK-VQA's references are stems; LAVIS brings answers to their lemmas with spaCy before it "
        "compares, which is not done here, so scores come out lower than its",
    ),
)
GQA: Final = dataclasses.replace(
    VQAV2,
    name="gqa",
    title="GQA, test-dev balanced",
    rule="gqa",
    source=_EVAL + "gqa_zeroshot_flant5xl_eval.yaml",
    split="test-dev balanced",
    published={"flan-t5-xl": {"GQA accuracy": 0.4398}},
)

TASKS: Final = {task.name: task for task in (COCO, NOCAPS, VQAV2, OKVQA, GQA)}

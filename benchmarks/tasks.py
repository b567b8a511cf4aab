"""The data sets that BLIP-2 was evaluated on, and how: its paper's and LAVIS' settings.

LAVIS is https://github.com/salesforce/LAVIS, whose `lavis/projects/blip2/eval` holds a file of
settings for each; the paper is https://arxiv.org/abs/2301.12597, version 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from blip2_widget.model import GenerationSettings
from blip2_widget.scores import Rule


@dataclass(frozen=True, kw_only=True)
class Task:
    """One data set, and what is known of it.

    `published` has the scores of checkpoints by metric, as shares (CIDEr-D 1.458 is told elsewhere
    as 145.8), for all rows of the split that `split` names; of a part of them its name stands
    behind the metric's.
    """

    name: str
    title: str
    source: str
    split: str = ""
    published: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Retrieval(Task):
    """One whose captions find their pictures, and these their captions. The best of each search by
    similarity, `reranked` of them, are put in order by matching."""

    reranked: int = 128


@dataclass(frozen=True, kw_only=True)
class Writing(Task):
    """One whose pictures are captioned or asked about: `prompt` is how a caption begins, or what
    is asked, with `{question}` in it."""

    kind: Literal["captions", "answers"]
    prompt: str
    max_new_tokens: int
    min_new_tokens: int
    length_penalty: float
    num_beams: int = 5
    rule: Rule = "vqa"

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


#: NoCaps' parts, by how far their objects are from COCO's, as its annotations name them.
DOMAINS: Final = ("in-domain", "near-domain", "out-domain")
#: Among how many of those found the right one counts.
RECALL_AT: Final = (1, 5, 10)

#: What decoding does that is not told.
_USUAL: Final = {"num_beams": 1, "min_new_tokens": 1, "length_penalty": 1.0}


def _nocaps(*pairs: tuple[float, float]) -> dict[str, float]:
    """CIDEr-D and SPICE in, near and out of COCO's domain, and of all."""
    return {
        f"{metric}{part}": value
        for part, pair in zip((*(f", {domain}" for domain in DOMAINS), ""), pairs, strict=True)
        for metric, value in zip(("CIDEr-D", "SPICE"), pair, strict=True)
    }


def _recalls(captions: Sequence[float], pictures: Sequence[float]) -> dict[str, float]:
    """Recall at 1, 5 and 10 of the captions that a picture finds, and of pictures by a caption."""
    found = {"image to text": captions, "text to image": pictures}
    return {
        f"{way} R@{count}": value
        for way, values in found.items()
        for count, value in zip(RECALL_AT, values, strict=True)
    }


_SHORT_ANSWER: Final = "Question: {question} Short answer:"
_EVAL: Final = "LAVIS, lavis/projects/blip2/eval/"

COCO: Final = Writing(
    name="coco",
    title="COCO captions",
    kind="captions",
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
NOCAPS: Final = Writing(
    name="nocaps",
    title="NoCaps, validation",
    kind="captions",
    prompt="a photo of",
    max_new_tokens=30,
    min_new_tokens=8,
    length_penalty=1.0,
    source="the paper's section 4.2, which takes the checkpoints fine-tuned on COCO as they are",
    split="nocaps_val_4500_captions",
    published={  # the paper's table 3
        "opt-2.7b-coco": _nocaps((1.230, 0.158), (1.178, 0.154), (1.234, 0.151), (1.197, 0.154)),
        "opt-6.7b-coco": _nocaps((1.237, 0.158), (1.192, 0.153), (1.244, 0.148), (1.210, 0.153)),
        "flan-t5-xl-coco": _nocaps((1.237, 0.163), (1.202, 0.159), (1.248, 0.151), (1.216, 0.158)),
    },
    remarks=("a domain's CIDEr-D weighs words by the references of that domain alone",),
)
VQAV2: Final = Writing(
    name="vqav2",
    title="VQAv2",
    kind="answers",
    prompt=_SHORT_ANSWER,
    max_new_tokens=10,
    min_new_tokens=1,
    length_penalty=-1.0,
    source=_EVAL + "vqav2_zeroshot_flant5xl_eval.yaml, and its authors in its issue 99",
    split="val2014",
    published={  # told in LAVIS' files of settings, where there is one, else in the paper's table 2
        "opt-2.7b": {"VQA accuracy": 0.5188},
        "opt-6.7b": {"VQA accuracy": 0.543},
        "flan-t5-xl": {"VQA accuracy": 0.6313},
        "flan-t5-xxl": {"VQA accuracy": 0.652},
    },
)
OKVQA: Final = dataclasses.replace(
    VQAV2,
    name="okvqa",
    title="OK-VQA",
    source=_EVAL + "okvqa_zeroshot_flant5xl_eval.yaml",
    published={  # from where those of VQAv2 are
        "opt-2.7b": {"VQA accuracy": 0.317},
        "opt-6.7b": {"VQA accuracy": 0.364},
        "flan-t5-xl": {"VQA accuracy": 0.4122},
        "flan-t5-xxl": {"VQA accuracy": 0.459},
    },
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
    published={  # from where those of VQAv2 are
        "opt-2.7b": {"GQA accuracy": 0.346},
        "opt-6.7b": {"GQA accuracy": 0.364},
        "flan-t5-xl": {"GQA accuracy": 0.4398},
        "flan-t5-xxl": {"GQA accuracy": 0.447},
    },
)

_READ: Final = "captions are read to their end, of which LAVIS reads 35 tokens"
COCO_RETRIEVAL: Final = Retrieval(
    name="coco-retrieval",
    title="COCO retrieval",
    source=_EVAL + "ret_coco_eval.yaml, and the paper's section 4.4",
    split="Karpathy's test split",
    published={  # the paper's table 5
        "itm-vit-g-coco": _recalls((0.854, 0.970, 0.985), (0.683, 0.877, 0.926)),
    },
    remarks=(_READ,),
)
FLICKR30K: Final = dataclasses.replace(
    COCO_RETRIEVAL,
    name="flickr30k",
    title="Flickr30k retrieval",
    source=_EVAL + "ret_flickr_eval.yaml, and the paper's section 4.4",
    published={  # the paper's table 5, of the checkpoint fine-tuned on COCO
        "itm-vit-g-coco": _recalls((0.976, 1.0, 1.0), (0.897, 0.981, 0.989)),
    },
)

TASKS: Final[dict[str, Writing | Retrieval]] = {
    task.name: task for task in (COCO, NOCAPS, VQAV2, OKVQA, GQA, COCO_RETRIEVAL, FLICKR30K)
}

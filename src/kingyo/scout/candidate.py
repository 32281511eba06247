"""A candidate: what its card, its config and its headers say, and why it cannot be merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.lineage import licence_in, texts_of
from kingyo.merging.vocabulary import TOKENIZER_FILES
from kingyo.models.kinds import ModelKind, known_kind

Reason = Literal[
    "the base itself",
    "a LoRA whose base was not found",
    "unreadable",
    "only pickles",
    "remote code",
    "another architecture or size",
    "no tokenizer",
    "another vocabulary",
    "a licence that forbids derivatives",
    "fits no other model",
    "weights that are not finite",
]
"""Why a candidate is excluded, in the order of the checks."""
REASONS: tuple[Reason, ...] = get_args(Reason)

_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.*")
"""Files of a tokenizer that do not hold its vocabulary."""
_LANGUAGE_KINDS = ("causal-lm", "image-text-to-text")


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Why a candidate cannot be merged: a reason, and what shows it."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a model card says; ``licences`` are those of the model and of its LoRA, None if not stated."""

    licences: tuple[str | None, ...] = (None,)
    bases: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    @classmethod
    def read(cls, front: Mapping[str, object]) -> CardFacts:
        """Take what is needed from the front matter of a card."""
        licence, name = licence_in(front)
        return cls(
            licences=(name or licence,),
            bases=texts_of(front.get("base_model")),
            languages=texts_of(front.get("language")),
        )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Properties of a model from its config and headers; None or False if they cannot be read.

    Sizes are of all tensors, of a LoRA its own; the dtype is that of most bytes.
    """

    kind: str | None = None
    architecture: str | None = None
    n_parameters: int | None = None
    n_bytes: int | None = None
    dtype: str | None = None
    runs_code: bool = False
    lacks_tokenizer: bool = False


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model that may be merged.

    Attributes:
        reference: as in a run.yaml: a folder, a name on the Hub, or either with ``+lora``.
        claimed_base: the base that its card or config names.
        exclusion: why it cannot be merged; None if it can.
        notes: differences from the base that do not prevent a merge.
    """

    reference: str
    card: CardFacts
    facts: Facts = Facts()
    claimed_base: str | None = None
    exclusion: Exclusion | None = None
    notes: tuple[str, ...] = ()

    @property
    def licence(self) -> str | None:
        """The licence, and that of its LoRA if it is another."""
        stated = dict.fromkeys(each for each in self.card.licences if each is not None)
        return " + ".join(stated) or None

    def to_json(self) -> dict[str, object]:
        return {
            "reference": self.reference,
            **asdict(self.facts),
            "licence": self.licence,
            "base": self.claimed_base,
            "languages": list(self.card.languages),
            "excluded": None if self.exclusion is None else asdict(self.exclusion),
            "notes": list(self.notes),
        }


def read_facts(model: Checkpoint, kinds: Sequence[ModelKind]) -> Facts:
    """Return what config and headers of an opened model say; its kind is the first that takes it."""
    kind = known_kind(model.config, model.pipeline_index, kinds)
    tensors = model.tensors.values() if model.adapter is None else model.adapter.tensors
    sizes: Counter[str] = Counter()
    for info in tensors:
        sizes[info.stored_dtype] += info.n_bytes
    name = None if kind is None else kind.name
    patterns = [each for each in TOKENIZER_FILES if each not in _SETTINGS]
    has_tokenizer = any(next(model.path.glob(pattern), None) for pattern in patterns)
    return Facts(
        kind=name,
        architecture=architecture_of(model.config),
        n_parameters=sum(info.n_elements for info in tensors),
        n_bytes=sizes.total(),
        dtype=sizes.most_common(1)[0][0] if sizes else None,
        runs_code=model.runs_code,
        lacks_tokenizer=name in _LANGUAGE_KINDS and not has_tokenizer,
    )


def architecture_of(config: Mapping[str, object]) -> str | None:
    """Return the architecture in a config.json of transformers or diffusers."""
    named = config.get("_class_name") or config.get("model_type")
    return named if isinstance(named, str) else None


def in_words(error: KingyoError) -> str:
    """Return what was expected and what was found, without the remedy."""
    return f"{error.argument}: expected {error.expected}; received {error.received}"

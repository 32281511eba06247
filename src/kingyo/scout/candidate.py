"""A candidate: what its card, its config and its headers say, and why it cannot be merged with a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Literal, cast, get_args

from kingyo.core.io.units import counted
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit
from kingyo.merging.checkpoints.config_comparison import layers_config
from kingyo.merging.lineage import kind_of, licence_in, texts_of
from kingyo.merging.vocabulary import TOKENIZER_FILES, Diagnostic, compare, forget_tokenizers, stored_files
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
    "an unknown licence",
    "fits no other model",
    "weights that are not finite",
]
"""Why a candidate is excluded, in the order of the checks."""
REASONS: tuple[Reason, ...] = get_args(Reason)

_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.*")
"""Files of a tokenizer that do not hold its vocabulary."""
_LANGUAGE_KINDS = ("causal-lm", "image-text-to-text")
_CANDIDATE = "this model"
"""The candidate in findings, which are the same for all models with its tokenizer."""
_SIZES: Mapping[str, Sequence[str]] = {
    "layer": ("num_hidden_layers", "n_layer", "num_layers"),
    "width": ("hidden_size", "n_embd", "d_model"),
    "inner width": ("intermediate_size", "n_inner", "d_ff"),
    "head": ("num_attention_heads", "n_head", "num_heads"),
    "key-value head": ("num_key_value_heads",),
    "head size": ("head_dim", "d_kv"),
    "expert": ("num_local_experts", "num_experts", "n_routed_experts"),
    "vocabulary size": ("vocab_size",),
    "widths": ("block_out_channels",),
    "width of prompts": ("cross_attention_dim", "joint_attention_dim"),
}
"""Words -> the keys that mean it, of which a config has one."""
_COUNTED = ("layer", "head", "key-value head", "expert")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which candidates the user allows.

    Attributes:
        strict_licences: exclude candidates whose licence is unknown or not stated.
        allow_pickle: read weights that exist only as pickles.
    """

    strict_licences: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Why a candidate cannot be merged: a reason, and what shows it."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a model card says; ``licences`` are those of the model and of its LoRA, None if not stated.

    ``date`` is the day of the last change on the Hub; None for a folder, which may be a copy.
    """

    licences: tuple[str | None, ...] = (None,)
    bases: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    date: str | None = None

    @classmethod
    def read(cls, front: Mapping[str, object], date: str | None = None) -> CardFacts:
        """Take what is needed from the front matter of a card."""
        licence, name = licence_in(front)
        return cls(
            licences=(name or licence,),
            bases=texts_of(front.get("base_model")),
            languages=texts_of(front.get("language")),
            date=date,
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
    only_pickles: bool = False
    exclusion: Exclusion | None = None
    notes: tuple[str, ...] = ()

    @property
    def licence(self) -> str | None:
        """The licence, and that of its LoRA if it is another."""
        stated = dict.fromkeys(each for each in self.card.licences if each is not None)
        return " + ".join(stated) or None

    @property
    def licence_kinds(self) -> tuple[str | None, ...]:
        """The kinds of its licences; None for one that is unknown or not stated."""
        return tuple(dict.fromkeys(map(kind_of, self.card.licences)))

    def to_json(self) -> dict[str, object]:
        """Return everything that is known of it."""
        out = self.exclusion
        return {
            "reference": self.reference,
            **asdict(self.facts),
            "licence": self.licence,
            "licence_kinds": list(self.licence_kinds),
            "base": self.claimed_base,
            "languages": list(self.card.languages),
            "date": self.card.date,
            "only_pickles": self.only_pickles,
            "excluded": None if out is None else {"reason": out.reason, "detail": out.detail},
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


class Judge:
    """Compare candidates with other models, tokenizers with equal files only once."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._findings: dict[tuple[str, bytes], tuple[Diagnostic, ...]] = {}

    def judge(self, candidate: Candidate, model: Checkpoint, like: Checkpoint) -> Candidate:
        """Return the candidate with what keeps it from a merge with ``like``, or with notes."""

        def out(reason: Reason, detail: str = "") -> Candidate:
            return replace(candidate, exclusion=Exclusion(reason=reason, detail=detail))

        if candidate.facts.runs_code:
            return out("remote code", "its config names Python files")
        try:
            fitted = fit(like, [model])
        except KingyoError as error:
            return out(_misfit(model, like), sizes_in_words(model, like) or in_words(error))
        if candidate.facts.lacks_tokenizer:
            return out("no tokenizer")
        findings = self._compare(model, like)
        for each in findings:
            if each.level == "error":
                return out("another vocabulary", each.short or in_words(each.error))
        forbids = "no derivatives" in candidate.licence_kinds
        if forbids or (self._rules.strict_licences and None in candidate.licence_kinds):
            reason = "a licence that forbids derivatives" if forbids else "an unknown licence"
            return out(reason, candidate.licence or "not stated")
        more = [in_words(each.error) for each in findings if each.level == "warning"]
        return replace(candidate, notes=(*fitted.warnings, *more))

    def _compare(self, model: Checkpoint, like: Checkpoint) -> tuple[Diagnostic, ...]:
        digest = sha256()
        for name, content in stored_files(model.path).items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        key = like.reference, digest.digest()
        if key not in self._findings:
            self._findings[key] = compare({like.reference: like.path, _CANDIDATE: model.path})
            forget_tokenizers()
        return self._findings[key]


def _misfit(model: Checkpoint, like: Checkpoint) -> Reason:
    """Return why a model does not fit: its vocabulary, if a longer one would fit."""
    try:
        fit(like, [model], resize="pad-vocab")
    except KingyoError:
        return "another architecture or size"
    return "another vocabulary"


def in_words(error: KingyoError) -> str:
    """Return what differs, without the remedy.

    Example:
        >>> in_words(KingyoError("norm", expected="one shape: [2] as in a", received="[3] in b", remedy=""))
        'norm: [3] in b, not [2] as in a'
    """
    if " as in " not in error.expected:
        return error.received if " and " in error.argument else f"{error.argument}: {error.received}"
    return f"{error.argument}: {error.received}, not {error.expected.rpartition(': ')[2]}"


def in_full(error: KingyoError) -> str:
    """Return what was expected and what was found, without the remedy."""
    return f"{error.argument}: expected {error.expected}; received {error.received}"


def sizes_in_words(model: Checkpoint, like: Checkpoint) -> str | None:
    """Return how the config of a model differs from that of another, or None if no size does.

    For example ``2 layers, not 4; width 160, not 128 as in zoo/pool/base``. Of models with several parts
    only the language parts are compared.
    """
    found = "; ".join(_differences(layers_config(model), layers_config(like)))
    return f"{found} as in {like.reference}" if found else None


def _differences(mine: Mapping[str, object], its: Mapping[str, object]) -> Iterator[str]:
    one, other = architecture_of(mine), architecture_of(its)  # qwen2_vl_text is made of qwen2
    if one and other and not f"{one}_".startswith(f"{other}_") and not other.startswith(f"{one}_"):
        yield f"architecture {one}, not {other}"
    found: dict[str, tuple[object, object]] = {}
    for words, keys in _SIZES.items():
        one, other = _value(mine, keys), _value(its, keys)
        repeats = words == "key-value head" and found.get("head") == (one, other)
        if one is None or other is None or one == other or repeats:
            continue
        found[words] = one, other
        size = counted(one, words) if isinstance(one, int) and words in _COUNTED else f"{words} {one}"
        yield f"{size}, not {other}"


def _value(config: Mapping[str, object], keys: Sequence[str]) -> int | list[object] | None:
    value = next((config[key] for key in keys if config.get(key) is not None), None)
    is_list = isinstance(value, list) and all(isinstance(each, int) for each in cast("list[object]", value))
    return cast("int | list[object]", value) if is_list or isinstance(value, int) else None

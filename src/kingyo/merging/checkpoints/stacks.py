"""Find kinds of tensors, stacks of blocks and parts of a model (language, vision, …; encoder, decoder).

Stacks are the numbered lists among tensor names that are a model's layers: the tensor
``model.layers.3.mlp.up_proj.weight`` is in block 3 of the stack ``model.layers``. Lists of experts within a
block and small lists (a projector of two layers) are not stacks. A block without a number, such as the middle
of a UNet, is a stack of one block. Kinds and parts follow from words of names, parts also from configs.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal, cast

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.configs import count_layers

Kind = Literal["attention", "mlp", "norm", "embedding", "head", "other"]

# State-space mixers and linear attention replace attention in their blocks, and count as attention.
_ATTENTION = re.compile(r"attn|attention|^mixer$|mamba|^ssm$")
_MLP = re.compile(
    r"mlp|ffn|feed_?forward|moe|expert|dense_?relu|^fc\d?$|^w[123]$|^(gate|up|down)_proj$|^ff(_|\d|$)"
)
_BERT_MLP = re.compile(r"^(intermediate|output)$")
_NORM = re.compile(r"norm|(^|_)ln(_|\d|$)")
_EMBEDDING = re.compile(r"emb|^w[tp]e$|^shared$")
_HEAD = re.compile(
    r"head|embed_out|^output$|^qa_outputs$|^score$|classifier|^cls$|^predictions?$|^pooler$|^vocab_(?!emb)"
    r"|^(conv|proj|project)_out$|logits_bias"
)
_VOCABULARY = re.compile(r"embed(ding)?s?$|embed_(tokens|in)$|^tok_emb|^emb$|^wte$|^shared$")
_NO_VOCABULARY = re.compile(r"pos|type|patch|class|time|label|mask|layer|image|vision|visual|audio")
_OUTPUT = re.compile(r"^(lm_)?head$|^embed_out$|^output$|^decoder$|^proj_out$|^vocab_projector$")
_BEFORE = re.compile(r"^pre_|feature|patch|stem")
_AFTER = re.compile(r"(_out|_projection)$|^(post|final)_")
_LEAVES = ("weight", "bias", "gamma", "beta")


def find_kind(name: str, in_block: bool) -> Kind:
    """Return the kind of a tensor; within a block, the suffix after the block's number is enough."""
    modules = _modules(name)
    if not in_block:
        return _outer_kind(modules)
    parents, leaf = modules[:-1], (modules or [""])[-1]
    if any(_ATTENTION.search(parent) for parent in parents):
        return "attention"
    if any(_MLP.search(parent) for parent in parents):
        return "mlp"
    if _NORM.search(leaf):
        return "norm"
    if _ATTENTION.search(leaf):
        return "attention"
    is_mlp = _MLP.search(leaf) or any(_BERT_MLP.search(parent) for parent in parents)
    return "mlp" if is_mlp else "other"


def is_after(name: str) -> bool:
    """Return whether a tensor outside the blocks comes after them."""
    modules = _modules(name)
    kind = _outer_kind(modules)
    if kind in ("head", "embedding"):
        return kind == "head"
    if any(_BEFORE.search(module) for module in modules):
        return False
    return kind == "norm" or any(_AFTER.search(module) for module in modules)


def is_vocabulary(name: str) -> bool:
    """Return whether a tensor outside the blocks may have one row per token: token embeddings and heads."""
    modules = _modules(name)
    kind = _outer_kind(modules)
    if kind == "head":
        return name.endswith(_LEAVES)
    embeds = kind == "embedding" and name.endswith("weight") and bool(_VOCABULARY.search(modules[-1]))
    return embeds and not any(_NO_VOCABULARY.search(module) for module in modules)


def is_output(name: str) -> bool:
    """Return whether a tensor outside the blocks may be the matrix that computes logits of tokens."""
    modules = _modules(name)
    return name.endswith("weight") and bool(modules) and bool(_OUTPUT.search(modules[-1]))


def _modules(name: str) -> list[str]:
    return [part.lower() for part in name.split(".") if part not in _LEAVES]


def _outer_kind(modules: list[str]) -> Kind:
    if any(_HEAD.search(module) for module in modules):
        return "head"
    if any(_EMBEDDING.search(module) for module in modules):
        return "embedding"
    return "norm" if modules and _NORM.search(modules[-1]) else "other"


_NUMBERED = re.compile(r"(.*?)\.([0-9]{1,9})\.(.*)", re.DOTALL)
_LAYERS = re.compile(r"(layers?|blocks?|stages?|groups)$|^h$", re.IGNORECASE)
_FIRST, _LAST = re.compile(r"(^|[._])(down|input|encoder)"), re.compile(r"(^|[._])(up|output|decoder)")
_LONE = re.compile(r"((?:.*?\.)?mid(?:dle)?_?block)\.(.*)", re.DOTALL)
_WORDS: Mapping[str, tuple[str, ...]] = {
    "vision": ("vision", "visual", "image", "images", "img", "vit", "pixel"),
    "audio": ("audio", "speech", "mel"),
    "language": ("language", "text", "llm", "lm"),
}
_JOINTS = (
    *("projector", "connector", "merger", "aligner", "resampler", "perceiver", "qformer", "abstractor"),
    *("multimodal", "modal", "modality", "mm", "newline", "separator", "seperator"),
)
"""Words that mark a projector between parts."""
_ORDER = ("shared", "vision", "audio", "encoder", "projector", "language", "decoder", "other")
"""Parts from input to output."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """A list of blocks that data pass through in order."""

    name: str  # unique name among the model's stacks: its part, or the distinctive words of its prefix
    prefix: str  # the prefix of tensor names before a block's number
    part: str
    blocks: Mapping[int, tuple[str, ...]]  # tensors of each block by number, in order

    @property
    def is_numbered(self) -> bool:
        """Whether its blocks are numbered; a single middle block is not."""
        return _LONE.fullmatch(f"{self.prefix}.") is None

    def rest(self, name: str) -> str:
        rest = name[len(self.prefix) + 1 :]
        return rest.partition(".")[2] if self.is_numbered else rest

    @property
    def first_only(self) -> frozenset[str]:
        """Suffixes of tensors that only the first block has, such as T5's positions.

        All blocks use these tensors, so the first block must stay first.
        """
        own, *others = ({self.rest(name) for name in names} for names in self.blocks.values())
        shared = set[str]().union(*others)
        return frozenset(own - shared) if others and shared <= own else frozenset()

    def check_order(self, chosen: Sequence[int]) -> None:
        """Check that block 0, if it holds tensors for all blocks, stays first and occurs once."""
        if self.first_only and [place for place, number in enumerate(chosen) if number == 0] != [0]:
            expected = f"layer 0 first and only once, since it holds {min(self.first_only)} for all layers"
            remedy = "Begin the slices with layer 0, and omit it later."
            raise KingyoError(f"layers of {self.prefix}", expected, str(chosen)[:200], remedy)


def find_stacks(names: Iterable[str]) -> list[Stack]:
    lists: dict[str, dict[int, list[tuple[str, str]]]] = {}
    for name in names:
        numbered, lone = _NUMBERED.match(name), _LONE.match(name)
        if lone is not None and (numbered is None or numbered[1].startswith(f"{lone[1]}.")):
            lists.setdefault(lone[1], {}).setdefault(0, []).append((name, lone[2]))
        elif numbered is not None:
            block = lists.setdefault(numbered[1], {}).setdefault(int(numbered[2]), [])
            block.append((name, numbered[3]))
    sizes = {prefix: sum(len(block) for block in blocks.values()) for prefix, blocks in lists.items()}
    largest = min(sizes, key=lambda prefix: (-sizes[prefix], prefix), default=None)
    chosen = [prefix for prefix, blocks in lists.items() if _is_stack(prefix, blocks.values())]
    chosen = chosen or [prefix for prefix in lists if prefix == largest]
    stacks: list[Stack] = []
    for prefix in sorted(chosen):
        blocks = {number: tuple(name for name, _ in names) for number, names in sorted(lists[prefix].items())}
        stacks.append(Stack(name="", prefix=prefix, part="", blocks=blocks))
    return stacks


def name_stacks(stacks: Iterable[Stack]) -> list[Stack]:
    unnamed = list(stacks)
    by_part: dict[str, list[Stack]] = {}
    for stack in unnamed:
        by_part.setdefault(stack.part, []).append(stack)
    named: list[Stack] = []
    for stack in unnamed:
        others = by_part[stack.part]
        if len(others) == 1:
            named.append(replace(stack, name=stack.part))
            continue
        own = _distinctive_words(stack.prefix, [each.prefix for each in others])
        name = own if len(by_part) == 1 or own.startswith(stack.part) else f"{stack.part}.{own}"
        named.append(replace(stack, name=name))
    return named


def stack_rank(stack: Stack) -> int:
    """Return the position of a stack within its part, from words of its prefix: down, middle, up."""
    if _FIRST.search(stack.prefix):
        return 0
    return 2 if _LAST.search(stack.prefix) else 1


def _is_stack(prefix: str, blocks: Iterable[list[tuple[str, str]]]) -> bool:
    rests = {rest for block in blocks for _, rest in block}
    if not any("." in rest for rest in rests):
        return False
    return bool(_LAYERS.search(prefix.rpartition(".")[2])) or any(
        find_kind(rest, in_block=True) in ("attention", "mlp") for rest in rests
    )


def _distinctive_words(prefix: str, prefixes: list[str]) -> str:
    split = [each.split(".") for each in prefixes]
    shortest = min(len(words) for words in split)
    lead = next((i for i in range(shortest) if len({words[i] for words in split}) > 1), shortest)
    tail = next((i for i in range(shortest - lead) if len({words[-1 - i] for words in split}) > 1), 0)
    words = prefix.split(".")
    return ".".join(words[lead : len(words) - tail]) or prefix


def find_parts(
    stacks: Sequence[Stack], outer: Collection[str], config: Mapping[str, object]
) -> tuple[list[Stack], dict[str, str]]:
    """Return the stacks with their parts, and the parts of the tensors outside the stacks (``outer``).

    The config.json, which may be empty, distinguishes parts where names do not.
    """
    senses = [part_in_words(stack.prefix) for stack in stacks]
    has_vocabulary = any(is_vocabulary(name) and not is_after(name) for name in outer)
    if any(senses):
        known = {sense for sense in senses if sense is not None}
        parts = [
            sense or _part_from_config(stack, known, config, has_vocabulary)
            for sense, stack in zip(senses, stacks, strict=True)
        ]
    else:
        parts = [_side(stack.prefix) or "" for stack in stacks]
        if not {"encoder", "decoder"} <= set(parts):
            parts = [_only_part(stacks, outer, has_vocabulary)] * len(stacks)
        parts = [part or "shared" for part in parts]
    placed = [replace(stack, part=part) for stack, part in zip(stacks, parts, strict=True)]
    if len(set(parts)) <= 1:
        only = parts[0] if parts else _only_part(stacks, outer, has_vocabulary)
        return placed, dict.fromkeys(outer, only)
    return placed, {name: _outer_part(name, placed) for name in outer}


def rank(part: str) -> int:
    return _ORDER.index(part) if part in _ORDER else len(_ORDER)


def n_shared(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[._0-9]+", name.lower()) if word]


def part_in_words(name: str) -> str | None:
    """Return the part that a name refers to: a projector if any word does, else that of the first match."""
    words = _words(name)
    if any(word in _JOINTS for word in words):
        return "projector"
    return next((part for word in words for part, known in _WORDS.items() if word in known), None)


def _side(name: str) -> str | None:
    return next((word for word in _words(name) if word in ("encoder", "decoder")), None)


def _part_from_config(
    stack: Stack, known: set[str], config: Mapping[str, object], has_vocabulary: bool
) -> str:
    """Return the part of a stack whose name has no hint, in a model where those of ``known`` parts have."""
    senses = {
        sense
        for key, value in config.items()
        if key.endswith("_config") and isinstance(value, dict) and (sense := part_in_words(key)) is not None
        if sense not in known and count_layers(cast("Mapping[str, object]", value)) == len(stack.blocks)
    }
    if len(senses) == 1:
        return senses.pop()
    if "language" not in known and has_vocabulary:
        return "language"
    return _side(stack.prefix) or "model"


def _only_part(stacks: Sequence[Stack], outer: Collection[str], has_vocabulary: bool) -> str:
    lists = {word for stack in stacks for word in _words(stack.prefix)}
    if {"down", "up"} <= lists:
        return "unet"
    if has_vocabulary:
        return "language"
    looks = ("patch", *_WORDS["vision"])
    return "vision" if any(word in looks for name in outer for word in _words(name)) else "model"


def _outer_part(name: str, stacks: Sequence[Stack]) -> str:
    parts = {stack.part for stack in stacks}
    sense = part_in_words(name)
    is_joint = bool(parts & {"vision", "audio"}) or "projector" in parts
    if sense is not None and (sense in parts or (sense == "projector" and is_joint)):
        return sense
    modules = name.split(".")
    shared = {stack.prefix: n_shared(modules, stack.prefix.split(".")) for stack in stacks}
    most = max(shared.values())
    nearest = {stack.part for stack in stacks if shared[stack.prefix] == most}
    if most > 0 and len(nearest) == 1:
        return nearest.pop()
    kind = find_kind(name, in_block=False)
    if is_joint:
        if kind == "other":
            return "other" if "logit" in _words(name) else "projector"
        return "language" if "language" in parts else "other"
    return "decoder" if kind == "head" and "decoder" in parts else "shared"

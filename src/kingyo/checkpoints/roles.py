"""Infer the kind of a tensor from the words of its name.

There is no table of architectures, only words that architectures share: attn, mlp, norm, embed, head.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["attention", "mlp", "norm", "embedding", "head", "other"]
KINDS: tuple[Kind, ...] = ("embedding", "attention", "mlp", "norm", "head", "other")

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
    """Return the kind of a tensor.

    Args:
        name: name of the tensor; within a block, the suffix after the block's number is enough.
        in_block: whether the tensor is in a block of a stack.
    """
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
    """Return whether a tensor outside the blocks comes after them, such as a final norm or a head."""
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

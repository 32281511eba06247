"""The output's vocabulary, wired into a merge: models read as if they all had it, and the tokenizer's files.

It knows where tokenizers lie and which tensors have a row for each token; what becomes of the rows is the
vocabulary room's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.checkpoint import Needs
from kingyo.checkpoints.roles import is_vocabulary
from kingyo.engine.sources import Sources, tokenizer_choice
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.recipe import Recipe
from kingyo.vocabulary import (
    AlignedReads,
    TokenizerChoice,
    TokenModels,
    Vocabulary,
    build_vocabulary,
    read_template,
    resolve_template,
    stored_files,
    with_template,
)

_GENERATION = "generation_config.json"
_KEPT = 256 << 20  # bytes of aligned embeddings that are kept for the next candidate


@dataclass(frozen=True, kw_only=True)
class AlignedCheckpoint(Checkpoint):
    """A checkpoint whose embedding and head have the rows of the output's vocabulary.

    Attributes:
        model: the checkpoint as it is.
        reads: gives the tensors.
    """

    model: Checkpoint = field(repr=False)
    reads: AlignedReads = field(repr=False)

    def read(self, name: str) -> Tensor:
        """Return a tensor, with the rows of the output's vocabulary if it has one for each token."""
        if name not in self.tensors:
            return self.model.read(name)  # says what is wrong
        read = self.reads.read(self.reference, name)
        return read.to(getattr(torch, self.tensors[name].dtype))

    def needs(self, name: str) -> Needs:
        """Return the same tensor of all that may give it rows; the model's alone where it stays as it is."""
        if self.tensors[name] is self.model.tensors[name]:
            return Needs(others=((self.model, name),))
        donors = {id(each): each for each in (self.model, *self.made_of) if name in each.tensors}
        return Needs(others=tuple((each, name) for each in donors.values()))


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Models that share a vocabulary.

    Attributes:
        sources: see ``AlignedCheckpoint``.
        vocabulary: of the output.
    """

    sources: Sources
    vocabulary: Vocabulary

    def config(self, like: Checkpoint) -> dict[str, object]:
        """The config of a model with the output's vocabulary."""
        return {**like.config, **self.vocabulary.config_updates(like.config, like.reference)}

    def files(self, like: Checkpoint) -> dict[str, bytes]:
        """The tokenizer's files of the output, and its generation config where token ids change."""
        found = dict(self.vocabulary.files)
        file = like.path / _GENERATION
        if file.is_file():
            config: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
            config |= self.vocabulary.config_updates(config, like.reference)
            found[_GENERATION] = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
        return found


def align(recipe: Recipe, sources: Sources) -> Alignment | None:
    """Give all models the output's vocabulary; None when the recipe leaves vocabularies as they are.

    Raises:
        KingyoError: a model without embedding or tokenizer, or see ``build_vocabulary``.
    """
    choice = tokenizer_choice(recipe)
    if choice is None:
        return None
    key = json.dumps([choice.to_dict(), recipe.chat_template, recipe.base_model, recipe.references])
    return sources.once(("alignment", key), lambda: _align(recipe, choice, sources, key))


def template_files(recipe: Recipe, like: Checkpoint, sources: Mapping[str, Checkpoint]) -> dict[str, bytes]:
    """The tokenizer's files with the recipe's chat template, for recipes that change nothing else of it.

    Raises:
        KingyoError: an unknown template.
    """
    assert recipe.chat_template is not None
    templates = [read_template(sources[reference].path) for reference in recipe.references]
    return with_template(stored_files(like.path), resolve_template(recipe.chat_template, templates))


class _Stored:
    """Models as they are; see ``Reader``."""

    def __init__(self, models: Mapping[str, Checkpoint]) -> None:
        self._models = models

    def shape(self, model: str, tensor: str) -> tuple[int, ...]:
        """The shape of a model's tensor."""
        return self._models[model].tensors[tensor].shape

    def read(self, model: str, tensor: str) -> Tensor:
        """A model's tensor as stored."""
        return self._models[model].read(tensor)


def _align(recipe: Recipe, choice: TokenizerChoice, sources: Sources, key: str) -> Alignment:
    others = [reference for reference in choice.references if reference not in recipe.references]
    named = {reference: sources[reference] for reference in (*recipe.references, *others)}
    tensors = {reference: _vocabulary_tensors(model) for reference, model in named.items()}
    seen = TokenModels(
        folders={reference: named[reference].path for reference in recipe.references},
        rows={reference: next(iter(found.values())).shape[0] for reference, found in tensors.items()},
        base=recipe.base_model,
        others={reference: named[reference].path for reference in others},
    )
    vocabulary = build_vocabulary(choice, seen, recipe.chat_template)
    reads = AlignedReads(
        vocabulary, _Stored(named), {name for found in tensors.values() for name in found}, _KEPT
    )
    dtypes = [getattr(torch, info.dtype) for found in tensors.values() for info in found.values()]
    widest = dtypes[0]
    for dtype in dtypes[1:]:
        widest = torch.promote_types(widest, dtype)

    def aligned(reference: str) -> AlignedCheckpoint:
        model, own = named[reference], tensors[reference]
        dtype = None if vocabulary.map.is_identity(reference) else str(widest).removeprefix("torch.")
        infos = {name: _aligned(info, vocabulary.n_rows, dtype) for name, info in own.items()}
        return AlignedCheckpoint(
            reference=reference,
            path=model.path,
            config=model.config,
            tensors={**model.tensors, **infos},
            made_of=tuple(named.values()),
            made_by=f"{reference} of {json.dumps(choice.to_dict())}",
            model=model,
            reads=reads,
        )

    models = {each: aligned(each) for each in recipe.references}
    return Alignment(sources=sources.as_seen(models, key), vocabulary=vocabulary)


def _aligned(info: TensorInfo, n_rows: int, dtype: str | None) -> TensorInfo:
    """A tensor with other rows; those of other models may be wider than its own."""
    if dtype is None:
        return info
    return replace(info, shape=(n_rows, *info.shape[1:]), dtype=dtype, stored_as=info.stored_dtype)


def _vocabulary_tensors(model: Checkpoint) -> dict[str, TensorInfo]:
    """The tensors with a row for each token: embedding, head and the head's bias; an embedding first."""
    layout = model.layout
    found = {
        name: info
        for name, info in model.tensors.items()
        if layout.stack(name) is None and info.shape and is_vocabulary(name)
    }
    embedding = next((name for name in found if layout.kind(name) == "embedding"), None)
    if embedding is None:
        raise KingyoError(
            model.reference,
            expected="an embedding of tokens, since the recipe speaks of a tokenizer",
            received="none",
            remedy="Leave tokenizer and tokenizer_source out.",
        )
    rows = found[embedding].shape[0]
    same = {name: info for name, info in found.items() if info.shape[0] == rows}
    return {embedding: found[embedding], **same}

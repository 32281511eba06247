"""Give all models of a merge one vocabulary, and the output its tokenizer files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, TensorInfo
from kingyo.merging.checkpoints.checkpoint import TensorInputs
from kingyo.merging.checkpoints.stacks import is_vocabulary
from kingyo.merging.recipe import Recipe
from kingyo.merging.vocabulary import (
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
_CACHED = 256 << 20  # bytes of aligned embeddings to keep for the next candidate


@dataclass(frozen=True, kw_only=True)
class AlignedCheckpoint(Checkpoint):
    """A checkpoint whose embedding and head have the rows of the output's vocabulary."""

    model: Checkpoint = field(repr=False)
    reads: AlignedReads = field(repr=False)

    def read(self, name: str) -> Tensor:
        """Return a tensor, with the rows of the output's vocabulary if it has one row per token."""
        if name not in self.tensors:
            return self.model.read(name)  # raises a clear error
        read = self.reads.read(self.reference, name)
        return read.to(getattr(torch, self.tensors[name].dtype))

    def needs(self, name: str) -> TensorInputs:
        if self.tensors[name] is self.model.tensors[name]:
            return TensorInputs(others=((self.model, name),))
        donors = {id(each): each for each in (self.model, *self.made_of) if name in each.tensors}
        return TensorInputs(others=tuple((each, name) for each in donors.values()))


def with_vocabulary(template: Checkpoint, vocabulary: Vocabulary) -> tuple[Checkpoint, dict[str, bytes]]:
    """Return a template with the sizes and ids of a vocabulary in its config, and the tokenizer files.

    The files include its generation config, in which token ids may change.
    """
    updates = vocabulary.config_updates(template.config, template.reference)
    files, file = dict(vocabulary.files), template.path / _GENERATION
    if file.is_file():
        config: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
        config |= vocabulary.config_updates(config, template.reference)
        files[_GENERATION] = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    return replace(template, config={**template.config, **updates}), files


def align(
    recipe: Recipe, choice: TokenizerChoice, models: Mapping[str, Checkpoint]
) -> tuple[Vocabulary, dict[str, AlignedCheckpoint]]:
    """Give all opened models of a recipe the output's vocabulary."""
    others = [reference for reference in choice.references if reference not in recipe.references]
    named = {reference: models[reference] for reference in (*recipe.references, *others)}
    tensors = {reference: _vocabulary_tensors(model) for reference, model in named.items()}
    vocabulary = build_vocabulary(
        choice,
        TokenModels(
            folders={reference: named[reference].path for reference in recipe.references},
            rows={reference: next(iter(infos.values())).shape[0] for reference, infos in tensors.items()},
            base=recipe.base_model,
            others={reference: named[reference].path for reference in others},
        ),
        recipe.chat_template,
    )
    names = {name for infos in tensors.values() for name in infos}

    def read(model: str, tensor: str) -> Tensor:
        return named[model].read(tensor)

    reads = AlignedReads(vocabulary, read, names, _CACHED)
    widest = _widest([info.dtype for infos in tensors.values() for info in infos.values()])

    def aligned(reference: str) -> AlignedCheckpoint:
        model = named[reference]
        dtype = None if vocabulary.map.is_identity(reference) else widest
        infos = {
            name: _with_rows(info, vocabulary.n_rows, dtype) for name, info in tensors[reference].items()
        }
        return AlignedCheckpoint(
            reference=reference,
            path=model.path,
            config=model.config,
            tensors={**model.tensors, **infos},
            made_of=tuple(named.values()),
            model=model,
            reads=reads,
        )

    return vocabulary, {each: aligned(each) for each in recipe.references}


def template_files(
    recipe: Recipe, template: Checkpoint, models: Mapping[str, Checkpoint]
) -> dict[str, bytes]:
    """Return the tokenizer files of a recipe that changes only the chat template."""
    assert recipe.chat_template is not None
    templates = [read_template(models[reference].path) for reference in recipe.references]
    return with_template(stored_files(template.path), resolve_template(recipe.chat_template, templates))


def _widest(dtypes: list[str]) -> str:
    widest = getattr(torch, dtypes[0])
    for dtype in dtypes[1:]:
        widest = torch.promote_types(widest, getattr(torch, dtype))
    return str(widest).removeprefix("torch.")


def _with_rows(info: TensorInfo, n_rows: int, dtype: str | None) -> TensorInfo:
    """Return a tensor with this number of rows; with its own rows if ``dtype`` is None."""
    if dtype is None:
        return info
    return replace(info, shape=(n_rows, *info.shape[1:]), dtype=dtype, stored_as=info.stored_dtype)


def _vocabulary_tensors(model: Checkpoint) -> dict[str, TensorInfo]:
    """Return the tensors with one row per token, an embedding first, then head and bias of the head."""
    layout = model.layout
    infos = {
        name: info
        for name, info in model.tensors.items()
        if layout.stack(name) is None and info.shape and is_vocabulary(name)
    }
    embedding = next((name for name in infos if layout.kind(name) == "embedding"), None)
    if embedding is None:
        expected = "a token embedding, since the recipe sets a tokenizer"
        remedy = "Remove tokenizer and tokenizer_source."
        raise KingyoError(model.reference, expected, "none", remedy)
    rows = infos[embedding].shape[0]
    same = {name: info for name, info in infos.items() if info.shape[0] == rows}
    return {embedding: infos[embedding], **same}

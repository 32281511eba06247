"""Plan a merge: check a recipe and the headers of its models, and resolve every parameter.

All models get one vocabulary. Then tensors are bound (which tensors of which models make each tensor of the
output), then values are resolved. Candidates of a search that differ only in values share the binding.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints import Checkpoint, TensorInfo
from kingyo.merging.checkpoints.checkpoint import TensorInputs
from kingyo.merging.checkpoints.stacks import is_vocabulary
from kingyo.merging.checkpoints.writer import copy_companions
from kingyo.merging.engine.binding import Binding, bind, binding_key
from kingyo.merging.engine.jobs import TensorJob, compute
from kingyo.merging.engine.modules import ModuleMerge, SliceKey, SliceMerge, expand_modules, path_to_slices
from kingyo.merging.engine.parameters import (
    misplaced_parameters,
    resolve,
    unmatched_filters,
    with_block_filters,
)
from kingyo.merging.engine.sources import Sources
from kingyo.merging.methods import METHODS, MergeMethod, MethodValues, check_together
from kingyo.merging.recipe import Recipe
from kingyo.merging.vocabulary import (
    TOKENIZER_FILES,
    AlignedReads,
    Diagnostic,
    TokenizerChoice,
    TokenModels,
    Vocabulary,
    all_references,
    build_vocabulary,
    read_template,
    resolve_template,
    stored_files,
    tokenizer_choice,
    with_template,
)

_GENERATION = "generation_config.json"
_CACHED = 256 << 20  # bytes of aligned embeddings to keep for the next candidate


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A merge before it is computed; making it reads no weights."""

    recipe: Recipe
    method: MergeMethod
    jobs: tuple[TensorJob, ...]  # one job for each tensor of the output
    sources: Sources  # the models that the jobs read
    # the template of the output, which gives it config, tokenizer and files: the base, else the first model.
    # If layers are sliced or vocabularies united, it has the output's config and tensors.
    like: Checkpoint
    vocabulary: Vocabulary | None = None  # the output's vocabulary; None: that of ``like``
    # tokenizer files of the output by name, and its generation config if token ids change; None: those of
    # ``like``. If set, no file of ``TOKENIZER_FILES`` is copied from ``like``.
    tokenizer_files: Mapping[str, bytes] | None = None
    differences: tuple[str, ...] = ()  # differences of the models in more than their weights, as sentences

    @cached_property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Warnings: the models differ in more than their weights, or a filter matches no tensor."""
        expected, remedy = "models that differ only in their weights", "Check that this is what you want."
        differences = (Diagnostic("warning", "models", expected, each, remedy) for each in self.differences)
        return (*differences, *unmatched_filters(self.recipe, self.method, self.jobs))

    @cached_property
    def jobs_by_name(self) -> Mapping[str, TensorJob]:
        return {job.name: job for job in self.jobs}

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(str(each.error) for each in self.diagnostics)

    @property
    def weights_of(self) -> frozenset[str]:
        """References of the models whose weights are read."""
        return frozenset(each.reference for job in self.jobs for each in job.reads)


def plan(recipe: Recipe, sources: Sources) -> Plan:
    """Plan a merge of opened models.

    Raises:
        KingyoError: the recipe has mistakes, or its models do not fit together.

    Example:
        >>> plan(recipe, open_sources(recipe)).jobs[0].name  # doctest: +SKIP
        'model.embed_tokens.weight'
    """
    method = METHODS.get(recipe.merge_method, sources.folder)
    for reference in all_references(recipe):
        if reference not in sources:
            remedy = suggest(reference, sources)
            raise KingyoError("model", "an opened model", f"'{reference}'", remedy)
    for error in misplaced_parameters(recipe, method):
        raise error
    opened = _with_merges(recipe, sources)
    sliced = path_to_slices(recipe, opened)
    modules = with_block_filters(
        expand_modules(sliced, method, recipe.base_model if recipe.path else None),
        lambda: opened[sliced.template].layout,
    )
    vocabulary, aligned = _aligned(recipe, opened)
    key = binding_key(sliced, modules)
    binding, bound = _bound(sliced, modules, aligned, key)
    merges = {(each.name, at): piece for each in modules for at, piece in each.by_position.items()}
    like, tokenizer_files = binding.template, None
    if vocabulary is not None:
        like, tokenizer_files = _with_vocabulary(like, vocabulary)
    elif recipe.chat_template is not None:
        templates = [read_template(opened[reference].path) for reference in recipe.references]
        template = resolve_template(recipe.chat_template, templates)
        tokenizer_files = with_template(stored_files(like.path), template)
    return Plan(
        recipe=recipe,
        method=method,
        jobs=tuple(_jobs(recipe, method, merges, binding.jobs)),
        sources=bound,
        like=like,
        vocabulary=vocabulary,
        tokenizer_files=tokenizer_files,
        differences=binding.fitted.warnings,
    )


def _with_merges(recipe: Recipe, sources: Sources) -> Sources:
    if not recipe.merges:
        return sources
    results: dict[str, PlannedCheckpoint] = {}
    for name, inner in recipe.merges.items():
        try:
            results[name] = planned_checkpoint(name, plan(inner, sources))
        except KingyoError as error:
            raise error.placed(f"merges.{name}") from error
    return Sources({**sources, **results}, sources.folder)


def _aligned(recipe: Recipe, sources: Sources) -> tuple[Vocabulary | None, Sources]:
    choice = tokenizer_choice(recipe)
    if choice is None:
        return None, sources
    key = json.dumps([choice.to_dict(), recipe.chat_template, recipe.base_model, recipe.references])

    def compute() -> tuple[Vocabulary, Sources]:
        vocabulary, models = _align(recipe, choice, sources)
        return vocabulary, sources.as_seen(models, key)

    return sources.once(("alignment", key), compute)


def _bound(
    recipe: Recipe, modules: Sequence[ModuleMerge], sources: Sources, key: Hashable
) -> tuple[Binding, Sources]:
    """Bind the tensors of a recipe to models; only once for recipes of one binding key."""

    def compute() -> tuple[Binding, Sources]:
        binding = bind(recipe, modules, sources)
        fitted = binding.fitted
        return binding, sources.as_seen(fitted.models, key) if fitted.is_changed else sources

    return sources.once(("binding", key), compute)


def _jobs(
    recipe: Recipe,
    method: MergeMethod,
    merges: Mapping[SliceKey, SliceMerge],
    bound: Sequence[TensorJob],
) -> Iterator[TensorJob]:
    known: dict[SliceKey, MethodValues] = {}
    for job in bound:
        is_floating = "float" in job.dtype
        is_merged = is_floating and job.key is not None
        values = job.values
        if job.key is not None and is_merged:
            piece = merges[job.key]
            values = known.get(job.key) or _values(method, job, piece)
            if piece.is_constant:
                known[job.key] = values
        yield TensorJob(  # slow with `replace`: a mixture of experts has thousands of tensors
            name=job.name,
            shape=job.shape,
            dtype=(recipe.out_dtype or recipe.dtype or job.dtype) if is_floating else job.dtype,
            method=method if is_merged else None,
            inputs=job.inputs,
            base=job.base,
            depth=job.depth,
            key=job.key,
            values=values,
            seed=recipe.seed,
        )


def _values(method: MergeMethod, job: TensorJob, piece: SliceMerge) -> MethodValues:
    values = resolve(piece, method, job)
    try:
        check_together(method, values, len(piece.merged))
    except KingyoError as error:
        raise (error if piece.is_constant else error.placed(job.name)) from None
    return values


@dataclass(frozen=True, kw_only=True)
class PlannedCheckpoint(Checkpoint):
    """The result of a plan, computed tensor by tensor when it is read.

    Each tensor is rounded to the dtype that it would be stored in, so a merge of it is bit-identical to two
    merges one after the other.
    """

    plan: Plan = field(repr=False)

    def read(self, name: str) -> Tensor:
        if name not in self.tensors:
            remedy = suggest(name, self.tensors)
            raise KingyoError(self.reference, "one of its tensors", name, remedy)
        return compute(self.plan.jobs_by_name[name], self.plan.sources.read)

    def needs(self, name: str) -> TensorInputs:
        inputs = dict.fromkeys((each.reference, each.tensor) for each in self.plan.jobs_by_name[name].reads)
        return TensorInputs(
            others=tuple((self.plan.sources[reference], tensor) for reference, tensor in inputs)
        )


def planned_checkpoint(name: str, plan: Plan) -> PlannedCheckpoint:
    """Return the result of a plan as a checkpoint, by its name in the recipes that merge it."""
    folder = plan.like.path
    if plan.tokenizer_files is not None:
        folder = Path(mkdtemp(prefix="kingyo-"))  # its tokenizer and all other files beside the weights
        finalize(plan, shutil.rmtree, folder, ignore_errors=True)
        copy_companions(folder, plan.like, TOKENIZER_FILES)
        for file, content in plan.tokenizer_files.items():
            (folder / file).write_bytes(content)
    return PlannedCheckpoint(
        reference=name,
        path=folder,
        config=plan.like.config,
        tensors={
            job.name: TensorInfo(name=job.name, shape=job.shape, dtype=job.dtype, file=folder, start=0)
            for job in plan.jobs
        },
        made_of=tuple(plan.sources[reference] for reference in sorted(plan.weights_of)),
        plan=plan,
    )


@dataclass(frozen=True, kw_only=True)
class AlignedCheckpoint(Checkpoint):
    """A checkpoint whose embedding and head have the rows of the output's vocabulary."""

    model: Checkpoint = field(repr=False)
    reads: AlignedReads = field(repr=False)

    def read(self, name: str) -> Tensor:
        if name not in self.tensors:
            return self.model.read(name)  # raises a clear error
        read = self.reads.read(self.reference, name)
        return read.to(getattr(torch, self.tensors[name].dtype))

    def needs(self, name: str) -> TensorInputs:
        if self.tensors[name] is self.model.tensors[name]:
            return TensorInputs(others=((self.model, name),))
        donors = {id(each): each for each in (self.model, *self.made_of) if name in each.tensors}
        return TensorInputs(others=tuple((each, name) for each in donors.values()))


def _with_vocabulary(template: Checkpoint, vocabulary: Vocabulary) -> tuple[Checkpoint, dict[str, bytes]]:
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


def _align(
    recipe: Recipe, choice: TokenizerChoice, models: Mapping[str, Checkpoint]
) -> tuple[Vocabulary, dict[str, AlignedCheckpoint]]:
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
    dtypes = [getattr(torch, info.dtype) for infos in tensors.values() for info in infos.values()]
    widest = str(reduce(torch.promote_types, dtypes)).removeprefix("torch.")

    def with_rows(info: TensorInfo) -> TensorInfo:
        shape = (vocabulary.n_rows, *info.shape[1:])
        return replace(info, shape=shape, dtype=widest, stored_as=info.stored_dtype)

    def aligned(reference: str) -> AlignedCheckpoint:
        model, infos = named[reference], tensors[reference]
        if not vocabulary.map.is_identity(reference):
            infos = {name: with_rows(info) for name, info in infos.items()}
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


def _vocabulary_tensors(model: Checkpoint) -> dict[str, TensorInfo]:
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

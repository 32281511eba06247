"""From a recipe to an inert plan: all that can be known before a weight is touched is checked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from kingyo.checkpoints import Checkpoint
from kingyo.engine.agreement import agree
from kingyo.engine.alignment import Alignment, align, template_files
from kingyo.engine.inner import with_merges
from kingyo.engine.layers import LayerTensor, TensorInput
from kingyo.engine.outline import Outline, Place, outline
from kingyo.engine.pieces import Region, SliceMerge, regions
from kingyo.engine.sources import Sources, all_references
from kingyo.engine.unmatched import Unmatched, unmatched
from kingyo.engine.unrolled import unrolled
from kingyo.engine.values import resolve
from kingyo.errors import KingyoError, suggest
from kingyo.methods import METHODS, MergeMethod, MethodValues, check_together
from kingyo.recipe import Recipe
from kingyo.vocabulary import Vocabulary

__all__ = ["Plan", "TensorInput", "TensorJob", "plan"]


@dataclass(frozen=True, kw_only=True)
class TensorJob:
    """The merge of one tensor, all numbers resolved.

    Attributes:
        name, shape: of the tensor.
        dtype: of the result (torch's name).
        method: None for tensors that are taken as they are: all inputs must be equal.
        inputs: what is merged, without the base.
        base: the base's tensor, or None.
        values: the method's parameters.
        seed: of random methods.
        piece: of the recipe, whose parameters ``values`` are; None for tensors that are taken from a model.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    method: MergeMethod | None
    inputs: tuple[TensorInput, ...]
    base: TensorInput | None
    values: MethodValues
    seed: int
    piece: SliceMerge | None = field(default=None, compare=False, repr=False)

    @property
    def reads(self) -> tuple[TensorInput, ...]:
        """All that it reads, the base last."""
        return self.inputs if self.base is None else (*self.inputs, self.base)

    @property
    def sources(self) -> tuple[str, ...]:
        """References of the merged models, without the base."""
        return tuple(each.reference for each in self.inputs)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What computing a recipe will do. Nothing is computed yet.

    Attributes:
        like: what the output is like: config, tokenizer and folder of the base, else of the first model.
            Where layers are sliced or vocabularies united, its config and tensors are those of the output.
        vocabulary: what the output's tokens are and where their rows come from; None: as in ``like``.
        tokenizer_files: the output's, by name, and its generation config if token ids change; None: those of
            ``like``. None of ``TOKENIZER_FILES`` of ``like`` goes with them.
        differences: of the models, which bend the merge and do not break it, as sentences.
        unmatched: filters without effect.
    """

    recipe: Recipe
    method: MergeMethod
    jobs: tuple[TensorJob, ...]
    sources: Sources
    like: Checkpoint
    vocabulary: Vocabulary | None = None
    tokenizer_files: Mapping[str, bytes] | None = None
    differences: tuple[str, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()

    @property
    def weights_of(self) -> frozenset[str]:
        """The references of the models whose weights are read."""
        found = {each for job in self.jobs for each in job.sources}
        return frozenset(found | {job.base.reference for job in self.jobs if job.base is not None})

    @property
    def warnings(self) -> tuple[str, ...]:
        """What bends the merge and does not break it, as sentences."""
        return (*self.differences, *map(str, self.unmatched))

    def describe(self) -> str:
        """The plan as text: what is merged, what bends it, and what every tensor becomes."""
        notes = (f"note: {warning}" for warning in self.warnings)
        return "\n".join([*self.heading(), *notes, *(_describe(job) for job in self.jobs)])

    def heading(self) -> list[str]:
        """Lines that say what is merged: which models, on which base, into which vocabulary."""
        found = regions(unrolled(self.recipe, self.sources), self.method)
        lines = [f"{self.method.name} of {line}" for region in found for line in _describe_region(region)]
        lines += [f"base: {self.recipe.base_model}"] if self.recipe.base_model is not None else []
        lines += [f"seed: {self.recipe.seed}"] if self.method.stochastic else []
        return lines + (self.vocabulary.describe() if self.vocabulary is not None else [])


def plan(recipe: Recipe, sources: Sources) -> Plan:
    """Plan a merge.

    Args:
        recipe: what to merge.
        sources: the opened models, by the references that the recipe uses.

    Raises:
        KingyoError: unknown method or parameter, a missing, misplaced or invalid value, too few or too many
            sources, or models that do not fit together (the tensor and both shapes are named).
    """
    method = METHODS.get(recipe.merge_method, sources.folder)
    _check_opened(recipe, sources)
    sources = with_merges(recipe, sources, plan)
    sliced = unrolled(recipe, sources)
    found = regions(sliced, method, recipe.base_model if recipe.path else None)
    alignment = align(recipe, sources)
    agreement = agree(sliced, found, sources if alignment is None else alignment.sources)
    made = outline(agreement, found)
    pieces = {(region.name, at): piece for region in found for at, piece in region.placed.items()}
    jobs = tuple(_jobs(recipe, method, pieces, made))
    output = made.output
    if alignment is not None:
        output = replace(output, config=alignment.config(output))
    return Plan(
        recipe=recipe,
        method=method,
        jobs=jobs,
        sources=agreement.sources,
        like=output,
        vocabulary=None if alignment is None else alignment.vocabulary,
        tokenizer_files=_tokenizer_files(recipe, alignment, made.output, sources),
        differences=agreement.warnings,
        unmatched=unmatched(method, made.varied(pieces)),
    )


def _tokenizer_files(
    recipe: Recipe, alignment: Alignment | None, output: Checkpoint, sources: Sources
) -> Mapping[str, bytes] | None:
    """The files of a tokenizer, where it is not the output's own."""
    if alignment is not None:
        return alignment.files(output)
    return None if recipe.chat_template is None else template_files(recipe, output, sources)


class _Values:
    """The values of tensors, those of a piece without gradients and filters resolved once."""

    def __init__(self, method: MergeMethod) -> None:
        self._method = method
        self._constant: dict[Place, MethodValues] = {}

    def of(self, tensor: LayerTensor, place: Place, piece: SliceMerge) -> MethodValues:
        if piece.is_constant and place in self._constant:
            return self._constant[place]
        values = resolve(piece, self._method, tensor)
        try:
            check_together(self._method, values, len(piece.merged))
        except KingyoError as error:
            raise (error if piece.is_constant else error.placed(tensor.name)) from None
        if piece.is_constant:
            self._constant[place] = values
        return values


def _jobs(
    recipe: Recipe, method: MergeMethod, pieces: Mapping[Place, SliceMerge], made: Outline
) -> Iterator[TensorJob]:
    """One job for each tensor of the output, in the order of the model that it is like."""
    values, nothing, result = _Values(method), MethodValues(), recipe.result_dtype
    for tensor, place in made.tensors:
        info, piece = tensor.info, None if place is None else pieces[place]
        is_merged = place is not None and info.is_floating
        yield TensorJob(
            name=tensor.name,
            shape=info.shape,
            dtype=(result or info.stored_dtype) if info.is_floating else info.dtype,
            method=method if is_merged else None,
            inputs=tensor.inputs,
            base=tensor.base,
            values=values.of(tensor, place, piece) if place and piece and is_merged else nothing,
            seed=recipe.seed,
            piece=piece,
        )


def _check_opened(recipe: Recipe, opened: Sources) -> None:
    for reference in all_references(recipe):
        if reference not in opened:
            remedy = suggest(reference, opened)
            raise KingyoError("model", expected="an opened model", received=f"'{reference}'", remedy=remedy)


def _describe_region(region: Region) -> Iterator[str]:
    made = 0
    for piece in region.pieces:
        n = piece.n_layers
        if n is None:
            names = ", ".join(entry.reference for entry in piece.merged)
            part = f" ({region.name})" if region.name else ""
            yield f"{len(piece.merged)}: {names}{part}"
            continue
        if n == 0:
            names = ", ".join(entry.reference for entry in piece.merged)
            yield f"{len(piece.merged)}, what lies {'behind' if made else 'before'} the layers: {names}"
            continue
        ranges = [f"{each.reference} {_numbers(each.start, n)}" for each in piece.merged]
        if piece.base is not None:
            ranges.append(f"base {piece.base.reference} {_numbers(piece.base.start, n)}")
        yield f"{len(piece.merged)}, layers {_numbers(made, n)} of the output: {', '.join(ranges)}"
        made += n


def _numbers(first: int, n: int) -> str:
    """Which layers these are; the last one is among them."""
    return f"{first}–{first + n - 1}" if n > 1 else str(first)


def _describe(job: TensorJob) -> str:
    """A tensor's name, shape, dtype, and values or origin."""
    start = f"  {job.name} {list(job.shape)} {job.dtype}: "
    if job.method is None:
        return f"{start}copied"
    parts = [f"{name} {value:g}" for name, value in job.values.shared.items()]
    for name, numbers in job.values.per_source.items():
        parts.append(f"{name} {' '.join(f'{number:g}' for number in numbers)}")
    moved = [f"{each.reference} {each.tensor}" for each in job.inputs if each.tensor != job.name]
    parts += [f"from {', '.join(moved)}"] if moved else []
    return f"{start}{', '.join(parts)}"

"""From a recipe to an inert plan: all that can be known before a weight is touched is checked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kingyo.checkpoints import Checkpoint, TensorInfo, with_layers
from kingyo.errors import KingyoError, suggest
from kingyo.merge.agreement import Agreement, agree
from kingyo.merge.alignment import align, template_files
from kingyo.merge.layers import Forms, LayerTensor, TensorInput, layer_tensors
from kingyo.merge.pieces import Entry, Piece, Region, regions
from kingyo.merge.sources import Sources, all_references
from kingyo.merge.unmatched import Unmatched, unmatched
from kingyo.merge.values import resolve
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
    piece: Piece | None = field(default=None, compare=False, repr=False)

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
        found = regions(self.recipe, self.method)
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
            sources, or models that do not fit together: the tensor and both shapes are named.
    """
    method = METHODS.get(recipe.merge_method, sources.folder)
    found = regions(recipe, method)
    _check_opened(recipe, sources)
    alignment = align(recipe, sources)
    agreement = agree(recipe, found, sources if alignment is None else alignment.sources)
    maker = _Maker(recipe, method, found, agreement)
    jobs = tuple(maker.jobs())
    output, files = maker.output(jobs), None
    if alignment is not None:
        output, files = replace(output, config=alignment.config(output)), alignment.files(output)
    elif recipe.chat_template is not None:
        files = template_files(recipe, output, sources)
    return Plan(
        recipe=recipe,
        method=method,
        jobs=jobs,
        sources=agreement.sources,
        like=output,
        vocabulary=None if alignment is None else alignment.vocabulary,
        tokenizer_files=files,
        differences=agreement.warnings,
        unmatched=maker.unmatched(),
    )


class _Maker:
    """Makes the jobs of a plan, in the order of the model that the output is like."""

    def __init__(
        self, recipe: Recipe, method: MergeMethod, found: Sequence[Region], agreement: Agreement
    ) -> None:
        self._recipe = recipe
        self._method = method
        self._regions = {region.name: region for region in found}
        self._agreement = agreement
        self._infos: dict[str, TensorInfo] = {}
        self._layers: dict[str, list[tuple[str, int]]] = {}
        self._constant: dict[int, MethodValues] = {}
        self._varied: dict[int, tuple[Piece, list[LayerTensor]]] = {}

    def jobs(self) -> Iterator[TensorJob]:
        """One job for each tensor of the output."""
        like, taken = self._agreement.like, self._agreement.taken
        layout = like.layout
        for info in like.tensors.values():
            if info.name in taken:
                inputs = (TensorInput(reference=taken[info.name], tensor=info.name),)
                yield self._job(LayerTensor(name=info.name, info=info, inputs=inputs), None)
                continue
            region = self._regions[self._agreement.regions[info.name]]
            if not region.is_sliced:
                yield self._merge(info, region.name, region.pieces[0], layout.depth(info.name))
                continue
            stack, own = self._agreement.stacks[region.name], layout.stack(info.name)
            if own is None or own.prefix != stack.prefix:
                depth = layout.depth(info.name)
                yield self._merge(info, region.name, region.pieces[-1 if depth > 0 else 0], depth)
            elif region.name not in self._layers:
                yield from self._slices(region, Forms(like, stack))

    def unmatched(self) -> tuple[Unmatched, ...]:
        """Filters that match no tensor of the jobs that were made."""
        return unmatched(self._method, tuple(self._varied.values()))

    def output(self, jobs: tuple[TensorJob, ...]) -> Checkpoint:
        """What the output is like: the model itself, unless layers are sliced."""
        like = self._agreement.like
        if not self._layers:
            return like
        config = like.config
        for name, picked in self._layers.items():
            chosen = [(self._agreement.sources[reference].config, number) for reference, number in picked]
            stack = self._agreement.stacks[name]
            stack.check_order([number for _, number in picked])
            config = with_layers(config, chosen, stack.part)
        return Checkpoint(
            reference=like.reference,
            path=like.path,
            config=config,
            tensors={job.name: replace(self._infos[job.name], name=job.name) for job in jobs},
            stem=like.stem,
        )

    def _merge(self, info: TensorInfo, region: str, piece: Piece, depth: float) -> TensorJob:
        def read(entry: Entry) -> TensorInput:
            seen = self._agreement.names[region, entry.reference]
            return TensorInput(reference=seen, tensor=info.name)

        tensor = LayerTensor(
            name=info.name,
            info=info,
            inputs=tuple(read(entry) for entry in piece.merged),
            base=piece.base and read(piece.base),
            depth=depth,
        )
        return self._job(tensor, piece)

    def _slices(self, region: Region, forms: Forms) -> Iterator[TensorJob]:
        picked = self._layers[region.name] = []
        for piece in region.pieces:
            assert piece.n_layers is not None
            for tensor in layer_tensors(piece, forms, len(picked), self._agreement.sources):
                yield self._job(tensor, piece)
            lead = piece.entries[0]
            picked += [(lead.reference, lead.start + k) for k in range(piece.n_layers)]

    def _job(self, tensor: LayerTensor, piece: Piece | None) -> TensorJob:
        info = self._infos[tensor.name] = tensor.info
        method = self._method if piece is not None and info.is_floating else None
        if piece is not None and not piece.is_constant:
            self._varied.setdefault(id(piece), (piece, []))[1].append(tensor)
        stored = self._recipe.result_dtype or info.stored_dtype
        return TensorJob(
            name=tensor.name,
            shape=info.shape,
            dtype=stored if info.is_floating else info.dtype,
            method=method,
            inputs=tensor.inputs,
            base=tensor.base,
            values=MethodValues() if method is None or piece is None else self._values(piece, method, tensor),
            seed=self._recipe.seed,
            piece=piece,
        )

    def _values(self, piece: Piece, method: MergeMethod, tensor: LayerTensor) -> MethodValues:
        """The values for one tensor: of a piece without gradients and filters they are resolved once."""
        if piece.is_constant and id(piece) in self._constant:
            return self._constant[id(piece)]
        values = resolve(piece, method, tensor)
        try:
            check_together(method, values, len(piece.merged))
        except KingyoError as error:
            raise (error if piece.is_constant else error.placed(tensor.name)) from None
        if piece.is_constant:
            self._constant[id(piece)] = values
        return values


def _check_opened(recipe: Recipe, opened: Sources) -> None:
    for reference in all_references(recipe):
        if reference not in opened:
            remedy = suggest(reference, opened)
            raise KingyoError("model", expected="an opened model", received=f"'{reference}'", remedy=remedy)


def _describe_region(region: Region) -> Iterator[str]:
    made = 0
    for piece in region.pieces:
        names = ", ".join(entry.reference for entry in piece.merged)
        if piece.n_layers is None:
            part = f" ({region.name})" if region.name else ""
            yield f"{len(piece.merged)}: {names}{part}"
            continue
        ranges = ", ".join(f"{each.reference} from {each.start}" for each in piece.entries)
        yield f"{len(piece.merged)}, layers {made} to {made + piece.n_layers - 1}: {ranges}"
        made += piece.n_layers


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

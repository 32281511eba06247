"""Bind every tensor of the output to the tensors of the models that it is merged from.

A binding does not depend on values of parameters, so all candidates of a search can share one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, Stack, TensorInfo, with_layers
from kingyo.merging.checkpoints.compatibility import counterpart
from kingyo.merging.engine.fitting import FittedModels, fit_models
from kingyo.merging.engine.jobs import TensorInput, TensorJob
from kingyo.merging.engine.modules import ModuleMerge, SliceInput, SliceKey, SliceMerge
from kingyo.merging.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The tensors of an output.

    Attributes:
        jobs: all tensors, in the order of the template, still without methods and parameters.
        fitted: the models that they are read from.
        template: the template of ``fitted``, with the output's layers if these are sliced.
    """

    jobs: tuple[TensorJob, ...]
    fitted: FittedModels
    template: Checkpoint


def bind(recipe: Recipe, modules: Sequence[ModuleMerge], models: Mapping[str, Checkpoint]) -> Binding:
    """Bind the tensors of a recipe without a layer path; see ``fit_models``."""
    return _Binder(modules, fit_models(recipe, modules, models)).run()


def binding_key(recipe: Recipe, modules: Sequence[ModuleMerge]) -> Hashable:
    """Return a key that is equal for recipes that differ only in the values of parameters."""
    shapes = tuple((module.name, tuple(map(_shape_of, module.by_position.values()))) for module in modules)
    return (
        recipe.base_model,
        recipe.template,
        recipe.frame,
        tuple(recipe.parts.items()),
        recipe.resize,
        shapes,
    )


def _shape_of(piece: SliceMerge) -> object:
    entries = tuple((entry.reference, entry.start) for entry in piece.entries)
    return piece.n_layers, piece.base is None, entries


class _Binder:
    """Bind tensors, and record which layers the slices select."""

    def __init__(self, modules: Sequence[ModuleMerge], fits: FittedModels) -> None:
        self._fits = fits
        self._modules = {module.name: module for module in modules}
        self._layers: dict[str, list[tuple[str, int]]] = {}
        self._infos: dict[str, TensorInfo] = {}

    def run(self) -> Binding:
        jobs = tuple(self._jobs())
        template = self._template() if self._layers else self._fits.template
        return Binding(jobs=jobs, fitted=self._fits, template=template)

    def _jobs(self) -> Iterator[TensorJob]:
        template, assignment = self._fits.template, self._fits.assignment
        layout = template.layout
        for info in template.tensors.values():
            if info.name in assignment.copied:
                yield self._copied(info, assignment.copied[info.name])
                continue
            module = self._modules[assignment.modules[info.name]]
            if not module.is_sliced:
                yield self._complete(info, module, 0, layout.depth(info.name))
                continue
            stack, own = assignment.stacks[module.name], layout.stack(info.name)
            if own is None or own.prefix != stack.prefix:
                depth = layout.depth(info.name)
                yield self._complete(info, module, module.outside(depth), depth)
            elif module.name not in self._layers:  # the first tensor of a layer stands for all layers
                yield from self._slices(module, _LayerShapes(template, stack))

    def _job(
        self,
        name: str,
        info: TensorInfo,
        inputs: tuple[TensorInput, ...],
        base: TensorInput | None = None,
        depth: float = 0.0,
        key: SliceKey | None = None,
    ) -> TensorJob:
        self._infos[name] = replace(info, name=name)
        return TensorJob(
            name=name,
            shape=info.shape,
            dtype=info.stored_dtype if info.is_floating else info.dtype,
            inputs=inputs,
            base=base,
            depth=depth,
            key=key,
        )

    def _copied(self, info: TensorInfo, reference: str) -> TensorJob:
        shape = self._fits.models[reference].tensors[info.name].shape
        if shape != info.shape:
            expected = f"{list(info.shape)}, as resize gives it"
            received = f"{list(shape)} in {reference}, which it is copied from"
            remedy = "Merge this part too, or remove resize."
            raise KingyoError(info.name, expected, received, remedy)
        return self._job(info.name, info, (TensorInput(reference=reference, tensor=info.name),))

    def _complete(self, info: TensorInfo, module: ModuleMerge, at: int, depth: float) -> TensorJob:
        def read(entry: SliceInput) -> TensorInput:
            return TensorInput(reference=self._fits.keys[module.name, entry.reference], tensor=info.name)

        piece = module.by_position[at]
        inputs = tuple(map(read, piece.merged))
        return self._job(info.name, info, inputs, piece.base and read(piece.base), depth, (module.name, at))

    def _slices(self, module: ModuleMerge, shapes: _LayerShapes) -> Iterator[TensorJob]:
        layers = self._layers[module.name] = []
        for at, piece in enumerate(module.pieces):
            assert piece.n_layers is not None
            yield from self._slice(piece, (module.name, at), shapes, len(layers))
            first = piece.entries[0]
            layers += [(first.reference, first.start + k) for k in range(piece.n_layers)]

    def _slice(
        self, piece: SliceMerge, key: SliceKey, shapes: _LayerShapes, first: int
    ) -> Iterator[TensorJob]:
        """Yield the tensors of a slice; its first layer is this one of the output."""
        assert piece.n_layers is not None
        models = self._fits.models
        stacks = {each.reference: shapes.counterpart(models[each.reference]) for each in piece.entries}
        for each in piece.entries:
            _check_range(each, piece, len(stacks[each.reference].blocks))
        for k in range(piece.n_layers):
            layers = [_SourceLayer(each, k, stacks[each.reference], models) for each in piece.entries]
            for other in layers[1:]:
                layers[0].check_like(other, piece.where)
            shapes.check(layers[0].tensors, layers[0].title)
            depth = k / (piece.n_layers - 1) if piece.n_layers > 1 else 1.0
            for rest, info in layers[0].tensors.items():
                inputs = tuple(
                    TensorInput(reference=each.reference, tensor=each.tensors[rest].name) for each in layers
                )
                base, merged = (None, inputs) if piece.base is None else (inputs[0], inputs[1:])
                yield self._job(f"{shapes.prefix}.{first + k}.{rest}", info, merged, base, depth, key)

    def _template(self) -> Checkpoint:
        template = self._fits.template
        config = template.config
        for name, layers in self._layers.items():
            configs = [(self._fits.models[reference].config, number) for reference, number in layers]
            stack = self._fits.assignment.stacks[name]
            stack.check_order([number for _, number in layers])
            config = with_layers(config, configs, stack.part)
        return Checkpoint(
            reference=template.reference,
            path=template.path,
            config=config,
            tensors=self._infos,
            stem=template.stem,
        )


class _LayerShapes:
    """The names and shapes of tensors that layers of the output may have: those of the template's layers."""

    def __init__(self, template: Checkpoint, stack: Stack) -> None:
        self.prefix = stack.prefix
        self._template = template
        self._stack = stack
        self._known: dict[str, set[tuple[int, ...]]] = {}
        for names in stack.blocks.values():
            for name in names:
                self._known.setdefault(stack.rest(name), set()).add(template.tensors[name].shape)

    def counterpart(self, model: Checkpoint) -> Stack:
        return _numbered(counterpart(self._template, model, self._stack), self.prefix, model)

    def check(self, tensors: Mapping[str, TensorInfo], layer: str) -> None:
        for rest, info in tensors.items():
            shapes = self._known.get(rest, set[tuple[int, ...]]())
            if info.shape not in shapes:
                wanted = " or ".join(str(list(shape)) for shape in sorted(shapes)) or "none of this name"
                expected = f"layers that fit {self._template.reference}, whose {rest} is {wanted}"
                received = f"{list(info.shape)} in {layer}"
                remedy = "Use slices of models of one architecture and size."
                raise KingyoError(info.name, expected, received, remedy)


class _SourceLayer:
    """One layer of one model. Its tensors are keyed by their names without the layer's prefix."""

    def __init__(self, entry: SliceInput, k: int, stack: Stack, models: Mapping[str, Checkpoint]) -> None:
        self.reference = entry.reference
        self.title = f"layer {entry.start + k} of {entry.reference}"
        known = models[entry.reference].tensors
        self.tensors = {stack.rest(name): known[name] for name in stack.blocks[entry.start + k]}

    def check_like(self, other: _SourceLayer, where: str) -> None:
        if self.tensors.keys() != other.tensors.keys():
            rest = min(self.tensors.keys() ^ other.tensors.keys())
            owner, lacking = (self, other) if rest in self.tensors else (other, self)
            expected = "layers with the same tensors"
            received = f"'{rest}' in {owner.title} but not in {lacking.title}"
            raise KingyoError(where, expected, received, "Merge layers of one kind.")
        for rest, mine in self.tensors.items():
            yours = other.tensors[rest]
            if mine.shape != yours.shape or mine.is_floating != yours.is_floating:
                expected = f"{list(mine.shape)} {mine.dtype} as in {self.title}"
                received = f"{list(yours.shape)} {yours.dtype} in {other.title}"
                remedy = "Merge layers of models of one architecture."
                raise KingyoError(yours.name, expected, received, remedy)


def _numbered(stack: Stack | None, prefix: str, model: Checkpoint) -> Stack:
    if stack is None:
        expected = f"layers called {prefix}.0 and so on"
        received = ", ".join(f"{each.prefix}.…" for each in model.layout.stacks) or "no layers"
        remedy = "Use slices of models of one architecture."
        raise KingyoError(model.reference, expected, received, remedy)
    numbers = list(stack.blocks)
    if not stack.is_numbered or numbers != list(range(len(numbers))):
        expected = "layers that are numbered 0, 1, 2, …"
        received = f"{stack.prefix} with {', '.join(map(str, numbers[:5]))}, …"
        remedy = "Merge the complete model, below models:."
        raise KingyoError(model.reference, expected, received, remedy)
    return stack


def _check_range(entry: SliceInput, piece: SliceMerge, n_layers: int) -> None:
    assert piece.n_layers is not None
    end = entry.start + piece.n_layers
    if end > n_layers:
        expected = f"layers of [0, {n_layers}], which is all that it has"
        received = f"[{entry.start}, {end}]"
        remedy = "Count layers from 0; the end is the number after the last layer."
        raise KingyoError(f"{piece.where}: layer_range of {entry.reference}", expected, received, remedy)

"""Bind every tensor of the output to the tensors of the models that it is merged from.

A binding does not depend on values of parameters, so all candidates of a search can share one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.checkpoints import Checkpoint, TensorInfo, with_layers
from kingyo.engine.fitting import FittedModels, fit_models
from kingyo.engine.jobs import TensorInput
from kingyo.engine.modules import ModuleMerge, SliceInput, SliceKey, SliceMerge
from kingyo.engine.slices import BoundTensor, LayerShapes, bind_slice
from kingyo.errors import KingyoError
from kingyo.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The tensors of an output.

    Attributes:
        tensors: all tensors, in the order of the template.
        fitted: the models that they are read from.
        template: the template of ``fitted``, with the output's layers if these are sliced.
    """

    tensors: tuple[BoundTensor, ...]
    fitted: FittedModels
    template: Checkpoint

    def varying(self, merges: Mapping[SliceKey, SliceMerge]) -> list[tuple[SliceMerge, list[BoundTensor]]]:
        """Return the merges with gradients or filters, each with all its tensors."""
        varying = {key: list[BoundTensor]() for key, merge in merges.items() if not merge.is_constant}
        for tensor in self.tensors if varying else ():
            if tensor.key in varying:
                varying[tensor.key].append(tensor)
        return [(merges[key], tensors) for key, tensors in varying.items()]


def bind(recipe: Recipe, modules: Sequence[ModuleMerge], models: Mapping[str, Checkpoint]) -> Binding:
    """Bind the tensors of a recipe.

    Args:
        recipe: a recipe without a layer path.
        modules: its modules.
        models: the opened models by reference.

    Raises:
        KingyoError: models do not fit together; see ``fit_models`` and ``bind_slice``.
    """
    return _Binder(modules, fit_models(recipe, modules, models)).run()


def binding_key(recipe: Recipe, modules: Sequence[ModuleMerge]) -> Hashable:
    """Return a key that is equal for recipes that differ only in the values of parameters."""
    shapes = tuple((module.name, tuple(map(_shape_of, module.by_position.values()))) for module in modules)
    return recipe.base_model, recipe.references[0], tuple(recipe.parts.items()), recipe.resize, shapes


def _shape_of(piece: SliceMerge) -> object:
    """Return all of a merge but its values."""
    entries = tuple((entry.reference, entry.start) for entry in piece.entries)
    return piece.n_layers, piece.base is None, entries


class _Binder:
    """Bind tensors, and record which layers the slices select."""

    def __init__(self, modules: Sequence[ModuleMerge], fits: FittedModels) -> None:
        self._fits = fits
        self._modules = {module.name: module for module in modules}
        self._layers: dict[str, list[tuple[str, int]]] = {}

    def run(self) -> Binding:
        tensors = tuple(self._tensors())
        return Binding(
            tensors=tensors,
            fitted=self._fits,
            template=self._template(tensors) if self._layers else self._fits.template,
        )

    def _tensors(self) -> Iterator[BoundTensor]:
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
                yield from self._slices(module, LayerShapes(template, stack))

    def _copied(self, info: TensorInfo, reference: str) -> BoundTensor:
        shape = self._fits.models[reference].tensors[info.name].shape
        if shape != info.shape:
            raise KingyoError(
                info.name,
                expected=f"{list(info.shape)}, as resize gives it",
                received=f"{list(shape)} in {reference}, which it is copied from",
                remedy="Merge this part too, or remove resize.",
            )
        inputs = (TensorInput(reference=reference, tensor=info.name),)
        return BoundTensor(name=info.name, info=info, inputs=inputs)

    def _complete(self, info: TensorInfo, module: ModuleMerge, at: int, depth: float) -> BoundTensor:
        """Bind a tensor that every model has under the same name."""

        def read(entry: SliceInput) -> TensorInput:
            return TensorInput(reference=self._fits.keys[module.name, entry.reference], tensor=info.name)

        piece = module.by_position[at]
        return BoundTensor(
            name=info.name,
            info=info,
            inputs=tuple(read(entry) for entry in piece.merged),
            base=piece.base and read(piece.base),
            depth=depth,
            key=(module.name, at),
        )

    def _slices(self, module: ModuleMerge, shapes: LayerShapes) -> Iterator[BoundTensor]:
        layers = self._layers[module.name] = []
        for at, piece in enumerate(module.pieces):
            assert piece.n_layers is not None
            yield from bind_slice(piece, (module.name, at), shapes, len(layers), self._fits.models)
            first = piece.entries[0]
            layers += [(first.reference, first.start + k) for k in range(piece.n_layers)]

    def _template(self, tensors: Sequence[BoundTensor]) -> Checkpoint:
        """Return the template with the selected layers."""
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
            tensors={each.name: replace(each.info, name=each.name) for each in tensors},
            stem=template.stem,
        )

"""Bind the tensors of sliced layers: which layer of which model makes each layer of the output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint, Stack, TensorInfo
from kingyo.engine.jobs import TensorInput
from kingyo.engine.modules import SliceInput, SliceKey, SliceMerge
from kingyo.errors import KingyoError


@dataclass(frozen=True, kw_only=True)
class BoundTensor:
    """A tensor of the output, and the tensors that it is merged from.

    Attributes:
        name: its name in the output.
        info: the tensor of the template, or of a slice's first model, that gives shape and dtype.
        inputs: the tensors to merge, without the base.
        base: the tensor of the base, or None.
        depth: depth of its layer in the slice or model, from 0 (first) to 1 (last). As in mergekit, a slice
            of one layer has depth 1.
        key: the merge that makes it; None for a copied tensor.
    """

    name: str
    info: TensorInfo
    inputs: tuple[TensorInput, ...]
    base: TensorInput | None = None
    depth: float = 0.0
    key: SliceKey | None = None


class LayerShapes:
    """The names and shapes of tensors that layers of the output may have.

    Args:
        template: the model that gives them.
        stack: its layers.
    """

    def __init__(self, template: Checkpoint, stack: Stack) -> None:
        self.prefix = stack.prefix
        self._reference = template.reference
        self._known: dict[str, set[tuple[int, ...]]] = {}
        for names in stack.blocks.values():
            for name in names:
                self._known.setdefault(stack.rest(name), set()).add(template.tensors[name].shape)

    def check(self, tensors: Mapping[str, TensorInfo], layer: str) -> None:
        """Check the tensors of a layer.

        Raises:
            KingyoError: no layer of the template has such a tensor in this shape.
        """
        for rest, info in tensors.items():
            shapes = self._known.get(rest, set[tuple[int, ...]]())
            if info.shape not in shapes:
                wanted = " or ".join(str(list(shape)) for shape in sorted(shapes)) or "none of this name"
                raise KingyoError(
                    info.name,
                    expected=f"layers that fit {self._reference}, whose {rest} is {wanted}",
                    received=f"{list(info.shape)} in {layer}",
                    remedy="Use slices of models of one architecture and size.",
                )


def bind_slice(
    piece: SliceMerge, key: SliceKey, shapes: LayerShapes, first: int, models: Mapping[str, Checkpoint]
) -> Iterator[BoundTensor]:
    """Yield the tensors of a slice.

    Args:
        piece: the slice.
        key: its key.
        shapes: allowed shapes.
        first: number of its first layer in the output.
        models: the models by reference.

    Raises:
        KingyoError: a model lacks the stack or some layers, or layers differ in their tensors or shapes.
    """
    assert piece.n_layers is not None
    stacks = {each.reference: _stack(models[each.reference], shapes.prefix) for each in piece.entries}
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
            yield BoundTensor(
                name=f"{shapes.prefix}.{first + k}.{rest}",
                info=info,
                inputs=inputs if piece.base is None else inputs[1:],
                base=None if piece.base is None else inputs[0],
                depth=depth,
                key=key,
            )


class _SourceLayer:
    """One layer of one model. Its tensors are keyed by their names without the layer's prefix."""

    def __init__(self, entry: SliceInput, k: int, stack: Stack, models: Mapping[str, Checkpoint]) -> None:
        self.reference = entry.reference
        self.title = f"layer {entry.start + k} of {entry.reference}"
        known = models[entry.reference].tensors
        self.tensors = {stack.rest(name): known[name] for name in stack.blocks[entry.start + k]}

    def check_like(self, other: _SourceLayer, where: str) -> None:
        """Check that another layer has the same tensors in the same shapes."""
        if self.tensors.keys() != other.tensors.keys():
            rest = min(self.tensors.keys() ^ other.tensors.keys())
            owner, lacking = (self, other) if rest in self.tensors else (other, self)
            raise KingyoError(
                where,
                expected="layers with the same tensors",
                received=f"'{rest}' in {owner.title} but not in {lacking.title}",
                remedy="Merge layers of one kind.",
            )
        for rest, mine in self.tensors.items():
            yours = other.tensors[rest]
            if mine.shape != yours.shape or mine.is_floating != yours.is_floating:
                raise KingyoError(
                    yours.name,
                    expected=f"{list(mine.shape)} {mine.dtype} as in {self.title}",
                    received=f"{list(yours.shape)} {yours.dtype} in {other.title}",
                    remedy="Merge layers of models of one architecture.",
                )


def _stack(model: Checkpoint, prefix: str) -> Stack:
    """Return the layers of a model whose names start with a prefix."""
    stack = next((each for each in model.layout.stacks if each.prefix == prefix), None)
    if stack is None:
        raise KingyoError(
            model.reference,
            expected=f"layers called {prefix}.0 and so on",
            received=", ".join(f"{each.prefix}.…" for each in model.layout.stacks) or "no layers",
            remedy="Use slices of models of one architecture.",
        )
    numbers = list(stack.blocks)
    if not stack.is_numbered or numbers != list(range(len(numbers))):
        raise KingyoError(
            model.reference,
            expected="layers that are numbered 0, 1, 2, …",
            received=f"{prefix} with {', '.join(map(str, numbers[:5]))}, …",
            remedy="Merge the complete model, below models:.",
        )
    return stack


def _check_range(entry: SliceInput, piece: SliceMerge, n_layers: int) -> None:
    assert piece.n_layers is not None
    end = entry.start + piece.n_layers
    if end > n_layers:
        raise KingyoError(
            f"{piece.where}: layer_range of {entry.reference}",
            expected=f"layers of [0, {n_layers}], which is all that it has",
            received=f"[{entry.start}, {end}]",
            remedy="Count layers from 0; the end is the number after the last layer.",
        )

"""Slices of layers: which tensors of which models make each layer of the output, and how it is numbered on.

It knows tensor names, stacks and shapes; no method and no parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint, Stack, TensorInfo
from kingyo.engine.pieces import SliceInput, SliceMerge
from kingyo.errors import KingyoError


@dataclass(frozen=True, kw_only=True)
class TensorInput:
    """A tensor that a job reads: of which model, and under which name that model has it."""

    reference: str
    tensor: str

    def identity(self, output: str) -> str:
        """What tells its weights from others that go into the same tensor of an output."""
        return self.reference if self.tensor == output else f"{self.reference}: {self.tensor}"


@dataclass(frozen=True, kw_only=True)
class LayerTensor:
    """One tensor of the output, and what it is made of.

    Attributes:
        name: in the output.
        info: of the model that it is like: the base, else the first.
        inputs: the tensors that are merged, without the base.
        base: the base's tensor, or None.
        depth: where it sits in its slice or model, 0 (first layer) to 1 (last). A slice of one layer is its
            last, as in mergekit.
    """

    name: str
    info: TensorInfo
    inputs: tuple[TensorInput, ...]
    base: TensorInput | None = None
    depth: float = 0.0


class Forms:
    """The shapes of tensors that layers of a model have: whatever is stacked must be among them.

    Args:
        like: the model.
        stack: its layers.
    """

    def __init__(self, like: Checkpoint, stack: Stack) -> None:
        self.prefix = stack.prefix
        self._reference = like.reference
        self._known: dict[str, set[tuple[int, ...]]] = {}
        for names in stack.blocks.values():
            for name in names:
                self._known.setdefault(stack.rest(name), set()).add(like.tensors[name].shape)

    def check(self, infos: Mapping[str, TensorInfo], layer: str) -> None:
        """Refuse a layer with a tensor that no layer of the model has, or of another shape.

        Raises:
            KingyoError: there is one.
        """
        for rest, info in infos.items():
            shapes = self._known.get(rest, set[tuple[int, ...]]())
            if info.shape not in shapes:
                wanted = " or ".join(str(list(shape)) for shape in sorted(shapes)) or "none of this name"
                raise KingyoError(
                    info.name,
                    expected=f"layers that fit {self._reference}, whose {rest} is {wanted}",
                    received=f"{list(info.shape)} in {layer}",
                    remedy="Take slices of models of one architecture and size.",
                )


def layer_tensors(
    piece: SliceMerge, forms: Forms, first: int, opened: Mapping[str, Checkpoint]
) -> Iterator[LayerTensor]:
    """The tensors of a slice.

    Args:
        piece: the slice.
        forms: of the layers of the model that the output is like.
        first: number of its first layer in the output.
        opened: the models.

    Raises:
        KingyoError: a model lacks the stack or the layers, or layers differ in their tensors or shapes.
    """
    assert piece.n_layers is not None
    stacks = {entry.reference: _stack(opened[entry.reference], forms.prefix) for entry in piece.entries}
    for entry in piece.entries:
        _check_range(entry, piece, len(stacks[entry.reference].blocks))
    for k in range(piece.n_layers):
        layers = [_PlannedLayer(entry, k, stacks[entry.reference], opened) for entry in piece.entries]
        lead = layers[0]
        for other in layers[1:]:
            lead.check_like(other, piece.where)
        forms.check(lead.infos, f"layer {lead.number} of {lead.reference}")
        depth = k / (piece.n_layers - 1) if piece.n_layers > 1 else 1.0
        for rest, info in lead.infos.items():
            inputs = tuple(
                TensorInput(reference=each.reference, tensor=each.infos[rest].name) for each in layers
            )
            yield LayerTensor(
                name=f"{forms.prefix}.{first + k}.{rest}",
                info=info,
                inputs=inputs if piece.base is None else inputs[1:],
                base=None if piece.base is None else inputs[0],
                depth=depth,
            )


class _PlannedLayer:
    """One layer of one model: its tensors by what follows the layer's number in their names."""

    def __init__(self, entry: SliceInput, k: int, stack: Stack, opened: Mapping[str, Checkpoint]) -> None:
        self.reference = entry.reference
        self.number = entry.start + k
        tensors = opened[entry.reference].tensors
        self.infos = {stack.rest(name): tensors[name] for name in stack.blocks[self.number]}

    def check_like(self, other: _PlannedLayer, where: str) -> None:
        """Refuse a layer with other tensors, or tensors of other shapes."""
        one, two = f"layer {self.number} of {self.reference}", f"layer {other.number} of {other.reference}"
        if self.infos.keys() != other.infos.keys():
            rest = min(self.infos.keys() ^ other.infos.keys())
            owner, lacking = (one, two) if rest in self.infos else (two, one)
            raise KingyoError(
                where,
                expected="layers with the same tensors",
                received=f"'{rest}' in {owner} but not in {lacking}",
                remedy="Merge layers of one kind.",
            )
        for rest, mine in self.infos.items():
            yours = other.infos[rest]
            if mine.shape != yours.shape or mine.is_floating != yours.is_floating:
                raise KingyoError(
                    yours.name,
                    expected=f"{list(mine.shape)} {mine.dtype} as in {one}",
                    received=f"{list(yours.shape)} {yours.dtype} in {two}",
                    remedy="Merge layers of models of one architecture.",
                )


def _stack(checkpoint: Checkpoint, prefix: str) -> Stack:
    found = next((stack for stack in checkpoint.layout.stacks if stack.prefix == prefix), None)
    if found is None:
        raise KingyoError(
            checkpoint.reference,
            expected=f"layers called {prefix}.0 and so on",
            received=", ".join(f"{stack.prefix}.…" for stack in checkpoint.layout.stacks) or "no layers",
            remedy="Take slices of models of one architecture.",
        )
    numbers = list(found.blocks)
    if not found.is_numbered or numbers != list(range(len(numbers))):
        raise KingyoError(
            checkpoint.reference,
            expected="layers that are numbered 0, 1, 2, …",
            received=f"{prefix} with {', '.join(map(str, numbers[:5]))}, …",
            remedy="Merge this model as a whole, below models:.",
        )
    return found


def _check_range(entry: SliceInput, piece: SliceMerge, n_layers: int) -> None:
    assert piece.n_layers is not None
    end = entry.start + piece.n_layers
    if end > n_layers:
        raise KingyoError(
            f"{piece.where}: layer_range of {entry.reference}",
            expected=f"layers of [0, {n_layers}], which is all that it has",
            received=f"[{entry.start}, {end}]",
            remedy="Count layers from 0, and write the number behind the last as the end.",
        )

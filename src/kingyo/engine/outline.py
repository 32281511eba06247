"""Which tensors of which models make each tensor of an output: what of a plan its numbers do not change.

A search plans candidate after candidate; they differ in values, and share this. It knows regions, names and
shapes; no method, no parameter and no weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.checkpoints import Checkpoint, TensorInfo, with_layers
from kingyo.engine.agreement import Agreement
from kingyo.engine.layers import Forms, LayerTensor, TensorInput, layer_tensors
from kingyo.engine.pieces import Region, SliceInput, SliceMerge
from kingyo.errors import KingyoError

Place = tuple[str, int]
"""The name of a region, and the position of a piece in it."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The tensors of an output.

    Attributes:
        tensors: in the order of the model that the output is like, each with the place of the piece that
            merges it; None of what is taken from a model as it is.
        output: what the output is like: that model itself, unless layers are sliced.
    """

    tensors: tuple[tuple[LayerTensor, Place | None], ...]
    output: Checkpoint

    def varied(self, pieces: Mapping[Place, SliceMerge]) -> list[tuple[SliceMerge, list[LayerTensor]]]:
        """The pieces with gradients or filters, each with all tensors that it merges."""
        varied = {place: list[LayerTensor]() for place, piece in pieces.items() if not piece.is_constant}
        for tensor, place in self.tensors if varied else ():
            if place in varied:
                varied[place].append(tensor)
        return [(pieces[place], tensors) for place, tensors in varied.items()]


def outline(agreement: Agreement, found: Sequence[Region]) -> Outline:
    """The outline of regions whose models agree; only once for regions that differ in nothing but values.

    Raises:
        KingyoError: layers that do not fit one another; see ``layer_tensors``.
    """
    key = tuple((region.name, tuple(map(_form_of, region.placed.values()))) for region in found)
    return agreement.sources.once(("outline", agreement.key, key), lambda: _Outlining(agreement, found).run())


def _form_of(piece: SliceMerge) -> object:
    """All of a piece but its values; pieces of one form merge the same tensors."""
    entries = tuple((entry.reference, entry.start) for entry in piece.entries)
    return piece.n_layers, piece.base is None, entries


class _Outlining:
    """One outline in the making."""

    def __init__(self, agreement: Agreement, found: Sequence[Region]) -> None:
        self._agreement = agreement
        self._regions = {region.name: region for region in found}
        self._layers: dict[str, list[tuple[str, int]]] = {}

    def run(self) -> Outline:
        tensors = tuple(self._tensors())  # which tells the layers that were picked
        return Outline(tensors=tensors, output=self._output([tensor for tensor, _ in tensors]))

    def _tensors(self) -> Iterator[tuple[LayerTensor, Place | None]]:
        like, taken = self._agreement.like, self._agreement.taken
        layout = like.layout
        for info in like.tensors.values():
            if info.name in taken:
                inputs = (TensorInput(reference=taken[info.name], tensor=info.name),)
                self._check_size(info, taken[info.name])
                yield LayerTensor(name=info.name, info=info, inputs=inputs), None
                continue
            region = self._regions[self._agreement.regions[info.name]]
            if not region.is_sliced:
                yield self._whole(info, region, 0, layout.depth(info.name))
                continue
            stack, own = self._agreement.stacks[region.name], layout.stack(info.name)
            if own is None or own.prefix != stack.prefix:
                depth = layout.depth(info.name)
                yield self._whole(info, region, region.outside(depth), depth)
            elif region.name not in self._layers:
                yield from self._slices(region, Forms(like, stack))

    def _check_size(self, info: TensorInfo, reference: str) -> None:
        """Refuse to take a tensor as it is where others gave the output another size."""
        own = self._agreement.sources[reference].tensors[info.name].shape
        if own != info.shape:
            raise KingyoError(
                info.name,
                expected=f"{list(info.shape)}, as resize gives it",
                received=f"{list(own)} in {reference}, from which it is taken as it is",
                remedy="Merge this part too, or leave resize out.",
            )

    def _whole(self, info: TensorInfo, region: Region, at: int, depth: float) -> tuple[LayerTensor, Place]:
        def read(entry: SliceInput) -> TensorInput:
            seen = self._agreement.names[region.name, entry.reference]
            return TensorInput(reference=seen, tensor=info.name)

        piece = region.placed[at]
        tensor = LayerTensor(
            name=info.name,
            info=info,
            inputs=tuple(read(entry) for entry in piece.merged),
            base=piece.base and read(piece.base),
            depth=depth,
        )
        return tensor, (region.name, at)

    def _slices(self, region: Region, forms: Forms) -> Iterator[tuple[LayerTensor, Place]]:
        picked = self._layers[region.name] = []
        for at, piece in enumerate(region.pieces):
            assert piece.n_layers is not None
            for tensor in layer_tensors(piece, forms, len(picked), self._agreement.sources):
                yield tensor, (region.name, at)
            lead = piece.entries[0]
            picked += [(lead.reference, lead.start + k) for k in range(piece.n_layers)]

    def _output(self, tensors: Sequence[LayerTensor]) -> Checkpoint:
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
            tensors={each.name: replace(each.info, name=each.name) for each in tensors},
            stem=like.stem,
        )

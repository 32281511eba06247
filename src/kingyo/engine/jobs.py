"""The merge of one tensor, as data: its inputs, its method and its parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

from kingyo.engine.modules import SliceMerge
from kingyo.methods import MergeMethod, MethodValues


@dataclass(frozen=True, kw_only=True)
class TensorInput:
    """A tensor that a job reads: the reference of the model, and the tensor's name in that model."""

    reference: str
    tensor: str

    def identity(self, output: str) -> str:
        """Return a key that is unique among the inputs of one output tensor."""
        return self.reference if self.tensor == output else f"{self.reference}: {self.tensor}"


@dataclass(frozen=True, kw_only=True)
class TensorJob:
    """The merge of one tensor.

    Attributes:
        name: name of the output tensor.
        shape: its shape.
        dtype: its dtype, as torch names it.
        method: the merge method; None copies the tensor, and all inputs must be equal.
        inputs: the tensors to merge, without the base.
        base: the tensor of the base, or None.
        values: parameters of the method.
        seed: seed of a random method.
        piece: the part of the recipe that ``values`` come from; None for a copied tensor.
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
        """All tensors that it reads, the base last."""
        return self.inputs if self.base is None else (*self.inputs, self.base)

    @property
    def sources(self) -> tuple[str, ...]:
        """References of the merged models, without the base."""
        return tuple(each.reference for each in self.inputs)

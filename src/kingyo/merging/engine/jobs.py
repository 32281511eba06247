"""The merge of one tensor: as data (its inputs, its method and its parameters), and its computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from traceback import extract_tb
from typing import NoReturn

import numpy as np

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.engine.modules import SliceKey
from kingyo.merging.kernels import Lazy
from kingyo.merging.kernels.blocks import all_finite
from kingyo.merging.kernels.raw_tensor import AnyTensor, as_torch
from kingyo.merging.kernels.statistics import is_finite
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.kernels.writing import write
from kingyo.merging.methods import MergeMethod, MethodValues, TensorContext, hides_nonfinite, merge_tensor

Read = Callable[[str, str], AnyTensor]
"""Model reference, tensor name -> the tensor as stored."""
_RETURN = "Return a torch.Tensor in float32 of the shape of the arguments, or a WeightedSum of the inputs."


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
    """The merge of one tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    # the merge method; None copies the tensor, and all inputs must be equal
    method: MergeMethod | None = None
    inputs: tuple[TensorInput, ...]  # the tensors to merge, without the base
    base: TensorInput | None = None
    # depth of its layer in the slice or model, from 0 (first) to 1 (last). As in mergekit, a slice of one
    # layer has depth 1.
    depth: float = 0.0
    key: SliceKey | None = None  # the merge of the recipe that makes it; None for a copied tensor
    values: MethodValues = field(default_factory=MethodValues)
    seed: int = 0

    @property
    def reads(self) -> tuple[TensorInput, ...]:
        """All tensors that it reads, the base last."""
        return self.inputs if self.base is None else (*self.inputs, self.base)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(each.reference for each in self.inputs)


def compute(job: TensorJob, read: Read, stats: TensorStats | None = None) -> Tensor:
    """Merge one tensor: in float32, rounded once to the dtype of the job.

    Raises:
        KingyoError: the result is NaN or infinite, or integers differ between the models.
    """
    out = torch.empty(job.shape, dtype=getattr(torch, job.dtype))
    n = out.numel()
    if n and not write(result(job, read, stats), (0, n), out.view(-1)):
        raise not_finite(job, read)
    return out


def result(
    job: TensorJob, read: Read, stats: TensorStats | None = None, *, nonfinite: bool = False
) -> Tensor | Lazy:
    """Return the result of a job before rounding; lazy results are computed when they are written.

    Unless ``nonfinite``, sources are checked for methods whose results may hide NaN or infinity.
    """
    tensors, base = _read_all(job, read)
    if job.method is None:
        return _same(job, tensors if base is None else [base, *tensors])
    identities = tuple(each.identity(job.name) for each in job.inputs)
    base_identity = job.base and job.base.identity(job.name)
    if not nonfinite and hides_nonfinite(job.method, job.values):
        named = list(zip(identities, tensors, strict=True))
        if base is not None and base_identity is not None:
            named.append((base_identity, base))
        _check_finite(job, named, stats, read)
    context = TensorContext(job.seed, job.name, stats, identities, base_identity)
    try:
        merged = merge_tensor(job.method, tensors, base, job.values, context)
    except Exception as error:  # noqa: BLE001 - raised again with the method's name
        method_failed(job, error)
    _check_result(job, job.method.name, merged)
    return merged


def _read_all(job: TensorJob, read: Read) -> tuple[list[AnyTensor], AnyTensor | None]:
    """Return inputs and base. A tensor that is an input twice is read once, since it may be computed."""
    names = [(each.reference, each.tensor) for each in job.inputs]
    by_name = {name: read(*name) for name in dict.fromkeys(names)}
    base = read(job.base.reference, job.base.tensor) if job.base is not None else None
    return [by_name[name] for name in names], base


def _same(job: TensorJob, inputs: Sequence[AnyTensor]) -> Tensor:
    tensors = [as_torch(each) for each in inputs]
    if any(not torch.equal(tensors[0], tensor) for tensor in tensors[1:]):
        expected = "equal values in all models, since they are not floating point"
        remedy = "Merge models of one architecture and vocabulary."
        raise KingyoError(job.name, expected, "values that differ", remedy)
    return tensors[0]


def _check_finite(
    job: TensorJob, named: Sequence[tuple[str, AnyTensor]], stats: TensorStats | None, read: Read
) -> None:
    for identity, tensor in named:
        name = f"finite\n{job.name}\n{identity}"
        if stats is not None and stats.get(name) is not None:
            continue
        if not is_finite(tensor):
            raise not_finite(job, read)
        if stats is not None:
            stats.put(name, np.ones(1))


def _check_result(job: TensorJob, method: str, merged: Tensor | Lazy) -> None:
    if not (hasattr(merged, "block") or isinstance(merged, torch.Tensor)):
        expected = "a tensor, or a result such as a WeightedSum"
        received = f"an object of the class {type(merged).__name__}"
        raise KingyoError(method, expected, received, _RETURN)
    if tuple(merged.shape) != job.shape:
        expected = f"a result of the shape {list(job.shape)}"
        received = f"one of {list(merged.shape)}"
        raise KingyoError(f"{method}: {job.name}", expected, received, _RETURN)


def method_failed(job: TensorJob, error: Exception) -> NoReturn:
    """Raise an error of a method again; of a user's method with the names of method, tensor and line."""
    method = job.method
    if isinstance(error, KingyoError) or method is None or type(method).__module__.startswith("kingyo."):
        raise error
    last = extract_tb(error.__traceback__)[-1]
    received = f"{type(error).__name__}: {error} in {last.filename}, line {last.lineno}"
    where, remedy = f"{method.name}: {job.name}", "Correct the method."
    raise KingyoError(where, "a method that merges it", received, remedy) from error


def not_finite(job: TensorJob, read: Read) -> KingyoError:
    """Return the error for a result that is NaN or infinite; it names the source that is, if any."""
    for each in job.reads:
        if not all_finite(as_torch(read(each.reference, each.tensor))):
            where = f"{each.reference}: {each.tensor}"
            remedy = "Leave this model out, or fetch it again. (Or use `kingyo merge --allow-nonfinite`.)"
            return KingyoError(where, "finite weights", "NaN or infinity", remedy)
    expected = f"merged weights that {job.dtype} can hold"
    remedy = "Make the weights (or lambda) smaller, or set out_dtype: float32."
    return KingyoError(job.name, expected, "NaN or infinity", remedy)

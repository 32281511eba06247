"""One job of a plan: the merge of one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from traceback import extract_tb
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels import Lazy, WeightedSum
from kingyo.kernels.blocks import all_finite
from kingyo.kernels.facts import TensorStats
from kingyo.kernels.measures import is_finite
from kingyo.kernels.work import write
from kingyo.methods import TensorContext, hides_nonfinite

if TYPE_CHECKING:  # a plan may hold merges that are computed as its other models are read
    from kingyo.engine.plan import TensorJob

Read = Callable[[str, str], Tensor]
"""Model reference, tensor name -> the tensor as stored."""
_RETURN = "Have the method return a torch.Tensor in float32, of the shape of its arguments."


def result(
    job: TensorJob, read: Read, facts: TensorStats | None = None, *, nonfinite: bool = False
) -> Tensor | Lazy:
    """What a job comes to, before it is rounded; most is computed when it is written.

    Args:
        job: the merge of one tensor.
        read: reads tensors.
        facts: measures of earlier candidates.
        nonfinite: whether sources may be NaN or infinite; else they are looked at where results hide it.

    Raises:
        KingyoError: integers differ between the models, or a source is broken where nobody would see it.
    """
    tensors, base = _read_all(job, read)
    if job.method is None:
        return _same(job, tensors if base is None else [base, *tensors])
    identities = tuple(each.identity(job.name) for each in job.inputs)
    ancestor = job.base and job.base.identity(job.name)
    if not nonfinite and hides_nonfinite(job.method, job.values):
        named = list(zip(identities, tensors, strict=True))
        if base is not None and ancestor is not None:
            named.append((ancestor, base))
        _check_hidden(job, named, facts, read)
    context = TensorContext(job.seed, job.name, facts, identities, ancestor)
    try:
        made = job.method(tensors, base, job.values, context)
    except Exception as error:  # noqa: BLE001 - it raises, clearly
        method_failed(job, error)
    _check_result(job, job.method.name, made)
    return made


def _check_result(job: TensorJob, method: str, made: Tensor | Lazy) -> None:
    if type(made) is not WeightedSum and not _is_result(made):
        raise KingyoError(
            method,
            expected="a tensor or a Blend",
            received=f"an object of the class {type(made).__name__}",
            remedy=_RETURN,
        )
    if tuple(made.shape) != job.shape:
        raise KingyoError(
            f"{method}: {job.name}",
            expected=f"a result of the shape {list(job.shape)}",
            received=f"one of {list(made.shape)}",
            remedy=_RETURN,
        )


def method_failed(job: TensorJob, error: Exception) -> NoReturn:
    """Raise what a method raised: as it is if it is clear, or if the method is kingyo's.

    Raises:
        KingyoError: names the method, the tensor and the line.
    """
    if isinstance(error, KingyoError) or type(job.method).__module__.startswith("kingyo."):
        raise error
    last = next((frame for frame in reversed(extract_tb(error.__traceback__))), None)
    place = "" if last is None else f" in {last.filename}, line {last.lineno}"
    name = "the method" if job.method is None else job.method.name
    raise KingyoError(
        f"{name}: {job.name}",
        expected="a method that merges it",
        received=f"{type(error).__name__}: {error}{place}",
        remedy="Correct the method.",
    ) from error


def _is_result(made: object) -> bool:
    return hasattr(made, "block") or isinstance(made, torch.Tensor)


def _read_all(job: TensorJob, read: Read) -> tuple[list[Tensor], Tensor | None]:
    """The inputs and the base; what is named twice is read once, since reading may be a merge of its own."""
    names = [(each.reference, each.tensor) for each in job.inputs]
    if len(set(names)) == len(names):
        tensors = [read(*name) for name in names]
    else:
        found = {name: read(*name) for name in dict.fromkeys(names)}
        tensors = [found[name] for name in names]
    base = read(job.base.reference, job.base.tensor) if job.base is not None else None
    return tensors, base


def compute(job: TensorJob, read: Read, facts: TensorStats | None = None) -> Tensor:
    """Merge one tensor: in float32, rounded once to the dtype of the job.

    Raises:
        KingyoError: the result is NaN or infinite, or integers differ between the models.
    """
    out = torch.empty(job.shape, dtype=getattr(torch, job.dtype))
    n = out.numel()
    if n and not write(result(job, read, facts), (0, n), out.view(-1)):
        raise not_finite(job, read)
    return out


def _check_hidden(
    job: TensorJob, named: Sequence[tuple[str, Tensor]], facts: TensorStats | None, read: Read
) -> None:
    """Look at the sources of a method in whose results nobody would see that one of them is broken."""
    for identity, tensor in named:
        name = f"finite\n{job.name}\n{identity}"
        if facts is not None and facts.get(name) is not None:
            continue
        if not is_finite(tensor):
            raise not_finite(job, read)
        if facts is not None:
            facts.put(name, np.ones(1))


def not_finite(job: TensorJob, read: Read) -> KingyoError:
    """What to say of a result with NaN or infinity in it: which model is broken, if one is."""
    for each in job.reads:
        if not all_finite(read(each.reference, each.tensor)):
            return KingyoError(
                f"{each.reference}: {each.tensor}",
                expected="finite weights",
                received="NaN or infinity",
                remedy="Leave this model out, or fetch it again. (`kingyo merge --allow-nonfinite` goes on.)",
            )
    return KingyoError(
        job.name,
        expected=f"merged weights that {job.dtype} can hold",
        received="NaN or infinity",
        remedy="Make the weights (or lambda) smaller, or set out_dtype: float32.",
    )


def _same(job: TensorJob, tensors: Sequence[Tensor]) -> Tensor:
    if any(not torch.equal(tensors[0], tensor) for tensor in tensors[1:]):
        raise KingyoError(
            job.name,
            expected="equal values in all models, since they are not floating point",
            received="values that differ",
            remedy="Merge models of one architecture and vocabulary.",
        )
    return tensors[0]

"""Gradients by the parameters of merges equal finite differences, and torch's with fixed masks and signs."""

import math
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor

from kingyo.merging.engine.gradients import parameter_gradients
from kingyo.merging.engine.jobs import TensorInput, TensorJob, compute, result
from kingyo.merging.kernels import WeightedSum
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.methods import METHODS, MethodValues, takes_base

N = 3
SHAPE = (40, 30)
DENSE = {"t", "weight", "lambda", "scale"}
SMOOTH = [
    *(("linear", {"normalize": flag}) for flag in (True, False)),
    *(("task_arithmetic", {"normalize": flag}) for flag in (True, False)),
    *(("dare_linear", {"rescale": flag}) for flag in (True, False)),
    *((method, {}) for method in ("slerp", "nuslerp", "passthrough", "breadcrumbs", "della_linear")),
]
ELECTING = [
    (method, {"normalize": flag})
    for method in ("ties", "dare_ties", "breadcrumbs_ties")
    for flag in (True, False)
]


class Tensors:
    """A base and sources near it, and a loss ⟨G, θ⟩."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        draw = torch.Generator().manual_seed(0)
        base = torch.randn(SHAPE, generator=draw) * 0.1
        self.by_name = {"base": base.to(dtype)}
        for i in range(N):
            self.by_name[f"m{i}"] = (base + torch.randn(SHAPE, generator=draw) * 0.05).to(dtype)
        self.upstream = torch.randn(SHAPE, generator=draw)

    def read(self, reference: str, _tensor: str) -> Tensor:
        return self.by_name[reference]

    def loss(self, job: TensorJob) -> float:
        return float((compute(job, self.read).double() * self.upstream.double()).sum())


def job_of(method: str, values: dict[str, float | bool]) -> TensorJob:
    own = METHODS.get(method)
    n = own.max_sources or N
    typical = {"weight": (0.7, 0.2, 0.5), "density": (0.4, 0.6, 0.5), "scale": (0.9,), "t": (0.3,)}
    per_source = {
        each.name: typical.get(each.name, (each.default or 0.1,) * n)[:n]
        for each in own.params
        if each.per_source
    }
    defaults = {each.name: 0.3 if each.default is None else each.default for each in own.params}
    shared = {
        each.name: values.get(each.name, defaults[each.name]) for each in own.params if not each.per_source
    }
    return TensorJob(
        name="w",
        shape=SHAPE,
        dtype="float32",
        method=own,
        inputs=tuple(TensorInput(reference=f"m{i}", tensor="w") for i in range(n)),
        base=TensorInput(reference="base", tensor="w") if takes_base(own) or method == "nuslerp" else None,
        values=MethodValues(shared=cast("dict[str, float | bool]", shared), per_source=per_source),
        seed=3,
    )


def moved(job: TensorJob, name: str, source: int | None, step: float) -> TensorJob:
    values = job.values
    if source is None:
        return replace(
            job, values=replace(values, shared={**values.shared, name: values.number(name) + step})
        )
    own = list(values.per_source[name])
    own[source] += step
    return replace(job, values=replace(values, per_source={**values.per_source, name: tuple(own)}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("method", "values"), SMOOTH)
def test_equal_finite_differences(method: str, values: dict[str, float | bool], dtype: torch.dtype) -> None:
    tensors, job, step = Tensors(dtype), job_of(method, values), 1e-2
    found = parameter_gradients(job, tensors.upstream, tensors.read, TensorStats(1 << 20))
    names = {name for name, _ in found}
    assert names & DENSE, "the method has a parameter to learn"
    for (name, source), gradient in found.items():
        ends = [tensors.loss(moved(job, name, source, sign * step)) for sign in (1.0, -1.0)]
        assert gradient == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=2e-3), (name, source)


@pytest.mark.parametrize(("method", "values"), ELECTING)
def test_equal_torch_with_fixed_masks_and_signs(method: str, values: dict[str, float | bool]) -> None:
    tensors, job = Tensors(), job_of(method, values)
    found = parameter_gradients(job, tensors.upstream, tensors.read, TensorStats(1 << 20))
    merged = result(job, tensors.read)
    assert isinstance(merged, WeightedSum)
    weights = torch.tensor(job.values.each("weight"), dtype=torch.float64, requires_grad=True)
    factor = torch.tensor(merged.scale, dtype=torch.float64, requires_grad=True)
    ratios = torch.tensor([term.factor for term in merged.terms]).double() / weights.detach()
    deltas = merged.rows((0, math.prod(SHAPE))).double()
    terms = deltas * (ratios * weights)[:, None]
    agrees = (terms * torch.where(terms.sum(0) < 0, -1.0, 1.0)).detach() > 0
    total = (terms * agrees).sum(0)
    if values["normalize"]:
        divisor = (agrees * weights[:, None]).sum(0)
        total = total / torch.where(divisor.detach() == 0, 1.0, divisor)
    loss = factor * (total * tensors.upstream.double().reshape(-1)).sum()
    by_weight, by_scale = torch.autograd.grad(loss, (weights, factor))
    for i in range(N):
        assert found["weight", i] == pytest.approx(float(by_weight[i]), rel=1e-4, abs=1e-5)
    assert found["lambda", None] == pytest.approx(float(by_scale), rel=1e-4, abs=1e-5)
    assert ("density", 0) not in found, "masks change with it"


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "linear"])
def test_a_source_of_weight_0_has_a_gradient(method: str) -> None:
    tensors = Tensors()
    job = job_of(method, {"normalize": False})
    job = replace(
        job, values=replace(job.values, per_source={**job.values.per_source, "weight": (0.7, 0.0, 0.5)})
    )
    found = parameter_gradients(job, tensors.upstream, tensors.read, TensorStats(1 << 20))
    if method != "ties":  # where a term of weight 0 never agrees
        ends = [tensors.loss(moved(job, "weight", 1, step)) for step in (1e-2, -1e-2)]
        assert found["weight", 1] == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=1e-3, abs=2e-3)
    assert ("weight", 1) in found


def test_all_methods_are_tried() -> None:
    tensors = Tensors()
    learned: set[str] = set()
    for method in METHODS.names():
        found = parameter_gradients(job_of(method, {}), tensors.upstream, tensors.read, TensorStats(1 << 20))
        assert all(map(math.isfinite, found.values())), method
        learned |= {method} if found else set()
    assert learned >= {method for method, _ in (*SMOOTH, *ELECTING)}

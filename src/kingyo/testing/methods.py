"""Contract tests for merge methods: subclass them in pytest and set ``method``.

class TestMine(MergeMethodContract):
    method = Mine()
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.kernels import Lazy, to_tensor
from kingyo.merging.kernels.raw_tensor import RawTensor, bytes_of
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.kernels.threads import execution, has_compiler
from kingyo.merging.kernels.writing import write
from kingyo.merging.methods import (
    MergeMethod,
    MethodValues,
    Parameter,
    Reproduces,
    TensorContext,
    describes,
    merge_tensor,
    reproduces,
    takes_base,
)

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SHAPES = ((), (1,), (0,), (3, 0), (0, 4), (7,), (5, 6), (1, 6), (6, 1), (2, 3, 4), (5, 1, 1), (300, 257))


class MergeMethodContract:
    """Contract of a merge method. Subclass it and set ``method``; override the attributes if needed."""

    method: MergeMethod
    keeps_equal: bool = True  # sources that equal the base (or one another, without a base) give that tensor
    scales: bool = True  # scaling sources and base by 4 scales the result by 4
    compiled_dtypes: tuple[torch.dtype, ...] = DTYPES  # that its loops are compiled for

    @property
    def n_sources(self) -> int:
        most = self.method.max_sources
        return max(self.method.min_sources, 3 if most is None else min(3, most))

    @property
    def any_order(self) -> bool:
        """Whether the result depends on the order of sources only by rounding."""
        return not self.method.stochastic and self.n_sources > 1

    @property
    def with_base(self) -> tuple[bool, ...]:
        return (True,) if self.method.needs_base else (False, True) if takes_base(self.method) else (False,)

    def values(self, n: int) -> MethodValues:
        """Return typical values: mid-range if searched, else the default; different per source."""
        shared: dict[str, float | bool] = {}
        per_source: dict[str, tuple[float, ...]] = {}
        for parameter in self.method.params:
            if parameter.per_source:
                per_source[parameter.name] = tuple(_typical(parameter, i / n) for i in range(n))
            elif parameter.kind == "bool":
                shared[parameter.name] = bool(parameter.default)
            else:
                shared[parameter.name] = _typical(parameter, 0.0)
        return MethodValues(shared=shared, per_source=per_source)

    def result(
        self, sources: Sequence[Tensor], base: Tensor | None, context: TensorContext | None = None
    ) -> Tensor | Lazy:
        context = context or TensorContext(0, "contract.weight")
        return merge_tensor(self.method, sources, base, self.values(len(sources)), context)

    def merge(self, sources: Sequence[Tensor], base: Tensor | None, seed: int = 0) -> Tensor:
        return to_tensor(self.result(sources, base, TensorContext(seed, "contract.weight")))

    def worlds(
        self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32
    ) -> list[tuple[list[Tensor], Tensor | None]]:
        sources, base = tensors(self.n_sources, shape, dtype)
        return [(sources, base if given else None) for given in self.with_base]

    def test_it_is_a_merge_method(self) -> None:
        assert isinstance(self.method, MergeMethod)
        assert self.method.name and self.method.doc
        assert reproduces(self.method) in get_args(Reproduces)
        most = self.method.max_sources
        assert self.method.min_sources >= 1 and (most is None or most >= self.method.min_sources)
        assert takes_base(self.method) or not self.method.needs_base, "it needs a base that it does not take"

    def test_parameters_are_valid(self) -> None:
        names = [parameter.name for parameter in self.method.params]
        assert len(names) == len(set(names)), f"declared twice: {names}"
        for parameter in self.method.params:
            assert parameter.doc, f"{parameter.name} has no description"
            for number in (parameter.default, parameter.search_low, parameter.search_high):
                if number is not None:
                    parameter.check(number, "the contract")
            low, high = parameter.search_low, parameter.search_high
            assert (low is None) == (high is None), f"{parameter.name}: one search bound without the other"
            if low is not None and high is not None:
                assert low < high and parameter.kind != "bool", f"{parameter.name}: no search range"
                assert parameter.search_scale == "linear" or low > 0, f"{parameter.name}: a log range from 0"

    def test_shape_and_dtype(self) -> None:
        for shape in SHAPES:
            for dtype in DTYPES:
                for sources, base in self.worlds(shape, dtype):
                    merged = self.merge(sources, base)
                    assert (merged.dtype, merged.shape) == (torch.float32, torch.Size(shape)), dtype
                    assert bool(torch.isfinite(merged).all()), f"{dtype} {shape}"

    def test_dtypes_differ_by_their_rounding_alone(self) -> None:
        for dtype in (torch.float16, torch.bfloat16):
            for sources, base in self.worlds((40, 33), dtype):
                wide = [source.float() for source in sources], base if base is None else base.float()
                for given in (base, wide[1]):  # also with a base wider than the sources
                    assert torch.equal(self.merge(sources, given), self.merge(*wide)), dtype

    def test_degenerate_sources_give_finite_numbers(self) -> None:
        zeros = torch.zeros(5, 4)
        cases = [([zeros] * self.n_sources, zeros if given else None) for given in self.with_base]
        cases += [([zeros + 1] * self.n_sources, base) for _, base in cases]
        for sources, base in self.worlds((6, 5)):
            if base is not None:
                rows = [torch.cat([source[:2], base[2:3], source[3:]]) for source in sources]
                cases += [([base.clone(), *sources[1:]], base), (rows, base)]
        for sources, base in cases:
            assert bool(torch.isfinite(self.merge(sources, base)).all())

    def test_nan_does_not_vanish(self) -> None:
        for sources, base in self.worlds((6, 5)):
            sources[0][1, 2] = math.nan
            try:
                merged = self.merge(sources, base)
            except KingyoError:
                continue
            assert not bool(torch.isfinite(merged).all())

    def test_arguments_are_untouched(self) -> None:
        for dtype in DTYPES:
            for sources, base in self.worlds((9, 11), dtype):
                given = [*sources, *([] if base is None else [base])]
                before = [tensor.clone() for tensor in given]
                self.merge(sources, base).add_(1)
                for tensor, copy in zip(given, before, strict=True):
                    assert torch.equal(tensor, copy), f"an argument was changed ({dtype})"

    def test_it_is_deterministic(self) -> None:
        """Equal arguments give bit-identical results, for views and, if declared, any number of threads."""
        threads = torch.get_num_threads()
        for sources, base in self.worlds((200, 201)):
            first, views = self.merge(sources, base), [tensor.t().contiguous().t() for tensor in sources]
            assert torch.equal(first, self.merge(sources, base)), "other bits on a second call"
            assert self._same(first, self.merge(views, base)), "other bits for views"
            try:
                for count in (1, 2, 3):
                    torch.set_num_threads(count)
                    assert self._same(first, self.merge(sources, base)), f"other bits with {count} threads"
            finally:
                torch.set_num_threads(threads)

    def test_any_spans_give_the_same_bits(self) -> None:
        for shape in ((37, 29), (2001, 5), (5, 2001), (70_001,)):
            for sources, base in self.worlds(shape):
                result = self.result(sources, base)
                if isinstance(result, Tensor):
                    continue
                n = math.prod(shape)
                cuts = [0, 1, n // 7, n // 7 + 32, n // 2 + 1, n - 3, n]
                merged = torch.empty(n)
                for start, stop in reversed(list(pairwise(cuts))):
                    merged[start:stop] = result.block((start, stop))
                assert torch.equal(merged.reshape(shape), to_tensor(result)), f"{shape}"

    def test_described_merges_need_no_torch(self) -> None:
        if not describes(self.method) or not has_compiler():
            return
        values, context = self.values(self.n_sources), TensorContext(0, "contract.weight")
        for dtype in self.compiled_dtypes:
            for sources, base in self.worlds((300, 257), dtype) + self.worlds((7,), dtype):
                raw = [*map(_raw, sources)], None if base is None else _raw(base)
                merged = torch.empty_like(sources[0], dtype=torch.float32)
                with execution(compiled=True):
                    result = merge_tensor(self.method, *raw, values, context)
                    write(result, (0, merged.numel()), merged.view(-1))
                assert torch.equal(merged, self.merge(sources, base)), dtype

    def test_cached_statistics_change_nothing(self) -> None:
        for sources, base in self.worlds((30, 31)) + self.worlds((300, 257), torch.bfloat16):
            names = [f"source-{i}" for i in range(len(sources))]
            stats, wanted = TensorStats(), self.merge(sources, base)
            views = [tensor.t().contiguous().t() for tensor in sources]
            for given in (sources, sources, views, sources):
                context = TensorContext(0, "contract.weight", stats, names, "base")
                assert self._same(wanted, to_tensor(self.result(given, base, context)))

    def test_only_random_methods_depend_on_the_seed(self) -> None:
        for sources, base in self.worlds((40, 40)):
            first = self.merge(sources, base, seed=1)
            assert torch.equal(first, self.merge(sources, base, seed=2)) != self.method.stochastic
            other = to_tensor(self.result(sources, base, TensorContext(1, "other.weight")))
            assert torch.equal(first, other) != self.method.stochastic

    def test_equal_sources_give_just_that(self) -> None:
        if not self.keeps_equal:
            return
        for shape in ((8, 9), (7,), ()):
            for sources, base in self.worlds(shape):
                wanted = base if base is not None else sources[0]
                merged = self.merge([wanted.clone() for _ in sources], base)
                assert torch.allclose(merged, wanted, rtol=1e-6, atol=0)

    def test_scale(self) -> None:
        if not self.scales:
            return
        for sources, base in self.worlds((20, 21)):
            large = self.merge([4 * source for source in sources], None if base is None else 4 * base)
            assert _close(large, 4 * self.merge(sources, base))

    def _same(self, one: Tensor, other: Tensor) -> bool:
        if reproduces(self.method) == "with the same number of threads":
            return _close(one, other)
        return torch.equal(one, other)

    def test_order_of_sources(self) -> None:
        if not self.any_order:
            return
        for sources, base in self.worlds((20, 20)):
            values = self.values(len(sources))
            reversed_values = MethodValues(
                shared=values.shared,
                per_source={name: numbers[::-1] for name, numbers in values.per_source.items()},
            )
            context = TensorContext(0, "contract.weight")
            forward = to_tensor(merge_tensor(self.method, sources, base, values, context))
            backward = to_tensor(merge_tensor(self.method, sources[::-1], base, reversed_values, context))
            assert torch.allclose(forward, backward, rtol=1e-4, atol=1e-5)


def tensors(n: int, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Return n sources near a base, and the base."""
    generator = torch.Generator().manual_seed(n)
    base = torch.randn(shape, generator=generator)
    sources = [base + 0.1 * torch.randn(shape, generator=generator) for _ in range(n)]
    return [source.to(dtype) for source in sources], base.to(dtype)


def _raw(tensor: Tensor) -> RawTensor:
    name = str(tensor.dtype).removeprefix("torch.")
    return RawTensor(bytes_of(tensor), name, tuple(tensor.shape))


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def _typical(parameter: Parameter, place: float) -> float:
    low, high = parameter.search_low, parameter.search_high
    if low is not None and high is not None:
        middle = low + (high - low) * (0.5 + 0.4 * place)
        return round(middle) if parameter.kind == "int" else middle
    return 1.0 if parameter.default is None else float(parameter.default)

"""The contract of a merge method, as tests: subclass it under pytest and say which method is yours.

    class TestMine(MergeMethodContract):
        method = Mine()

Each test states one promise of ``kingyo.methods.MergeMethod``. They see the method from outside only, and
need nothing but ``assert``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.kernels import whole
from kingyo.methods import MergeMethod, MethodValues, Parameter, TensorContext

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SHAPES = ((), (1,), (0,), (3, 0), (7,), (5, 6), (2, 3, 4), (300, 257))


class MergeMethodContract:
    """What every merge method promises. Subclass it and set ``method``; narrow the attributes if need be.

    Attributes:
        method: the method.
        n_sources: how many sources the tests merge; by default three, or as many as the method takes.
        any_order: whether the order of sources does not matter beyond rounding; true by default for methods
            of two sources or more that draw no random numbers.
        keeps_base: whether sources that equal the base give the base; true by default for methods that need
            a base.
    """

    method: MergeMethod

    @property
    def n_sources(self) -> int:
        """How many sources the tests merge."""
        most = self.method.max_sources
        return max(self.method.min_sources, 3 if most is None else min(3, most))

    @property
    def any_order(self) -> bool:
        """Whether the order of sources does not matter."""
        return not self.method.stochastic and self.n_sources > 1

    @property
    def keeps_base(self) -> bool:
        """Whether sources that equal the base give the base."""
        return self.method.needs_base

    def values(self, n: int) -> MethodValues:
        """Values that are typical: the middle of what is searched, else the default; unequal for sources."""
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

    def merge(self, sources: Sequence[Tensor], base: Tensor | None, seed: int = 0) -> Tensor:
        """Merge with typical values."""
        used = base if self.method.needs_base else None
        merged = self.method(sources, used, self.values(len(sources)), TensorContext(seed, "contract.weight"))
        return whole(merged)

    # what it declares

    def test_it_is_a_merge_method(self) -> None:
        """All that a plan reads is there."""
        assert isinstance(self.method, MergeMethod)
        assert self.method.name and self.method.doc
        most = self.method.max_sources
        assert self.method.min_sources >= 1 and (most is None or most >= self.method.min_sources)

    def test_parameters_are_declared_once(self) -> None:
        """Names are distinct."""
        names = [parameter.name for parameter in self.method.params]
        assert len(names) == len(set(names)), f"declared twice: {names}"

    def test_defaults_and_search_bounds_are_valid(self) -> None:
        """What it declares passes its own check."""
        for parameter in self.method.params:
            for number in (parameter.default, parameter.search_low, parameter.search_high):
                if number is not None:
                    parameter.check(number, "the contract")
            low, high = parameter.search_low, parameter.search_high
            assert (low is None) == (high is None), f"{parameter.name}: half a range"
            assert low is None or high is None or low < high, f"{parameter.name}: an empty range"

    def test_values_out_of_bounds_are_errors(self) -> None:
        """A value outside validity raises, and so does one of the wrong kind."""
        for parameter in self.method.params:
            wrong: list[float | bool] = [0.5 if parameter.kind == "bool" else True]
            wrong += [parameter.low - 1.0] if parameter.low is not None else []
            wrong += [parameter.high + 1.0] if parameter.high is not None else []
            for value in wrong:
                try:
                    parameter.check(value, "the contract")
                except KingyoError:
                    continue
                raise AssertionError(f"{parameter.name} accepts {value!r}")

    # what it returns

    def test_shape_and_dtype(self) -> None:
        """Any shape and floating dtype goes in, float32 of that shape comes out, finite."""
        for shape in SHAPES:
            for dtype in DTYPES:
                sources, base = tensors(self.n_sources, shape, dtype)
                merged = self.merge(sources, base)
                assert merged.dtype == torch.float32, f"{dtype} {shape} gives {merged.dtype}"
                assert merged.shape == torch.Size(shape), f"{shape} gives {tuple(merged.shape)}"
                assert bool(torch.isfinite(merged).all()), f"{dtype} {shape} gives NaN or infinity"

    def test_zeros_give_finite_numbers(self) -> None:
        """Tensors of zeros, which have no direction and no length, are no special case."""
        zeros = torch.zeros(5, 3)
        for sources, base in (([zeros] * self.n_sources, zeros), ([zeros + 1] * self.n_sources, zeros)):
            assert bool(torch.isfinite(self.merge(sources, base)).all())

    def test_arguments_are_untouched(self) -> None:
        """It never writes to a source or the base, nor returns their memory."""
        for dtype in DTYPES:
            sources, base = tensors(self.n_sources, (9, 11), dtype)
            before = [tensor.clone() for tensor in (*sources, base)]
            self.merge(sources, base).add_(1)
            for tensor, copy in zip((*sources, base), before, strict=True):
                assert torch.equal(tensor, copy), f"it changed an argument ({dtype})"

    def test_it_is_deterministic(self) -> None:
        """The same arguments give the same bits, for any number of threads; views count as their values."""
        sources, base = tensors(self.n_sources, (300, 301), torch.float32)
        first = self.merge(sources, base)
        threads = torch.get_num_threads()
        try:
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                assert torch.equal(first, self.merge(sources, base)), f"other bits with {count} threads"
        finally:
            torch.set_num_threads(threads)
        views = [tensor.t().contiguous().t() for tensor in sources]
        assert torch.equal(first, self.merge(views, base)), "other bits for views"

    def test_only_random_methods_depend_on_the_seed(self) -> None:
        """A seed changes the result if and only if the method says that it is stochastic."""
        sources, base = tensors(self.n_sources, (40, 40), torch.float32)
        same = torch.equal(self.merge(sources, base, seed=1), self.merge(sources, base, seed=2))
        assert same != self.method.stochastic

    def test_sources_like_the_base_give_the_base(self) -> None:
        """No task vector, no change."""
        if not self.keeps_base:
            return
        _, base = tensors(self.n_sources, (8, 9), torch.float32)
        merged = self.merge([base.clone() for _ in range(self.n_sources)], base)
        assert torch.allclose(merged, base, rtol=1e-6, atol=0)

    def test_order_of_sources(self) -> None:
        """Sources and their values in another order give the same, but for rounding."""
        if not self.any_order:
            return
        n = self.n_sources
        sources, base = tensors(n, (20, 20), torch.float32)
        values = self.values(n)
        turned = MethodValues(
            shared=values.shared,
            per_source={name: numbers[::-1] for name, numbers in values.per_source.items()},
        )
        used = base if self.method.needs_base else None
        context = TensorContext(0, "contract.weight")
        there, back = (
            whole(self.method(sources, used, values, context)),
            whole(self.method(sources[::-1], used, turned, context)),
        )
        assert torch.allclose(there, back, rtol=1e-4, atol=1e-5)


def tensors(n: int, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Make n sources near a base, and the base."""
    generator = torch.Generator().manual_seed(n)
    base = torch.randn(shape, generator=generator)
    sources = [base + 0.1 * torch.randn(shape, generator=generator) for _ in range(n)]
    return [source.to(dtype) for source in sources], base.to(dtype)


def _typical(parameter: Parameter, place: float) -> float:
    low, high = parameter.search_low, parameter.search_high
    if low is not None and high is not None:
        return low + (high - low) * (0.5 + 0.4 * place)
    return 1.0 if parameter.default is None else float(parameter.default)

"""The protocol of merge methods, and the parameters that they declare.

Validation, search axes and documentation derive from the declared parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast, runtime_checkable

from kingyo.core.io.lazy_torch import Tensor
from kingyo.errors import KingyoError
from kingyo.merging.kernels import Lazy
from kingyo.merging.kernels.raw_tensor import AnyTensor, as_torch
from kingyo.merging.methods.inputs import MergeInputs, TensorContext

_DECLARED = ("name", "doc", "params", "needs_base", "min_sources", "max_sources", "stochastic")

Reproduces = Literal["everywhere", "on one machine", "with the same number of threads"]
"""Where a method gives bit-identical results, from the strongest guarantee to the weakest.

- ``everywhere``: on every machine, with any number of threads; only IEEE arithmetic and ordered sums.
- ``on one machine``: with any number of threads; other libraries may round sin, acos or exp differently.
- ``with the same number of threads``: on one machine, such as matrix decompositions.
"""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a method.

    Attributes:
        name: its key in recipes.
        doc: one sentence.
        kind: number, whole number or switch.
        default: the default; None means that the recipe must give a value.
        low, high: inclusive bounds of valid values; None means unbounded.
        search_low, search_high: default bounds of a search; None means that it is not searched.
        search_scale: ``log`` if a search should use equal ratios in place of equal differences.
        per_source: each source may have its own value.
        inert: accepted because recipes of mergekit may contain it, but without effect; not searched.
    """

    name: str
    doc: str
    kind: Literal["float", "int", "bool"] = "float"
    default: float | bool | None = None
    low: float | None = None
    high: float | None = None
    search_low: float | None = None
    search_high: float | None = None
    search_scale: Literal["linear", "log"] = "linear"
    per_source: bool = False
    inert: bool = False

    def check(self, value: float | bool, where: str) -> float | bool:
        """Return the value, or raise a KingyoError if its type is wrong or it is out of bounds."""
        name = f"{self.name} of {where}"
        is_whole = self.kind != "int" or (not isinstance(value, bool) and float(value).is_integer())
        if isinstance(value, bool) != (self.kind == "bool") or not is_whole:
            expected = {"bool": "true or false", "int": "a whole number", "float": "a number"}[self.kind]
            raise KingyoError(name, expected, repr(value), "Correct the value.")
        too_low = self.low is not None and value < self.low
        if too_low or (self.high is not None and value > self.high):
            bounds = f"a number {self.describe_bounds()}"
            remedy = f"{'Increase' if too_low else 'Decrease'} the value."
            raise KingyoError(name, bounds, f"{value:g}", remedy)
        return value

    def describe_bounds(self) -> str:
        """Return the bounds as text, such as "from 0 to 1"."""
        if self.low is not None and self.high is not None:
            return f"from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"of at least {self.low:g}"
        return f"of at most {self.high:g}" if self.high is not None else "of any size"


@dataclass(frozen=True, kw_only=True)
class MethodValues:
    """The parameter values for one tensor, resolved and valid: shared ones, and one per source, in order."""

    shared: Mapping[str, float | bool] = field(default_factory=dict[str, "float | bool"])
    per_source: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])

    def number(self, name: str) -> float:
        return float(self.shared[name])

    def flag(self, name: str) -> bool:
        return bool(self.shared[name])

    def each(self, name: str) -> tuple[float, ...]:
        return self.per_source[name]


@dataclass(frozen=True, kw_only=True)
class Guide:
    """Further documentation of a method, for docs/methods.md and ``kingyo list methods``."""

    when: str  # when to choose the method; one or two sentences
    source: str  # authors, year, title and venue
    how: str = ""  # what the method computes; the default is the docstring of its class
    differs: tuple[str, ...] = ()  # differences from mergekit 0.1.5, with reasons; one or two sentences each


@runtime_checkable
class MergeMethod(Protocol):
    """A pure function of one tensor of each source: ``MergesTensors`` or ``DescribesMerge``.

    It computes in float32 or wider for any dtype of its arguments, and never changes them. ``sources`` does
    not include the base. By default all operations are elementwise IEEE arithmetic or sums in a fixed order
    (``kernels.blocks``, ``kernels.statistics``), so that the result is bit-identical on every machine and
    with any number of threads. A method that uses others declares ``reproduces``.

    A method may also declare ``takes_base: bool``, ``reproduces: Reproduces``, ``guide: Guide``,
    ``check(values, n_sources)`` and ``hides_nonfinite(values)``. The functions ``takes_base``,
    ``reproduces``, ``guide_of``, ``check_together`` and ``hides_nonfinite`` describe them and their defaults.
    """

    @property
    def name(self) -> str:
        """The method's name in recipes."""
        ...

    @property
    def doc(self) -> str:
        """One or two sentences on what it does, with its source."""
        ...

    @property
    def params(self) -> tuple[Parameter, ...]:
        """The method's parameters."""
        ...

    @property
    def needs_base(self) -> bool:
        """Whether it requires a base."""
        ...

    @property
    def min_sources(self) -> int:
        """The minimum number of sources, without the base."""
        ...

    @property
    def max_sources(self) -> int | None:
        """The maximum number of sources, without the base; None means any."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether it draws random numbers."""
        ...


class MergesTensors(MergeMethod, Protocol):
    """A method that computes with tensors."""

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Tensor | Lazy:
        """Merge one tensor, which has the same shape in all sources and the base, and any floating dtype.

        Return float32 of this shape: a new tensor, or a ``Lazy`` result such as ``Elementwise``, which needs
        less memory; it is computed before the arguments are freed.
        """
        ...


class DescribesMerge(MergeMethod, Protocol):
    """A method that describes a weighted sum and computes nothing itself, so that it needs no torch."""

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> Lazy:
        """Describe the merge of one tensor as a ``WeightedSum`` or ``LineSum``."""
        ...


def describes(method: MergeMethod) -> bool:
    """Return whether a method is a ``DescribesMerge``; one that can be called merges tensors."""
    return not callable(method)


def merge_tensor(
    method: MergeMethod,
    sources: Sequence[AnyTensor],
    base: AnyTensor | None,
    values: MethodValues,
    context: TensorContext,
) -> Tensor | Lazy:
    """Merge one tensor by a method of either kind; see ``MergesTensors``."""
    if describes(method):
        return cast("DescribesMerge", method).describe(MergeInputs(sources, base, context), values)
    given = [as_torch(each) for each in sources], None if base is None else as_torch(base)
    return cast("MergesTensors", method)(*given, values, context)


def check_method(name: str, candidate: object) -> None:
    """Raise a KingyoError unless an object is a merge method."""
    is_class = isinstance(candidate, type)
    missing = [each for each in _DECLARED if not hasattr(candidate, each)]
    if not is_class and not missing and (callable(candidate) or hasattr(candidate, "describe")):
        return
    cls = candidate if isinstance(candidate, type) else type(candidate)
    kind = f"{'the class' if is_class else 'an object of the class'} {cls.__name__}"
    suffix = f" without {', '.join(missing)}" if missing else ""
    expected = f"a merge method: an object with `__call__` or `describe`, and {', '.join(_DECLARED)}"
    received = f"{kind}{suffix}" if is_class or missing else f"{kind}, which has neither"
    remedy = (
        "Name an instance of a class with these, as in docs/recipes.md or kingyo/merging/methods/nearswap.py."
    )
    raise KingyoError(name, expected, received, remedy)


def takes_base(method: MergeMethod) -> bool:
    """Return whether a method merges task vectors if there is a base; the default is ``needs_base``."""
    return bool(getattr(method, "takes_base", method.needs_base))


def reproduces(method: MergeMethod) -> Reproduces:
    """Return where a method gives bit-identical results; the default is "everywhere"."""
    return cast("Reproduces", getattr(method, "reproduces", "everywhere"))


def check_together(method: MergeMethod, values: MethodValues, n_sources: int) -> None:
    """Check by the method's ``check``, if any, that values fit together and the number of sources."""
    check = cast("Callable[[MethodValues, int], None] | None", getattr(method, "check", None))
    if check is not None:
        check(values, n_sources)


def hides_nonfinite(method: MergeMethod, values: MethodValues) -> bool:
    """Return whether NaN in a source may leave a finite result, so that a merge must check the sources."""
    hides = cast("Callable[[MethodValues], bool] | None", getattr(method, "hides_nonfinite", None))
    return hides is not None and hides(values)


def guide_of(method: MergeMethod) -> Guide | None:
    """Return the guide of a method, or None."""
    guide = getattr(method, "guide", None)
    return guide if isinstance(guide, Guide) else None

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
    """One parameter of a method."""

    name: str  # its key in recipes
    doc: str  # one sentence
    kind: Literal["float", "int", "bool"] = "float"
    default: float | bool | None = None  # None: the recipe must give a value
    low: float | None = None  # inclusive bounds of valid values; None: unbounded
    high: float | None = None
    search_low: float | None = None  # default bounds of a search; None: it is not searched
    search_high: float | None = None
    search_scale: Literal["linear", "log"] = "linear"  # log: equal ratios in place of equal differences
    per_source: bool = False  # each source may have its own value
    inert: bool = False  # recipes of mergekit may have it, but it has no effect; not searched

    def check(self, value: float | bool, where: str) -> float | bool:
        """Return the value, or raise a KingyoError if its type is wrong or it is out of bounds."""
        is_kind = isinstance(value, bool) == (self.kind == "bool")
        is_whole = self.kind != "int" or float(value).is_integer()
        is_inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        if is_kind and is_whole and is_inside:
            return value
        expected = self.valid if self.kind == "bool" else f"a {self.valid}"
        received = repr(value) if isinstance(value, bool) else f"{value:g}"
        raise KingyoError(f"{self.name} of {where}", expected, received, "Correct the value.")

    @property
    def valid(self) -> str:
        """What values are valid, such as "number from 0 to 1"."""
        if self.kind == "bool":
            return "true or false"
        noun = "whole number" if self.kind == "int" else "number"
        if self.low is None:
            return noun if self.high is None else f"{noun} of at most {self.high:g}"
        return (
            f"{noun} of at least {self.low:g}"
            if self.high is None
            else f"{noun} from {self.low:g} to {self.high:g}"
        )


def switch(name: str, default: bool, doc: str) -> Parameter:
    return Parameter(name=name, kind="bool", default=default, doc=doc)


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


@runtime_checkable
class MergeMethod(Protocol):
    """A pure function of one tensor of each source: ``MergesTensors`` or ``DescribesMerge``.

    It computes in float32 or wider for any dtype of its arguments, and never changes them. ``sources`` does
    not include the base. By default all operations are elementwise IEEE arithmetic or sums in a fixed order
    (``kernels.blocks``, ``kernels.statistics``), so that the result is bit-identical on every machine and
    with any number of threads. A method that uses others declares ``reproduces``.

    A method may also declare what ``MethodDefaults`` has.
    """

    @property
    def name(self) -> str:
        """The method's name in recipes."""
        ...

    @property
    def doc(self) -> str:
        """One or two sentences on what it does."""
        ...

    @property
    def params(self) -> tuple[Parameter, ...]: ...

    @property
    def needs_base(self) -> bool: ...

    @property
    def min_sources(self) -> int:
        """The minimum number of sources, without the base."""
        ...

    @property
    def max_sources(self) -> int | None:
        """The maximum number of sources; None means any."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether it draws random numbers."""
        ...


class MethodDefaults:
    """What a method declares unless it says otherwise; to inherit it is optional."""

    needs_base: bool = False
    takes_base: bool | None = None  # whether it merges task vectors if there is a base; None: if it needs one
    min_sources: int = 1
    max_sources: int | None = None
    stochastic: bool = False
    reproduces: Reproduces = "everywhere"
    when: str = ""  # when to choose the method; one or two sentences
    source: str = ""  # authors and year, and where it was published
    differs: tuple[str, ...] = ()  # differences from mergekit 0.1.5, with reasons

    def check(self, _values: MethodValues, _n_sources: int, /) -> None:
        """Raise a KingyoError unless the values fit together and the number of sources."""

    def hides_nonfinite(self, _values: MethodValues, /) -> bool:
        """Return whether NaN in a source may leave a finite result; then a merge checks the sources."""
        return False


class OnBase(MethodDefaults):
    """A method that merges sources on a base."""

    needs_base = True


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
        """Describe the merge of one tensor as a ``WeightedSum``, or as an ``Elementwise`` if need be."""
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
    if not callable(candidate) and not hasattr(candidate, "describe"):
        missing.append("`__call__` or `describe`")
    if not is_class and not missing:
        return
    cls = candidate if isinstance(candidate, type) else type(candidate)
    kind = f"{'the class' if is_class else 'an object of the class'} {cls.__name__}"
    received = f"{kind} without {', '.join(missing)}" if missing else kind
    expected = f"a merge method: an object with `__call__` or `describe`, and {', '.join(_DECLARED)}"
    remedy = "Name an instance of a class with these, as in kingyo/merging/methods/nearswap.py."
    raise KingyoError(name, expected, received, remedy)


def takes_base(method: MergeMethod) -> bool:
    takes = getattr(method, "takes_base", None)
    return method.needs_base if takes is None else bool(takes)


def reproduces(method: MergeMethod) -> Reproduces:
    return cast("Reproduces", getattr(method, "reproduces", "everywhere"))


def check_together(method: MergeMethod, values: MethodValues, n_sources: int) -> None:
    check = cast("Callable[[MethodValues, int], None] | None", getattr(method, "check", None))
    if check is not None:
        check(values, n_sources)


def hides_nonfinite(method: MergeMethod, values: MethodValues) -> bool:
    hides = cast("Callable[[MethodValues], bool] | None", getattr(method, "hides_nonfinite", None))
    return hides is not None and hides(values)

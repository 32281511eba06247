"""What a merge method is: a pure function on one tensor of each source, and the parameters that it declares.

A parameter is declared once, here; search axes, validation and documentation derive from it. Methods know
nothing of recipes, files or models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast, runtime_checkable

from kingyo.errors import KingyoError
from kingyo.kernels import Lazy
from kingyo.kernels.facts import Fact, Facts
from kingyo.kernels.noise import key_of
from kingyo.late import Tensor

_LOOK_UP = "`kingyo list methods METHOD` says what it does."
_DECLARED = ("name", "doc", "params", "needs_base", "min_sources", "max_sources", "stochastic")

Reproduces = Literal["everywhere", "on one machine", "with as many threads"]
"""Where a method gives the same bits again, the widest promise first.

- ``everywhere``: on every machine, for any number of threads: sums in a fixed order, and what IEEE defines.
- ``on one machine``: for any number of threads; another processor or library may round sin, acos or exp in
  another way.
- ``with as many threads``: on one machine, with one number of threads: so it is with matrix decompositions.
"""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a method.

    Attributes:
        name: as in recipes.
        doc: one sentence.
        kind: number, whole number or switch.
        default: None when the recipe must give it.
        low, high: what is valid, both inclusive; None is unbounded.
        search_low, search_high: where a search looks unless told otherwise; None when it is not searched.
        search_scale: whether steps of a search are equal differences or, ``log``, equal ratios.
        per_source: whether each source may have its own value.
        inert: accepted since recipes carry it, but it changes nothing, and is not to be searched.
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
        """Return the value.

        Raises:
            KingyoError: a number for a switch, a switch for a number, or out of bounds.
        """
        whole = self.kind != "int" or (not isinstance(value, bool) and float(value).is_integer())
        if isinstance(value, bool) != (self.kind == "bool") or not whole:
            expected = {"bool": "true or false", "int": "a whole number", "float": "a number"}[self.kind]
            raise KingyoError(
                f"{self.name} of {where}",
                expected=expected,
                received=repr(value),
                remedy=f"Correct it; {_LOOK_UP}",
            )
        too_low = self.low is not None and value < self.low
        if too_low or (self.high is not None and value > self.high):
            bounds = f"a number {self.describe_bounds()}"
            raise KingyoError(
                f"{self.name} of {where}",
                expected=bounds,
                received=f"{value:g}",
                remedy=f"{'Raise' if too_low else 'Lower'} it; {_LOOK_UP}",
            )
        return value

    def describe_bounds(self) -> str:
        """The bounds in words."""
        if self.low is not None and self.high is not None:
            return f"from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"of at least {self.low:g}"
        return f"of at most {self.high:g}" if self.high is not None else "of any size"


@dataclass(frozen=True, kw_only=True)
class MethodValues:
    """The numbers of one tensor's merge, all resolved and valid.

    Attributes:
        shared: parameters with one value.
        per_source: parameters with one value for each source, in order.
    """

    shared: Mapping[str, float | bool] = field(default_factory=dict[str, "float | bool"])
    per_source: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])

    def number(self, name: str) -> float:
        """A shared number."""
        return float(self.shared[name])

    def flag(self, name: str) -> bool:
        """A shared switch."""
        return bool(self.shared[name])

    def each(self, name: str) -> tuple[float, ...]:
        """One number per source."""
        return self.per_source[name]


class TensorContext:
    """What surrounds one tensor's merge: keys of random numbers, and measures that candidates share.

    Args:
        seed: of the recipe.
        tensor: the tensor's name.
        facts: measures of earlier candidates, by name; a new one is added. None keeps nothing.
        sources: what identifies each source's weights among the facts, in the order of the sources.
        base: what identifies the base's weights.
    """

    __slots__ = ("_base", "_facts", "_own", "_seed", "_sources", "_tensor")

    def __init__(
        self,
        seed: int = 0,
        tensor: str = "",
        facts: Facts | None = None,
        sources: Sequence[str] = (),
        base: str | None = None,
    ) -> None:
        self._seed = seed
        self._tensor = tensor
        self._facts = facts
        self._sources = sources
        self._base = base
        self._own: set[str] = set()

    def key(self, source: int) -> tuple[int, int]:
        """The key of a source's random numbers: the same for every recipe with the same seed."""
        return key_of(self._seed, source, self._tensor)

    def recall(self, what: str, sources: Sequence[int], measure: Callable[[], Fact]) -> Fact:
        """A measure of some sources (and the base), taken now unless it was taken before.

        Args:
            what: name of the measure, with every number that it depends on; beginning with ``facts.PASSING``
                if few candidates will ask for the same.
            sources: positions of the sources that it depends on.
            measure: takes it.
        """
        if self._facts is None:
            return measure()
        name = self._fact(what, sources)
        found = self._facts.get(name)
        if found is None:
            found = measure()
            self._facts.put(name, found)
            self._own.add(name)
        return found

    def known(self, what: str, sources: Sequence[int]) -> Fact | None:
        """A measure that an earlier candidate took: then others ask too, and more may be worth keeping."""
        if self._facts is None:
            return None
        name = self._fact(what, sources)
        return None if name in self._own else self._facts.get(name)

    def has_room(self, n_bytes: int) -> bool:
        """Whether a measure of this size can be kept without forgetting others."""
        return self._facts is not None and self._facts.has_room(n_bytes)

    def _fact(self, what: str, sources: Sequence[int]) -> str:
        return "\n".join((what, self._tensor, self._base or "", *(self._sources[i] for i in sources)))


@dataclass(frozen=True, kw_only=True)
class Guide:
    """What the page of methods says of one, beside what it declares.

    Attributes:
        when: when to choose it; one or two sentences.
        source: who says so: authors, year, title, where.
        how: what it computes, where the docstring of its class does not say it.
        differs: where its results are not those of mergekit 0.1.5, and why; one or two sentences each.
    """

    when: str
    source: str
    how: str = ""
    differs: tuple[str, ...] = ()


@runtime_checkable
class MergeMethod(Protocol):
    """A pure function on one tensor of each source.

    It computes in float32 or wider whatever the dtype of its arguments, and never changes them. ``sources``
    does not hold the base. Every operation is elementwise IEEE arithmetic, or a sum in a fixed order
    (``kernels.blocks``, ``kernels.measures``), so that the result has the same bits on every machine and for
    any number of threads. A method for which that does not hold declares ``reproduces``.

    Beside what stands here a method may declare ``takes_base: bool``, ``reproduces: Reproduces``,
    ``guide: Guide``, ``check(values, n_sources)``, ``hides_nonfinite(values)`` and ``hands_on(values)``: see
    the functions ``takes_base``, ``reproduces``, ``guide_of``, ``check_together``, ``hides_nonfinite`` and
    ``hands_on``, which know what holds when it does not.
    """

    @property
    def name(self) -> str:
        """As in recipes."""
        ...

    @property
    def doc(self) -> str:
        """What it does, in one or two sentences, and who says so."""
        ...

    @property
    def params(self) -> tuple[Parameter, ...]:
        """Its parameters."""
        ...

    @property
    def needs_base(self) -> bool:
        """Whether it merges task vectors on a base."""
        ...

    @property
    def min_sources(self) -> int:
        """The least number of sources, without the base."""
        ...

    @property
    def max_sources(self) -> int | None:
        """The largest number of sources, without the base; None for any."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether it draws random numbers."""
        ...

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Tensor | Lazy:
        """Merge.

        Args:
            sources: the same tensor of each source; any shape, any floating dtype.
            base: the base's tensor, of the same shape; None when the method needs none and none is given.
            values: its parameters.
            context: where keys of random numbers come from, and measures that candidates share.

        Returns:
            float32 of that shape: a new tensor, or better (it is faster, and takes no memory) a ``Blend`` or
            another ``Lazy`` result, which is computed while the arguments are still there.
        """
        ...


def check_method(name: str, found: object) -> None:
    """Refuse what is no merge method: a function, a class, an object that lacks something.

    Raises:
        KingyoError: it is none; what it lacks is named.
    """
    is_class = isinstance(found, type)
    lacks = [each for each in _DECLARED if not hasattr(found, each)]
    if not is_class and not lacks and callable(found):
        return
    what = f"the class {found.__name__}" if is_class else f"an object of the class {type(found).__name__}"
    lacking = f", which lacks {', '.join(lacks)}" if lacks else ""
    raise KingyoError(
        name,
        expected=f"a merge method: an object that can be called, with {', '.join(_DECLARED)}",
        received=f"{what}{lacking}" if is_class or lacks else f"{what}, which cannot be called",
        remedy="Write a class with these and name an instance of it; docs/recipes.md has an example, and "
        "kingyo/methods/nearswap.py is another.",
    )


def takes_base(method: MergeMethod) -> bool:
    """Whether it merges task vectors when there is a base: what it says, else whether it needs one."""
    return bool(getattr(method, "takes_base", method.needs_base))


def reproduces(method: MergeMethod) -> Reproduces:
    """Where it gives the same bits again: what it says, else everywhere."""
    return cast("Reproduces", getattr(method, "reproduces", "everywhere"))


def check_together(method: MergeMethod, values: MethodValues, n_sources: int) -> None:
    """Refuse values that are each valid, but not together or with so many sources.

    Raises:
        KingyoError: of the method's ``check``, if it has one.
    """
    check = cast("Callable[[MethodValues, int], None] | None", getattr(method, "check", None))
    if check is not None:
        check(values, n_sources)


def hides_nonfinite(method: MergeMethod, values: MethodValues) -> bool:
    """Whether NaN or infinity in a source may leave a finite result: what it says, else not.

    Then sources are looked at; others are found broken by what becomes of them.
    """
    hides = cast("Callable[[MethodValues], bool] | None", getattr(method, "hides_nonfinite", None))
    return hides is not None and hides(values)


def hands_on(method: MergeMethod, values: MethodValues) -> bool:
    """Whether it computes with no tensor, but hands all on to ``kernels``: what it says, else not.

    It looks at shapes, and returns a ``Blend``. Then a merge of files gives it a ``RawTensor`` of each, and
    need not wait until torch is imported. A mistaken yes costs that time.
    """
    kinds = type(method).__mro__
    told, called = (
        next((i for i, kind in enumerate(kinds) if name in vars(kind)), len(kinds))
        for name in ("hands_on", "__call__")
    )
    if told > called or told == len(kinds):  # what a class says does not hold for one that computes otherwise
        return False
    return cast("Callable[[MethodValues], bool]", method.hands_on)(values)  # pyright: ignore


def guide_of(method: MergeMethod) -> Guide | None:
    """What it says to those who choose, if it says so."""
    guide = getattr(method, "guide", None)
    return guide if isinstance(guide, Guide) else None

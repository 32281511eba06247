"""What one step of a compiled pass does, in ``lanes``: the twin of ``blend`` and ``keep``.

Where everything is stored as bfloat16, lanes are in paired order: those of even elements, then those of odd
ones. Two neighbours share a word of memory, and a hash of ``noise``: so they part, and meet, by one shift.
"""

# pyright: basic, reportReturnType=false, reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from llvmlite import ir

from kingyo.kernels.blend import SMALLEST_DIVISOR
from kingyo.kernels.keep import SMALLEST_CHANCE
from kingyo.kernels.lanes import (
    I16,
    I32,
    I64,
    STORED,
    Lanes,
    constant,
    everywhere,
    fetch,
    halves,
    indices,
    load,
    load_bits,
    load_integers,
    store,
    store_bits,
    total,
)
from kingyo.kernels.noise import FIRST, N_CHANCES, SECOND
from kingyo.kernels.packed import PER_SOURCE, SHARED

_AHEAD = 1024
"""How many elements ahead memory is fetched: the processor itself stops at the end of each page."""


@dataclass
class Pass:
    """One step of a pass: what its description says, and where the values of its arguments are.

    Attributes:
        is_drawn: whether all that is kept by chance was drawn before, by ``draw``.
    """

    text: str
    builder: ir.IRBuilder
    addresses: ir.Value
    numbers: ir.Value
    keys: ir.Value
    width: int = 1
    is_drawn: bool = False
    _loaded: dict[tuple[str, int], ir.Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sources, self.base, self.out, self.kept, self.switches, *_ = self.text.split("/")

    @property
    def goes_past(self) -> bool:
        """Whether the output goes past the caches."""
        return self.out.isupper()

    @property
    def paired(self) -> bool:
        """Whether lanes are in paired order."""
        stored = {*self.sources, self.base, self.out.lower()} - {"-"}
        return self.width > 1 and stored == {"b"} and not set(self.kept) & set("tT")

    @property
    def is_random(self) -> bool:
        return any(kind in ("rRtT" if self.is_drawn else "crRtT") for kind in self.kept)

    def address(self, place: int) -> ir.Value:
        return self.scalar("addresses", place)

    def number(self, place: int) -> Lanes:
        return everywhere(self.builder, self.scalar("numbers", place), self.width)

    def of(self, source: int, which: int) -> Lanes:
        return self.number(SHARED + PER_SOURCE * source + which)

    def scalar(self, what: str, place: int) -> ir.Value:
        return self._loaded[what, place]

    def load_all(self) -> None:
        """Read the arguments now, before the loop begins."""
        for place in range(2 + 2 * len(self.sources)):
            self._loaded["addresses", place] = self._load(self.addresses, place)
        for place in range(SHARED + PER_SOURCE * len(self.sources)):
            self._loaded["numbers", place] = self._load(self.numbers, place)
        for place in range(2 * len(self.sources)):
            self._loaded["keys", place] = self._load(self.keys, place)

    def fetch_all(self, index: ir.Value) -> None:
        """Say that sources and base will be read soon."""
        for k, dtype in enumerate(self.sources):
            fetch(self.builder, self.address(2 + k), index, STORED[dtype])
        if self.base != "-":
            fetch(self.builder, self.address(0), index, STORED[self.base])

    def _load(self, array: ir.Value, place: int) -> ir.Value:
        return self.builder.load(self.builder.gep(array, [ir.Constant(I64, place)]))


def chance(step: Pass, source: int, index: ir.Value) -> Lanes:
    """16 random bits as integers; ``index`` is even where there are several lanes. See ``noise``."""
    return halves(_hashes(step, source, index), index, step.width, paired=step.paired)


def draw(step: Pass, source: int, index: ir.Value) -> None:
    """Write what is kept by chance, a bit each, where ``thinned`` finds it; ``index`` is a multiple of 8."""
    builder, kind = step.builder, ir.VectorType(I16, step.width)
    bits = builder.bitcast(_hashes(step, source, index).value, kind)  # the lower half is the even element's
    threshold = builder.fptosi(step.scalar("numbers", SHARED + PER_SOURCE * source + 2), I32)
    some = builder.icmp_signed(">", threshold, ir.Constant(I32, 0))
    most = builder.trunc(builder.sub(threshold, ir.Constant(I32, 1)), I16)
    below = builder.icmp_unsigned("<=", bits, everywhere(builder, most, step.width).value)
    kept = builder.and_(below, everywhere(builder, some, step.width).value)
    store_bits(Lanes(builder, kept), table(step, source), index, paired=False)


def _hashes(step: Pass, source: int, index: ir.Value) -> Lanes:
    builder, pairs = step.builder, max(1, step.width // 2)
    bits = indices(builder, builder.lshr(index, ir.Constant(I64, 1)), pairs)
    bits = bits.xor(everywhere(builder, step.scalar("keys", 2 * source), pairs))
    bits = bits.xor(bits.right(16)).times(FIRST)
    bits = bits.xor(everywhere(builder, step.scalar("keys", 2 * source + 1), pairs))
    bits = bits.xor(bits.right(15)).times(SECOND)
    return bits.xor(bits.right(16))


def thinned(step: Pass, source: int, delta: Lanes, index: ir.Value) -> Lanes:
    """See ``Keep``: limits by magnitude are given so that equal ones are kept."""
    first, second, kind = step.of(source, 2), step.of(source, 3), step.kept[source]
    if kind in "lm":
        kept = (delta.size() < first).pick(0.0, delta)
        return (delta.size() >= second).pick(0.0, kept) if kind == "m" else kept
    if kind == "d" or (kind == "c" and step.is_drawn):
        bits = load_bits(step.builder, table(step, source), index, step.width, paired=step.paired)
        return bits.pick(delta, 0.0)
    if kind == "c":
        return chance(step, source, index).below(first.to_integers()).pick(delta, 0.0)
    likely = _likely(step, source, index)
    kept = is_kept(step, source, index).pick(delta, 0.0)
    smallest = float(np.float32(SMALLEST_CHANCE))
    return kept / (likely < smallest).pick(smallest, likely) if kind in "RT" else kept


def is_kept(step: Pass, source: int, index: ir.Value) -> Lanes:
    """Which entries are kept by a chance that grows with their rank."""
    by_chance = chance(step, source, index).to_floats() * (1.0 / N_CHANCES)
    return by_chance < _likely(step, source, index)


def _likely(step: Pass, source: int, index: ir.Value) -> Lanes:
    kind = I16 if step.kept[source] in "rR" else I32
    place = table(step, source)
    if step.width > 1:
        fetch(step.builder, place, step.builder.add(index, ir.Constant(I64, _AHEAD)), kind)
    ranks = load_integers(step.builder, place, index, kind, step.width, paired=step.paired)
    return ranks.to_floats() * step.of(source, 3) + step.of(source, 2)


def table(step: Pass, source: int) -> ir.Value:
    """The address of a source's ranks, or of what is drawn."""
    return step.address(2 + len(step.sources) + source)


def variance(deltas: list[Lanes]) -> Lanes:
    """See ``blend.variance``."""
    n = len(deltas)
    if n == 1:
        return Lanes(deltas[0].builder, constant(deltas[0].value.type, 0.0))
    mean = total(deltas) * float(np.float32(1.0 / n))
    away = [delta - mean for delta in deltas]
    return total([each * each for each in away]) * float(np.float32(1.0 / (n - 1)))


def rows(step: Pass, index: ir.Value) -> tuple[list[Lanes], Lanes | None]:
    """What enters the sum of each source, and the base."""
    count = len(step.sources)
    base = None if step.base == "-" else _load(step, 0, index, step.base)
    found = []
    for k in range(count):
        delta = _load(step, 2 + k, index, step.sources[k])
        delta = delta if base is None else delta - base
        found.append(delta if step.kept[k] == "." else thinned(step, k, delta, index))
    if "s" in step.switches:
        steady = variance(found) < step.number(1)
        found = [steady.pick(0.0, delta) for delta in found]
    return found, base


def elected(step: Pass, deltas: list[Lanes], terms: list[Lanes]) -> Lanes:
    """See ``Blend``."""
    sign = total(deltas if "q" in step.switches else terms).sign()
    turned = [term.turned(sign) for term in terms]
    against = [(term <= 0.0) for term in turned]
    merged = total([no.pick(0.0, term) for no, term in zip(against, turned, strict=True)]).turned(sign)
    if "n" not in step.switches:
        return merged
    divisor = total([no.pick(0.0, step.of(k, 1)) for k, no in enumerate(against)])
    smallest = float(np.float32(SMALLEST_DIVISOR))
    if "p" in step.switches:  # what nobody agrees on is 0, whatever divides it
        return merged / (divisor < smallest).pick(smallest, divisor)
    return merged / (divisor.size() < smallest).pick(1.0, divisor)


def blended(step: Pass, index: ir.Value) -> Lanes:
    """One step of a blend."""
    deltas, base = rows(step, index)
    terms = [delta * step.of(k, 0) for k, delta in enumerate(deltas)]
    merged = elected(step, deltas, terms) if "e" in step.switches else total(terms)
    merged = merged * step.number(0) if "x" in step.switches else merged
    return merged if base is None else merged + base


def write(step: Pass, index: ir.Value, numbers: Lanes) -> Lanes:
    """See ``store``."""
    return store(numbers, step.address(1), index, step.out, paired=step.paired)


def _load(step: Pass, place: int, index: ir.Value, dtype: str) -> Lanes:
    if step.width > 1:
        ahead = step.builder.add(index, ir.Constant(I64, _AHEAD))
        fetch(step.builder, step.address(place), ahead, STORED[dtype])
    return load(step.builder, step.address(place), index, dtype, step.width, paired=step.paired)

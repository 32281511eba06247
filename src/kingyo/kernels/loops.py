"""The scalar Python text of a compiled loop: one for each number of sources, their dtypes and masks.

A ``LoopForm`` says what differs from one loop to another; ``text`` writes the loop, which ``fused`` has numba
compile. To see one: ``print(text(Form(parts=(Part("b"), Part("b")), base="b", out="b")))``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from kingyo.kernels.blend import SMALLEST_DIVISOR

SHARED, PER_SOURCE = 2, 4
"""Places among the numbers: scale and spread; then of each source factor, share and two of its mask."""
ROW = 128
"""How many entries of a source are computed at a time where sums are taken of them."""


class LoopTerm(NamedTuple):
    """One source of a loop.

    Attributes:
        dtype: its letter: ``b`` bfloat16, ``h`` float16, ``f`` float32.
        mask: the name of a function of ``keep.ENTRIES``; none keeps all.
        is_random: whether the mask draws.
        ranks: the letter of its ranks: ``r`` uint16, ``t`` int32.
    """

    dtype: str
    mask: str = ""
    is_random: bool = False
    ranks: str = ""


class LoopForm(NamedTuple):
    """What a compiled loop does.

    Attributes:
        parts: its sources.
        base: the letter of the base's dtype; none is a sum of the sources themselves.
        out: the letter of what is written.
        result: the blend; or each source's kept entries (in rows), the magnitude of the first
            source's, or the variance over all.
        elect: whether signs are elected, and by what.
        normalize: see ``Blend``.
        spread: whether only what varies most is kept.
        scaled: whether the sum is scaled by another number than 1.
    """

    parts: tuple[LoopTerm, ...]
    base: str = ""
    out: str = "f"
    result: Literal["blend", "rows", "size", "variance"] = "blend"
    elect: Literal["", "weighted", "equal"] = ""
    normalize: bool = False
    spread: bool = False
    scaled: bool = False

    @property
    def is_paired(self) -> bool:
        """Whether entries are computed in pairs, which share a word of memory or a hash."""
        letters = {self.base, self.out, *(part.dtype for part in self.parts)}
        return "b" in letters or any(part.is_random for part in self.parts)


@lru_cache(maxsize=1 << 12)
def text(form: LoopForm) -> str:
    """Return the loop: a function that writes the entries start..stop to the address ``to``.

    It returns the bits of the largest magnitude that it wrote, before it was rounded.
    """
    lines = [*_entry(form), "", "def loop(text, addresses, numbers, words, start, stop, to):"]
    body = [*_arguments(form), *(_pairs(form) if form.is_paired else _singles(form)), "return worst"]
    return "\n".join([*lines, *_indented(body)])


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _arguments(form: LoopForm) -> Iterator[str]:
    """Yield the lines that name the arguments."""
    n = len(form.parts)
    yield "worst = u32(0)"
    yield "base, scale, spread = addresses[0], numbers[0], numbers[1]"
    for k in range(n):
        place = SHARED + PER_SOURCE * k
        yield f"source{k}, ranks{k} = addresses[{2 + k}], addresses[{2 + n + k}]"
        yield f"factor{k}, share{k} = numbers[{place}], numbers[{place + 1}]"
        yield f"first{k}, second{k} = numbers[{place + 2}], numbers[{place + 3}]"
        yield f"key{k}, other{k} = words[{2 + 2 * k}], words[{3 + 2 * k}]"


def _entry(form: LoopForm) -> Iterator[str]:
    """Yield the lines of ``entry``: the result of one entry."""
    yield "@inline"
    yield f"def entry({', '.join([*_inputs(form, ''), *_numbers(form)])}):"
    for k, part in enumerate(form.parts):
        if form.base:
            yield f"    d{k} = d{k} - b"
        if part.mask:
            drawn, rank = f"u{k}" if part.is_random else "0", f"r{k}" if part.ranks else "0"
            yield f"    d{k} = {part.mask}(d{k}, {drawn}, {rank}, first{k}, second{k})"
    yield from _indented([*_spread(form), *_RESULTS[form.result](form)])


def _inputs(form: LoopForm, suffix: str) -> list[str]:
    """Return what ``entry`` takes of each entry: base, sources, random numbers and ranks."""
    names = ["b"] if form.base else []
    for k, part in enumerate(form.parts):
        names += [f"d{k}", *([f"u{k}"] if part.is_random else []), *([f"r{k}"] if part.ranks else [])]
    return [f"{name}{suffix}" for name in names]


def _numbers(form: LoopForm) -> list[str]:
    """Return what ``entry`` takes besides: the numbers of the loop."""
    names = ["scale", "spread"]
    for k in range(len(form.parts)):
        names += [f"factor{k}", f"share{k}", f"first{k}", f"second{k}"]
    return names


def _call(form: LoopForm, suffix: str) -> str:
    return f"entry({', '.join([*_inputs(form, suffix), *_numbers(form)])})"


def _spread(form: LoopForm) -> list[str]:
    n = range(len(form.parts))
    if not form.spread:
        return []
    return [*_variance(form), "steady = v < spread", *(f"d{k} = pick(steady, ZERO, d{k})" for k in n)]


def _variance(form: LoopForm) -> list[str]:
    """Return the lines that compute v; see ``blend.variance``."""
    n = len(form.parts)
    if n == 1:
        return ["v = ZERO"]
    squares = (f"(d{k} - mean) * (d{k} - mean)" for k in range(n))
    return [
        f"mean = ({_sum(form, 'd')}) * f32({1 / n!r})",
        f"v = ({' + '.join(squares)}) * f32({1 / (n - 1)!r})",
    ]


def _sum(form: LoopForm, name: str) -> str:
    return " + ".join(f"{name}{k}" for k in range(len(form.parts)))


def _blend(form: LoopForm) -> list[str]:
    """Return the lines of a blend; see ``Blend``."""
    lines = [f"t{k} = d{k} * factor{k}" for k in range(len(form.parts))]
    lines += _elected(form) if form.elect else [f"total = {_sum(form, 't')}"]
    lines += ["total = total * scale"] if form.scaled else []
    return [*lines, "return total + b" if form.base else "return total"]


def _elected(form: LoopForm) -> list[str]:
    n = range(len(form.parts))
    lines = [f"vote = {_sum(form, 'd' if form.elect == 'equal' else 't')}"]
    lines += [f"t{k} = turned(t{k}, vote)" for k in n]
    lines += [f"a{k} = pick(t{k} <= ZERO, ZERO, t{k})" for k in n]
    lines += [f"total = turned({_sum(form, 'a')}, vote)"]
    if form.normalize:
        lines += [f"s{k} = pick(t{k} <= ZERO, ZERO, share{k})" for k in n]
        lines += [f"divisor = {_sum(form, 's')}"]
        lines += [f"total = total / pick(abs(divisor) < f32({SMALLEST_DIVISOR!r}), f32(1.0), divisor)"]
    return lines


def _rows(form: LoopForm) -> list[str]:
    return [f"return {', '.join(f'd{k}' for k in range(len(form.parts)))},"]


def _size(_form: LoopForm) -> list[str]:
    return ["return abs(d0)"]


def _only_variance(form: LoopForm) -> list[str]:
    return [*_variance(form), "return v"]


_RESULTS = {
    "blend": _blend,
    "rows": _rows,
    "size": _size,
    "variance": _only_variance,
}


def _singles(form: LoopForm) -> Iterator[str]:
    yield "for i in range(start, stop):"
    yield from _indented([*_single(form)])


def _single(form: LoopForm) -> Iterator[str]:
    """Yield the lines of one entry i, from memory to memory."""
    if form.base:
        yield f"b = read_{form.base}(base, i)"
    for k, part in enumerate(form.parts):
        yield f"d{k} = read_{part.dtype}(source{k}, i)"
        if part.is_random:
            yield f"u{k} = draw(i, key{k}, other{k})"
        if part.ranks:
            yield f"r{k} = read_{part.ranks}(ranks{k}, i)"
    yield f"made = {_call(form, '')}"
    if form.result == "rows":
        for k in range(len(form.parts)):
            yield f"write_f(to, i - start + {ROW * k}, made[{k}])"
    else:
        yield f"write_{form.out}(to, i - start, made)"
        yield "worst = max(worst, size(made))"


def _pairs(form: LoopForm) -> Iterator[str]:
    """Yield the lines of the loop over pairs, and over an odd entry at either end."""
    yield "for side in range(2):"
    yield "    i = stop - 1 if side else start"
    yield "    if start < stop and i & 1 != side:"
    yield from _indented(_indented([*_single(form)]))
    yield "worst_odd = u32(0)"
    yield "for pair in range((start + 1) // 2, stop // 2):"
    yield "    i = 2 * pair"
    if form.base:
        yield f"    b_even, b_odd = pair_{form.base}(base, i)"
    for k, part in enumerate(form.parts):
        yield f"    d{k}_even, d{k}_odd = pair_{part.dtype}(source{k}, i)"
        if part.is_random:
            yield f"    u{k}_even, u{k}_odd = pair_draw(pair, key{k}, other{k})"
        if part.ranks:
            yield f"    r{k}_even, r{k}_odd = pair_{part.ranks}(ranks{k}, i)"
    yield f"    even = {_call(form, '_even')}"
    yield f"    odd = {_call(form, '_odd')}"
    if form.result == "rows":
        for k in range(len(form.parts)):
            yield f"    put_f(to, i - start + {ROW * k}, even[{k}], odd[{k}])"
    else:
        yield f"    put_{form.out}(to, i - start, even, odd)"
        yield "    worst = max(worst, size(even))"
        yield "    worst_odd = max(worst_odd, size(odd))"
    yield "worst = max(worst, worst_odd)"

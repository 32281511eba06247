"""Compiled loops for weighted sums: their text, in scalar Python, and their arguments.

There is one text for each number of sources, their dtypes and masks. A ``LoopForm`` describes the loop,
``text`` writes it, and ``machine_code`` compiles it with numba. To print one:
``print(text(LoopForm(terms=(LoopTerm("b"), LoopTerm("b")), base="b", out="b")))``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from kingyo.merging.kernels.blocks import Span
from kingyo.merging.kernels.masks import CompiledMask, LoopMask, Mask, Ranks, Threshold
from kingyo.merging.kernels.raw_tensor import N_BYTES, AnyTensor, letter_of
from kingyo.merging.kernels.weighted_sum import SMALLEST_DIVISOR, WeightedSum

SHARED, PER_SOURCE = 2, 4
"""Counts of numbers; see ``LoopCall``."""
ROW = 128
"""Entries of a source that are computed at a time for sums."""
CHUNK = 1024
"""Bytes that are computed before they are copied to the output; small, so that loads and stores overlap."""
SIZE_SHIFT = 15
"""Histograms of magnitudes use the upper 17 bits of float32 without the sign: 256 bins per power of two."""
Result = Literal["sum", "rows", "size", "variance"]
"""The weighted sum; the masked entries of each source; the magnitude of the first; the variance over all."""


class LoopTerm(NamedTuple):
    """One source of a loop."""

    dtype: str  # letter of its dtype: ``b`` bfloat16, ``h`` float16, ``f`` float32
    mask: str = ""  # name of a function in ``masks.ENTRY_FUNCTIONS``; empty keeps everything
    is_random: bool = False  # whether the mask draws random numbers
    has_ranks: bool = False  # whether the mask reads ranks


class LoopForm(NamedTuple):
    """What a loop computes."""

    terms: tuple[LoopTerm, ...]  # the sources
    base: str = ""  # letter of the base's dtype; empty for a sum of the sources themselves
    out: str = "f"  # letter of the output's dtype
    result: Result = "sum"
    elect: Literal["", "weighted", "equal"] = ""  # how signs are elected; empty for no election
    normalize: bool = False  # see ``WeightedSum``
    most_varied: bool = False  # whether entries are selected by their variance
    scaled: bool = False  # whether the scale is not 1

    @property
    def is_paired(self) -> bool:
        """Whether entries are computed in pairs, which share a word of memory or a hash."""
        letters = {self.base, self.out, *(term.dtype for term in self.terms)}
        return "b" in letters or any(term.is_random for term in self.terms)


@lru_cache(maxsize=1 << 12)
def text(form: LoopForm) -> str:
    """Return the text of a function that writes the entries start..stop to the address ``to``.

    It returns the bits of the largest magnitude that it wrote, before rounding.
    """
    lines = [*_entry(form), "", "def loop(addresses, numbers, words, start, stop, to):"]
    body = [*_arguments(form), *_loop(form), "return worst"]
    return "\n".join([*lines, *_indented(body)])


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _arguments(form: LoopForm) -> Iterator[str]:
    n = len(form.terms)
    yield "worst = u32(0)"
    yield "base, scale, least_variance = addresses[0], numbers[0], numbers[1]"
    for k in range(n):
        place = SHARED + PER_SOURCE * k
        yield f"source{k}, ranks{k} = addresses[{2 + k}], addresses[{2 + n + k}]"
        yield f"factor{k}, share{k} = numbers[{place}], numbers[{place + 1}]"
        yield f"first{k}, second{k} = numbers[{place + 2}], numbers[{place + 3}]"
        yield f"key{k}, other{k} = words[{2 + 2 * k}], words[{3 + 2 * k}]"


def _entry(form: LoopForm) -> Iterator[str]:
    yield "@inline"
    yield f"def {_call(form, '')}:"
    for k, term in enumerate(form.terms):
        if form.base:
            yield f"    d{k} = d{k} - b"
        if term.mask:
            draw, rank = f"u{k}" if term.is_random else "0", f"r{k}" if term.has_ranks else "0"
            yield f"    d{k} = {term.mask}(d{k}, {draw}, {rank}, first{k}, second{k})"
    if form.most_varied:
        yield from _indented([*_variance(form), "is_steady = variance < least_variance"])
        yield from (f"    d{k} = pick(is_steady, ZERO, d{k})" for k in range(len(form.terms)))
    yield from _indented(_result(form))


def _readers(form: LoopForm) -> Iterator[tuple[str, str, str]]:
    """Yield the inputs of an entry: name, and the calls that read it for one entry and for a pair."""
    if form.base:
        yield "b", f"read_{form.base}(base, i)", f"pair_{form.base}(base, i)"
    for k, term in enumerate(form.terms):
        yield f"d{k}", f"read_{term.dtype}(source{k}, i)", f"pair_{term.dtype}(source{k}, i)"
        if term.is_random:
            yield f"u{k}", f"draw(i, key{k}, other{k})", f"pair_draw(pair, key{k}, other{k})"
        if term.has_ranks:
            yield f"r{k}", f"read_r(ranks{k}, i)", f"pair_r(ranks{k}, i)"


def _numbers(form: LoopForm) -> list[str]:
    names = ["scale", "least_variance"]
    for k in range(len(form.terms)):
        names += [f"factor{k}", f"share{k}", f"first{k}", f"second{k}"]
    return names


def _call(form: LoopForm, suffix: str) -> str:
    inputs = [f"{name}{suffix}" for name, _, _ in _readers(form)]
    return f"entry({', '.join([*inputs, *_numbers(form)])})"


def _variance(form: LoopForm) -> list[str]:
    n = len(form.terms)
    if n == 1:
        return ["variance = ZERO"]
    squares = (f"(d{k} - mean) * (d{k} - mean)" for k in range(n))
    return [
        f"mean = ({_sum(form, 'd')}) * f32({1 / n!r})",
        f"variance = ({' + '.join(squares)}) * f32({1 / (n - 1)!r})",
    ]


def _sum(form: LoopForm, name: str) -> str:
    return " + ".join(f"{name}{k}" for k in range(len(form.terms)))


def _weighted_sum(form: LoopForm) -> list[str]:
    lines = [f"t{k} = d{k} * factor{k}" for k in range(len(form.terms))]
    lines += _elected(form) if form.elect else [f"total = {_sum(form, 't')}"]
    lines += ["total = total * scale"] if form.scaled else []
    return [*lines, "return total + b" if form.base else "return total"]


def _elected(form: LoopForm) -> list[str]:
    n = range(len(form.terms))
    lines = [f"vote = {_sum(form, 'd' if form.elect == 'equal' else 't')}"]
    lines += [f"t{k} = turned(t{k}, vote)" for k in n]
    lines += [f"a{k} = pick(t{k} <= ZERO, ZERO, t{k})" for k in n]
    lines += [f"total = turned({_sum(form, 'a')}, vote)"]
    if form.normalize:
        lines += [f"s{k} = pick(t{k} <= ZERO, ZERO, share{k})" for k in n]
        lines += [f"divisor = {_sum(form, 's')}"]
        lines += [f"total = total / pick(abs(divisor) < f32({SMALLEST_DIVISOR!r}), f32(1.0), divisor)"]
    return lines


def _result(form: LoopForm) -> list[str]:
    if form.result == "rows":
        return [f"return {', '.join(f'd{k}' for k in range(len(form.terms)))},"]
    if form.result == "size":
        return ["return abs(d0)"]
    return [*_variance(form), "return variance"] if form.result == "variance" else _weighted_sum(form)


def _single(form: LoopForm) -> Iterator[str]:
    yield from (f"{name} = {read}" for name, read, _ in _readers(form))
    yield f"result = {_call(form, '')}"
    if form.result == "rows":
        for k in range(len(form.terms)):
            yield f"write_f(to, i - start + {ROW * k}, result[{k}])"
    else:
        yield f"write_{form.out}(to, i - start, result)"
        yield "worst = max(worst, size(result))"


def _loop(form: LoopForm) -> Iterator[str]:
    """Yield the lines of the loop over entries; or over pairs, and of an odd entry at either end."""
    if not form.is_paired:
        yield "for i in range(start, stop):"
        yield from _indented([*_single(form)])
        return
    yield "for side in range(2):"
    yield "    i = stop - 1 if side else start"
    yield "    if start < stop and i & 1 != side:"
    yield from _indented(_indented([*_single(form)]))
    yield "worst_odd = u32(0)"
    yield "for pair in range((start + 1) // 2, stop // 2):"
    yield from _indented([*_pair(form)])
    yield "worst = max(worst, worst_odd)"


def _pair(form: LoopForm) -> Iterator[str]:
    yield "i = 2 * pair"
    yield from (f"{name}_even, {name}_odd = {read}" for name, _, read in _readers(form))
    yield f"even = {_call(form, '_even')}"
    yield f"odd = {_call(form, '_odd')}"
    if form.result == "rows":
        for k in range(len(form.terms)):
            yield f"put_f(to, i - start + {ROW * k}, even[{k}], odd[{k}])"
    else:
        yield f"put_{form.out}(to, i - start, even, odd)"
        yield "worst = max(worst, size(even))"
        yield "worst_odd = max(worst_odd, size(odd))"


_INFINITE_FROM = {"b": 0x7F7F8000, "h": 0x477FF000, "f": 0x7F800000}
"""Bits of the first float32 that each dtype rounds to infinity."""
MAX_SOURCES = 16
_NO_MASK = LoopMask()
_UNMASKED = {letter: LoopTerm(letter) for letter in N_BYTES}


class LoopCall(NamedTuple):
    """One call of a loop on a span; see ``text``."""

    text: str  # text of the loop
    addresses: list[int]  # addresses of entry 0 of base, output and each source; of the ranks of each source
    numbers: list[float]  # scale and least variance; per source factor, share, and two of its mask
    words: list[int]  # bytes per entry of the output, whether to bypass the caches; per source two keys
    held: list[AnyTensor | Ranks]  # tensors and ranks that must live while the loop runs
    span: Span = (0, 0)  # range of entries


CallArguments = tuple[str, NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint32], NDArray[np.int64]]


def call_arguments(calls: Sequence[LoopCall]) -> CallArguments:
    """Return the first arguments of functions in ``machine_code``: arrays, a row per call of one loop."""
    return (
        calls[0].text,
        np.array([call.addresses for call in calls], dtype=np.uint64),
        np.array([call.numbers for call in calls], dtype=np.float32),
        np.array([call.words for call in calls], dtype=np.uint32),
        np.array([call.span for call in calls], dtype=np.int64),
    )


def has_nan(largest: int) -> bool:
    """Return whether the bits of the largest magnitude are NaN."""
    return largest > _INFINITE_FROM["f"]


def overflows(largest: int, dtype: object) -> bool:
    """Return whether the bits of the largest magnitude are NaN, or round to infinity in a dtype."""
    return largest >= _INFINITE_FROM[letter_of(dtype) or "f"]


class SumLoop(NamedTuple):
    """A weighted sum as a loop reads it."""

    call: LoopCall  # its call, without an output and a span, and for the least sizes of index 0
    thresholds: list[tuple[int, Threshold]]  # with the places of their least sizes among the numbers

    def calls(self, span: Span, address: int = 0) -> list[LoopCall]:
        """Return the calls for a span: one, and one more for each threshold whose least size changes in it.

        ``address`` is that of entry 0 of the output.
        """
        text, addresses, _, words, held, _ = self.call
        addresses = [addresses[0], address % 2**64, *addresses[2:]]
        edges = [*span]
        if self.thresholds:
            inside = (each.before for _, each in self.thresholds if span[0] < each.before < span[1])
            edges = sorted({*span, *inside})
        return [
            LoopCall(text, addresses, self._numbers(start), words, held, (start, stop))
            for start, stop in pairwise(edges)
        ]

    def _numbers(self, start: int) -> list[float]:
        if not self.thresholds:
            return self.call.numbers
        numbers = self.call.numbers.copy()
        for place, threshold in self.thresholds:
            numbers[place] = threshold.least if start < threshold.before else _next(threshold.least)
        return numbers


def sum_loop(
    weighted: WeightedSum, out: str = "f", result: Result = "sum", *, bypass_caches: bool = False
) -> SumLoop | None:
    """Return a sum as a loop reads it; None if no loop can. For ``out`` and ``result`` see ``LoopForm``."""
    base = "" if weighted.base is None else _letter(weighted.base)
    masks: list[LoopMask] = []
    terms: list[LoopTerm] = []
    for term in weighted.terms:
        mask, letter = _loop_mask(term.mask), _letter(term.source)
        if mask is None or letter is None:
            return None
        masks.append(mask)
        if mask is _NO_MASK:
            terms.append(_UNMASKED[letter])
        else:
            terms.append(LoopTerm(letter, mask.function, mask.key is not None, mask.ranks is not None))
    if not 0 < len(masks) <= MAX_SOURCES or base is None:
        return None
    form = LoopForm(
        terms=tuple(terms),
        base=base,
        out=out,
        result=result,
        elect="" if not weighted.elect else "equal" if weighted.equal_votes else "weighted",
        normalize=weighted.elect and weighted.normalize,
        most_varied=weighted.most_varied is not None,
        scaled=weighted.scale != 1.0,
    )
    words: list[int] = [N_BYTES[out], bypass_caches]
    for mask in masks:
        words += mask.key or (0, 0)
    return _with_tensors(text(form), weighted, masks, words)


def _letter(tensor: AnyTensor) -> str | None:
    return letter_of(tensor.dtype) if tensor.is_cpu else None


def _loop_mask(mask: Mask | None) -> LoopMask | None:
    if mask is None:
        return _NO_MASK
    return mask.loop_mask() if isinstance(mask, CompiledMask) else None


def _with_tensors(text: str, weighted: WeightedSum, masks: Sequence[LoopMask], words: list[int]) -> SumLoop:
    given: list[float | Threshold] = [weighted.scale, weighted.most_varied or 0.0]
    for term, mask in zip(weighted.terms, masks, strict=True):
        given += (term.factor, term.share, mask.first, mask.second)
    thresholds = [(place, number) for place, number in enumerate(given) if isinstance(number, Threshold)]
    numbers = cast("list[float]", given)
    for place, threshold in thresholds:
        numbers[place] = threshold.least
    sources = [term.source.contiguous() for term in weighted.terms]
    ranks = [mask.ranks for mask in masks]
    base = None if weighted.base is None else weighted.base.contiguous()
    addresses = [
        0 if base is None else base.data_ptr(),
        0,
        *(source.data_ptr() for source in sources),
        *(0 if each is None else each.ctypes.data for each in ranks),
    ]
    held = [each for each in (base, *sources, *ranks) if each is not None]
    return SumLoop(LoopCall(text, addresses, numbers, words, held), thresholds)


def _next(number: float) -> float:
    if number == math.inf:
        return number
    (bits,) = struct.unpack("=I", struct.pack("=f", number))  # several times as fast as numpy.nextafter
    return struct.unpack("=f", struct.pack("=I", bits + 1))[0]

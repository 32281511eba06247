"""Advice for a merge from a comparison of models, in sentences with fixed thresholds.

The reference are independent vectors: cosine 0 ± 1/√n for n numbers, opposite signs in half of the entries,
and 44% of the energy in the largest tenth. For pairs that look independent no method is advised.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from kingyo.compare.weights import CheckpointComparison, ComparisonSums, letter
from kingyo.io.units import percent

RELATED = 0.95  # cosine of weights from which two models have a common ancestor; fine-tunes are above 0.99
UNRELATED = 0.5  # cosine below which they have none; models trained separately are near 0
FAR = 0.7  # ‖δ‖ / ‖base‖ from which a base is not the ancestor; models trained separately are near √2
NEARLY = 1e-4  # ‖A − B‖ / ‖B‖ below which two models differ only by noise
ORTHOGONAL = 0.2  # |cosine| of task vectors below which they look independent, as most fine-tunes of one base
ALIKE = 0.6
SAME = 0.98
CONFLICT = 0.6
UNEQUAL = 3.0
CONCENTRATED = 0.6

Pair = tuple[int, int]
Classes = tuple[tuple[float, float, str], ...]
"""Cosine from, cosine up to, end of the sentence."""

_WEIGHTS: Classes = (
    (RELATED, math.inf, "have a common ancestor. Name it with --base to compare their task vectors."),
    (
        UNRELATED,
        RELATED,
        "are far apart: a merge may lose much of both. If they have a common ancestor, name it with --base.",
    ),
    (-math.inf, UNRELATED, "show no common ancestor: a merge of their weights will most likely fail."),
)
_TASK_VECTORS: Classes = (
    (ORTHOGONAL, ALIKE, "partly the same: keep the sum of their weights near 1, or use ties."),
    (ALIKE, SAME, "much the same: average them (linear, model_stock), since adding them would overshoot."),
    (SAME, math.inf, "nearly one direction: one of them with another weight adds as much. Leave one out."),
    (-math.inf, -ORTHOGONAL, "opposed: each undoes part of the other, so expect to lose some of both."),
)


def advise(comparison: CheckpointComparison) -> tuple[str, ...]:
    """Return sentences of advice for a merge."""
    total = comparison.total
    if not comparison.models or total.numbers == 0:
        return ()
    same = {pair for pair in total.pairs() if total.equal[pair] == total.numbers}
    nearly = {pair: gap for pair in total.pairs() if 0 < (gap := total.relative(*pair) or 0.0) < NEARLY}
    others = [pair for pair in total.pairs() if pair not in same and pair not in nearly]
    on_others = _on_task_vectors if total.has_base else _on_weights
    return (*_on_copies(same, nearly), *on_others(total, others))


def _on_copies(same: Collection[Pair], nearly: Mapping[Pair, float]) -> Iterator[str]:
    if same:
        yield f"{_names(same)} are identical: there is nothing to merge."
    if nearly:
        yield (
            f"{_names(nearly)} differ by {percent(max(nearly.values()), '.1g')} of their norm, like copies "
            "with rounding or noise: a merge of them changes almost nothing."
        )


def _on_weights(total: ComparisonSums, others: Sequence[Pair]) -> Iterator[str]:
    """Yield advice from the cosine of weights, for a comparison without a base."""
    for pairs, follows in _classify({pair: total.cosine(*pair) for pair in others}, _WEIGHTS):
        yield f"{_names(pairs)} (cosine of weights {_span(pairs.values(), digits=4)}) {follows}"


def _on_task_vectors(sums: ComparisonSums, others: Sequence[Pair]) -> Iterator[str]:
    moved = [i for i in range(sums.n_models) if sums.delta_norm(i) > 0]
    for i in range(sums.n_models):
        change = sums.change(i)
        if i not in moved:
            yield f"{letter(i)} is identical to its base: it has nothing to add."
        elif change is not None and change >= FAR:
            yield (
                f"{letter(i)} differs from its base by {_percents([change])} of the base's norm, like models "
                "trained separately: methods on task vectors will most likely fail. Check the base."
            )
    directed = {pair: cosine for pair in others if (cosine := sums.delta_cosine(*pair)) is not None}
    plain = [pair for pair, cosine in directed.items() if abs(cosine) < ORTHOGONAL]
    if plain:
        yield _independent(sums, plain)
    clear = {pair: cosine for pair, cosine in directed.items() if pair not in plain}
    for pairs, follows in _classify(clear, _TASK_VECTORS):
        yield f"The task vectors of {_names(pairs)} (cosine {_span(pairs.values())}) are {follows}"
    yield from _on_signs(sums, others)
    yield from _on_sizes(sums, moved)
    yield from _on_energy(sums, moved)


def _independent(sums: ComparisonSums, pairs: Sequence[Pair]) -> str:
    cosines = [sums.delta_cosine(*pair) or 0.0 for pair in pairs]
    opposed = [share for pair in pairs if (share := sums.conflict(*pair)) is not None]
    signs, chance = (f", signs opposed in {_percents(opposed)}", " and 50%") if opposed else ("", "")
    return (
        f"The task vectors of {_names(pairs)} look nearly independent, like those of most fine-tunes "
        f"(cosine {_span(cosines)}{signs}; random ones: 0.00 ± {1 / math.sqrt(sums.numbers):.1g}{chance}): "
        "this does not show which method merges them best; kingyo evolve measures it."
    )


def _on_signs(sums: ComparisonSums, pairs: Sequence[Pair]) -> Iterator[str]:
    shares = {pair: sums.weighted_conflict(*pair) for pair in pairs}
    strong = {pair: share for pair, share in shares.items() if share is not None and share >= CONFLICT}
    if strong:
        yield (
            f"Signs of {_names(strong)} conflict in {_percents(strong.values())} by magnitude (chance: "
            "50%): ties, which elects a sign for each entry, may keep more than a plain sum."
        )


def _on_sizes(sums: ComparisonSums, moved: Sequence[int]) -> Iterator[str]:
    if len(moved) < 2:
        return
    large = max(moved, key=sums.delta_norm)
    small = min(moved, key=sums.delta_norm)
    ratio = sums.delta_norm(large) / sums.delta_norm(small)
    if ratio >= UNEQUAL:
        yield (
            f"The task vector of {letter(large)} is {ratio:.3g} times as long as that of {letter(small)}: at "
            f"equal weights {letter(large)} dominates, so give {letter(small)} a larger one."
        )


def _on_energy(sums: ComparisonSums, moved: Sequence[int]) -> Iterator[str]:
    shares = {i: sums.top_share(i) or 0.0 for i in moved}
    concentrated = {i: share for i, share in shares.items() if share >= CONCENTRATED}
    if concentrated:
        names = ", ".join(letter(i) for i in concentrated)
        yield (
            f"The largest tenth of each tensor has {_percents(concentrated.values())} of ‖δ‖² of {names}: "
            "trimming the rest (ties or breadcrumbs, density 0.1 to 0.3) loses little there."
        )


def _classify(
    cosines: Mapping[Pair, float | None], classes: Classes
) -> Iterator[tuple[dict[Pair, float], str]]:
    """Yield the pairs of each class and the end of its sentence."""
    for low, high, follows in classes:
        inside = {pair: value for pair, value in cosines.items() if value is not None and low <= value < high}
        if inside:
            yield inside, follows


def _names(pairs: Collection[Pair]) -> str:
    if len(pairs) > 3:
        return f"{len(pairs)} pairs"
    return ", ".join(f"{letter(i)} and {letter(j)}" for i, j in pairs)


def _span(values: Collection[float], digits: int = 2) -> str:
    ends = (min(values), max(values))
    low, high = (f"{round(end, digits) + 0.0:.{digits}f}" for end in ends)  # + 0.0: no -0.00
    return low if low == high else f"{low} to {high}"


def _percents(values: Collection[float]) -> str:
    low, high = percent(min(values), ".0f"), percent(max(values), ".0f")
    return low if low == high else f"{low} to {high}"

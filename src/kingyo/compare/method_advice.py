"""What the numbers of a comparison say about merging, in plain sentences; each follows from thresholds here.

They are compared with what independent vectors would show: a cosine of 0 ± 1/√n of n numbers, opposite
signs in half of all places, and 44 % of the energy in the largest tenth. Pairs that look independent get one
sentence that names no method, since nothing follows for the choice of a method.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from kingyo.compare.comparison_sums import CheckpointComparison, ComparisonSums

RELATED = 0.95
"""From this cosine of weights on, two models are plainly of one ancestor: fine-tunes are beyond 0.99."""

UNRELATED = 0.5
"""Below it they plainly are not: models that were trained apart are near 0."""

FAR = 0.7
"""‖δ‖ / ‖base‖ from which on a base is no ancestor: models that were trained apart are near √2."""

NEARLY = 1e-4
"""‖A − B‖ / ‖B‖ below which two models differ by noise alone."""

ORTHOGONAL = 0.2
"""|cosine| of task vectors below which they look independent: most fine-tunes of one base do."""

ALIKE = 0.6
SAME = 0.98
CHANCE = 5.0
"""How many times 1/√n a cosine of n numbers has to reach, as well as ORTHOGONAL, to be no chance."""

CONFLICT = 0.6
WEIGHTY = 0.1
"""The least share of ‖δA‖ ‖δB‖ that a kind of tensors must hold to be named."""

UNEQUAL = 3.0
CONCENTRATED = 0.6

Pair = tuple[int, int]
Classes = tuple[tuple[float, float, str], ...]
"""From this cosine, up to that one: what follows."""

_WEIGHTS: Classes = (
    (
        RELATED,
        math.inf,
        "are plainly of one ancestor. Weights tell no more than that: name it with --base to see whether "
        "what they learnt agrees.",
    ),
    (
        UNRELATED,
        RELATED,
        "are far apart: a merge may lose much of both. If they have a common ancestor, name it with --base.",
    ),
    (
        -math.inf,
        UNRELATED,
        "show no common ancestor: a merge of their weights will most likely fail.",
    ),
)
_TASK_VECTORS: Classes = (
    (
        ORTHOGONAL,
        ALIKE,
        "partly the same: keep the sum of their weights near 1, or let ties drop what is small.",
    ),
    (
        ALIKE,
        SAME,
        "much the same: average them (linear, model_stock), since adding them would overshoot.",
    ),
    (
        SAME,
        math.inf,
        "one direction: one of them with another weight adds as much as both. Leave one out.",
    ),
    (
        -math.inf,
        -ORTHOGONAL,
        "against one another: each undoes the other, so expect to lose some of both.",
    ),
)


def letter(position: int) -> str:
    """How a model is called in tables and sentences: A, B, …, Z, A1, B1, …"""
    return chr(ord("A") + position % 26) + ("" if position < 26 else str(position // 26))


def advise(found: CheckpointComparison) -> tuple[str, ...]:
    """Say what follows for a merge."""
    total = found.total
    if not found.models or total.numbers == 0:
        return ()
    same = {pair for pair in total.pairs() if total.equal[pair] == total.numbers}
    nearly = {pair: gap for pair in total.pairs() if 0 < (gap := total.relative(*pair) or 0.0) < NEARLY}
    others = [pair for pair in total.pairs() if pair not in same and pair not in nearly]
    follows = (
        _on_task_vectors(found, others) if total.has_base else _on_weights(total, _matrices(found), others)
    )
    return (*_on_copies(same, nearly), *follows)


def _on_copies(same: Collection[Pair], nearly: Mapping[Pair, float]) -> Iterator[str]:
    if same:
        yield f"{_named(same)} are the same, number for number: there is nothing to merge."
    if nearly:
        yield (
            f"{_named(nearly)} differ by {100 * max(nearly.values()):.1g} % of their length, as copies do "
            "that were rounded or disturbed: a merge of them changes next to nothing."
        )


def _on_weights(total: ComparisonSums, matrices: ComparisonSums, others: Sequence[Pair]) -> Iterator[str]:
    """Without a base only the weights themselves tell whether there is a common ancestor."""
    whose = "weights" if matrices is total else "weights of attention and MLP"
    for pairs, follows in _classify({pair: matrices.cosine(*pair) for pair in others}, _WEIGHTS):
        yield f"{_named(pairs)} (cosine of {whose} {_span(pairs.values(), digits=4)}) {follows}"


def _on_task_vectors(found: CheckpointComparison, others: Sequence[Pair]) -> Iterator[str]:
    sums = found.total
    moved = [i for i in range(sums.n_models) if sums.delta_norm(i) > 0]
    for i in range(sums.n_models):
        change = sums.change(i)
        if i not in moved:
            yield f"{letter(i)} is its base, number for number: it has nothing to add."
        elif change is not None and change >= FAR:
            yield (
                f"{letter(i)} is {_percents([change])} of its base's norm away from it, as models are that "
                "were trained apart: methods on task vectors will most likely fail. Is this its base?"
            )
    directed = {pair: cosine for pair in others if (cosine := sums.delta_cosine(*pair)) is not None}
    plain = [pair for pair, cosine in directed.items() if _is_chance(cosine, sums.numbers)]
    if plain:
        yield _independent(sums, plain)
    clear = {pair: cosine for pair, cosine in directed.items() if pair not in plain}
    for pairs, follows in _classify(clear, _TASK_VECTORS):
        yield f"The task vectors of {_named(pairs)} (cosine {_span(pairs.values())}) are {follows}"
    yield from _on_parts(found, plain)
    yield from _on_signs(sums, others)
    yield from _on_sizes(sums, moved)
    yield from _on_energy(sums, moved)


def _is_chance(cosine: float, numbers: int) -> bool:
    """Whether two vectors of so many numbers are about as independent as random ones."""
    return abs(cosine) < max(ORTHOGONAL, CHANCE / math.sqrt(numbers))


def _independent(sums: ComparisonSums, pairs: Sequence[Pair]) -> str:
    cosines = [sums.delta_cosine(*pair) or 0.0 for pair in pairs]
    opposed = [share for pair in pairs if (share := sums.conflict(*pair)) is not None]
    signs, chance = (f", signs opposed in {_percents(opposed)}", " and 50 %") if opposed else ("", "")
    return (
        f"The task vectors of {_named(pairs)} look nearly independent, as those of nearly all fine-tunes do "
        f"(cosine {_span(cosines)}{signs}; random ones: 0.00 ± {1 / math.sqrt(sums.numbers):.1g}{chance}): "
        "this does not tell which method merges them best. kingyo evolve measures it."
    )


def _on_parts(found: CheckpointComparison, pairs: Sequence[Pair]) -> Iterator[str]:
    """Name kinds of tensors in which a pair is not independent, though the pair as a whole looks so."""
    for pair in pairs:
        i, j = pair
        whole = found.total.delta_norm(i) * found.total.delta_norm(j)
        odd: dict[str, float] = {}
        for kind, sums in found.kinds.items():
            cosine, held = sums.delta_cosine(i, j), sums.delta_norm(i) * sums.delta_norm(j)
            if cosine is not None and held >= WEIGHTY * whole and not _is_chance(cosine, sums.numbers):
                odd[kind] = cosine
        if odd:
            parts = ", ".join(f"{kind} (cosine {cosine:.2f})" for kind, cosine in odd.items())
            yield (
                f"The task vectors of {_named([pair])} are not independent in {parts}: a separate weight for "
                "each kind of tensors may help (groups: kind)."
            )


def _on_signs(sums: ComparisonSums, pairs: Sequence[Pair]) -> Iterator[str]:
    shares = {pair: sums.weighted_conflict(*pair) for pair in pairs}
    strong = {pair: share for pair, share in shares.items() if share is not None and share >= CONFLICT}
    if strong:
        yield (
            f"Signs of {_named(strong)} conflict in {_percents(strong.values())} by magnitude (50 % is "
            "chance): ties, which elects a sign for each number, may keep more than a plain sum."
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
            f"equal weights {letter(large)} prevails, so give {letter(small)} a larger one."
        )


def _on_energy(sums: ComparisonSums, moved: Sequence[int]) -> Iterator[str]:
    held = {i: sums.top_share(i) or 0.0 for i in moved}
    dense = {i: share for i, share in held.items() if share >= CONCENTRATED}
    if dense:
        names = ", ".join(letter(i) for i in dense)
        yield (
            f"The largest tenth of each tensor holds {_percents(dense.values())} of ‖δ‖² of {names}: "
            "trimming the rest (ties or breadcrumbs, density 0.1 to 0.3) loses little there."
        )


def _matrices(found: CheckpointComparison) -> ComparisonSums:
    """Attention and MLP alone, where there are any: norms and embeddings are alike in all models."""
    chosen = [kind for kind in ("attention", "mlp") if kind in found.kinds]
    if not chosen:
        return found.total
    first, *rest = (found.kinds[kind] for kind in chosen)
    return sum(rest, start=first)


def _classify(
    cosines: Mapping[Pair, float | None], classes: Classes
) -> Iterator[tuple[dict[Pair, float], str]]:
    """The pairs of each class that has any, and what follows for them."""
    for low, high, follows in classes:
        inside = {pair: value for pair, value in cosines.items() if value is not None and low <= value < high}
        if inside:
            yield inside, follows


def _named(pairs: Collection[Pair]) -> str:
    if len(pairs) > 3:
        return f"{len(pairs)} pairs"
    return ", ".join(f"{letter(i)} and {letter(j)}" for i, j in pairs)


def _span(values: Collection[float], digits: int = 2) -> str:
    low, high = (f"{round(each, digits) + 0.0:.{digits}f}" for each in (min(values), max(values)))  # no -0.00
    return low if low == high else f"{low} to {high}"


def _percents(values: Collection[float]) -> str:
    low, high = f"{min(values):.0%}", f"{max(values):.0%}"
    return (low if low == high else f"{low} to {high}").replace("%", " %")

"""Warn if a winner lies at a bound of the search that can be widened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

from kingyo.errors import listed
from kingyo.evolution import MAIN
from kingyo.methods import METHODS
from kingyo.methods.contract import Parameter
from kingyo.results.genes import families_of, family_of
from kingyo.results.summary import RunSummary
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.store import RunStore, StoredTrial
from kingyo.views.advice import ENOUGH, Advice, config_of

EDGE = 0.01  # of an axis' range: genes closer to a bound lie at it
SHOWN = 4  # number of genes that are named
FEW = 12  # genes of a family, such as the weights of one source, each of which counts at a bound
LARGE_SHARE = 1 / 3  # of a larger family, which has to lie at a bound
NEARLY_ALL = 0.97  # validation score above which a winner has little to gain beyond a bound
LOG = "log10 "

Side = Literal["from", "to"]
Edge = tuple[str, str, str]
"""An axis, the bound at which its gene lies, and the move of the bound that is suggested."""


def winners_at_bounds(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Warn if genes of the winner, or of the best of many candidates so far, lie at a bound.

    Of a family of many genes, a large share must lie there: of hundreds of weights some always do. Where
    weights were learned by gradient, all must: wider bounds for some of them do not help.

    No warning for a winner that solves nearly all of validation, and for bounds that run.yaml does not set.
    A lower bound of 0 is never suggested to be moved, because negative weights are a different idea.
    """
    merge = config_of(store, "merge")
    winner = None if summary.winner is None else summary.winner.validation
    if winner is not None and winner.score > NEARLY_ALL:
        return
    for search, description in store.searches().items():
        trial = _best(store, summary, search) if search in (WEIGHT_SEARCH, MAIN) else None
        edges = [] if trial is None else list(_edges(description, trial, merge))
        genes = list(_telling(edges, families_of(description), is_learned=bool(store.lessons(search))))
        if trial is not None and genes:
            yield _advice(trial, genes, is_picked=store.winner(search) is not None)


def _best(store: RunStore, summary: RunSummary, search: str) -> StoredTrial | None:
    winner, leader = store.winner(search), summary.leader
    is_early = leader is None or leader.trial.search != search or len(store.trials(search)) < ENOUGH
    return leader.trial if winner is None and leader is not None and not is_early else winner


def _edges(
    description: Mapping[str, object], trial: StoredTrial, merge: Mapping[str, object]
) -> Iterator[Edge]:
    known = set(METHODS.names())
    methods = [METHODS.get(name) for name in str(description.get("method")).split(", ") if name in known]
    parameters = {parameter.name: parameter for method in methods for parameter in method.params}
    axes = cast("Sequence[Mapping[str, object]]", description.get("axes", ()))
    for axis, gene in zip(axes, trial.asked.genome, strict=False):
        name = str(axis["name"])
        parameter = parameters.get(name.partition("/")[0].removeprefix(LOG).partition("(")[0])
        low, high = cast(float, axis["low"]), cast(float, axis["high"])
        if parameter is not None and high > low:
            for side in _sides(gene, low, high):
                yield from _beyond(name, _key(name, merge), parameter, side, (low, high))


def _sides(gene: float, low: float, high: float) -> Iterator[Side]:
    reach = EDGE * (high - low)
    if gene <= low + reach:
        yield "from"
    if gene >= high - reach:
        yield "to"


def _key(axis: str, config: Mapping[str, object]) -> str:
    name, source, _ = f"{axis}//".split("/", 2)
    own = cast("Mapping[str, Mapping[str, object]]", config.get("sources") or {}).get(source, {})
    is_own = name in cast("Mapping[str, object]", own.get("parameters", {}))
    return f"merge.sources.{source}.parameters" if is_own else "merge.parameters"


def _beyond(
    axis: str, where: str, parameter: Parameter, side: Side, bounds: tuple[float, float]
) -> Iterator[Edge]:
    low, high = bounds
    half = (high - low) / 2
    bound, wider = (low, low - half) if side == "from" else (high, high + half)
    if axis.startswith(LOG):
        bound, wider = 10.0**bound, 10.0**wider
    if parameter.low is not None:
        wider = max(wider, parameter.low)
    if parameter.high is not None:
        wider = min(wider, parameter.high)
    wider = float(round(wider)) if parameter.kind == "int" else wider
    if abs(wider - bound) > EDGE * abs(half) and not (side == "from" and bound == 0):
        key = f"{where}.{parameter.name}.{side}"
        yield axis, f"at {bound:.3g}", f"`{key}` from {bound:.3g} to {wider:.3g}"


def _telling(
    edges: Sequence[Edge], families: Mapping[str, Sequence[int]], *, is_learned: bool
) -> Iterator[tuple[str, str]]:
    """Yield what lies at a bound, single genes or shares of families, each with its move."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for axis, bound, move in edges:
        alike.setdefault((family_of(axis), bound, move), []).append(axis)
    for (family, bound, move), axes in alike.items():
        size = len(families[family])
        if size <= FEW and not is_learned:
            yield from ((f"{axis} {bound}", move) for axis in axes)
        elif len(axes) >= (1 if is_learned else LARGE_SHARE) * size:
            yield f"{len(axes)} of {size} genes of {family} {bound}", move


def _advice(trial: StoredTrial, edges: Sequence[tuple[str, str]], *, is_picked: bool) -> Advice:
    genes, moves = listed([gene for gene, _ in edges], SHOWN), dict.fromkeys(move for _, move in edges)
    who = "winner" if is_picked else "best candidate so far"
    return Advice(
        kind="bound",
        level="warning",
        what=f"The {who} (trial {trial.asked.number}) lies at a bound: {genes}.",
        why="A better model may lie beyond it.",
        remedy=f"Move {' and '.join(moves)}, and begin a new run.",
    )

"""Advice about a run as data: what was found, why it matters, and what to do; and what all runs may need.

It is based on fit scores and on the finalists' validation scores, never on test.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from kingyo.core.io.units import counted
from kingyo.core.types import Split
from kingyo.errors import listed
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import Parameter
from kingyo.runs.config import WEIGHT_SEARCH
from kingyo.runs.learning import FAILURE
from kingyo.runs.preflight import NOTABLE_SHARE
from kingyo.search.evolution import BASELINES, MAIN, stored_objectives
from kingyo.stats import ROUNDING
from kingyo.store import CONFIG, WARNINGS, EvaluationRow, RunStore, StoredTrial
from kingyo.views.results.estimates import raw_means
from kingyo.views.results.genes import families_of, family_of
from kingyo.views.results.model_result import token_limits
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trials import percent
from kingyo.views.view import Statement

FEW = 4
"""Smallest number of candidates in a first batch to compare with."""
ENOUGH = 12
"""Smallest number of candidates for a warning about the search."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One piece of advice.

    Attributes:
        kind: for programs.
        level: a warning needs an action; a note does not.
        what: the finding.
        why: what it means; may be empty.
        remedy: what to do; may be empty.
    """

    kind: Literal[
        "lost", "setup", "zero", "broken", "equal", "bound", "start", "stuck", "progress", "cut", "train"
    ]
    level: Literal["warning", "note"]
    what: str
    why: str = ""
    remedy: str = ""

    @property
    def statement(self) -> Statement:
        text = " ".join(part for part in (self.what, self.why, self.remedy) if part)
        return Statement(topic="advice", text=text, is_warning=self.level == "warning")

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def setup_warnings(store: RunStore) -> Iterator[Advice]:
    """Repeat the warnings from before the run, such as a chat template that is not used."""
    for text in store.fact(WARNINGS):
        yield Advice(kind="setup", level="warning", what=f"{text}.")
    failure = store.fact(FAILURE)
    if failure is not None:
        what = f"Weights could not be learned: {str(failure).rstrip('.')}."
        why = "The search went on without, and learns no more weights if it is resumed."
        remedy = "Mend the cause and begin a new run, or write `learn: false`."
        yield Advice(kind="setup", level="warning", what=what, why=why, remedy=remedy)


def lost_writes(store: RunStore) -> Iterator[Advice]:
    """Warn if stored data could not be found when the run was opened."""
    if store.lost is not None:
        why = "What it held is lost, and nothing of it is shown."
        remedy = f"`kingyo resume {folder_of(store)}` makes it again."
        yield Advice(kind="lost", level="warning", what=store.lost, why=why, remedy=remedy)


def folder_of(store: RunStore) -> str:
    """Return the run's folder, quoted for a shell."""
    return shlex.quote(str(store.folder))


def run_yaml(store: RunStore) -> str:
    """Return the path of the run.yaml from the current folder, quoted for a shell."""
    name = str(store.fact("run_yaml") or "run.yaml")
    return shlex.quote(os.path.relpath(Path(str(store.fact("folder") or "")) / name))


def config_of(store: RunStore, key: str) -> Mapping[str, Any]:
    """Return a part of the stored run.yaml, empty where there is none."""
    config = store.fact(CONFIG)
    return config.get(key) or {}


def current_search(store: RunStore) -> str | None:
    """Return the main search, or before it begins the weight search; None before any trial."""
    searches = store.searches()
    return next((name for name in (MAIN, WEIGHT_SEARCH) if name in searches and store.trials(name)), None)


def is_of_paths(store: RunStore, search: str) -> bool:
    """Return whether a search is for layer paths, which have no bounds."""
    return store.searches()[search].get("space") == "dataflow"


PAGE = "docs/zero.md goes through the causes."
MIN_ZEROS = 6
"""Number of candidates with score 0 before a warning."""
WARNING_SHARE = 0.5
"""Share of answers that were cut, for a warning."""


def uninformative_scores(store: RunStore) -> Iterator[Advice]:
    """Warn if all models have the same score on every fit item, or all candidates score 0.

    Works as soon as the baselines are scored. Nothing is reported if set measures count.
    """
    if stored_objectives(store).by_set:
        return
    search = current_search(store)
    rows = [row for row in store.summaries("fit") if row.mean is not None]
    known = [row for row in rows if row.search == BASELINES]
    bred = [row for row in rows if row.search == search]
    candidates = f" and {counted(len(bred), 'candidate')}" if bred else ""
    who = f"All {len(known)} baselines{candidates}"
    if not known or _differ(store, search):
        if known and len(bred) >= MIN_ZEROS and not any(row.mean for row in bred):
            yield _broken(store, bred, max(_means(store, [BASELINES])))
    elif any(row.mean for row in known):
        searches = [BASELINES, *([] if search is None else [search])]
        yield _equal(store, who, _means(store, searches))
    else:
        yield _zero(store, who)


def _differ(store: RunStore, search: str | None) -> bool:
    """Return whether two models differ on any item, or have no item in common."""
    ranges = store.score_ranges([BASELINES, *([] if search is None else [search])], "fit").values()
    is_flat = all(high - low <= ROUNDING for low, high, _ in ranges)
    return not is_flat or max(n for _, _, n in ranges) == 1


def _means(store: RunStore, searches: Sequence[str]) -> list[float]:
    return [mean for search in searches for mean in raw_means(store, search).values()]


def _zero(store: RunStore, who: str) -> Advice:
    correct = (
        "If they miss the question, correct the prompt or the chat template; if they are cut off or run on, "
        "max_new_tokens and stop"
    )
    if config_of(store, "task").get("kind") == "draw":
        correct = (
            "If they show nothing, correct steps, guidance_scale or scheduler; if other things, the prompt"
        )
    return Advice(
        kind="zero",
        level="warning",
        what=f"{who} score 0% on fit.",
        why="Where all models score zero, a search can only guess.",
        remedy=f"Look at answers: {_look(store)}. {correct}; if right ones are scored wrong, the grader or "
        "the column of the answer. If the task is too hard, give partial credit, or take easier items or "
        f"better models. {PAGE}",
    )


def _broken(store: RunStore, bred: Sequence[EvaluationRow], best: float) -> Advice:
    why = "The bounds may leave out every merge that works: weights that are too large break models."
    other = "narrower bounds, such as merge.parameters.weight: {from: 0, to: 0.6}"
    if is_of_paths(store, bred[0].search):
        why = "Most paths through layers break models."
        other = "paths that are known to work (dataflow.known), or with fewer layers to choose from"
    return Advice(
        kind="broken",
        level="warning",
        what=f"All candidates so far ({len(bred)}) score 0% on fit; the best baseline {percent(best)}.",
        why=why,
        remedy=f"Look at answers: {_look(store)}. If they are garbage, begin a new run with {other}. {PAGE}",
    )


def _equal(store: RunStore, who: str, means: Sequence[float]) -> Advice:
    mean = sum(means) / len(means)
    remedy = "Take harder items, since all models solve these."
    if min(means) < 1 - ROUNDING:
        remedy = (
            f"Look at answers: {_look(store)}. If they differ, let the grader tell better ones from worse, "
            f"with partial credit; if not, the models may hardly differ from one another. {PAGE}"
        )
    return Advice(
        kind="equal",
        level="warning",
        what=f"{who} score the same on every item of fit, {percent(mean)}.",
        why="Where all models score the same, a search has nothing to climb.",
        remedy=remedy,
    )


def _look(store: RunStore) -> str:
    """Return the command that shows answers of a candidate, or of a baseline before there is one."""
    ended = [row.trial for row in store.summaries("fit") if row.search == MAIN and row.mean is not None]
    known = [str(trial.name) for trial in store.trials(BASELINES)]
    trial = store.trial(ended[0]).asked.number if ended else known[-1]
    return f"`kingyo show {folder_of(store)} --trial {trial} --answers 5`"


def truncated_answers(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Report for each task how many answers of the winner, or of the best model so far, were cut."""
    if summary.child is not None:
        whose = "the winner" if summary.winner is not None else "the best model so far"
        yield from _truncated(store, summary.child.trial.id, whose)


def truncated_baselines(store: RunStore) -> Iterator[Advice]:
    """Report for each task how many answers of the best baseline on fit were cut."""
    means = raw_means(store, BASELINES)
    if means:
        best = max(means, key=lambda trial: means[trial])
        yield from _truncated(store, best, f"the best baseline ({store.trial(best).name})")


def _truncated(store: RunStore, trial: int, whose: str) -> Iterator[Advice]:
    splits: tuple[Split, ...] = ("fit", "validation")
    found = {split: each for split in splits if (each := store.evaluation(trial, split)) is not None}
    scores = [score for each in found.values() for score in each.scores]
    limits = token_limits(store)
    for task, limit in limits.items():
        own = [score for score in scores if len(limits) == 1 or score.item.partition("/")[0] == task]
        cut = [score for score in own if score.is_cut]
        if not cut or len(cut) < NOTABLE_SHARE * len(own):
            continue
        wrong = sum(score.score < 1 for score in cut)
        of = f" to {task}" if task else ""
        yield Advice(
            kind="cut",
            level="warning" if len(cut) >= WARNING_SHARE * len(own) and wrong else "note",
            what=f"{len(cut):,} of {counted(len(own), 'answer')} of {whose}{of} were cut at "
            f"max_new_tokens = {limit} ({' and '.join(found)}); {wrong:,} of them are not fully right.",
            remedy="Raise max_new_tokens if right answers need more; if they run on, end them with stop.",
        )


EDGE = 0.01  # of an axis' range: genes closer to a bound lie at it
SHOWN = 4  # number of genes that are named
SMALL = 12  # genes of a family, such as the weights of one source, each of which counts at a bound
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
        if size <= SMALL and not is_learned:
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

"""Advice about a run as data: what was found, why it matters, and what to do; and what all runs may need.

It is based on fit scores and on the finalists' validation scores, never on test.
"""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from kingyo.core.io.units import counted
from kingyo.core.types import Split
from kingyo.errors import listed
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import Parameter
from kingyo.runs.config import TRAINED, TUNED, WEIGHT_SEARCH
from kingyo.runs.extensions import TUNABLE
from kingyo.runs.learning import FAILURE
from kingyo.runs.preflight import NOTABLE_SHARE
from kingyo.search.evolution import BASELINES, MAIN, stored_objectives
from kingyo.stats import ROUNDING
from kingyo.store import CONFIG, WARNINGS, EvaluationRow, RunStore, StoredTrial
from kingyo.views.results.genes import axes_of, families_of
from kingyo.views.results.model_result import token_limits
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trials import percent
from kingyo.views.view import Statement

FEW = 4
"""Number of candidates after which a running search is checked first."""
ENOUGH = 12
"""Smallest number of candidates for a warning about the search."""
MIN_ZEROS = 6
"""Number of candidates with score 0 before a warning."""
WARNING_SHARE = 0.5
"""Share of answers that were cut, for a warning."""
EDGE = 0.01  # of an axis' range: genes closer to a bound lie at it
SHOWN = 4  # number of genes that are named
SMALL = 12  # genes of a family, such as the weights of one source, each of which counts at a bound
LARGE_SHARE = 1 / 3  # of a larger family, which has to lie at a bound
NEARLY_ALL = 0.97  # validation score above which a winner has little to gain beyond a bound
LOG = "log10 "
PAGE = "docs/zero.md goes through the causes."


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One piece of advice."""

    kind: Literal["lost", "setup", "zero", "broken", "equal", "bound", "start", "cut", "train"]
    level: Literal["warning", "note"] = "warning"
    what: str
    why: str = ""
    remedy: str = ""

    @property
    def statement(self) -> Statement:
        text = " ".join(part for part in (self.what, self.why, self.remedy) if part)
        return Statement(topic="advice", text=text, is_warning=self.level == "warning")


def advise(store: RunStore, summary: RunSummary) -> tuple[Advice, ...]:
    """Return the advice on a run, finished or not; warnings first."""
    equal = list(uninformative_scores(store))
    advice = [*lost_writes(store), *setup_warnings(store), *equal, *winners_at_bounds(store, summary)]
    if not equal:
        advice += no_progress(store, summary)
    if summary.child is not None:
        whose = "the winner" if summary.winner is not None else "the best model so far"
        advice += _truncated(store, summary.child.trial.id, whose)
    advice += training_ahead(store, summary)
    return tuple(sorted(advice, key=lambda each: each.level == "note"))


def setup_warnings(store: RunStore) -> Iterator[Advice]:
    """Repeat the warnings from before the run, such as a chat template that is not used."""
    for text in store.fact(WARNINGS):
        yield Advice(kind="setup", what=f"{text}.")
    failure = store.fact(FAILURE)
    if failure is not None:
        what = f"Weights could not be learned: {str(failure).rstrip('.')}."
        why = "The search went on without, and learns no more weights if it is resumed."
        remedy = "Mend the cause and begin a new run, or write `learn: false`."
        yield Advice(kind="setup", what=what, why=why, remedy=remedy)


def lost_writes(store: RunStore) -> Iterator[Advice]:
    """Warn if stored data could not be found when the run was opened."""
    if store.lost is not None:
        why = "What it held is lost, and nothing of it is shown."
        remedy = f"`kingyo resume {folder_of(store)}` makes it again."
        yield Advice(kind="lost", what=store.lost, why=why, remedy=remedy)


def folder_of(store: RunStore) -> str:
    """Return the run's folder, quoted for a shell."""
    return shlex.quote(str(store.folder))


def config_of(store: RunStore, key: str) -> Mapping[str, Any]:
    """Return a part of the stored run.yaml, empty where there is none."""
    return store.fact(CONFIG).get(key) or {}


def current_search(store: RunStore) -> str | None:
    """Return the main search, or before it begins the weight search; None before any trial."""
    searches = store.searches()
    return next((name for name in (MAIN, WEIGHT_SEARCH) if name in searches and store.trials(name)), None)


def uninformative_scores(store: RunStore) -> Iterator[Advice]:
    """Warn if all models have the same score on every fit item, or all candidates score 0.

    Works as soon as the baselines are scored. Nothing is reported if set measures count.
    """
    rows = [row for row in store.summaries("fit") if row.mean is not None]
    known = [row for row in rows if row.search == BASELINES]
    if not known or stored_objectives(store).by_set:
        return
    search = current_search(store)
    bred = [row for row in rows if row.search == search]
    ranges = store.score_ranges([BASELINES, *([] if search is None else [search])], "fit").values()
    is_flat = all(high - low <= ROUNDING for low, high, _ in ranges)
    candidates = f" and {counted(len(bred), 'candidate')}" if bred else ""
    who = f"All {len(known)} baselines{candidates}"
    if not is_flat or max(n for _, _, n in ranges) == 1:  # they differ, or have no item in common
        if len(bred) >= MIN_ZEROS and not any(row.mean for row in bred):
            yield _broken(store, bred, max(row.mean or 0.0 for row in known))
    elif any(row.mean for row in known):
        yield _equal(store, who, [row.mean or 0.0 for row in (*known, *bred)])
    else:
        yield _zero(store, who)


def _zero(store: RunStore, who: str) -> Advice:
    return Advice(
        kind="zero",
        what=f"{who} score 0% on fit.",
        why="Where all models score zero, a search can only guess.",
        remedy=f"Look at answers: {_look(store)}. If they miss the question, correct the prompt or the "
        "chat template; if they are cut off or run on, max_new_tokens and stop; if images show nothing, "
        "steps or guidance_scale; if right ones are scored wrong, the grader or the column of the answer. "
        f"If the task is too hard, give partial credit, or take easier items or better models. {PAGE}",
    )


def _broken(store: RunStore, bred: Sequence[EvaluationRow], best: float) -> Advice:
    other = "narrower bounds, such as merge.parameters.weight: {from: 0, to: 0.6}"
    if store.searches()[bred[0].search].get("space") == "dataflow":
        other = "fewer layers in a path (dataflow.max_hops)"
    return Advice(
        kind="broken",
        what=f"All candidates so far ({len(bred)}) score 0% on fit; the best baseline {percent(best)}.",
        why="The search may leave out every merge that works.",
        remedy=f"Look at answers: {_look(store)}. If they are garbage, begin a new run with {other}. {PAGE}",
    )


def _equal(store: RunStore, who: str, means: Sequence[float]) -> Advice:
    remedy = "Take harder items, since all models solve these."
    if min(means) < 1 - ROUNDING:
        remedy = (
            f"Look at answers: {_look(store)}. If they differ, let the grader tell better ones from worse, "
            f"with partial credit; if not, the models may hardly differ from one another. {PAGE}"
        )
    return Advice(
        kind="equal",
        what=f"{who} score the same on every item of fit, {percent(sum(means) / len(means))}.",
        why="Where all models score the same, a search has nothing to climb.",
        remedy=remedy,
    )


def _look(store: RunStore) -> str:
    ended = [row.trial for row in store.summaries("fit") if row.search == MAIN and row.mean is not None]
    known = [str(trial.name) for trial in store.trials(BASELINES)]
    trial = store.trial(ended[0]).asked.number if ended else known[-1]
    return f"`kingyo show {folder_of(store)} --trial {trial} --answers 5`"


def truncated_baselines(store: RunStore) -> Iterator[Advice]:
    """Report for each task how many answers of the best baseline on fit were cut."""
    rows = [row for row in store.summaries("fit") if row.search == BASELINES and row.mean is not None]
    if rows:
        best = max(rows, key=lambda row: row.mean or 0.0).trial
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


def winners_at_bounds(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Warn if genes of the winner, or of the best of many candidates so far, lie at a movable bound.

    Of a family of many genes, a large share must lie there: of hundreds of weights some always do. Where
    weights were learned by gradient, all must. No warning for a winner that solves nearly all of validation.
    """
    leader, validation = summary.leader, None if summary.winner is None else summary.winner.validation
    if validation is not None and validation.score > NEARLY_ALL:
        return
    for search in (name for name in store.searches() if name in (WEIGHT_SEARCH, MAIN)):
        trial, who = store.winner(search), "winner"
        if trial is None and leader is not None and leader.trial.search == search:
            is_early = len(store.trials(search)) < ENOUGH
            trial, who = None if is_early else leader.trial, "best candidate so far"
        found = [] if trial is None else list(_edges(store, trial))
        if trial is not None and found:
            yield Advice(
                kind="bound",
                what=f"The {who} (trial {trial.asked.number}) lies at a bound: {listed(found, SHOWN)}.",
                why="A better model may lie beyond it.",
                remedy="Move the bound in merge.parameters (or in merge.sources), and begin a new run.",
            )


def _edges(store: RunStore, trial: StoredTrial) -> Iterator[str]:
    """Yield what lies at a bound: single genes, or shares of families."""
    description, genome = store.searches()[trial.search], trial.asked.genome
    parameters, axes = _parameters(description), axes_of(description)
    needed = 1.0 if store.lessons(trial.search) else LARGE_SHARE
    for family, places in families_of(description).items():
        parameter = parameters.get(family.split("/")[0].removeprefix(LOG).partition("(")[0])
        if parameter is None:
            continue
        for end, limit in (("low", parameter.low), ("high", parameter.high)):
            values = [_value_at(axes[place], end, genome[place]) for place in places]
            at = [value for value in values if value not in (None, limit, 0.0 if end == "low" else None)]
            is_enough = len(at) >= needed * len(places) or (len(places) <= SMALL and needed < 1)
            if at and is_enough:
                who = family if len(places) == 1 else f"{len(at)} of {len(places)} genes of {family}"
                yield f"{who} at {at[0]:.3g}"


def _value_at(axis: Mapping[str, object], end: str, gene: float) -> float | None:
    """Return the value of the parameter at an end of an axis; None if the gene does not lie there."""
    low, high, bound = (cast(float, axis[each]) for each in ("low", "high", end))
    if high <= low or abs(gene - bound) > EDGE * (high - low):
        return None
    return 10.0**bound if str(axis["name"]).startswith(LOG) else bound


def _parameters(description: Mapping[str, object]) -> dict[str, Parameter]:
    known = set(METHODS.names())
    methods = [METHODS.get(name) for name in str(description.get("method")).split(", ") if name in known]
    return {parameter.name: parameter for method in methods for parameter in method.params}


def no_progress(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Warn if a finished search for one objective is not ahead of the baselines and its first batch."""
    search = current_search(store)
    rows = [row for row in store.summaries("fit") if row.search == search and row.value is not None]
    fits = [fit.score for model in summary.baselines.values() if (fit := model.counts_on("fit"))]
    is_early = summary.status != "finished" or len(rows) < ENOUGH
    if search is None or summary.objectives or is_early or not fits or _trained_is_ahead(summary):
        return
    trials, unit = {trial.id: trial for trial in store.trials(search)}, summary.unit
    batch = trials[rows[0].trial].batch
    first = max(row.value or 0.0 for row in rows if trials[row.trial].batch == batch)
    best, start = max(row.value or 0.0 for row in rows), max(*fits, first)
    if best > start + ROUNDING or best >= 1 - ROUNDING:
        return
    budget = {k: math.ceil(value) for k, value in config_of(store, "budget").items() if value is not None}
    more = " ".join(f"--{key.replace('_', '-')} +{value}" for key, value in budget.items())
    yield Advice(
        kind="start",
        what=f"On fit the best of {len(rows)} candidates has {unit.text(best)}, the best of the baselines "
        f"and the first candidates {unit.text(start)}.",
        why="The search has not improved on its start.",
        remedy=f"Continue with `kingyo resume {folder_of(store)} {more}`, or begin a new run with learned "
        "weights (docs/learning.md), more sources (`kingyo scout` finds them), other bounds (narrower where "
        "candidates break, wider where the best lie at one) or more items per candidate.",
    )


def training_ahead(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Warn if training alone is ahead of the bred model of a finished run, which can be tuned."""
    is_tunable = bool(store.fact(TUNABLE)) and TUNED not in store.searches()
    if summary.status == "finished" and is_tunable and _trained_is_ahead(summary):
        what = "A LoRA trained on the same items is ahead of the bred model."
        remedy = f"`kingyo tune {folder_of(store)}` trains a LoRA on the bred model."
        yield Advice(kind="train", what=what, why="Training is the bar here.", remedy=remedy)


def _trained_is_ahead(summary: RunSummary) -> bool:
    trained, leads = summary.controls.get(TRAINED), () if summary.choice is None else summary.choice.leads
    return trained is not None and any(each.is_clear and each.trial == trained.trial.id for each in leads)

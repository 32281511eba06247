"""Advice about a run as data: what was found, why it matters, and what to do; and what all runs may need.

It is based on fit scores and on the finalists' validation scores, never on test.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from kingyo.core.io.units import counted, joined
from kingyo.core.types import Split
from kingyo.errors import listed
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import Parameter
from kingyo.runs.config import TRAINED, TUNED, WEIGHT_SEARCH
from kingyo.runs.extensions import TUNABLE
from kingyo.runs.learning import FAILURE, Allowance
from kingyo.runs.preflight import NOTABLE_SHARE
from kingyo.runs.settings import GROUPS, LEARNABLE, LEARNS
from kingyo.search.evolution import BASELINES, MAIN, stored_objectives
from kingyo.stats import ROUNDING, SampleSize
from kingyo.store import CONFIG, WARNINGS, EvaluationRow, RunStore, StoredTrial
from kingyo.views.results.genes import families_of, family_of
from kingyo.views.results.model_result import raw_means, token_limits
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trials import percent
from kingyo.views.view import Statement

FEW = 4
"""Smallest number of candidates in a first batch to compare with."""
ENOUGH = 12
"""Smallest number of candidates for a warning about the search."""
MIN_ZEROS = 6
"""Number of candidates with score 0 before a warning."""
WARNING_SHARE = 0.5
"""Share of answers that were cut, for a warning."""
SOLVED = 0.98
"""A score on validation that leaves nothing to gain."""
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


def advise(store: RunStore, summary: RunSummary) -> tuple[Advice, ...]:
    """Return the advice on a run, finished or not; warnings first."""
    equal = list(uninformative_scores(store))
    advice = [*lost_writes(store), *setup_warnings(store), *equal, *winners_at_bounds(store, summary)]
    if not equal:
        advice += search_progress(store, summary)
    if summary.child is not None:
        whose = "the winner" if summary.winner is not None else "the best model so far"
        advice += _truncated(store, summary.child.trial.id, whose)
    advice += training_on_bred(store, summary)
    return tuple(sorted(advice, key=lambda each: each.level == "note"))


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
    searches = [BASELINES, *([] if search is None else [search])]
    means = {name: list(raw_means(store, name).values()) for name in searches}
    ranges = store.score_ranges(searches, "fit").values()
    is_flat = all(high - low <= ROUNDING for low, high, _ in ranges)
    candidates = f" and {counted(len(bred), 'candidate')}" if bred else ""
    who = f"All {len(known)} baselines{candidates}"
    if not is_flat or max(n for _, _, n in ranges) == 1:  # they differ, or have no item in common
        if len(bred) >= MIN_ZEROS and not any(row.mean for row in bred):
            yield _broken(store, bred, max(means[BASELINES]))
    elif any(row.mean for row in known):
        yield _equal(store, who, [mean for own in means.values() for mean in own])
    else:
        yield _zero(store, who)


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
        other = "fewer layers in a path (dataflow.max_hops)"
    return Advice(
        kind="broken",
        level="warning",
        what=f"All candidates so far ({len(bred)}) score 0% on fit; the best baseline {percent(best)}.",
        why=why,
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
        level="warning",
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


Edge = tuple[str, str, str]
"""An axis, the bound at which its gene lies, and the move of the bound that is suggested."""


def winners_at_bounds(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Warn if genes of the winner, or of the best of many candidates so far, lie at a bound.

    Of a family of many genes, a large share must lie there: of hundreds of weights some always do. Where
    weights were learned by gradient, all must: wider bounds for some of them do not help.

    No warning for a winner that solves nearly all of validation, and for bounds that run.yaml does not set.
    A lower bound of 0 is never suggested to be moved, because negative weights are a different idea.
    """
    merge, leader = config_of(store, "merge"), summary.leader
    validation = None if summary.winner is None else summary.winner.validation
    if validation is not None and validation.score > NEARLY_ALL:
        return
    for search, description in store.searches().items():
        if search not in (WEIGHT_SEARCH, MAIN):
            continue
        trial, who = store.winner(search), "winner"
        if trial is None and leader is not None and leader.trial.search == search:
            is_early = len(store.trials(search)) < ENOUGH
            trial, who = None if is_early else leader.trial, "best candidate so far"
        edges = [] if trial is None else list(_edges(description, trial, merge))
        found = list(_telling(edges, families_of(description), is_learned=bool(store.lessons(search))))
        if trial is not None and found:
            genes = listed([gene for gene, _ in found], SHOWN)
            moves = dict.fromkeys(move for _, move in found)
            yield Advice(
                kind="bound",
                level="warning",
                what=f"The {who} (trial {trial.asked.number}) lies at a bound: {genes}.",
                why="A better model may lie beyond it.",
                remedy=f"Move {' and '.join(moves)}, and begin a new run.",
            )


def _edges(description: Mapping[str, object], trial: StoredTrial, merge: Mapping[str, Any]) -> Iterator[Edge]:
    known = set(METHODS.names())
    methods = [METHODS.get(name) for name in str(description.get("method")).split(", ") if name in known]
    parameters = {parameter.name: parameter for method in methods for parameter in method.params}
    axes = cast("Sequence[Mapping[str, object]]", description.get("axes", ()))
    for axis, gene in zip(axes, trial.asked.genome, strict=False):
        name, source, _ = f"{axis['name']}//".split("/", 2)
        parameter = parameters.get(name.removeprefix(LOG).partition("(")[0])
        low, high = cast(float, axis["low"]), cast(float, axis["high"])
        if parameter is None or high <= low:
            continue
        own = cast("Mapping[str, Mapping[str, object]]", merge.get("sources") or {}).get(source, {})
        is_own = name in cast("Mapping[str, object]", own.get("parameters", {}))
        where = f"merge.sources.{source}.parameters" if is_own else "merge.parameters"
        reach, half = EDGE * (high - low), (high - low) / 2
        if gene <= low + reach:
            yield from _beyond(str(axis["name"]), f"{where}.{parameter.name}.from", parameter, low, -half)
        if gene >= high - reach:
            yield from _beyond(str(axis["name"]), f"{where}.{parameter.name}.to", parameter, high, half)


def _beyond(axis: str, key: str, parameter: Parameter, bound: float, step: float) -> Iterator[Edge]:
    """Yield the bound at which a gene lies and its move by a step, as far as the parameter allows."""
    wider = bound + step
    if axis.startswith(LOG):
        bound, wider = 10.0**bound, 10.0**wider
    if parameter.low is not None:
        wider = max(wider, parameter.low)
    if parameter.high is not None:
        wider = min(wider, parameter.high)
    wider = float(round(wider)) if parameter.kind == "int" else wider
    if abs(wider - bound) > EDGE * abs(step) and not (step < 0 and bound == 0):
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


def search_progress(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Report the progress on fit; warn if a finished search has not improved on its start, or not for long.

    Nothing is reported for several objectives, because their front may grow while the mean does not.
    """
    search = current_search(store)
    tried = [row for row in store.summaries("fit") if row.search == search]
    rows = [row for row in tried if row.value is not None]
    fits = [(fit.score, model) for model in summary.baselines.values() if (fit := model.counts_on("fit"))]
    if summary.objectives or not rows or not fits:
        return
    trials = {trial.id: trial for trial in store.trials(search)}
    learned = store.lessons(rows[0].search)
    plain = [row for row in rows if row.trial not in learned] or rows
    first = [row for row in plain if trials[row.trial].batch == trials[rows[0].trial].batch]
    first = first if len(first) >= FEW else plain[:FEW]
    start, best = _best(first), _best(rows)
    n, number = len(tried), trials[best.trial].asked.number
    top, baseline = max(fits, key=lambda scored: scored[0])
    fit = baseline.on_all("fit") if baseline.estimate else baseline.counts_on("fit")
    assert fit is not None, "it was scored"
    is_tie = len(fits) > 1 and {score for score, _ in fits} == {top}
    who = "all baselines score" if is_tie else f"the best baseline ({baseline.trial.name}) scores"
    raw, by = raw_means(store, best.search), f", by {summary.unit.measure}" if summary.unit.measure else ""
    known = (
        f"{summary.unit.text(fit.score)}{_measured(baseline.estimate.raw, fit) if baseline.estimate else ''}"
    )
    what = (
        f"On fit{by}: {who} {known}, the best of the first {len(first)} successful candidates "
        f"{_value_text(summary, start, raw)}, the best of all {n} (trial {number}) "
        f"{_value_text(summary, best, raw)}."
    )
    is_early = n < ENOUGH or summary.status != "finished" or _is_perfect(store, best.trial)
    # Scores on a few items are noisy: a winner that was picked late shows that the search went on.
    winner = None if summary.winner is None else trials.get(summary.winner.trial.id)
    last = winner if winner is not None and winner.asked.number > number else trials[best.trial]
    kind: Literal["start", "stuck"] = "start"
    why = ""
    if is_early or _trained_is_ahead(summary):
        pass
    elif (best.value or 0.0) <= fit.score + ROUNDING or last.id in {row.trial for row in first}:
        why = "The search has not improved on its start."
    elif (unbeaten := _unbeaten_baseline(summary)) is not None:
        why = f"The run ends at a baseline ({unbeaten}), which the bred model does not clearly beat."
    elif 2 * (last.asked.number + 1) <= n:
        kind, why = "stuck", "The best came in the first half of the candidates: the search looks stuck."
    if why:
        yield Advice(kind=kind, level="warning", what=what, why=why, remedy=_next_steps(store, best))
    else:
        yield Advice(kind="progress", level="note", what=what)


def _best(rows: Sequence[EvaluationRow]) -> EvaluationRow:
    return max(rows, key=lambda row: (row.value or 0.0, -row.trial))  # ties go to the earliest


def _value_text(summary: RunSummary, row: EvaluationRow, raw: Mapping[int, float]) -> str:
    measured = _measured(raw[row.trial], SampleSize(n=row.n)) if row.is_partial else ""
    return f"{summary.unit.text(row.value or 0.0)}{measured}"


def _measured(raw: float, size: SampleSize) -> str:
    return f" (estimated; {percent(raw)} on {size.items})"


def _is_perfect(store: RunStore, trial: int) -> bool:
    evaluation = store.evaluation(trial, "fit")
    return evaluation is not None and evaluation.mean is not None and evaluation.mean >= 1 - ROUNDING


def _unbeaten_baseline(summary: RunSummary) -> str | None:
    """Return the name of a baseline that the bred model is equal to, or not clearly ahead of; else None."""
    leads = () if summary.choice is None else summary.choice.leads
    if not leads or summary.winner is None or leads[-1].trial != summary.winner.trial.id:
        return None
    is_ahead = leads[-1].is_clear and leads[-1].lead > ROUNDING
    return None if is_ahead else summary.model(leads[-1].over).name


def _next_steps(store: RunStore, best: EvaluationRow) -> str:
    """Suggest finer weights, to continue with as much budget again, and other ways."""
    ways = ["more sources (`kingyo scout` finds them)"]
    if not is_of_paths(store, best.search):
        ways.append("other bounds (narrower where candidates break, wider where the best lie at one)")
    if best.is_partial:
        ways.append("more items per candidate (search.screen.items)")
    budget = {k: math.ceil(value) for k, value in config_of(store, "budget").items() if value is not None}
    more = " ".join(f"--{key.replace('_', '-')} +{value}" for key, value in budget.items())
    resume = f"ontinue with `kingyo resume {folder_of(store)} {more}`."
    finer = _finer_weights(store)
    first = f"C{resume}" if finer is None else f"{finer} Or c{resume}"
    return f"{first} Or begin a new run with {joined(ways, 'or')}."


def _finer_weights(store: RunStore) -> str | None:
    """Return how a new run gets weights that this one has not: learned ones, or one for each tensor.

    None if it has them, cannot learn, or its budget is too small to.
    """
    evaluations = sum(items for items, _ in store.costs(MAIN, "fit").values())
    allowance = Allowance(search=MAIN, budget=evaluations, most_items=len(store.items()["fit"]))
    if not store.fact(LEARNABLE) or not allowance.is_enough:
        return None
    file = Path(str(store.fact("folder") or "")) / str(store.fact("run_yaml") or "run.yaml")
    groups, name = config_of(store, "merge").get("groups"), shlex.quote(os.path.relpath(file))
    if not store.fact(LEARNS):
        change = f"Write `learn: true` in {name}, so that weights are learned by gradient"
    elif groups not in (None, GROUPS):
        change = f"Delete `groups: {groups}` from {name}, so that each tensor has weights of its own"
    else:
        return None
    return f"{change}, and run `kingyo evolve {name} --run {shlex.quote(f'{store.folder}-finer')}`."


def training_on_bred(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Advise to tune a finished run; warn if training alone is ahead of its bred model."""
    validation = None if summary.winner is None else summary.winner.validation
    is_tunable = bool(store.fact(TUNABLE)) and TUNED not in store.searches()
    if summary.status != "finished" or not is_tunable or validation is None:
        return
    remedy = f"`kingyo tune {folder_of(store)}` trains a LoRA on the bred model."
    if _trained_is_ahead(summary):
        what = "A LoRA trained on the same items is ahead of the bred model."
        yield Advice(kind="train", level="warning", what=what, why="Training is the bar here.", remedy=remedy)
        return
    last = max(trial.id for trial in store.trials())
    if validation.score < SOLVED and store.right_answers((BASELINES, MAIN), "fit", last):
        what = "Training may add to what breeding found."
        yield Advice(kind="train", level="note", what=what, remedy=remedy)


def _trained_is_ahead(summary: RunSummary) -> bool:
    """Return whether the control ``trained`` is clearly ahead of the bred model, before test."""
    trained, leads = summary.controls.get(TRAINED), () if summary.choice is None else summary.choice.leads
    return trained is not None and any(each.is_clear and each.trial == trained.trial.id for each in leads)

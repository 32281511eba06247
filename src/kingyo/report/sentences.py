"""The sentences of the report: their wording follows the intervals and promises nothing before test."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from kingyo.io.units import counted
from kingyo.report import wording
from kingyo.report.composition import Matrix
from kingyo.report.findings import Findings
from kingyo.results.comparisons import gap_to_test
from kingyo.results.layer_paths import NamedPath
from kingyo.results.model_result import ModelResult
from kingyo.results.remarks import better_than_bred, estimate_beside_test, not_compared
from kingyo.results.trials import describe_trial, reference_to
from kingyo.run.config import FRANKENMERGE
from kingyo.types import Split

NAMED = 6  # layers that are passed again and named in a sentence
MAX_NAMED_GENES = 4  # in the description of a model's recipe
MIN_NAMED_GENE = 0.005  # smallest absolute value that is named


@dataclass(frozen=True, kw_only=True)
class Against:
    """The bred model against another.

    Attributes:
        difference: with its interval.
        rest: what follows it in a sentence.
        basis: score and p-value.
    """

    difference: str
    rest: str
    basis: str


def headline(findings: Findings) -> str:
    """Say what a sceptical reader may take home; first of all that the bred model is not the best, if so."""
    best = findings.summary.best
    if best is None or best is findings.summary.winner:
        return _about_bred(findings)
    other = describe_trial(best.trial)
    return f"The best model of this run is {other}, not the bred one. {_about_bred(findings)}"


def _about_bred(findings: Findings) -> str:
    if not findings.is_tested:
        if findings.summary.winner is not None:
            return "A winner is picked, and not tested yet."
        trials = counted(findings.summary.trials, "trial") if findings.summary.trials else "no trials"
        return f"Not finished: {trials} so far, nothing tested yet."
    compared = [(words, findings.comparison(name)) for words, name in _main_rivals(findings)]
    verdicts: list[tuple[str, wording.Verdict]] = [
        (words, wording.verdict(each)) for words, each in compared if each is not None
    ]
    if not verdicts:
        return "The bred model is tested; there is nothing to compare it with."
    for name in findings.controls:  # a search of equal cost that does as well belongs in the headline too
        comparison = findings.comparison(name)
        verdict = None if comparison is None else wording.verdict(comparison)
        if verdict is not None and verdict != "better":
            verdicts.append((wording.search(name), verdict))
    return wording.compared("The bred model", verdicts)


def _main_rivals(findings: Findings) -> list[tuple[str, str]]:
    """Return what a bred model has to beat: words, and the name in the summary."""
    best = findings.summary.best_parent()
    parents = [(f"its best parent ({best.name})", best.name)] if best is not None else []
    stacked = [("the frankenmerge", FRANKENMERGE)] if FRANKENMERGE in findings.summary.baselines else []
    return [*parents, ("the uniform merge", "uniform"), *stacked]


def top_score(findings: Findings) -> tuple[str, str, str] | None:
    """Return what counts of the child, its interval, and on which items; None without a score."""
    child, split = findings.child, findings.split
    bars, decided = findings.bars(), None if child is None else child.counts_on(split)
    if child is None or not bars or decided is None:
        return None
    if findings.summary.decided_by is not None:
        bounds = findings.unit.bounded(decided).partition(" ")[2]
        return findings.unit.text(decided.score), bounds, _items(findings, decided.n)
    mark = "≈ " if bars[0].is_estimate else ""
    score = bars[0].score
    return f"{mark}{wording.percent(score.score)}", wording.bounds(score), _items(findings, score.n)


def _items(findings: Findings, n: int) -> str:
    return f"{wording.sizes([n], findings.items[findings.split])} on {findings.split}"


def how_good(findings: Findings) -> list[str]:
    """Say how good the bred model is, below its score."""
    winner = findings.summary.winner
    if winner is None or winner.test is None:
        return list(_untested(findings))
    if findings.summary.decided_by is not None:
        by, score = findings.summary.decided_by, wording.score(winner.test)
        return [f"This is {by}, which decides; the mean item score is {score} and does not."]
    note = findings.summary.test_note
    unseen = "Neither the search nor the choice of the winner had seen these test items."
    return [note or unseen, *_predicted(findings)]


def _untested(findings: Findings) -> Iterator[str]:
    if findings.child is not None:
        by = findings.summary.decided_by
        kind = "The winner" if findings.summary.winner is not None else "The best trial so far"
        yield f"{kind} is trial {findings.child.trial.asked.number}."
        flattered = "These scores guided the search, so they flatter it."
        yield flattered if by is None else f"{by} guided the search, and not these scores."
    state = {"running": "The run is under way.", "finished": "The run is marked as finished."}
    stopped = f"The run was stopped: continue with kingyo resume {shlex.quote(str(findings.summary.folder))}"
    yield state.get(findings.summary.status, stopped)


def compared_with(findings: Findings) -> list[Against]:
    """Set the bred model against its best parent, the mixtures and the controls, on test."""
    rivals = [*_main_rivals(findings), *((wording.search(name), name) for name in findings.controls)]
    return [line for words, name in rivals if (line := _against(findings, words, name)) is not None]


def _against(findings: Findings, words: str, name: str) -> Against | None:
    comparison = findings.comparison(name)
    entry = findings.summary.baselines.get(name) or findings.summary.controls.get(name)
    if comparison is None or entry is None:
        return None
    shown = {"better": "over", "worse": "behind", "open": "(no difference is shown) against"}
    return Against(
        difference=findings.unit.difference(comparison.difference),
        rest=f"{shown[wording.verdict(comparison)]} {words}",
        basis=f"{findings.unit.bounded(entry.counts_on('test'))}, n = {comparison.difference.n:,}; "
        f"{wording.p_value(comparison.p)}",
    )


def notes_on_top(findings: Findings) -> list[str]:
    """Return what to know before any number: a better model, changed versions, missing controls."""
    better, missing = better_than_bred(findings.summary), not_compared(findings.summary)
    lines = [better, *map(str, findings.summary.renewals), missing if findings.is_tested else None]
    return [line for line in lines if line is not None]


def export_command(findings: Findings) -> str:
    """Return the command that writes the child as a model."""
    command = f"kingyo export {shlex.quote(str(findings.summary.folder))} OUT"
    best, child = findings.summary.best, findings.child
    if child is None or best is child:
        return command
    return f"{command} --trial {reference_to(child.trial)}"


def made_of(findings: Findings) -> str:
    """Say in one sentence what the child is made of."""
    child, routes = findings.child, findings.routes
    if child is None:
        return "No trial has succeeded yet."
    number = child.trial.asked.number
    if routes is not None and routes.path is not None and not findings.matrices:
        return f"Trial {number}: {path_sentence(routes.path)}"
    cells = [(matrix, *place, gene) for matrix in findings.matrices for place, gene in matrix.cells.items()]
    cells.sort(key=lambda cell: -abs(cell[-1]))
    values = [
        _gene(len(findings.matrices) > 1, *cell)
        for cell in cells[:MAX_NAMED_GENES]
        if abs(cell[-1]) >= MIN_NAMED_GENE
    ]
    rest = [counted(len(cells) - len(values), "smaller one")] if len(cells) > len(values) else []
    genes = counted(len(cells), "gene")
    return f"Trial {number}: {genes}{_method(findings, child)}. {wording.listed(values + rest)}."


def _gene(is_named: bool, matrix: Matrix, source: str, group: str, gene: float) -> str:
    parts = [*([matrix.parameter] if is_named else []), source, *([group] if len(matrix.groups) > 1 else [])]
    return f"{' '.join(parts)} {gene:.2f}".replace(" -", f" {wording.MINUS}")


def _method(findings: Findings, child: ModelResult) -> str:
    """Say how a model was merged; within a path the merged model is one of those whose layers it passes."""
    merges = cast("Mapping[str, Mapping[str, object]]", child.recipe.get("merges") or {})
    if merges:
        parts = [f"{name}, merged by {recipe['merge_method']}" for name, recipe in merges.items()]
        return f" of {wording.listed(parts)}"
    return (
        ""
        if findings.main is None
        else f", merged by {findings.main.description.get('method', 'its method')}"
    )


def path_sentence(path: NamedPath) -> str:
    """Say in sentences what a path is."""
    hops = Counter(step.source for step in path.steps)
    shares = [f"{hops[name]:,} through {name}" for name in path.layers if hops[name]]
    ends = f"{path.ends[0].upper()}{path.ends[1:]}."
    line = f"{counted(len(path.steps), 'hop')}: {wording.listed(shares)}"
    most = {(step.source, step.layer): step.time for step in path.steps}
    again = [f"{source} {layer}" for (source, layer), time in most.items() if time > 1]
    if not again:
        return f"{line}, no layer twice. {ends}"
    if len(again) > NAMED:
        return f"{line}, {len(again)} layers more than once. {ends}"
    return f"{line}, {wording.listed(again)} more than once. {ends}"


def search_sentence(findings: Findings) -> str:
    """Say how many trials there were, by which strategy, and which was best on fit."""
    main = findings.main
    if main is None or not main.records:
        return f"{counted(len(main.points) if main else 0, 'trial')}, and none succeeded."
    best = main.records[-1]
    batches = len({point.trial.batch for point in main.points})
    return (
        f"{counted(len(main.points), 'trial')} in {counted(batches, 'batch', 'batches')} by "
        f"{main.strategy}; the best on fit, {best.text}, is trial {best.point.number}."
    )


def search_note(findings: Findings) -> str:
    """Say how to read the chart of the search."""
    assert findings.main is not None, "there are trials"
    main, unit = findings.main, findings.main.unit
    size = wording.sizes(main.sizes, findings.items["fit"])
    note = (
        f"{unit.measure or 'Scores'} on the fit split ({size}). The search chooses by them, so the best of "
        "many tries is flattered."
    )
    if any(point.is_partial for point in main.points):
        return (
            f"{note} Lines and points are scores for all {findings.items['fit']:,} items, ≈ estimated where "
            "some were scored; a short dash is the mean that was measured on these."
        )
    return f"{note} The band is the 95% interval of the best trial." if main.measured_records else note


def origin_sentence(findings: Findings) -> str | None:
    """Say where the child came from; None without a child."""
    if findings.child is None or findings.main is None:
        return None
    number, family = findings.child.trial.asked.number, findings.family
    if family is None:
        strategy = findings.main.strategy
        batch, given = findings.child.trial.batch + 1, findings.main.n_predefined_paths
        if number < given:
            paths = counted(min(given, len(findings.main.points)), "path")
            return f"Trial {number} was given: the search began with {paths}, and found none better."
        return f"Trial {number} is of batch {batch}; {strategy} records no parents for it."
    parents = [f"{genes} from trial {parent} alone" for parent, genes in family.parents.items()]
    return (
        f"Trial {number} descends from {counted(len(family.members) - 1, 'ancestor')}, up to "
        f"{counted(family.depth, 'step')} back to {counted(len(family.founders), 'trial')} without parents. "
        f"Of its genes {wording.listed(parents)}; {family.shared} equal in both parents, {family.new} new by "
        "mutation."
    )


def selection_sentences(findings: Findings) -> list[str]:
    """Say by how much picking the best flattered the winner."""
    child, by = findings.child, findings.summary.decided_by
    if by is not None:
        return [f"These are mean item scores. {by} guided the search and picked the winner in their place."]
    if child is None or child.test is None or child.fit is None:
        return ["Fit minus test of the winner is known once the test split is read."]
    first = estimate_beside_test(findings.summary) or _drop("Fit", child, "fit")
    second = [] if child.validation is None else [_drop("Validation", child, "validation")]
    return [" ".join([first, *second]), *_predicted(findings), _flattered(findings)]


def _drop(name: str, child: ModelResult, split: Split) -> str:
    drop, chosen = gap_to_test(child, split), child.on(split)
    assert drop is not None and chosen is not None and child.test is not None, "it was scored on both"
    return (
        f"{name} minus test of the winner: {wording.points(drop)} "
        f"(n = {chosen.n:,} and {child.test.n:,} different items)."
    )


def _predicted(findings: Findings) -> Iterator[str]:
    if (predicted := findings.summary.predicted) is not None:
        yield (
            f"Predicted for test before it was read: {wording.score(predicted)}, from the "
            f"{counted(predicted.n, 'validation item')} of the finalists."
        )


def _flattered(findings: Findings) -> str:
    note = "Fit guided the search, and fit and validation together picked the winner, so both flatter it. "
    fair = (
        "is the fairest comparison."
        if findings.summary.test_note
        else "was read once, at the end, and is fair."
    )
    if findings.expected_bias is None or findings.main is None:
        return f"{note}The test split {fair}"
    trials = counted(len(findings.main.points), "trial")
    return (
        f"{note}The test split {fair} Picking the best of {trials} on fit "
        f"alone is expected to overrate it by {100 * findings.expected_bias:.1f} points."
    )

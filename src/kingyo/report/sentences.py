"""The sentences of the report: their wording follows the intervals and promises nothing before test."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from kingyo.report import wording
from kingyo.report.composition import Matrix
from kingyo.report.findings import Findings
from kingyo.results.paths import NamedPath
from kingyo.results.summary import Entry, minus_test
from kingyo.results.trials import describe_trial, reference_to
from kingyo.run.config import FRANKENMERGE
from kingyo.sizes import counted
from kingyo.types import Split

NAMED = 6  # layers that are passed again and named in a sentence
TELLING, LEAST = 4, 0.005  # genes that are named in the answer to what a model is made of, and the least one


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


def headline(found: Findings) -> str:
    """Say what a sceptical reader may take home; first of all that the bred model is not the best, if so."""
    best = found.summary.best
    if best is None or best is found.summary.winner:
        return _about_bred(found)
    return (
        f"The best model of this run is {describe_trial(best.trial)}, not the bred one. {_about_bred(found)}"
    )


def _about_bred(found: Findings) -> str:
    if not found.is_tested:
        if found.summary.winner is not None:
            return "A winner is picked, and not tested yet."
        trials = counted(found.summary.trials, "trial") if found.summary.trials else "no trials"
        return f"Not finished: {trials} so far, nothing tested yet."
    compared = [(words, found.comparison(name)) for words, name in _main_rivals(found)]
    verdicts: list[tuple[str, wording.Verdict]] = [
        (words, wording.verdict(each)) for words, each in compared if each is not None
    ]
    if not verdicts:
        return "The bred model is tested; there is nothing to compare it with."
    for name in found.controls:  # a search of equal cost that does as well belongs in the headline too
        comparison = found.comparison(name)
        verdict = None if comparison is None else wording.verdict(comparison)
        if verdict is not None and verdict != "better":
            verdicts.append((wording.search(name), verdict))
    return wording.compared("The bred model", verdicts)


def _main_rivals(found: Findings) -> list[tuple[str, str]]:
    """Return what a bred model has to beat: words, and the name in the summary."""
    best = found.summary.best_parent()
    parents = [(f"its best parent ({best.name})", best.name)] if best is not None else []
    stacked = [("the frankenmerge", FRANKENMERGE)] if FRANKENMERGE in found.summary.baselines else []
    return [*parents, ("the uniform merge", "uniform"), *stacked]


def how_good(found: Findings) -> list[str]:
    """Say how good the bred model is, below its score."""
    winner = found.summary.winner
    if winner is None or winner.test is None:
        return list(_untested(found))
    if found.summary.decided_by is not None:
        decided = found.unit.bounded(winner.counts_on("test"))
        return [f"{found.summary.decided_by} on test is {decided}, which decides; the mean score does not."]
    note = found.summary.test_note
    unseen = "Neither the search nor the choice of the winner had seen these test items."
    return [note or unseen, *_predicted(found)]


def _untested(found: Findings) -> Iterator[str]:
    if found.child is not None:
        by = found.summary.decided_by
        kind = "The winner" if found.summary.winner is not None else "The best trial so far"
        yield f"{kind} is trial {found.child.trial.asked.number}."
        flattered = "These scores guided the search, so they flatter it."
        yield flattered if by is None else f"{by} guided the search, and not these scores."
    state = {"running": "The run is under way.", "finished": "The run is marked as finished."}
    stopped = f"The run was stopped: go on with kingyo resume {shlex.quote(str(found.summary.folder))}"
    yield state.get(found.summary.status, stopped)


def compared_with(found: Findings) -> list[Against]:
    """Set the bred model against its best parent, the mixtures and the controls, on test."""
    rivals = [*_main_rivals(found), *((wording.search(name), name) for name in found.controls)]
    return [line for words, name in rivals if (line := _against(found, words, name)) is not None]


def _against(found: Findings, words: str, name: str) -> Against | None:
    comparison = found.comparison(name)
    entry = found.summary.baselines.get(name) or found.summary.controls.get(name)
    if comparison is None or entry is None:
        return None
    shown = {"better": "over", "worse": "behind", "open": "(no difference is shown) against"}
    return Against(
        difference=found.unit.difference(comparison.difference),
        rest=f"{shown[wording.verdict(comparison)]} {words}",
        basis=f"{found.unit.bounded(entry.counts_on('test'))}, n = {comparison.difference.n:,}; "
        f"{wording.p_value(comparison.p)}",
    )


def notes_on_top(found: Findings) -> list[str]:
    """Return what to know before any number: a better model, changed versions, missing controls."""
    better, missing = found.summary.better_than_bred(), found.summary.not_compared()
    lines = [better, *map(str, found.summary.renewals), missing if found.is_tested else None]
    return [line for line in lines if line is not None]


def export_command(found: Findings) -> str:
    """Return the command that writes the child as a model."""
    command = f"kingyo export {shlex.quote(str(found.summary.folder))} OUT"
    best, child = found.summary.best, found.child
    if child is None or best is child:
        return command
    return f"{command} --trial {reference_to(child.trial)}"


def made_of(found: Findings) -> str:
    """Say in one sentence what the child is made of."""
    child, routes = found.child, found.routes
    if child is None:
        return "No trial has succeeded yet."
    number = child.trial.asked.number
    if routes is not None and routes.path is not None and not found.matrices:
        return f"Trial {number}: {path_sentence(routes.path)}"
    cells = [(matrix, *place, gene) for matrix in found.matrices for place, gene in matrix.cells.items()]
    cells.sort(key=lambda cell: -abs(cell[-1]))
    values = [_gene(len(found.matrices) > 1, *cell) for cell in cells[:TELLING] if abs(cell[-1]) >= LEAST]
    rest = [counted(len(cells) - len(values), "smaller one")] if len(cells) > len(values) else []
    genes = counted(len(cells), "gene")
    return f"Trial {number}: {genes}{_method(found, child)}. {wording.listed(values + rest)}."


def _gene(is_named: bool, matrix: Matrix, source: str, group: str, gene: float) -> str:
    parts = [*([matrix.parameter] if is_named else []), source, *([group] if len(matrix.groups) > 1 else [])]
    return f"{' '.join(parts)} {gene:.2f}".replace(" -", f" {wording.MINUS}")


def _method(found: Findings, child: Entry) -> str:
    """Say how a model was merged; within a path the merged model is one of those whose layers it passes."""
    merges = cast("Mapping[str, Mapping[str, object]]", child.recipe.get("merges") or {})
    if merges:
        parts = [f"{name}, merged by {recipe['merge_method']}" for name, recipe in merges.items()]
        return f" of {wording.listed(parts)}"
    return "" if found.main is None else f", merged by {found.main.description.get('method', 'its method')}"


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


def search_sentence(found: Findings) -> str:
    """Say how many trials there were, by which strategy, and which was best on fit."""
    main = found.main
    if main is None or not main.records:
        return f"{counted(len(main.points) if main else 0, 'trial')}, and none succeeded."
    best = main.records[-1]
    batches = len({point.trial.batch for point in main.points})
    return (
        f"{counted(len(main.points), 'trial')} in {counted(batches, 'batch', 'batches')} by "
        f"{main.strategy}; the best on fit, {best.text}, is trial {best.point.number}."
    )


def search_note(found: Findings) -> str:
    """Say how to read the chart of the search."""
    assert found.main is not None, "there are trials"
    main, unit = found.main, found.main.unit
    size = wording.sizes(main.sizes, found.items["fit"])
    note = (
        f"{unit.measure or 'Scores'} on the fit split ({size}). The search chooses by them, so the best of "
        "many tries is flattered."
    )
    if any(point.is_partial for point in main.points):
        return (
            f"{note} All lines and points are scores for all {found.items['fit']:,} items, ≈ estimated where "
            "some were scored; a short dash is the mean that was measured on these."
        )
    return f"{note} The band is the 95% interval of the best trial." if main.measured_records else note


def origin_sentence(found: Findings) -> str | None:
    """Say where the child came from; None without a child."""
    if found.child is None or found.main is None:
        return None
    number, family = found.child.trial.asked.number, found.family
    if family is None:
        strategy = found.main.strategy
        return (
            f"Trial {number} is of batch {found.child.trial.batch + 1}; {strategy} records no parents for it."
        )
    parents = [f"{genes} from trial {parent} alone" for parent, genes in family.parents.items()]
    return (
        f"Trial {number} descends from {counted(len(family.members) - 1, 'ancestor')}, up to "
        f"{counted(family.depth, 'step')} back to {counted(len(family.founders), 'trial')} without parents. "
        f"Of its genes {wording.listed(parents)}; {family.shared} equal in both parents, {family.new} new by "
        "mutation."
    )


def selection_sentences(found: Findings) -> list[str]:
    """Say by how much picking the best flattered the winner."""
    child, by = found.child, found.summary.decided_by
    if by is not None:
        return [f"These are mean item scores. {by} guided the search and picked the winner in their place."]
    if child is None or child.test is None or child.fit is None:
        return ["Fit minus test of the winner is known once the test split is read."]
    first = found.summary.estimate_beside_test() or _drop("Fit", child, "fit")
    second = [] if child.validation is None else [_drop("Validation", child, "validation")]
    return [" ".join([first, *second]), *_predicted(found), _flattered(found)]


def _drop(name: str, child: Entry, split: Split) -> str:
    drop, chosen = minus_test(child, split), child.on(split)
    assert drop is not None and chosen is not None and child.test is not None, "it was scored on both"
    return (
        f"{name} minus test of the winner: {wording.points(drop)} "
        f"(n = {chosen.n:,} and {child.test.n:,} different items)."
    )


def _predicted(found: Findings) -> Iterator[str]:
    if (predicted := found.summary.predicted) is not None:
        yield (
            f"Predicted for test before it was read: {wording.score(predicted)}, from the "
            f"{counted(predicted.n, 'validation item')} of the finalists."
        )


def _flattered(found: Findings) -> str:
    note = "Fit guided the search, and fit and validation together picked the winner, so both flatter it. "
    fair = (
        "is the fairest comparison." if found.summary.test_note else "was read once, at the end, and is fair."
    )
    if found.expected_bias is None or found.main is None:
        return f"{note}The test split {fair}"
    return (
        f"{note}The test split {fair} Picking the best of {counted(len(found.main.points), 'trial')} on fit "
        f"alone is expected to overrate it by {100 * found.expected_bias:.1f} points."
    )

"""The sentences of the report: their wording follows the intervals and promises nothing before test."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import cast

from kingyo.io.units import counted, joined
from kingyo.report import wording
from kingyo.report.findings import Findings
from kingyo.results.choice import choice_statements
from kingyo.results.comparisons import gap_to_test
from kingyo.results.model_result import ModelResult
from kingyo.results.remarks import ahead_on_test, better_than_bred, estimate_beside_test, not_compared
from kingyo.results.trials import describe_trial, reference_to
from kingyo.run.config import FRANKENMERGE
from kingyo.stats import Interval
from kingyo.types import Split


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
    verdicts: list[tuple[str, wording.Verdict]] = []
    for words, name in _rivals(findings):
        comparison = findings.comparison(name)
        verdict = None if comparison is None else wording.verdict(comparison)
        if verdict is not None and not (verdict == "better" and name in findings.controls):
            verdicts.append((words, verdict))  # a control belongs here if it does as well
    if not verdicts:
        return "The bred model is tested; there is nothing to compare it with."
    return wording.compared("The bred model", verdicts)


def _rivals(findings: Findings) -> list[tuple[str, str]]:
    """Return what a bred model has to beat, and the controls: words, and the name in the summary."""
    best = findings.summary.best_parent()
    parents = [(_best_parent(findings, best), best.name)] if best is not None else []
    stacked = [("the frankenmerge", FRANKENMERGE)] if FRANKENMERGE in findings.summary.baselines else []
    controls = [(wording.search(name), name) for name in findings.controls]
    return [*parents, ("the uniform merge", "uniform"), *stacked, *controls]


def _best_parent(findings: Findings, best: ModelResult) -> str:
    score = best.counts_on("test")
    if score is None or not findings.summary.parents_tie:
        return f"its best parent ({best.name})"
    return f"its parents (all score {findings.summary.in_words(score.score)})"


def top_score(findings: Findings) -> tuple[str, str, str] | None:
    """Return what counts of the child, its interval, and on which items; None without a score."""
    child, split = findings.child, findings.split
    bars, decided = findings.bars(), None if child is None else child.counts_on(split)
    if child is None or not bars or decided is None:
        return None
    if findings.summary.decided_by is not None:
        bounds = findings.unit.bounded(decided).partition(" ")[2]
        return findings.unit.text(decided.score), bounds, _items(findings, decided)
    mark = "≈ " if bars[0].is_estimate else ""
    score = bars[0].score
    return f"{mark}{wording.percent(score.score)}", wording.bounds(score), _items(findings, score)


def _items(findings: Findings, score: Interval) -> str:
    return f"{wording.sizes_of([score], findings.summary.items[findings.split])} on {findings.split}"


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


def compared_with(findings: Findings) -> list[tuple[str, str, str]]:
    """Set the bred model against its best parent, the mixtures and the controls, on test.

    Returns:
        For each its difference, what follows it in a sentence, and what it rests on.
    """
    lines = (_against(findings, words, name) for words, name in _rivals(findings))
    return [line for line in lines if line is not None]


def _against(findings: Findings, words: str, name: str) -> tuple[str, str, str] | None:
    comparison = findings.comparison(name)
    entry = findings.summary.baselines.get(name) or findings.summary.controls.get(name)
    if comparison is None or entry is None:
        return None
    shown = {"better": "over", "worse": "behind", "open": "(no difference is shown) against"}
    score, size = findings.unit.bounded(entry.counts_on("test")), comparison.difference.size
    return (
        findings.unit.difference(comparison.difference),
        f"{shown[wording.verdict(comparison)]} {words}",
        f"{score}, n = {size}; {wording.p_value(comparison.p)}",
    )


def notes_on_top(findings: Findings) -> list[str]:
    """Return what to know before any number: better models, changed versions, missing controls."""
    summary = findings.summary
    lines = [better_than_bred(summary), ahead_on_test(summary), *map(str, summary.renewals)]
    lines += [not_compared(summary)] if findings.is_tested else []
    return [line for line in lines if line is not None]


def command_of(findings: Findings, name: str, *arguments: str) -> str:
    """Return a command about the child, such as the one that exports it."""
    best, child = findings.summary.best, findings.child
    trial = () if child is None or best is child else ("--trial", reference_to(child.trial))
    return shlex.join(("kingyo", name, findings.summary.folder, *arguments, *trial))


def about_task(findings: Findings) -> list[str]:
    """Say what the task is: its name, the number of its items, and the models that are merged."""
    config = cast("Mapping[str, object]", findings.facts.get("config") or {})
    names = list(cast("Mapping[str, object]", config.get("tasks") or {}))
    task, sources = config.get("task"), list(cast("Mapping[str, object]", config.get("sources") or {}))
    if isinstance(task, Mapping) and "name" in task:
        names = [str(cast("Mapping[str, object]", task)["name"])]
    sizes = joined([f"{n:,} {split}" for split, n in findings.summary.items.items()])
    title = f"Task{'' if len(names) < 2 else 's'} {joined(names)}" if names else "Task"
    base = ", on one base" if config.get("base") is not None else ""
    models = [f"Sources: {joined(sources)}{base}."] if sources else []
    return [f"{title}: {sizes} items.", *models]


def made_of(findings: Findings) -> str:
    """Say in one sentence what the child is made of."""
    child, routes = findings.child, findings.routes
    if child is None:
        return "No trial has succeeded yet."
    number, n_genes = child.trial.asked.number, sum(matrix.size for matrix in findings.matrices)
    if routes is not None and routes.path is not None and not n_genes:
        path = routes.path
        return f"Trial {number}: {counted(len(path.steps), 'hop')}, {path.line}; {path.ends}."
    merges = cast("Mapping[str, Mapping[str, object]]", child.recipe.get("merges") or {"": child.recipe})
    methods = ", ".join(str(recipe.get("merge_method")) for recipe in merges.values())
    return f"Trial {number}: {counted(n_genes, 'gene')}, merged by {methods}."


def parents_sentence(findings: Findings) -> str:
    """Say how the parents were chosen, and how they and their average were scored."""
    frame = None if findings.child is None else findings.child.recipe.get("frame")
    choice = findings.summary.chosen
    scout = "" if choice is None else f" {next(choice_statements(choice))}"
    if frame is None:
        return f"Parents are scored unchanged; uniform is their plain average.{scout}"
    return (
        f"Parents are scored in the frame {frame}: their own weights where candidates are merged, and the "
        f"frame's everywhere else. Uniform is their plain average there.{scout}"
    )


def search_sentence(findings: Findings) -> str:
    """Say how many trials there were, by which strategy, and which was best on fit."""
    main = findings.main
    if main is None or not main.records:
        return f"{counted(len(main.points) if main else 0, 'trial')}, and none succeeded."
    best = main.records[-1]
    batches = len({point.trial.batch for point in main.points})
    return (
        f"{counted(len(main.points), 'trial')} in {counted(batches, 'batch', 'batches')} by "
        f"{main.strategy}; the best on fit, {main.text(best)}, is trial {best.point.number}."
    )


def search_note(findings: Findings) -> str:
    """Say how to read the chart of the search."""
    assert findings.main is not None, "there are trials"
    main, unit = findings.main, findings.main.unit
    size = wording.sizes([point.n for point, _ in main.scored], findings.summary.items["fit"])
    note = (
        f"{unit.measure or 'Scores'} on the fit split ({size}). The search chooses by them, so the best of "
        "many tries is flattered."
    )
    if any(point.is_partial for point in main.points):
        return (
            f"{note} Lines and points are scores for all items, ≈ estimated where some were scored; a short "
            "dash is the mean that was measured on these."
        )
    return f"{note} The band is the 95% interval of the best trial." if main.measured_records else note


def origin_sentence(findings: Findings) -> str | None:
    """Say where the child came from; None without a child."""
    if findings.child is None or findings.main is None:
        return None
    number, family = findings.child.trial.asked.number, findings.family
    if family is None:
        batch, strategy = findings.child.trial.batch + 1, findings.main.strategy
        return f"Trial {number} is of batch {batch}; {strategy} records no parents for it."
    ancestors, steps = counted(len(family.members) - 1, "ancestor"), counted(family.depth, "step")
    return f"Trial {number} descends from {ancestors}, up to {steps} back{_learned_ancestors(findings)}."


def _learned_ancestors(findings: Findings) -> str:
    """Return which trials of the family were learned, and how."""
    assert findings.main is not None and findings.family is not None, "the child has ancestors"
    points = [findings.main.by_number.get(number) for number in findings.family.members]
    learned = [f"trial {each.name}" for each in points if each is not None and each.lesson is not None]
    return f"; of them {'; '.join(learned)}" if learned else ""


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
        f"(n = {chosen.size} and {child.test.size}, different items)."
    )


def _predicted(findings: Findings) -> Iterator[str]:
    if (predicted := findings.summary.predicted) is not None:
        yield (
            f"Predicted for test before it was read: {wording.score(predicted)}, from the "
            f"validation scores of the finalists (n = {predicted.size})."
        )


def _flattered(findings: Findings) -> str:
    note = "Fit guided the search, and fit and validation together picked the winner, so both flatter it. "
    fair = (
        "is the fairest comparison."
        if findings.summary.test_note
        else "was read once, at the end, and is fair."
    )
    return f"{note}The test split {fair}"

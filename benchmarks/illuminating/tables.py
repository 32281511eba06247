"""The results as tables: each figure with its interval, and how far ahead of NSGA-II it is, seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import cast

from searching.tables import interval, table

from illuminating.judge import Figures, spread, value
from illuminating.problem import Scores

Result = Mapping[str, object]
PEERS = ("nsga2", "pymoo NSGA2")
SHARES = ("coverage", "best")
"""Figures whose name begins so are shares, told in percent."""
ITEMS = {"fit": "on fit", "test": "on items that no search saw"}


def render(results: Sequence[Result], *, markdown: bool) -> str:
    """For each setting and split a table of figures, and one of how far ahead of each peer others are."""
    parts: list[str] = []
    for setting in dict.fromkeys(str(each["setting"]) for each in results):
        for split, where in ITEMS.items():
            runs = _runs([each for each in results if each["setting"] == setting], split)
            name = f"Genes: {setting}; {where}"
            parts += [f"{name}:\n\n{_means(runs, markdown)}", f"{name}, ahead:\n\n{_leads(runs, markdown)}"]
    return "\n\n".join(parts)


def _runs(results: Sequence[Result], split: str) -> dict[str, dict[int, Figures]]:
    found: dict[str, dict[int, Figures]] = {}
    for each in results:
        figures = _on_fit(each) if split == "fit" else _on_test(each)
        found.setdefault(str(each["search"]), {})[int(str(each["seed"]))] = figures
    return found


def _on_fit(result: Result) -> Figures:
    fit = cast("Sequence[Scores]", result["fit"])
    return {**spread(fit), **_taken(result, dict(enumerate(fit)))}


def _on_test(result: Result) -> Figures:
    """Those who held a cell on fit, if all of them were tested; whom to take was decided on fit, too."""
    test = {int(index): f for index, f in cast("Mapping[str, Scores]", result["test"]).items()}
    held = cast("Sequence[int]", result["held"])
    ground = spread([test[index] for index in held]) if test.keys() >= set(held) else {}
    return {**ground, **_taken(result, test)}


def _taken(result: Result, scores: Mapping[int, Scores]) -> Figures:
    picks = cast("Mapping[str, Mapping[str, int]]", result["picks"])
    found: dict[str, float] = {}
    for n, each in picks.items():
        best = {name: value(name, scores[index]) for name, index in each.items()}
        found[f"best in the mean, of {n}"] = best.pop("mean")
        found[f"best at a task, of {n}"] = statistics.fmean(best.values())
        if n == max(picks, key=int):
            found |= {f"best at {name}, of {n}": score for name, score in best.items()}
    return found


Runs = Mapping[str, Mapping[int, Figures]]
"""Search -> seed -> figures."""


def _means(runs: Runs, markdown: bool) -> str:
    rows = [
        (
            figure,
            *(
                _told([each[figure] for each in own.values() if figure in each], figure)
                for own in runs.values()
            ),
        )
        for figure in _figures(runs)
    ]
    return table(("figure", *runs), rows, markdown)


def _leads(runs: Runs, markdown: bool) -> str:
    """Paired by seed."""
    pairs = [(one, peer) for one in runs if one not in PEERS for peer in PEERS if peer in runs]
    rows = [
        (figure, *(_lead(runs[one], runs[peer], figure) for one, peer in pairs)) for figure in _figures(runs)
    ]
    return table(("figure", *(f"{one} − {peer}" for one, peer in pairs)), rows, markdown)


def _lead(one: Mapping[int, Figures], other: Mapping[int, Figures], figure: str) -> str:
    shared = [seed for seed in one if figure in one[seed] and figure in other.get(seed, {})]
    return _told([one[seed][figure] - other[seed][figure] for seed in shared], figure, signed=True)


def _told(values: Sequence[float], figure: str, *, signed: bool = False) -> str:
    """Mean, interval and n; shares in percent."""
    factor = 100 if figure.startswith(SHARES) else 1
    return f"{interval([factor * each for each in values], signed=signed)} n={len(values)}" if values else ""


def _figures(runs: Runs) -> list[str]:
    every = [each for own in runs.values() for each in own.values()]
    return list(max(every, key=len))

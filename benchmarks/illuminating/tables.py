"""Format the results as tables: each figure with its interval, and leads over NSGA-II, paired by seed."""

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
"""Prefixes of figures that are shares, shown in percent."""
ITEMS = {"fit": "on fit", "test": "on items that no search saw"}


def render(results: Sequence[Result], *, markdown: bool) -> str:
    """Return a table of figures and one of leads over each peer, for each setting and split."""
    parts: list[str] = []
    for setting in dict.fromkeys(str(each["setting"]) for each in results):
        for split, where in ITEMS.items():
            runs = _runs([each for each in results if each["setting"] == setting], split)
            name = f"Genes: {setting}; {where}"
            parts += [f"{name}:\n\n{_means(runs, markdown)}", f"{name}, leads:\n\n{_leads(runs, markdown)}"]
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
    """Return the figures on test; cells and picks are those of fit, and need all their candidates tested."""
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
                _text([each[figure] for each in own.values() if figure in each], figure)
                for own in runs.values()
            ),
        )
        for figure in _figures(runs)
    ]
    return table(("figure", *runs), rows, markdown)


def _leads(runs: Runs, markdown: bool) -> str:
    """Return a table of leads, paired by seed."""
    pairs = [(one, peer) for one in runs if one not in PEERS for peer in PEERS if peer in runs]
    rows = [
        (figure, *(_lead(runs[one], runs[peer], figure) for one, peer in pairs)) for figure in _figures(runs)
    ]
    return table(("figure", *(f"{one} − {peer}" for one, peer in pairs)), rows, markdown)


def _lead(one: Mapping[int, Figures], other: Mapping[int, Figures], figure: str) -> str:
    shared = [seed for seed in one if figure in one[seed] and figure in other.get(seed, {})]
    return _text([one[seed][figure] - other[seed][figure] for seed in shared], figure, signed=True)


def _text(values: Sequence[float], figure: str, *, signed: bool = False) -> str:
    """Return mean, interval and n as text; shares in percent."""
    factor = 100 if figure.startswith(SHARES) else 1
    return f"{interval([factor * each for each in values], signed=signed)} n={len(values)}" if values else ""


def _figures(runs: Runs) -> list[str]:
    every = [each for own in runs.values() for each in own.values()]
    return list(max(every, key=len))

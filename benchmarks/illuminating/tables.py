"""The results as tables: each figure with its interval, and how far ahead of NSGA-II it is, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from searching.tables import interval, table

from illuminating.judge import Figures, spread, value
from illuminating.problem import Scores

Result = Mapping[str, object]
PEERS = ("nsga2", "pymoo NSGA2")
SHARES = ("coverage", "best")
"""Figures whose name begins so are shares, told in percent."""


def render(results: Sequence[Result], *, markdown: bool) -> str:
    """A table for each setting: on fit, and on items that no search saw."""
    settings = list(dict.fromkeys(str(each["setting"]) for each in results))
    parts: list[str] = []
    for setting in settings:
        for split in ("fit", "test"):
            runs = _runs([each for each in results if each["setting"] == setting], split)
            head = ("items", "figure", "search", "n", "mean [95 %]", *(f"ahead of {peer}" for peer in PEERS))
            rows = [(split, *row) for row in _rows(runs)]
            parts.append(f"Genes: {setting}\n\n{table(head, rows, markdown)}")
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
    """Those who held a cell by what they scored on fit; whom to take was decided there, too."""
    test = {int(index): f for index, f in cast("Mapping[str, Scores]", result["test"]).items()}
    held = cast("Sequence[int]", result["held"])
    return {**spread([test[index] for index in held]), **_taken(result, test)}


def _taken(result: Result, scores: Mapping[int, Scores]) -> Figures:
    picks = cast("Mapping[str, Mapping[str, int]]", result["picks"])
    return {
        f"best {name} of {n}": value(name, scores[index])
        for n, each in picks.items()
        for name, index in each.items()
    }


def _rows(runs: Mapping[str, Mapping[int, Figures]]) -> Iterator[tuple[str, ...]]:
    for figure in dict.fromkeys(name for own in runs.values() for each in own.values() for name in each):
        factor = 100 if figure.startswith(SHARES) else 1
        for search, own in runs.items():
            values = [factor * each[figure] for each in own.values()]
            ahead: list[str] = []
            for peer in PEERS:
                shared = sorted(set(own) & set(runs.get(peer, {})))
                pairs = [factor * (own[seed][figure] - runs[peer][seed][figure]) for seed in shared]
                ahead.append("" if peer == search or len(pairs) < 2 else interval(pairs, signed=True))
            yield figure, search, str(len(values)), interval(values), *ahead

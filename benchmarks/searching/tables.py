"""Format the results as tables: cost to reach the others' accuracy, and leads at equal cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from scipy.stats import t as student

Result = Mapping[str, object]
MERGEKIT = "mergekit-evolve"


def render(results: Sequence[Result], *, markdown: bool) -> str:
    """Return the tables of all settings that have results."""
    settings = list(dict.fromkeys(str(each["setting"]) for each in results))
    reached = [row for setting in settings for row in _reached(results, setting)]
    equal = [row for setting in settings for row in _equal(results, setting)]
    head = (
        "setting",
        "search",
        "n",
        "test accuracy of mergekit-evolve",
        "its items",
        "items to reach it",
        "share",
    )
    parts = [table(head, reached, markdown)]
    head = ("setting", "search", "n", "items", "test accuracy [95%]", "lead of `fast` [95%, paired]")
    return "\n\n".join([*parts, table(head, equal, markdown)])


def _runs(results: Sequence[Result], setting: str) -> dict[str, dict[int, list[tuple[int, float]]]]:
    found: dict[str, dict[int, list[tuple[int, float]]]] = {}
    for each in results:
        if each["setting"] == setting:
            trace = each["trace"]
            assert isinstance(trace, list), "a trace is a list"
            found.setdefault(str(each["search"]), {})[int(str(each["seed"]))] = trace
    return found


def _reached(results: Sequence[Result], setting: str) -> Iterator[tuple[str, ...]]:
    """Yield by seed the first checkpoint that is as good as mergekit-evolve at its end."""
    runs = _runs(results, setting)
    theirs = runs.get(MERGEKIT, {})
    for name in runs:
        seeds = sorted(set(runs[name]) & set(theirs))
        if name == MERGEKIT or not seeds:
            continue
        shares: list[float] = []
        needed: list[float] = []
        for seed in seeds:
            spent, target = theirs[seed][-1]
            first = next((items for items, score in runs[name][seed] if score >= target), math.inf)
            needed.append(first)
            shares.append(first / spent)
        target = statistics.median(theirs[seed][-1][1] for seed in seeds)
        spent = statistics.median(theirs[seed][-1][0] for seed in seeds)
        yield (
            setting,
            name,
            str(len(seeds)),
            f"{100 * target:.1f} (median)",
            f"{spent:,.0f}",
            _items(statistics.median(needed)) + f" (all: {', '.join(map(_items, sorted(needed)))})",
            f"{statistics.median(shares):.2f}",
        )


def _equal(results: Sequence[Result], setting: str) -> Iterator[tuple[str, ...]]:
    """Yield mean test accuracy at the largest common budget, and fast minus each, paired by seed."""
    runs = _runs(results, setting)
    ours = runs.get("fast", {})
    budgets = [int(str(e["budget"])) for e in results if e["setting"] == setting and e["search"] != MERGEKIT]
    items = min(budgets, default=0)
    for name, by_seed in runs.items():
        if name == MERGEKIT:  # it has another budget
            continue
        ends = {seed: _at(trace, items) for seed, trace in by_seed.items()}
        pairs = [_at(ours[seed], items) - ends[seed] for seed in sorted(set(ours) & set(ends))]
        ahead = "" if name == "fast" or len(pairs) < 2 else _lead(pairs)
        yield (
            setting,
            name,
            str(len(ends)),
            f"{items:,}",
            interval([100 * each for each in ends.values()]),
            ahead,
        )


def _lead(pairs: Sequence[float]) -> str:
    """Return the mean lead and the number of seeds with a lead; an outlier widens any interval of means."""
    wins = sum(each > 0 for each in pairs)
    return f"{interval([100 * each for each in pairs], signed=True)}; {wins} of {len(pairs)} seeds"


def _at(trace: Sequence[tuple[int, float]], items: int) -> float:
    """Return the test accuracy of the last answer within a budget; of the first if all exceed it."""
    before = [score for spent, score in trace if spent <= items]
    return before[-1] if before else trace[0][1]


def interval(values: Sequence[float], *, signed: bool = False) -> str:
    """Return the mean and its 95% interval by Student's t as text; only the mean for one value."""
    mean, form = statistics.mean(values), "+.1f" if signed else ".1f"
    if len(values) < 2:
        return f"{mean:{form}}"
    reach = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:{form}} [{mean - reach:{form}}, {mean + reach:{form}}]"


def _items(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> str:
    """Return rows below a head, in Markdown or in columns."""
    if markdown:
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]
    )

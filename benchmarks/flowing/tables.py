"""Format the results as Markdown tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from scipy.stats import t as student

from flowing.searching import DEFAULTS

Row = Mapping[str, object]
MIXED, PLAIN = "mixed CMA-ES", "CMA-ES on thresholds"
TARGETS: dict[str, tuple[str, str]] = {
    "own layers": ("max. difference of logits: path of a model's own layers and the model", "0"),
    "frankenmerge": ("max. difference of logits: path and mergekit's checkpoint", "≤ 1e-5"),
    "cache": ("equal greedy answers with and without cache", "all"),
    "change of path, ms": ("change of path, 24 + 24 layers, median, ms", "≤ 1"),
    "change of path, slowest, ms": ("slowest change, ms", ""),
    "memory beside the weights": ("memory besides the sources' weights, share", "≤ 0.05"),
    "time per token": ("time per token relative to transformers' model with 24 layers, median", "≤ 1.05"),
    "time of a deep layer": ("time per added layer, 24 to 48 layers relative to 3 to 12", "0.9 to 1.1"),
    "export": ("equal greedy answers of the exported checkpoint and the live path", "≥ 99%"),
}
COUNTS = ("cache", "export")


def render(rows: Sequence[Row]) -> str:
    """Return all tables that have results."""
    parts = [_mechanics(rows), _strategies(rows), _defaults(rows), _outcomes(rows)]
    return "\n\n".join(part for part in parts if part)


def _of(rows: Sequence[Row], part: str) -> list[Row]:
    return [each for each in rows if each["part"] == part]


def _longest(rows: Sequence[Row], part: str) -> list[Row]:
    """Return the searches with the most evaluations; others are not comparable seeds."""
    found = _of(rows, part)
    most = max((_number(each["evaluations"]) for each in found), default=0)
    return [each for each in found if each["evaluations"] == most]


def _mechanics(rows: Sequence[Row]) -> str:
    found = {str(each["what"]): each for each in _of(rows, "mechanics")}
    lines = [
        (label, _value(name, found[name]), f"{found[name]['n']:,}", target)
        for name, (label, target) in TARGETS.items()
        if name in found
    ]
    return table(("what", "measured", "n", "target"), lines) if lines else ""


def _value(name: str, row: Row) -> str:
    value = _number(row["value"])
    return f"{value:,.0f}" if name in COUNTS else f"{value:.3g}"


def _strategies(rows: Sequence[Row]) -> str:
    """Return scores by evaluations, and when mixed CMA-ES reaches the last score of plain CMA-ES."""
    curves: dict[str, dict[int, list[float]]] = {}
    for each in _longest(rows, "strategies"):
        seed = int(_number(each["seed"]))
        curves.setdefault(str(each["name"]), {})[seed] = cast("list[float]", each["best"])
    if not curves:
        return ""
    longest = max(len(curve) for runs in curves.values() for curve in runs.values())
    marks = [mark for mark in (20, 50, 100, 150, 200, 300, 400, 600) if mark <= longest]
    lines = [
        (name, str(len(runs)), *(_mean([curve[mark - 1] for curve in runs.values()]) for mark in marks))
        for name, runs in curves.items()
    ]
    shown = table(("strategy", "seeds", *(f"best of {mark}, %" for mark in marks)), lines)
    return f"{shown}\n\n{_sooner(curves)}" if {MIXED, PLAIN} <= curves.keys() else shown


def _defaults(rows: Sequence[Row]) -> str:
    """Return each change compared with the preset, paired by seed."""
    runs: dict[str, dict[int, Row]] = {}
    for each in _longest(rows, "defaults"):
        runs.setdefault(str(each["name"]), {})[int(_number(each["seed"]))] = each
    if not runs:
        return ""
    lines: list[tuple[str, ...]] = []
    for block in DEFAULTS.values():
        names = [name for name in block if name in runs]
        lines += [_default(name, runs[name], runs[names[0]]) for name in names]
    (first, *_) = next(iter(runs.values())).values()
    beside = "minus the first of its block [95%, paired by seed]"
    best = f"best of {first['evaluations']} on fit, %"
    return table(("search", "seeds", best, beside, "test, %", beside, "hops"), lines)


def _default(name: str, own: Mapping[int, Row], preset: Mapping[int, Row]) -> tuple[str, ...]:
    both = sorted(own.keys() & preset.keys())
    cells = [name, str(len(both))]
    for value in (_last, _test):
        mine, theirs = ([value(runs[seed]) for seed in both] for runs in (own, preset))
        gaps = [a - b for a, b in zip(mine, theirs, strict=True)]
        cells += [_mean(mine), "" if own is preset else _interval(gaps, signed=True)]
    return (*cells, f"{statistics.mean(_number(own[seed]['hops']) for seed in both):.1f}")


def _last(row: Row) -> float:
    return cast("list[float]", row["best"])[-1]


def _test(row: Row) -> float:
    return _number(row["test"])


def _sooner(curves: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """Say after how many evaluations the mean curve of the mixed one reaches the end of the plain one."""
    both = sorted(curves[MIXED].keys() & curves[PLAIN].keys())
    mixed, plain = ([curves[name][seed] for seed in both] for name in (MIXED, PLAIN))
    last = statistics.mean(curve[-1] for curve in plain)
    n = len(plain[0])
    mean = [statistics.mean(step) for step in zip(*mixed, strict=True)]
    reached = next((place + 1 for place, value in enumerate(mean) if value >= last), None)
    outcome = (
        "does not reach it"
        if reached is None
        else f"reaches it after {reached}, a share of {reached / n:.2f}"
    )
    ends = f"{PLAIN} ends at {100 * last:.1f}% after {n} evaluations (mean of {len(both)} seeds)"
    return f"{ends}; {MIXED} {outcome}."


def _outcomes(rows: Sequence[Row]) -> str:
    found = _of(rows, "outcomes")
    runs: dict[tuple[str, str], dict[int, Row]] = {}
    for each in found:
        key = str(each["setting"]), str(each["way"])
        runs.setdefault(key, {})[int(_number(each["seed"]))] = each
    lines = [line for (setting, way), own in runs.items() for line in _line(setting, way, own)]
    shown = table(
        ("models", "bred by", "seeds", "test, % [95%]", "compared with", "lead [95%, paired]"), lines
    )
    between = [line for setting in dict.fromkeys(key[0] for key in runs) for line in _between(setting, runs)]
    return "\n\n".join([shown, *between]) if lines else ""


def _line(setting: str, way: str, own: Mapping[int, Row]) -> Iterator[tuple[str, ...]]:
    """Yield the winner compared with each other model; parents as the best of them, by seed."""
    seeds = sorted(own)
    scores = [_number(own[seed]["winner"]) for seed in seeds]
    others = [cast("dict[str, float]", own[seed]["others"]) for seed in seeds]
    apart = ("uniform", "frankenmerge", "random", "parameters")
    best = [max(score for name, score in each.items() if name not in apart) for each in others]
    beside = {"the best parent": best}
    beside |= {
        name: [each[name] for each in others] for name in apart if all(name in each for each in others)
    }
    head = (setting, way, str(len(seeds)), _interval(scores))
    for name, theirs in beside.items():
        called = "the first search's winner" if name == "parameters" else name
        differences = [mine - other for mine, other in zip(scores, theirs, strict=True)]
        yield (*head, f"{called}, {_mean(theirs)}%", _interval(differences, signed=True))
        head = ("", "", "", "")


def _between(setting: str, runs: Mapping[tuple[str, str], Mapping[int, Row]]) -> Iterator[str]:
    """Yield both spaces compared with weights alone, at equal cost, by seed."""
    weights, both = runs.get((setting, "weights"), {}), runs.get((setting, "both"), {})
    seeds = sorted(weights.keys() & both.keys())
    if not seeds:
        return
    gaps = [_number(both[seed]["winner"]) - _number(weights[seed]["winner"]) for seed in seeds]
    yield (
        f"{setting}: both minus weights alone, at equal cost: {_interval(gaps, signed=True)} points, "
        f"{len(seeds)} seeds."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean(values: Sequence[float]) -> str:
    return f"{100 * statistics.mean(values):.1f}"


def _interval(values: Sequence[float], *, signed: bool = False) -> str:
    """Return the mean over seeds in %, with Student's interval, as text."""
    form = "+.1f" if signed else ".1f"
    mean = 100 * statistics.mean(values)
    if len(values) < 2:
        return f"{mean:{form}}"
    reach = (
        100 * float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    )
    return f"{mean:{form}} [{mean - reach:{form}}, {mean + reach:{form}}]"


def _number(value: object) -> float:
    assert isinstance(value, int | float), "a number"
    return float(value)

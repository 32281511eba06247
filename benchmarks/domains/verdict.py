"""Format the results on the domains as tables: means with intervals over domains, spread, bad runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from searching.tables import MERGEKIT, interval, table

from domains.contenders import BY_ITEMS, DEFAULT
from kingyo.stats import ROUNDING, Groups
from kingyo.stats import interval as share_interval

Result = Mapping[str, object]
LEAST_ROOM = 0.05  # gain of the best known merge below which a domain does not separate searches


def render(results: Sequence[Result], *, markdown: bool) -> str:
    """Return all tables."""
    parts: list[str] = []
    for candidates in sorted({_number(each, "candidates") for each in results}):
        mine = [each for each in results if each["candidates"] == candidates]
        parts.append(f"At the cost of {candidates:.0f} candidates of the default:")
        parts.append(table(OVERALL, list(_overall(mine)), markdown))
        parts.append(table(["domain", *_contenders(mine)], list(_by_domain(mine)), markdown))
    return "\n\n".join(parts)


def render_sooner(results: Sequence[Result], *, markdown: bool) -> str:
    """Return how often the default is as good with a share of mergekit-evolve's item evaluations.

    It compares exported models by seed; the exported model with the mean of mergekit-evolve's; and, as in
    ``benchmarks/search.py``, the best answer after any generation with the last one of mergekit-evolve, both
    without validation and baselines.
    """
    names = ("mergekit-evolve, test", "its items", "default, test", "items")
    counts = {
        "as good": _is_as_good,
        "as good as its mean": _is_as_its_mean,
        "reached during the search": _reaches,
    }
    rows, shares = list[tuple[str, ...]](), {name: list[float]() for name in counts}
    for domain in dict.fromkeys(str(each["domain"]) for each in results):
        mine, theirs = (_by_seed(results, domain, name) for name in (BY_ITEMS, MERGEKIT))
        pairs = [(mine[seed], theirs[seed]) for seed in mine if seed in theirs]
        if not pairs:
            continue
        numbers = [
            f"{scale * statistics.mean(_number(pair[side], key) for pair in pairs):{form}}"
            for side, key, scale, form in (
                (1, "exported", 100, ".1f"),
                (1, "items", 1, ",.0f"),
                (0, "exported", 100, ".1f"),
                (0, "items", 1, ",.0f"),
            )
        ]
        found = {name: count(pairs) for name, count in counts.items()}
        for name, each in found.items():
            shares[name].append(each / len(pairs))
        cells = [f"{each} of {len(pairs)}" for each in found.values()]
        rows.append((domain, str(len(pairs)), *numbers, *cells))
    summary = "\n".join(
        f"{name.capitalize()} in {100 * statistics.mean(each):.0f}% of runs, and in 90% of seeds on "
        f"{sum(share >= 0.9 for share in each)} of {len(each)} domains."
        for name, each in shares.items()
        if each
    )
    return f"{table(('domain', 'n', *names, *counts), rows, markdown)}\n\n{summary}"


EXPORTED = (
    "version",
    "domains",
    "runs",
    "bred not exported",
    "below the best baseline",
    "so is the one that seemed best",
    "clearly below it",
    "exported − bred (points)",
)


def render_exported(results: Sequence[Result], *, markdown: bool) -> str:
    """Return how the exported models of runs with controls compare with baselines and bred models on test.

    Test has few items, so a baseline may be below the best one by luck: the second share below says how often
    the baseline is that scored best on all of fit and validation. Clearly below: by 1.96 standard errors of
    the difference, paired by item. 95% intervals go by domain: Wilson's of shares, Student's of differences.
    """
    rows = [row for name in _contenders(results) for row in _exported(results, name)]
    return table(EXPORTED, rows, markdown)


def _exported(results: Sequence[Result], contender: str) -> Iterator[tuple[str, ...]]:
    mine = [each for each in results if each["contender"] == contender]
    families = dict.fromkeys(str(each["domain"]).split("/")[0] for each in mine)
    for family in ("", *families):
        own = [each for each in mine if str(each["domain"]).startswith(family)]
        gains = _means(own, contender, lambda each: _number(each, "exported") - _number(each, "bred"))
        domains = Groups.of([str(each["domain"]) for each in own])
        below, seemed = (
            [_number(each, key) < _number(each, "baseline") - ROUNDING for each in own]
            for key in ("exported", "baseline_seemed")
        )
        yield (
            contender,
            family or "all",
            str(len(own)),
            _share([each["chosen"] != "main" for each in own], domains),
            _share(below, domains),
            _share(seemed, domains),
            _share([bool(each["is_worse"]) for each in own], domains),
            interval([100 * gain for gain in gains.values()], signed=True),
        )


def _share(found: Sequence[bool], groups: Groups | None) -> str:
    return f"{sum(found)}: {share_interval([float(each) for each in found], groups).in_percent('%')}"


Pairs = Sequence[tuple[Result, Result]]
"""Results of the default and of mergekit-evolve with the same seeds."""


def _is_as_good(pairs: Pairs) -> int:
    return sum(_number(one, "exported") >= _number(other, "exported") - ROUNDING for one, other in pairs)


def _is_as_its_mean(pairs: Pairs) -> int:
    mean = statistics.mean(_number(other, "exported") for _, other in pairs)
    return sum(_number(one, "exported") >= mean - ROUNDING for one, _ in pairs)


def _reaches(pairs: Pairs) -> int:
    return sum(max(_answers(one)) >= _answers(other)[-1] - ROUNDING for one, other in pairs)


def _answers(result: Result) -> list[float]:
    """Return the test scores of a search's answers, in order."""
    return [score for _, score in cast("Sequence[tuple[int, float]]", result["answers"])]


def _by_seed(results: Sequence[Result], domain: str, contender: str) -> dict[float, Result]:
    """The runs of one contender on one domain, by seed; of the largest budget where there are several."""
    mine = [each for each in results if (each["domain"], each["contender"]) == (domain, contender)]
    ordered = sorted(mine, key=lambda each: _number(each, "candidates"))
    return {_number(each, "seed"): each for each in ordered}


OVERALL = (
    "search",
    "domains",
    "test score (0 = best baseline, 100 = best known)",
    "lead of default, paired",
    "below the best baseline",
    "prediction holds",
    "spread over seeds (points)",
)


def normalised(result: Result) -> float:
    """Return 0 for the best baseline, 1 for the best known merge of the domain."""
    room = max(LEAST_ROOM, _number(result, "best") - _number(result, "baseline_pool"))
    return (_number(result, "exported") - _number(result, "baseline")) / room


def _overall(results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Each search over all domains; those without room are left out of means."""
    roomy = [each for each in results if _has_room(each)]
    families = list(dict.fromkeys(str(each["domain"]).split("/")[0] for each in results))
    for name in _contenders(results):
        means = _means(roomy, name, normalised)
        leads = _leads(roomy, name)
        mine = [each for each in results if each["contender"] == name]
        worse = sum(bool(each["is_worse"]) for each in mine)
        spread = ", ".join(f"{family} {_spread(mine, family):.1f}" for family in families)
        yield (
            name,
            str(len(means)),
            interval([100 * each for each in means.values()]),
            ""
            if name == DEFAULT or len(leads) < 2
            else interval([100 * each for each in leads], signed=True),
            f"{worse} of {len(mine)} ({100 * worse / len(mine):.1f}%)",
            _kept(mine),
            spread,
        )


def _by_domain(results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    names = _contenders(results)
    found = {name: _means(results, name, normalised) for name in names}
    domains = list(dict.fromkeys(str(each["domain"]) for each in results))
    for domain in domains:
        yield (
            domain,
            *(f"{100 * found[name][domain]:.0f}" if domain in found[name] else "" for name in names),
        )
    roomy = [each for each in results if _has_room(each)]
    found = {name: _means(roomy, name, normalised) for name in names}
    for family in dict.fromkeys(domain.split("/")[0] for domain in domains):
        row = [[v for k, v in found[name].items() if k.startswith(f"{family}/")] for name in names]
        yield (
            f"{family}, with room",
            *(f"{100 * statistics.mean(each):.0f}" if each else "" for each in row),
        )


def _means(results: Sequence[Result], contender: str, value: Callable[[Result], float]) -> dict[str, float]:
    """The mean over seeds of each domain."""
    found: dict[str, list[float]] = {}
    for each in results:
        if each["contender"] == contender:
            found.setdefault(str(each["domain"]), []).append(value(each))
    return {domain: statistics.mean(values) for domain, values in found.items()}


def _leads(results: Sequence[Result], contender: str) -> list[float]:
    """The default minus another on each domain, over the seeds that both have."""
    scores: dict[str, dict[tuple[str, float], float]] = {DEFAULT: {}, contender: {}}
    for each in results:
        if each["contender"] in scores:
            scores[str(each["contender"])][str(each["domain"]), _number(each, "seed")] = normalised(each)
    gaps: dict[str, list[float]] = {}
    for key in scores[DEFAULT].keys() & scores[contender].keys():
        gaps.setdefault(key[0], []).append(scores[DEFAULT][key] - scores[contender][key])
    return [statistics.mean(values) for values in gaps.values()]


def _spread(results: Sequence[Result], family: str) -> float:
    """Standard deviation of the exported test score over seeds, in points, averaged over a family's domains.

    Of domains that each seed draws anew, what the best known merge leaves of the score: how far it is away.
    """
    found: dict[str, list[float]] = {}
    for each in results:
        if str(each["domain"]).startswith(f"{family}/"):
            found.setdefault(str(each["domain"]), []).append(
                _number(each, "exported") - _number(each, "best")
            )
    spreads = [statistics.stdev(values) for values in found.values() if len(values) > 1]
    return 100 * statistics.mean(spreads) if spreads else 0.0


def _kept(results: Sequence[Result]) -> str:
    """How often the bred model's test score lay within the interval that was predicted for it."""
    said = [(each["predicted"], _number(each, "bred")) for each in results if "predicted" in each]
    kept = [low <= bred <= high for (low, _, high), bred in cast("list[tuple[list[float], float]]", said)]
    return f"{sum(kept)} of {len(kept)} ({100 * statistics.mean(kept):.0f}%)" if kept else ""


def _has_room(result: Result) -> bool:
    return _number(result, "best") - _number(result, "baseline_pool") >= LEAST_ROOM


def _contenders(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(str(each["contender"]) for each in results))


def _number(result: Result, key: str) -> float:
    return float(str(result[key]))

"""Named starting points: a strategy with its settings and, where the source says so, what to merge with.

Plain data. Whoever reads a run's configuration lays the user's own values over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kingyo.errors import unknown


@dataclass(frozen=True, kw_only=True)
class MergeSuggestion:
    """The merge that a preset was published with.

    Attributes:
        method: name of a merge method.
        groups: how tensors are grouped: ``one``, ``kind``, ``block``, ``block+kind`` or ``layers:N``.
        bounds: low and high of each searched parameter of the method, per source and group.
    """

    method: str
    groups: str
    bounds: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named starting point.

    Attributes:
        name: as the user writes it.
        doc: what it is good for, in a sentence.
        source: where its numbers come from.
        strategy: name of a strategy.
        settings: options of that strategy.
        screen: how candidates are scored; empty: on all items of fit.
        fewest_items: the fewest items of a candidate where the budget bounds item evaluations alone (see
            ``kingyo.run.settings.items_bought``); None: always as ``screen`` says.
        merge: the merge that belongs to it, or None when any will do.
        needs_objectives: whether it makes no sense without several objectives.
        space: what it searches: ``parameters``, ``dataflow`` or ``hybrid``; None where it does not matter.
        paths: which paths are searched, as settings of the data-flow space.
        then: of ``hybrid``: the preset of the search of paths that follows.
    """

    name: str
    doc: str
    source: str
    strategy: str
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    screen: Mapping[str, object] = field(default_factory=dict[str, object])
    fewest_items: int | None = None
    merge: MergeSuggestion | None = None
    needs_objectives: bool = False
    space: str | None = None
    paths: Mapping[str, object] = field(default_factory=dict[str, object])
    then: str | None = None


DEFAULTS: Mapping[str, str] = {"parameters": "fast", "dataflow": "paths", "hybrid": "fast"}
"""Space -> the preset where none is named."""
WHOLE = "whole"
"""The preset of every space where a measure of all answers counts and none is named."""

FOR_MOST = ("fast", "quality", "pareto")
"""The presets for most runs, as docs/search.md chooses: a small budget, a large one, several objectives."""

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="fast",
            doc="The default. It does the most with a small budget: a Gaussian process learns from single "
            "items, and each candidate answers only some of them. For axes of every kind.",
            source="kingyo's own choice, by benchmarks/search.py",
            strategy="item-gp",
            screen={"items": 32},
            fewest_items=12,
            merge=MergeSuggestion(method="task_arithmetic", groups="one", bounds={"weight": (0.0, 1.5)}),
        ),
        Preset(
            name="quality",
            doc="For a large budget: as fast, first with one weight per source, then with finer and finer "
            "layers.",
            source="kingyo's own choice, by benchmarks/search.py",
            strategy="coarse-to-fine",
            screen={"items": 24},
            merge=MergeSuggestion(method="task_arithmetic", groups="block", bounds={"weight": (0.0, 1.5)}),
        ),
        Preset(
            name="whole",
            doc="The default where a task counts by a measure of all its answers: CMA-ES with margin, which "
            "needs one number of each candidate, on all items. For axes of every kind.",
            source="kingyo's own choice; Hamano et al. 2025, CatCMA with Margin, arXiv:2504.07884",
            strategy="mixed-cma-es",
            merge=MergeSuggestion(method="task_arithmetic", groups="one", bounds={"weight": (0.0, 1.5)}),
        ),
        Preset(
            name="sakana-ps",
            doc="Evolutionary merging in parameter space as published: CMA-ES over one DARE-TIES weight and "
            "density per source. Plan for some hundreds of trials or more.",
            source="Akiba et al. 2024, Evolutionary Optimization of Model Merging Recipes, arXiv:2403.13187",
            strategy="cma-es",
            settings={"x0": 0.5, "sigma": 1 / 6, "population": None},
            merge=MergeSuggestion(
                method="dare_ties", groups="one", bounds={"weight": (0.0, 1.0), "density": (0.0, 1.0)}
            ),
        ),
        Preset(
            name="mergekit-evolve",
            doc="What mergekit-evolve does with a genome file: CMA-ES with the population that pycma takes, "
            "from the start of every axis.",
            source="mergekit 0.1.5, mergekit-evolve",
            strategy="cma-es",
            settings={"sigma": 1 / 6, "population": None, "warm_start": False},
        ),
        Preset(
            name="textbook-ga",
            doc="The textbook genetic algorithm: roulette selection, uniform crossover, low mutation, two "
            "elites. For axes of every kind.",
            source="Goldberg 1989, Genetic Algorithms in Search, Optimization and Machine Learning, with the "
            "uniform crossover of Syswerda 1989; sizes and rates are kingyo's",
            strategy="ga",
            settings={"population": 20, "elites": 2, "selection": "roulette", "crossover_rate": 0.9},
        ),
        Preset(
            name="m2n2",
            doc="Specialists compete for items, and pairs that complete each other are fused at a split "
            "point.",
            source="Abrantes et al. 2025, Competition and Attraction Improve Model Fusion, GECCO 2025",
            strategy="m2n2",
            merge=MergeSuggestion(method="task_arithmetic", groups="block", bounds={"weight": (0.0, 1.0)}),
        ),
        Preset(
            name="pareto",
            doc="Several objectives at once: the front of best compromises, by NSGA-II. For axes of every "
            "kind; name the objectives.",
            source="Deb et al. 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II",
            strategy="nsga2",
            settings={"population": 20},
            merge=MergeSuggestion(method="task_arithmetic", groups="one", bounds={"weight": (0.0, 1.5)}),
            needs_objectives=True,
        ),
        Preset(
            name="cycleqd",
            doc="Several tasks: in turn each is what to be good at, and the others are what to differ in; an "
            "archive of specialists and of all between them. Name the objectives.",
            source="Kuroki et al. 2024, Agent Skill Acquisition for Large Language Models via CycleQD, "
            "arXiv:2410.14735",
            strategy="cycleqd",
            settings={"population": 20},
            merge=MergeSuggestion(method="task_arithmetic", groups="one", bounds={"weight": (0.0, 1.5)}),
            needs_objectives=True,
        ),
        Preset(
            name="paths",
            doc="The default for paths through layers: as fast, a Gaussian process that learns from single "
            "items; it begins with what is known of the paths that a search is given.",
            source="kingyo's own choice, by benchmarks/dataflow.py",
            strategy="item-gp",
            screen={"items": 16},
            space="dataflow",
        ),
        Preset(
            name="sakana-dfs",
            doc="Evolutionary merging in data-flow space as published: plain CMA-ES over thresholds, and "
            "scales by pair of layers. Plan for thousands of trials.",
            source="Akiba et al. 2024, Evolutionary Optimization of Model Merging Recipes, arXiv:2403.13187",
            strategy="cma-es",
            settings={"sigma": 1 / 6, "population": 128},
            space="dataflow",
            paths={
                "order": "source",
                "repetitions": 3,
                "scales": "matrix",
                "max_scale": 2.0,
                "inclusion": "threshold",
                "seeds": False,
            },
        ),
        Preset(
            name="sakana-hybrid",
            doc="Both as published, in turn: sakana-ps, then sakana-dfs with its winner as one more source.",
            source="Akiba et al. 2024, Evolutionary Optimization of Model Merging Recipes, arXiv:2403.13187",
            strategy="cma-es",
            settings={"x0": 0.5, "sigma": 1 / 6, "population": None},
            merge=MergeSuggestion(
                method="dare_ties", groups="one", bounds={"weight": (0.0, 1.0), "density": (0.0, 1.0)}
            ),
            space="hybrid",
            then="sakana-dfs",
        ),
    )
}


def preset(name: str) -> Preset:
    """Find a preset.

    Raises:
        KingyoError: nobody knows the name; the nearest is suggested.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]

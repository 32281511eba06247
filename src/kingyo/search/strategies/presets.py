"""Presets: named strategies with settings and, if their source has one, a merge.

A run's configuration overrides their values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kingyo.errors import unknown_name_error


@dataclass(frozen=True, kw_only=True)
class MergeSuggestion:
    """The merge that a preset was published with.

    ``groups`` are as in ``Layout.groups``, ``bounds`` low and high of each searched parameter. ``lora`` has
    low, high and start of the one weight of a source that is the base with a LoRA; None: like the others.
    """

    method: str = "task_arithmetic"
    groups: str = "one"
    bounds: Mapping[str, tuple[float, float]]
    lora: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named strategy with settings.

    Attributes:
        source: origin of the numbers.
        screen: how candidates are scored; empty: on all items of fit.
        fewest_items: fewest items per candidate if the budget limits only item evaluations (see
            ``kingyo.runs.settings.items_per_candidate``); None: always as ``screen`` says.
        merge: the default merge; None: no default.
        needs_objectives: whether the preset requires several objectives.
        space: ``parameters``, ``dataflow`` or ``hybrid``; None: any.
        paths: settings of the data-flow space.
        path_preset: preset of the path search that follows, for ``hybrid``.
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
    path_preset: str | None = None


DEFAULT_PRESETS: Mapping[str, str] = {"parameters": "fast", "dataflow": "paths", "hybrid": "fast"}
"""Space -> preset to use if none is named."""
FULL_SET = "full-set"
"""Default preset for every space if a measure over all answers decides."""

RECOMMENDED = ("fast", "quality", "pareto")
"""Presets for most runs (docs/search.md): a small budget, a large one, several objectives."""

WEIGHTS = MergeSuggestion(bounds={"weight": (0.0, 1.5)})
SAKANA_MERGE = MergeSuggestion(method="dare_ties", bounds={"weight": (0.0, 1.0), "density": (0.0, 1.0)})
CMA_OF_SAKANA: Mapping[str, object] = {"x0": 0.5, "sigma": 1 / 6, "population": None}
CMA_AT_START: Mapping[str, object] = {"sigma": 1 / 6, "population": None, "warm_start": False}
SAKANA_PAPER = "Akiba et al. 2024, Evolutionary Optimization of Model Merging Recipes, arXiv:2403.13187"

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="fast",
            doc="The default, for small budgets: a Gaussian process learns from individual items, and each "
            "candidate answers only some of them. For axes of every kind.",
            source="chosen by kingyo, based on benchmarks/search.py",
            strategy="item-gp",
            screen={"items": 32},
            fewest_items=12,
            merge=WEIGHTS,
        ),
        Preset(
            name="quality",
            doc="For large budgets: like fast, first with one weight per source, then with smaller and "
            "smaller groups of layers.",
            source="chosen by kingyo, based on benchmarks/search.py",
            strategy="coarse-to-fine",
            screen={"items": 24},
            merge=replace(WEIGHTS, groups="block"),
        ),
        Preset(
            name=FULL_SET,
            doc="The default for tasks whose score is one measure over all answers: CMA-ES with margin, "
            "which scores each candidate on all items. For axes of every kind.",
            source="kingyo's own choice; Hamano et al. 2025, CatCMA with Margin, arXiv:2504.07884",
            strategy="mixed-cma-es",
            merge=WEIGHTS,
        ),
        Preset(
            name="sakana-ps",
            doc="Evolutionary merging in parameter space as published: CMA-ES over one DARE-TIES weight and "
            "density per source. For hundreds of trials or more.",
            source=SAKANA_PAPER,
            strategy="cma-es",
            settings=CMA_OF_SAKANA,
            merge=SAKANA_MERGE,
        ),
        Preset(
            name="evovlm-jp",
            doc="sakana-ps with a DARE-TIES weight and density per source and layer, for vision-language "
            "models. For a thousand trials.",
            source=SAKANA_PAPER,
            strategy="cma-es",
            settings=CMA_OF_SAKANA,
            merge=replace(SAKANA_MERGE, groups="block"),
        ),
        Preset(
            name="evosdxl-jp",
            doc="The merge of EvoSDXL-JP, for denoisers of images: linear, with a weight per source for the "
            "projections of attention and one for all else. For hundreds of trials.",
            source="Sakana AI 2024, evosdxl_jp_v1.py of SakanaAI/EvoSDXL-JP-v1; x0 and sigma are those of "
            "sakana-ps",
            strategy="cma-es",
            settings=CMA_OF_SAKANA,
            merge=MergeSuggestion(method="linear", groups="conv+attn", bounds={"weight": (0.0, 1.0)}),
        ),
        Preset(
            name="evo-ukiyoe",
            doc="The merge of Evo-Ukiyoe, for denoisers of images: evosdxl-jp as task vectors, and one "
            "strength for a source that is the base with a LoRA. For hundreds of trials.",
            source="Sakana AI 2024, evo_ukiyoe_v1.py of SakanaAI/Evo-Ukiyoe-v1, with its LoRA at strength 1; "
            "the range of the strength is kingyo's",
            strategy="cma-es",
            settings=CMA_AT_START,
            merge=MergeSuggestion(groups="conv+attn", bounds={"weight": (0.0, 1.0)}, lora=(0.0, 1.5, 1.0)),
        ),
        Preset(
            name="mbw",
            doc="For denoisers of images and large budgets: a merge block weight per source and block, which "
            "people tune by hand; first one weight for all blocks, then for fewer and fewer.",
            source="bbc-mc 2022, sdweb-merge-block-weighted-gui, and hako-mikan, sd-webui-supermerger; the "
            "strategy is that of quality",
            strategy="coarse-to-fine",
            screen={"items": 24},
            merge=MergeSuggestion(groups="mbw", bounds={"weight": (0.0, 1.0)}),
        ),
        Preset(
            name="mergekit-evolve",
            doc="The search of mergekit-evolve: CMA-ES with pycma's default population size, starting at the "
            "start value of each axis.",
            source="mergekit 0.1.5, mergekit-evolve",
            strategy="cma-es",
            settings=CMA_AT_START,
        ),
        Preset(
            name="textbook-ga",
            doc="Textbook genetic algorithm: roulette selection, uniform crossover, low mutation rate, two "
            "elites. For axes of every kind.",
            source="Goldberg 1989, Genetic Algorithms in Search, Optimization and Machine Learning, with the "
            "uniform crossover of Syswerda 1989; sizes and rates are kingyo's",
            strategy="ga",
            settings={"population": 20, "elites": 2, "selection": "roulette", "crossover_rate": 0.9},
        ),
        Preset(
            name="m2n2",
            doc="M2N2: specialists compete for items, and complementary pairs are merged at a split point.",
            source="Abrantes et al. 2025, Competition and Attraction Improve Model Fusion, GECCO 2025",
            strategy="m2n2",
            merge=MergeSuggestion(groups="block", bounds={"weight": (0.0, 1.0)}),
        ),
        Preset(
            name="pareto",
            doc="Several objectives: NSGA-II searches for the Pareto front. For axes of every kind; name the "
            "objectives.",
            source="Deb et al. 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II",
            strategy="nsga2",
            settings={"population": 20},
            merge=WEIGHTS,
            needs_objectives=True,
        ),
        Preset(
            name="cycleqd",
            doc="Several tasks: CycleQD keeps an archive per task, with that task as the quality and the "
            "others as the axes of the grid. Name the objectives.",
            source="Kuroki et al. 2024, Agent Skill Acquisition for Large Language Models via CycleQD, "
            "arXiv:2410.14735",
            strategy="cycleqd",
            settings={"population": 20},
            merge=WEIGHTS,
            needs_objectives=True,
        ),
        Preset(
            name="paths",
            doc="The default for paths through layers: like fast, a Gaussian process that learns from "
            "individual items; it begins with the initial paths of the space.",
            source="chosen by kingyo, based on benchmarks/dataflow.py",
            strategy="item-gp",
            screen={"items": 16},
            space="dataflow",
        ),
        Preset(
            name="sakana-dfs",
            doc="Evolutionary merging in data-flow space as published: plain CMA-ES over thresholds, and a "
            "scale per pair of layers. For thousands of trials.",
            source=SAKANA_PAPER,
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
            doc="Both as published: sakana-ps, then sakana-dfs with its winner as another source.",
            source=SAKANA_PAPER,
            strategy="cma-es",
            settings=CMA_OF_SAKANA,
            merge=SAKANA_MERGE,
            space="hybrid",
            path_preset="sakana-dfs",
        ),
    )
}


def preset(name: str) -> Preset:
    if name not in PRESETS:
        raise unknown_name_error("preset", name, PRESETS)
    return PRESETS[name]

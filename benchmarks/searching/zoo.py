"""Problems on the zoo: a genome in, item scores out, and what it has cost so far."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from kingyo.core.io.yaml import read_yaml
from kingyo.core.types import Evaluation, Genome, Item, Split
from kingyo.merging.recipe import Recipe
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.runs.config import RunConfig, parse_config
from kingyo.runs.run import Run
from kingyo.search.evolution import Space
from kingyo.search.runners.evaluate import Evaluator, InPlaceMerger

DEMO = Path(__file__).parents[2] / "examples" / "demo"
ZOO = DEMO.parents[1] / "zoo"
WEIGHTS = "model.safetensors"
SHUFFLED = "-shuffled"
USELESS = ("poem", "sort")
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is merged how.

    Attributes:
        name: in tables.
        sources: of the zoo.
        groups: granularity of the weights.
        low, high: bounds of a weight.
        fit: number of items that a search sees.
    """

    name: str
    sources: tuple[str, ...]
    groups: str = "one"
    low: float = 0.0
    high: float = 1.5
    fit: int = 120


SETTINGS = {
    each.name: each
    for each in (
        Setting(name="two", sources=("ja", "math-en")),
        Setting(
            name="two and four useless",
            sources=("ja", "math-en", *USELESS, *(name + SHUFFLED for name in USELESS)),
        ),
        Setting(name="four", sources=("ja", "math-en", *USELESS)),
        Setting(name="five", sources=("ja", "math-en", "math-sym", *USELESS)),
        Setting(name="four-by-block", sources=("ja", "math-en", *USELESS), groups="block"),
        Setting(name="five-by-block", sources=("ja", "math-en", "math-sym", *USELESS), groups="block"),
    )
}


@dataclass(kw_only=True)
class Problem:
    """Japanese word problems, solved by merges of zoo models; the seed draws the splits.

    Attributes:
        setting: what is merged.
        seed: which items are fit, and which are test.
        spent: item evaluations on fit so far.
        known: the sources and their average, as far as they are points of the space.
    """

    setting: Setting
    seed: int
    spent: int = 0
    config: RunConfig = field(init=False)
    splits: Mapping[Split, tuple[Item, ...]] = field(init=False)
    space: Space = field(init=False)
    known: Mapping[str, Genome] = field(init=False)
    _tests: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        self.config = parse_config(self._data(), self.setting.name)
        run = Run.open(self.config, DEMO)
        self.splits, main = run.items, run.searches[0]
        self.space, self.known = main.space, main.known
        live = LiveModel.load(
            run.models.skeleton.path, LoadOptions(dtype="float32", device="cpu", batch_size=512)
        )
        self._evaluator = Evaluator(InPlaceMerger(live, run.open_sources()), run.task)

    def _data(self) -> dict[str, object]:
        """The run.yaml; each search has a budget of its own."""
        splits = {"fit": self.setting.fit, "validation": 300, "test": 700, "seed": self.seed}
        return {**run_data(self.setting, splits), "seed": self.seed, "budget": {"candidates": 1}}

    @property
    def n_items(self) -> int:
        """Items that a search may see."""
        return len(self.splits["fit"])

    def evaluate(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        """Score a recipe on items of a split, as the loop of kingyo wants it."""
        if split == "fit":
            self.spent += len(items)
        return self._evaluator(recipe, split, items)

    def fit(self, genome: Genome) -> float:
        """The mean over all items of fit: what a search without racing looks at."""
        found = self.evaluate(self.space.decode(genome), "fit", [item.id for item in self.splits["fit"]])
        assert found.mean is not None, found.failure
        return found.mean

    def test(self, genome: Genome) -> float:
        """The mean over the test items; it costs nothing and no search looks at it."""
        recipe = self.space.decode(genome)
        if recipe.hash not in self._tests:
            mean = self._evaluator(recipe, "test").mean
            assert mean is not None, "a merge of the zoo can be scored"
            self._tests[recipe.hash] = mean
        return self._tests[recipe.hash]


def run_data(setting: Setting, splits: Mapping[str, object]) -> dict[str, object]:
    """The run.yaml of a setting, as data: the demo's task, and no controls."""
    data = read_yaml(DEMO / "run.yaml")
    sources, task = data["sources"], data["task"]
    assert isinstance(sources, dict), "the demo names its sources"
    assert isinstance(task, dict), "the demo holds its task"
    known = {**sources, **{name: str(shuffled(name)) for name in setting.sources if name.endswith(SHUFFLED)}}
    return {
        **{
            key: value
            for key, value in data.items()
            if key not in ("search", "controls", "finalists", "budget")
        },
        "sources": {name: known[name] for name in setting.sources},
        "task": {**task, "splits": splits},
        "merge": {
            "method": "task_arithmetic",
            "groups": setting.groups,
            "parameters": {"weight": {"from": setting.low, "to": setting.high}},
            "dtype": "float32",
        },
        "controls": {"random": False, "grid": False},
    }


def shuffled(name: str) -> Path:
    """A source that is of no use to anything: the changes of a model of the zoo, shuffled within each tensor.

    It is written once, next to other temporary files.
    """
    source = name.removesuffix(SHUFFLED)
    folder = Path(tempfile.gettempdir()) / "kingyo-benchmarks" / name
    if not (folder / WEIGHTS).exists():
        parts = [load_file(ZOO / each / WEIGHTS) for each in ("base", source)]
        rng = torch.Generator().manual_seed(0)
        mixed = {key: base + _mixed(parts[1][key] - base, rng) for key, base in parts[0].items()}
        fresh = Path(tempfile.mkdtemp(dir=_made(folder.parent)))
        shutil.copytree(ZOO / source, fresh, dirs_exist_ok=True)
        save_file(mixed, fresh / WEIGHTS, metadata={"format": "pt"})
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


def _mixed(change: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return change.flatten()[torch.randperm(change.numel(), generator=rng)].reshape(change.shape)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder

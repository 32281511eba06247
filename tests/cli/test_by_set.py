"""A run whose task counts by a measure of all answers, through the real commands."""

import re
import shutil
import signal
import statistics
from collections import Counter
from pathlib import Path

import pytest
import yaml

from kingyo.core.types import Split
from kingyo.store import RunStore
from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.resumed import facts

KIND = '''
from dataclasses import dataclass
from statistics import fmean

from kingyo.core.types import Item, ItemScore


@dataclass(frozen=True)
class WorstGroup:
    """The mean length of the answers to even or to odd questions, whichever is shorter, as a share of 60."""

    name: str = "worst_group"

    def features(self, items, scores):
        return [(int(item.answer) % 2, len(each.answer) / 60) for item, each in zip(items, scores)]

    def value(self, features):
        groups = [[length for group, length in features if group == one] for one in (0, 1)]
        return min(fmean(own) if own else float("nan") for own in groups)


class Words:
    """It likes short answers, and the measure long ones."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        tokens: int = 6

    @staticmethod
    def read_item(row, settings):
        fields = row.texts()
        return Item(id="", prompt=fields["prompt"], answer=fields["answer"], fields=fields)

    def __init__(self, name, settings, splits, folder):
        self.name, self.settings, self.splits = name, settings, splits
        self.set_measures = (WorstGroup(),)

    def items(self, split):
        return self.splits[split]

    def score(self, model, items):
        answers = model.generate([item.prompt for item in items], max_new_tokens=self.settings.tokens)
        return [
            ItemScore(item=item.id, score=1 / (1 + len(answer)), answer=answer)
            for item, answer in zip(items, answers)
        ]
'''
TASK = {
    "name": "words",
    "kind": "words.py:Words",
    "data": "items.jsonl",
    "splits": {"fit": 16, "validation": 12, "test": 12},
}
BY_MEASURE = {**TASK, "measure": "worst_group"}
SEARCH = {"search": {"settings": {"population": 6}}, "controls": {"random": True, "grid": True}}


def make(world: World, **changes: object) -> Path:
    (world.folder / "words.py").write_text(KIND)
    return world.config(**{"task": BY_MEASURE, **SEARCH, **changes})


def worst_group(store: RunStore, trial: int, split: Split) -> float:
    evaluation, items = store.evaluation(trial, split), store.items()[split]
    assert evaluation is not None
    groups: dict[int, list[float]] = {0: [], 1: []}
    for item, each in zip(items, evaluation.scores, strict=True):
        groups[int(item.answer) % 2].append(len(each.answer) / 60)
    return min(statistics.fmean(group_scores) for group_scores in groups.values())


@pytest.fixture(scope="module")
def bred(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    world_ = World(folder=Path(shutil.copytree(origin, tmp_path_factory.mktemp("by-set") / "world")))
    world_.ok("evolve", make(world_))
    return world_


def test_the_measure_is_reported_and_picks_the_winner(bred: World) -> None:
    with RunStore.read(bred.folder / "runs" / "small") as store:
        for search in ("main", "random", "grid"):
            value_of = {trial: each.value for trial, each in store.outcomes(search).items()}
            assert value_of == {trial: worst_group(store, trial, "fit") for trial in value_of}
            finalists = [each.trial for each in store.summaries("validation") if each.search == search]
            winner = store.winner(search)
            assert winner is not None
            values = {trial: worst_group(store, trial, "validation") for trial in finalists}
            assert values[winner.id] == max(values.values())
        means = {each.trial: each.mean for each in store.summaries("fit") if each.search == "main"}
        best = max(means, key=lambda trial: means[trial] or 0.0)
        main = store.winner("main")
        assert main is not None
        assert worst_group(store, main.id, "fit") > worst_group(store, best, "fit"), "it likes long answers"
        assert Counter(each.n for each in store.summaries("fit")) == {16: len(store.summaries("fit"))}


@pytest.mark.slow
def test_the_report_and_the_card_say_it(bred: World) -> None:
    bred.ok("report", "runs/small")
    page = (bred.folder / "runs" / "small" / "report.html").read_text("utf-8")
    assert "worst_group guided the search" in page and "worst_group on fit" in page
    assert "score on fit" not in page
    bred.ok("export", "runs/small", "out", "--search", "main")
    card = (bred.folder / "out" / "README.md").read_text("utf-8").replace("\\_", "_")
    assert "What decided is worst_group of all answers, not these" in card
    assert "worst_group of this model minus it, on test" in card
    assert yaml.safe_load((bred.folder / "out" / "task.yaml").read_text())["measure"] == "worst_group"


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_winner(world: World, bred: World) -> None:
    undisturbed, run = bred.folder / "runs" / "small", world.folder / "runs" / "small"
    config, n = make(world), evaluations(undisturbed)
    interrupted(world, "evolve", config, after=n // 3, sent=signal.SIGKILL)
    if evaluations(run) < 2 * n // 3:
        interrupted(world, "resume", "runs/small", after=2 * n // 3, sent=signal.SIGKILL)
    world.ok("resume", "runs/small")
    assert facts(run) == facts(undisturbed)
    shown, expected = world.show("runs/small"), bred.show("runs/small")
    for key in ("winner", "best", "comparisons", "finalists"):
        assert shown[key] == expected[key]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {**TASK, "measure": "worst_grup"}}, "task words: measure: .*Did you mean 'worst_group'"),
        (
            {"search": {"strategy": "item-gp"}},
            "search.strategy: .*item-gp, which learns from .* individual items",
        ),
        ({"search": {"screen": {"items": 8}}}, "search.screen: expected none beside .*received items: 8"),
    ],
)
def test_conflicting_settings_give_one_error(world: World, changes: dict[str, object], message: str) -> None:
    changes = {"controls": None, **changes}
    done = world.fails("evolve", make(world, **changes))
    assert re.search(message, " ".join(done.stderr.split())), done.stderr


def test_the_default_strategy_of_a_measure_needs_one_number(world: World) -> None:
    space: dict[str, object] = {"space": "hybrid", "merge": None}
    world.ok("evolve", make(world, search=None, budget={"candidates": 14}, controls=None, **space))
    with RunStore.read(world.folder / "runs" / "small") as store:
        searches = [name for name in store.searches() if name != "baselines"]
        assert {store.searches()[name]["strategy"] for name in searches} == {"mixed-cma-es"}
        for name in searches:
            assert all(
                each.value == worst_group(store, trial, "fit") for trial, each in store.outcomes(name).items()
            )
    assert world.show("runs/small")["decided_by"] == "worst_group"

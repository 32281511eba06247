"""A run whose task counts by a measure of all answers, through the real commands."""

from __future__ import annotations

import json
import re
import shutil
import signal
import statistics
from collections import Counter
from pathlib import Path

import pytest
import yaml

from kingyo.store import RunStore
from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.test_resume import facts

KIND = '''
from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from kingyo.types import Item, ItemScore


@dataclass(frozen=True)
class Variety:
    """How many different answers there are, of all."""

    name: str = "variety"

    def features(self, items, scores):
        return [each.answer for each in scores]

    def value(self, features):
        return len(set(features)) / len(features)


@dataclass(frozen=True)
class Broken(Variety):
    name: str = "broken"

    def value(self, features):
        raise RuntimeError("no such net")


class Words:
    """It likes short answers; the measure likes different ones."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        tokens: int = 6

    @staticmethod
    def read_item(row, settings):
        fields = row.texts()
        return Item(id="", prompt=fields["prompt"], answer=fields["answer"], fields=fields)

    def __init__(self, name, settings, splits, folder):
        self.name, self.settings, self.splits = name, settings, splits
        self.set_measures = (Variety(), Broken())

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
BY_VARIETY = {**TASK, "measure": "variety"}
SEARCH = {"search": {"settings": {"population": 6}}, "controls": {"random": True, "grid": True}}


def make(world: World, **changes: object) -> Path:
    (world.folder / "words.py").write_text(KIND)
    return world.config(**{"task": BY_VARIETY, **SEARCH, **changes})


def variety(store: RunStore, trial: int, split: str) -> float:
    evaluation = store.evaluation(trial, split)  # type: ignore[arg-type]
    assert evaluation is not None
    return len({each.answer for each in evaluation.scores}) / len(evaluation.scores)


@pytest.fixture(scope="module")
def bred(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    whole = World(folder=Path(shutil.copytree(origin, tmp_path_factory.mktemp("by-set") / "world")))
    done = whole.run("evolve", make(whole))
    assert done.returncode == 0, done.stderr
    return whole


def test_the_measure_is_told_and_picks_the_winner(bred: World) -> None:
    with RunStore.read(bred.folder / "runs" / "small") as store:
        for search in ("main", "random", "grid"):
            told = {each.trial: each.value for each in store.outcomes(search)}
            assert told == {trial: variety(store, trial, "fit") for trial in told}
            finalists = [each.trial for each in store.summaries("validation") if each.search == search]
            winner = store.winner(search)
            assert winner is not None
            values = {trial: variety(store, trial, "validation") for trial in finalists}
            assert values[winner.id] == max(values.values())
        means = {each.trial: each.mean for each in store.summaries("fit") if each.search == "main"}
        best = max(means, key=lambda trial: means[trial] or 0.0)
        main = store.winner("main")
        assert main is not None
        assert variety(store, main.id, "fit") > variety(store, best, "fit"), "short answers are alike"
        assert Counter(each.n for each in store.summaries("fit")) == {16: len(store.summaries("fit"))}


def test_show_says_what_decides_and_keeps_the_item_scores(bred: World) -> None:
    text = " ".join(bred.run("show", "runs/small").stdout.split())
    assert "Mean item score in %" in text and "Mean item scores decide nothing: variety does." in text
    assert "Note: task words counts by variety of all its answers" in text
    assert "Measures of all answers, of which variety decides [95 % interval]" in text
    assert "by variety on validation" in text and "variety, paired bootstrap, n=12, p " in text
    assert "Predicted for test" not in text
    shown = bred.show("runs/small")
    with RunStore.read(bred.folder / "runs" / "small") as store:
        winner = store.winner("main")
        assert winner is not None
        scores = store.scores_of(winner.id, "test").values()
        assert shown["decided_by"] == "variety"
        assert shown["winner"]["test"]["score"] == pytest.approx(statistics.fmean(scores))  # type: ignore[index]
        sets = {(each["measure"], each["split"]): each for each in shown["winner"]["set_measures"]}  # type: ignore[index]
        assert {key for key, each in sets.items() if each["value"] is not None} == {
            ("variety", "fit"),
            ("variety", "validation"),
            ("variety", "test"),
        }
        for trial in store.trials("baselines"):
            each = shown["comparisons"][str(trial.name)]  # type: ignore[index]
            gap = variety(store, winner.id, "test") - variety(store, trial.id, "test")
            assert each["score"] == pytest.approx(gap) and each["test"] == "bootstrap" and each["n"] == 12
            assert each["low"] <= each["score"] <= each["high"]


def test_the_report_and_the_card_say_it(bred: World) -> None:
    done = bred.run("report", "runs/small")
    assert done.returncode == 0, done.stderr
    page = (bred.folder / "runs" / "small" / "report.html").read_text("utf-8")
    assert "variety guided the search" in page and "variety on fit" in page
    assert "score on fit" not in page
    done = bred.run("export", "runs/small", "out", "--search", "main")
    assert done.returncode == 0, done.stderr
    card = (bred.folder / "out" / "README.md").read_text("utf-8")
    assert "they decided nothing. variety of all answers did" in card
    assert "variety of this model minus it, on test" in card
    assert yaml.safe_load((bred.folder / "out" / "task.yaml").read_text())["measure"] == "variety"


def test_other_seeds_are_compared_by_it(world: World) -> None:
    config = make(world, budget={"candidates": 6}, controls=None)
    done = world.run("evolve", config, "--seeds", "2", "--run", "seeds")
    assert done.returncode == 0, done.stderr
    assert re.search(r"the winner has [\d.]+, [\d.]+ of variety on test", done.stdout)
    found = json.loads(world.run("show", "seeds", "--json").stdout)
    assert found["decided_by"] == "variety" and all(0 <= each <= 1 for each in found["test"])


@pytest.mark.parametrize("more", [{}, {"runner": "processes", "workers": 2, "threads": 1}])
def test_killed_it_goes_on_to_the_same_winner(world: World, bred: World, more: dict[str, object]) -> None:
    undisturbed, run = bred.folder / "runs" / "small", world.folder / "runs" / "small"
    config, n = make(world, **{"threads": 1, **more}), evaluations(undisturbed)
    interrupted(world, "evolve", config, after=n // 3, sent=signal.SIGKILL)
    if evaluations(run) < 2 * n // 3:
        interrupted(world, "resume", "runs/small", after=2 * n // 3, sent=signal.SIGKILL)
    done = world.run("resume", "runs/small")
    assert done.returncode == 0, done.stderr
    assert facts(run) == facts(undisturbed)
    shown, wanted = world.show("runs/small"), bred.show("runs/small")
    for each in (shown, wanted):  # why `broken` has no value names a file of the world
        sets = each["winner"]["set_measures"]  # type: ignore[index]
        each["winner"]["set_measures"] = [one for one in sets if one["value"] is not None]  # type: ignore[index]
    for key in ("winner", "best", "comparisons", "finalists"):
        assert shown[key] == wanted[key]


def test_the_dry_run_says_it(world: World) -> None:
    done = world.run("evolve", make(world), "--dry-run")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "search: mixed-cma-es" in text and "screen: all items of fit; all candidates" in text
    assert "task words counts by variety of all its answers" in text and "without a screen" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": {**TASK, "measure": "varity"}}, "task words: measure: .*Did you mean 'variety'"),
        ({"task": {**TASK, "mesure": "variety"}}, "Did you mean 'measure'"),
        (
            {"task": {**TASK, "kind": None, "grader": "exact", "measure": "f1"}},
            "task words: measure: expected a kind of task that measures sets of answers",
        ),
        (
            {"search": {"strategy": "item-gp"}},
            "search.strategy: .*item-gp, which learns from .* single items",
        ),
        ({"search": {"strategy": "m2n2"}}, "search.strategy: .*m2n2, which learns"),
        ({"search": {"strategy": "coarse-to-fine"}}, "search.strategy: .*coarse-to-fine, which learns"),
        ({"search": {"preset": "fast"}}, "search.preset: .*fast, whose strategy item-gp learns"),
        ({"search": {"screen": {"items": 8}}}, "search.screen: expected none beside .*received items: 8"),
        ({"search": {"strategy": "ga", "screen": {"rule": "racing"}}}, "search.screen: .*rule: racing"),
        ({"task": {**TASK, "measure": "broken"}}, "baseline '.*no such net"),
    ],
)
def test_what_does_not_go_together_is_one_error(world: World, changes: dict[str, object], said: str) -> None:
    changes = {"controls": None, **changes}
    done = world.run("evolve", make(world, **changes))
    assert done.returncode == 1
    assert re.search(said, " ".join(done.stderr.split())), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "search",
    [
        {"strategy": "coarse-to-fine", "settings": {"strategy": "cma-es"}},
        {"strategy": "islands", "settings": {"islands": 2, "settings": {"population": 3}}},
        {"preset": "textbook-ga", "screen": {"rule": "none"}},
        {"mode": "asynchronous"},
    ],
    ids=str,
)
def test_strategies_that_need_one_number_are_fine(world: World, search: dict[str, object]) -> None:
    done = world.run("evolve", make(world, search=search, budget={"candidates": 8}, controls=None))
    assert done.returncode == 0, done.stderr

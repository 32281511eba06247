"""Runs that learn weights: what is learned is counted, kept, shown, and the same after a kill."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

import kingyo
from kingyo.core.types import Lesson
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.models.language_model import LiveModel
from kingyo.runs.run import Run
from kingyo.runs.worker import merger_of
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
from tests.cli.conftest import World, interrupted
from tests.cli.merging import Command
from tests.cli.resumed import facts
from tests.slow import slow

ITEMS = 16
CANDIDATES = 46  # 736 item evaluations, a third of which are 10 steps of 8 examples at 3 each
N_BASELINES, FIRST = 4, 6


def learning(world: World, **changes: object) -> Path:
    given = {"search": None, "controls": {"random": True}, "budget": {"candidates": CANDIDATES}}
    return world.config(**(given | changes))


def lessons(run: Path) -> dict[int, Lesson]:
    with RunStore.read(run) as store:
        numbers = {trial.id: trial.asked.number for trial in store.trials(MAIN)}
        return {numbers[trial]: lesson for trial, lesson in store.lessons(MAIN).items()}


@pytest.fixture(scope="module")
def learned(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(folder=Path(shutil.copytree(origin, tmp_path_factory.mktemp("learned") / "world")))
    world.ok("evolve", learning(world), "--run", "run")
    return world


def test_lessons_are_trials_and_part_of_the_budget(learned: World) -> None:
    run = learned.folder / "run"
    found = lessons(run)
    assert FIRST in found
    with RunStore.read(run) as store:
        trials = {trial.asked.number: trial for trial in store.trials(MAIN)}
        costs = store.costs(MAIN, "fit")
        assert all(costs[trials[number].id][0] >= lesson.items for number, lesson in found.items())
        cost = sum(items for items, _ in costs.values())
        assert cost <= CANDIDATES * ITEMS
        assert sum(lesson.items for lesson in found.values()) <= CANDIDATES * ITEMS / 2
        random = sum(items for items, _ in store.costs("random", "fit").values())
        assert cost - ITEMS < random <= cost, "the control has the same budget"
        assert len({len(set(trials[number].asked.genome)) for number in range(FIRST)}) <= 2
        assert len(set(trials[FIRST].asked.genome)) > 2, "each tensor has a weight of its own"
    assert found[FIRST].loss[1] < found[FIRST].loss[0]
    assert found[FIRST].targets >= 4


def test_validation_alone_picks_where_weights_were_learned_from_fit(learned: World) -> None:
    with RunStore.read(learned.folder / "run") as store:
        summary = summarize(store)
        n = len(store.items()["validation"])
        bred = summary.winner
        assert bred is not None and summary.choice is not None and summary.choice.leads
        assert all(each.n == n for each in summary.choice.leads if bred.trial.id in (each.trial, each.over))
    assert all(each.together == each.validation for each in summary.finalists)
    with RunStore.read(learned.folder / "run") as store:
        genomes = {trial.asked.number: trial.asked.genome for trial in store.trials(MAIN)}
    assert any(len(set(genomes[each.trial])) <= 2 for each in summary.finalists), "one weight per source"


def test_a_learned_model_is_exported_as_it_was_scored(learned: World) -> None:
    run, out = learned.folder / "run", learned.folder / "out"
    learned.ok("export", run, out, "--trial", str(FIRST))
    with RunStore.read(run) as store, Run.stored(store) as opened:
        (trial,) = (trial for trial in store.trials(MAIN) if trial.asked.number == FIRST)
        live = merger_of(opened, opened.open_sources(TensorStats(1 << 24)))(read_recipe(trial)).weights
        exported = load_file(out / "model.safetensors")
        assert exported.keys() == live.keys()
        assert all((exported[name] == live[name]).all() for name in live)


def test_show_says_what_learning_cost_and_brought(learned: World) -> None:
    done = learned.run("show", "run")
    words = " ".join(done.stdout.split())
    summary = learned.show("run")["learning"]
    trials = " and ".join(map(str, summary["trials"]))
    assert f"({'trial' if summary['lessons'] == 1 else 'trials'} {trials}) from up to " in words
    assert f"for {summary['items']} of the search's {summary['search_items']} item evaluations" in words
    assert summary["items"] == summary["steps"] * 8 * 3 and summary["search_items"] <= CANDIDATES * ITEMS
    assert summary["bred"] in ("learned", "descends", "plain")
    assert done.stdout.count("The bred model") == 1


def lesson_of(world: World, trial: int) -> tuple[dict[str, object] | None, str]:
    """Return the lesson of a trial, and what is printed of it."""
    text = world.run("show", "run", "--trial", str(trial)).stdout
    return world.data("show", "run", "--trial", str(trial))["lesson"], " ".join(text.split())


def test_a_learned_trial_is_shown_with_its_lesson(learned: World) -> None:
    lesson, text = lesson_of(learned, 6)  # the first that may be learned
    assert lesson is not None and set(lesson) == {"steps", "targets", "items", "seconds", "loss"}
    assert f"{lesson['steps']} steps, {lesson['targets']} answers, loss " in text
    assert lesson_of(learned, 5)[0] is None and "steps" not in lesson_of(learned, 5)[1]


def test_the_card_says_that_weights_were_learned(learned: World) -> None:
    for trial, name in ((6, "learned"), (0, "plain")):
        learned.ok("export", "run", name, "--trial", str(trial))
        card = (learned.folder / name / "README.md").read_text("utf-8")
        assert "- Weights were learned " in card
        is_learned = name == "learned"
        assert ("weights of the merge learned by gradient" in card) is is_learned
        assert ("without any gradient training" in card) is not is_learned
        assert ("mean (lowest to highest) over groups of tensors: weight/a " in card) is is_learned


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "weights are learned by gradient: 60 weights"),
        (
            {"budget": {"candidates": 24}},
            "not learned by gradient, because of a budget of 384 item evaluations",
        ),
        ({"learn": False}, None),
        ({"space": "dataflow", "merge": {}}, None),
    ],
)
def test_the_dry_run_says_whether_weights_are_learned(
    world: World, command: Command, changes: dict[str, object], says: str | None
) -> None:
    config = learning(world, **changes)
    done = command("evolve", config, "--dry-run")
    assert done.code == 0, done.err
    words = " ".join(done.out.split())
    assert (says or "") in words
    assert ("gradient" in words) is (says is not None)
    learns = says is not None and "weights are learned" in says
    plan = json.loads(command("evolve", config, "--dry-run", "--json").out)["learning"]
    assert (plan["weights"] > 0) is learns
    assert (plan["reason"] is not None) is (says is not None and not learns)


LUCK = """
def luck(answer, item):
    return answer.strip() == item.answer or sum(map(ord, answer + item.prompt)) % 8 == 0
"""


def test_references_that_no_model_would_write_are_not_learned(world: World) -> None:
    """The grader accepts each item's own answer, a number, but models are right in other words."""
    (world.folder / "luck.py").write_text(LUCK)
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "grader": "luck.py:luck"}
    world.ok("evolve", learning(world, learn=True, task=task), "--run", "run")
    with RunStore.read(world.folder / "run") as store:
        first = next(trial.id for trial in store.trials(MAIN) if trial.asked.number == FIRST)
        right = store.right_answers((BASELINES, MAIN), "fit", first - 1)
    assert lessons(world.folder / "run")[FIRST].targets == len(right) < ITEMS


def test_learn_false_is_the_plain_search(world: World) -> None:
    world.ok("evolve", learning(world, learn=False), "--run", "plain")
    assert lessons(world.folder / "plain") == {}
    with RunStore.read(world.folder / "plain") as store:
        assert store.searches()[MAIN]["strategy"] == "item-gp"
        assert all(len(trial.asked.genome) == 2 for trial in store.trials(MAIN))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"budget": {"candidates": 44}}, "720 item evaluations, or 45 candidates of 16 items"),
        ({"merge": {"method": "nearswap"}}, "the method nearswap, which has no derivative"),
        ({"merge": {"choose_sources": True}}, "merge.choose_sources"),
        ({"objectives": ["even", "closeness"]}, "several objectives"),
    ],
)
def test_what_cannot_be_learned_is_refused(world: World, changes: dict[str, object], reason: str) -> None:
    done = world.run("evolve", learning(world, learn=True, **changes), "--run", "no")
    assert done.returncode != 0 and "learn: true" in done.stderr and reason in done.stderr
    assert not (world.folder / "no").exists()


def test_the_strategy_can_be_named_and_learns_only_where_it_can(world: World) -> None:
    named = {"strategy": "memetic", "settings": {"first": 3, "lessons": 1}}
    config = world.config(search=named, controls=None, budget={"candidates": CANDIDATES})
    world.ok("evolve", config, "--run", "named")
    assert list(lessons(world.folder / "named")) == [3]
    config = world.config(search=named, controls=None, merge={"method": "nearswap"})
    done = world.run("evolve", config, "--run", "no")
    assert done.returncode != 0 and "search.strategy: memetic: expected" in done.stderr
    done = world.run("evolve", world.config(search=named, learn=False), "--run", "no")
    assert done.returncode != 0 and "learn: false: expected" in done.stderr


def test_a_loss_that_fails_does_not_end_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(LiveModel, "loss_gradients", no_memory)
    run = kingyo.evolve(learning(world), world.folder / "run")
    assert kingyo.summarize(run).winner is not None
    assert lessons(world.folder / "run") == {}
    monkeypatch.undo()
    shown = world.run("show", "run").stdout
    assert "Weights could not be learned: RuntimeError: not enough memory" in " ".join(shown.split())


@pytest.mark.parametrize("stop", [N_BASELINES + FIRST, *slow(N_BASELINES + FIRST + 3)])
def test_a_killed_lesson_ends_in_the_same_run(world: World, learned: World, stop: int) -> None:
    """The first stop is within the lesson, or just after it; the second in the search around it."""
    config = learning(world)
    interrupted(world, "evolve", config, after=stop, sent=signal.SIGKILL)
    run, undisturbed = world.folder / "runs" / "small", learned.folder / "run"
    world.ok("resume", run)
    assert facts(run) == facts(undisturbed)
    timeless = [
        {number: (each.steps, each.targets, each.items, each.loss) for number, each in lessons(path).items()}
        for path in (run, undisturbed)
    ]
    assert timeless[0] == timeless[1]
    assert json.dumps(world.show(run)["winner"]) == json.dumps(learned.show("run")["winner"])

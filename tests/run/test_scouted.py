"""A run of scouted sources copies what the scout measured."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES, MAIN, Event
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.run.begin import begin
from kingyo.run.config_file import config_from_data, load_config
from kingyo.run.resume import add_control, journey_of
from kingyo.run.run import Run
from kingyo.run.scouted import SCOUT, open_scout, read_scout
from kingyo.scout import Rules, catalogue, find_places
from kingyo.scout.choice import ChoiceLimits, WeightEvidence, choose, config_for
from kingyo.store import RunStore
from kingyo.types import ItemScore, Trial
from kingyo.views.run_data import read_run_data
from kingyo.views.run_view import about_parents
from tests.cli.forked import run_forked
from tests.exported import config_of, make_world
from tests.models_on_disk import fine_tuned
from tests.slow import slow

SOURCES = ("ja", "math", "code")
RANDOM = "random_sources"
GRADER = """
def grade(answer, item):
    return sum((answer + item.answer).encode()) % 17 / 16
"""
"""A score that any change of the answer changes, so that a wrong copy is seen."""


def ignore(_: Event) -> None:
    pass


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four tiny models, a task, and a scout's folder ``found``."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    for seed, name in ((3, "art"), (4, "code")):
        fine_tuned(folder / "base", folder / name, seed=seed)
    (folder / "mine.py").write_text(GRADER)
    write_task(folder)
    scout(folder, folder / "found")
    return folder


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared, tmp_path / "world")


def write_task(folder: Path, name: str = "task.yaml", **changes: object) -> Path:
    values = config_of(folder)["task"]
    assert isinstance(values, dict)
    task = {**values, "grader": "mine.py:grade", "splits": {"fit": 8, "validation": 4, "test": 6}, **changes}
    (folder / name).write_text(yaml.safe_dump(task))
    return folder / name


def scout(folder: Path, out: Path, task: str = "task.yaml") -> None:
    """Score trial merges of all four models; the least gain is so low that pairs are tried, too."""
    places = find_places([str(folder / name) for name in ("base", *SOURCES, "art")], (), 100, print)
    (group,) = catalogue(places, str(folder / "base"), Rules(), lambda _: None).groups
    config = config_for(group, {"task": {"file": str(folder / task)}}, Path(), 0)
    choose(
        Run.open(config, Path()), out, ChoiceLimits(min_gain=0.0), WeightEvidence(), lambda event, steps: None
    )


def run_yaml(folder: Path, *, controls: object = None, **changes: object) -> Path:
    values = {
        "name": "small",
        "base": "base",
        "sources": {name: name for name in SOURCES},
        "task": {"file": "task.yaml"},
        "merge": {
            "method": "task_arithmetic",
            "parameters": {"weight": {"from": 0, "to": 1}},
            "dtype": "float32",
        },
        "search": {"strategy": "grid", "settings": {"points": 3}},
        "budget": {"candidates": 27},
        "finalists": 2,
        "scout": "found",
        "controls": {"trained": False, **(controls if isinstance(controls, dict) else {})},
        **changes,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump({key: each for key, each in values.items() if each}))
    return folder / "run.yaml"


def begun(file: Path, name: str = "run") -> Run:
    return begin(Run.open(load_config(file), file.parent), file.parent / name)


def finished(file: Path, name: str = "run") -> Path:
    with begun(file, name) as run:
        journey_of(run, ignore).run()
    return file.parent / name


def resumed(folder: Path) -> None:
    with RunStore.open(folder) as store:
        journey_of(Run.stored(store), ignore).run()


Rows = Mapping[tuple[str, int], Mapping[str, ItemScore]]


def rows(folder: Path) -> Rows:
    """Return the fit scores of all trials of a run."""
    with RunStore.read(folder) as store:
        found = {
            (search, trial.asked.number): store.evaluation(trial.id, "fit")
            for search in store.searches()
            for trial in store.trials(search)
        }
    return {
        key: {score.item: score for score in each.scores} for key, each in found.items() if each is not None
    }


@dataclass(frozen=True, kw_only=True)
class Copies:
    """The trials of a run with copied scores: search and number; and how many scores there are."""

    trials: set[tuple[str, int]]
    n: int


def copies(folder: Path) -> Copies:
    with RunStore.read(folder) as store:
        found = {
            (search, trial.asked.number)
            for search in store.searches()
            for trial in store.trials(search)
            if (each := store.evaluation(trial.id, "fit")) is not None and each.copied_from == trial.id
        }
        return Copies(trials=found, n=store.copied_from_elsewhere())


# ---- what is copied


def test_scores_are_copied_and_equal_those_of_a_run_that_scores_itself(world: Path) -> None:
    file = run_yaml(world)
    finished(file)
    with begun(file, "alone") as run:
        (world / "found").rename(world / "gone")
        journey_of(run, ignore).run()
    copying, alone = copies(world / "run"), copies(world / "alone")
    assert alone.n == 0
    assert copying.n > 8 and {search for search, _ in copying.trials} == {BASELINES, MAIN}
    assert rows(world / "run") == rows(world / "alone")
    with RunStore.read(world / "run") as one, RunStore.read(world / "alone") as other:
        assert one.item_evaluations() + copying.n == other.item_evaluations()


def test_the_cost_of_a_search_does_not_depend_on_the_scout(world: Path) -> None:
    """What is copied counts in budgets, and for controls of equal cost."""
    file = run_yaml(world, budget={"item_evaluations": 80}, controls={"random": True})
    finished(file)
    with begun(file, "alone") as run:
        shutil.rmtree(world / "found")
        journey_of(run, ignore).run()
    assert rows(world / "run") == rows(world / "alone")
    for search in (MAIN, "random"):
        assert asked(world / "run", search) == asked(world / "alone", search)
        assert len(asked(world / "run", search)) >= 10


@pytest.mark.slow
def test_baselines_copy_whatever_the_method(world: Path) -> None:
    """The base and each source alone are trial merges, whatever the parameters of the search are."""
    merge = {
        "method": "ties",
        "parameters": {"weight": {"from": 0, "to": 1}, "density": {"from": 0.2, "to": 1}},
    }
    finished(run_yaml(world, merge={**merge, "dtype": "float32"}, budget={"candidates": 6}))
    copied = copies(world / "run").trials
    assert {search for search, _ in copied} == {BASELINES}
    query = "SELECT DISTINCT t.name FROM trials t JOIN parts p ON p.trial = t.id WHERE p.copied_from = t.id"
    with closing(sqlite3.connect(world / "run" / "run.db")) as connection:
        names = {name for (name,) in connection.execute(query)}
    assert names == {"base", *SOURCES}


WEIGHTS = {"parameters": {"weight": {"from": 0, "to": 1}}, "dtype": "float32"}


@pytest.mark.parametrize(
    "merge",
    [
        {**WEIGHTS, "method": "task_arithmetic", "dtype": "bfloat16"},
        *slow(
            {**WEIGHTS, "method": "ties", "parameters": {**WEIGHTS["parameters"], "density": 0.3}},
            {**WEIGHTS, "method": "task_arithmetic", "parameters": {**WEIGHTS["parameters"], "lambda": 0.5}},
            {**WEIGHTS, "method": "task_arithmetic", "sources": {"ja": {"parameters": {"weight": 0.4}}}},
            {**WEIGHTS, "method": "linear"},
        ),
    ],
    ids=["dtype", "ties", "lambda", "a fixed weight", "a mean"],
)
def test_scores_of_other_merges_are_not_copied(world: Path, merge: dict[str, object]) -> None:
    """The run has candidates with the same weights, but they mean other models."""
    file = run_yaml(world, merge=merge)
    finished(file)
    with begun(file, "alone") as run:
        (world / "found").rename(world / "gone")
        journey_of(run, ignore).run()
    assert rows(world / "run") == rows(world / "alone")


def test_a_run_goes_on_when_the_scout_is_gone(world: Path) -> None:
    file = run_yaml(world)
    finished(file, "whole")
    _stopped(file, lambda event: event.search == MAIN and event.kind == "ended")
    assert copies(world / "run").n > 0
    shutil.rmtree(world / "found")
    resumed(world / "run")
    assert rows(world / "run") == rows(world / "whole")


def test_a_run_goes_on_when_the_scout_has_changed(world: Path) -> None:
    """Its scores are not copied any more."""
    file = run_yaml(world)
    finished(file, "whole")
    _stopped(file, lambda event: event.search == BASELINES and event.kind == "ended")
    before = copies(world / "run").n
    shutil.rmtree(world / "found")
    write_task(world, "other.yaml", max_new_tokens=3)
    scout(world, world / "found", "other.yaml")
    resumed(world / "run")
    assert copies(world / "run").n == before
    assert rows(world / "run") == rows(world / "whole")


class Stopped(Exception):  # noqa: N818  (not an error)
    """The user stops a run."""


def _stopped(file: Path, when: Callable[[Event], bool]) -> None:
    def stop(event: Event) -> None:
        if when(event):
            raise Stopped

    with pytest.raises(Stopped), begun(file) as run:
        journey_of(run, stop).run()


def test_a_run_may_also_train(world: Path) -> None:
    """Then it depends on one more library."""
    pytest.importorskip("peft")
    _stopped(run_yaml(world, controls={"trained": True}), lambda event: event.search == MAIN)
    assert copies(world / "run").n > 0


# ---- what cannot be copied


def other_grader(world: Path) -> Path:
    (world / "mine.py").write_text(GRADER.replace("17", "7"))
    return run_yaml(world)


def other_grader_of_the_same_name(world: Path) -> Path:
    """Two graders have files of one name; the first changes."""
    for name in ("first", "second"):
        (world / name).mkdir()
        (world / name / "mine.py").write_text(f"# {name}\n{GRADER}")
    graders = [f"{name}/mine.py:grade" for name in ("first", "second")]
    (world / "found").rename(world / "unused")
    write_task(world, grader=graders)
    scout(world, world / "found")
    (world / "first" / "mine.py").write_text(GRADER.replace("17", "7"))
    return run_yaml(world)


def other_pattern(world: Path) -> Path:
    """Patterns may look like paths."""
    (world / "found").rename(world / "unused")
    write_task(world, grader={"regex": "/yes/b"})
    scout(world, world / "found")
    write_task(world, grader={"regex": "/no/b"})
    return run_yaml(world)


def other_items(world: Path) -> Path:
    lines = [json.dumps({"q": f"{n} - 1 =", "a": str(n - 1)}) for n in range(20)]
    (world / "items.jsonl").write_text("\n".join(lines))
    return run_yaml(world)


def other_length(world: Path) -> Path:
    write_task(world, max_new_tokens=3)
    return run_yaml(world)


def other_model(world: Path) -> Path:
    return run_yaml(world, sources={"ja": "ja", "math": "art", "code": "code"})


def other_weights(world: Path) -> Path:
    shutil.rmtree(world / "math")
    fine_tuned(world / "base", world / "math", seed=9)
    return run_yaml(world)


def other_batch(world: Path) -> Path:
    return run_yaml(world, batch_size=2)


def no_folder(world: Path) -> Path:
    return run_yaml(world, scout="nowhere")


def no_scout(world: Path) -> Path:
    return run_yaml(world, scout="ja")


def a_run(world: Path) -> Path:
    return run_yaml(world, scout=finished(run_yaml(world, scout=None), "old").name)


@pytest.mark.parametrize(
    "change",
    [
        other_grader,
        other_grader_of_the_same_name,
        other_pattern,
        other_items,
        other_length,
        other_model,
        other_weights,
        other_batch,
        no_folder,
        no_scout,
        a_run,
    ],
)
def test_another_scout_is_an_error_before_anything_is_written(
    world: Path, change: Callable[[Path], Path]
) -> None:
    file = change(world)
    with pytest.raises(KingyoError) as raised:
        begun(file)
    assert raised.value.argument.startswith("scout: ")
    assert not (world / "run").exists()


# ---- random sources


CONTROLS: Mapping[str, object] = {RANDOM: {"one": "art", "two": "math"}}
SEARCH: Mapping[str, object] = {
    "search": {"strategy": "cma-es", "settings": {"population": 6}},
    "budget": {"candidates": 12},
}


def asked(folder: Path, search: str) -> list[Trial]:
    with RunStore.read(folder) as store:
        return [trial.asked for trial in store.trials(search)]


def test_random_sources_are_a_search_of_equal_cost(world: Path) -> None:
    run = finished(run_yaml(world, **SEARCH, controls=CONTROLS))
    with RunStore.read(run) as store:
        assert len(store.trials(RANDOM)) == len(store.trials(MAIN)) == 12
        recipes = [read_recipe(trial) for trial in store.trials(RANDOM)]
    models = {source.model for recipe in recipes for source in recipe.sources}
    assert {Path(model).name for model in models} == {"art", "math"}
    done = run_forked(["show", str(run), "--json"], world, os.environ)
    assert done.returncode == 0, done.stderr
    assert RANDOM in json.dumps(json.loads(done.stdout))
    shown = run_forked(["show", str(run)], world, os.environ)
    assert "bred − random sources:" in shown.stdout


def test_show_and_the_report_say_how_the_sources_were_chosen(world: Path) -> None:
    (world / "report.html").write_text("the scout's")
    run = finished(run_yaml(world, **SEARCH))
    with RunStore.read(run) as store, RunStore.read(world / "found") as scout:
        record, answers = read_scout(store), scout.item_evaluations()
        report = about_parents(read_run_data(store).summary)
    assert record is not None and (record.chosen, record.candidates, record.answers) == (3, 4, answers)
    done = run_forked(["show", str(run)], world, os.environ)
    shown = " ".join(done.stdout.split())
    assert (
        f"A scout chose 3 of 4 candidates as sources, by {answers} answers. Its report: report.html" in shown
    )
    assert report.endswith("Its report: ../report.html")
    shutil.rmtree(world / "found")
    with RunStore.read(run) as store:
        assert read_scout(store) is None


def test_random_sources_can_be_killed_and_resumed(world: Path) -> None:
    file = run_yaml(world, **SEARCH, controls=CONTROLS)
    finished(file, "whole")
    _stopped(file, lambda event: event.search == RANDOM and event.kind == "ended" and event.done > 3)
    assert asked(world / "run", RANDOM)
    resumed(world / "run")
    assert rows(world / "run") == rows(world / "whole")
    assert asked(world / "run", RANDOM) == asked(world / "whole", RANDOM)


def test_random_sources_without_models_are_refused_later(world: Path) -> None:
    run = finished(run_yaml(world))
    with RunStore.open(run) as store, pytest.raises(KingyoError) as raised:
        add_control(store, RANDOM)
    assert raised.value.argument == f"control {RANDOM}"


@pytest.mark.parametrize("changes", [{"controls": {RANDOM: {"a b": "code"}}}, {"sources": {RANDOM: "ja"}}])
def test_names_of_random_sources(world: Path, changes: dict[str, object]) -> None:
    with pytest.raises(KingyoError):
        load_config(run_yaml(world, **changes))


def test_a_search_for_paths_has_no_random_sources(world: Path) -> None:
    values = yaml.safe_load(
        run_yaml(world, controls=CONTROLS, merge=None, scout=None, search=None).read_text()
    )
    data = {**values, "controls": {"random": True, **CONTROLS}, "space": "dataflow"}
    run = Run.open(config_from_data(data, world), world)
    assert [search.name for search in run.searches] == [MAIN, "random"]


def test_the_scout_is_only_read(world: Path) -> None:
    before = (world / "found" / "run.db").read_bytes()
    finished(run_yaml(world))
    assert (world / "found" / "run.db").read_bytes() == before
    with open_scout(world / "found") as store:
        assert SCOUT in store.searches()

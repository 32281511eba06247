"""A stored choice continues only as the same choice, and only by the command that began it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import kingyo
from kingyo.errors import KingyoError
from kingyo.export import choose as choose_trial
from kingyo.run.begin import begin
from kingyo.run.provenance import VERSIONS
from kingyo.run.run import Run
from kingyo.run.scouted import SCOUT
from kingyo.scout.catalogue import Group
from kingyo.scout.choice import ChoiceLimits, ChosenSources, WeightEvidence, choose, config_for, trials_in
from kingyo.scout.continuing import scout_remedies
from kingyo.store import DATABASE, RunStore, StoredTrial
from kingyo.store.run_store import RUN
from kingyo.types import Evaluation, ItemScore
from tests.cli.forked import run_forked
from tests.scout.chosen import ZOO, Counter, write_task, zoo_group

FEW = ("ja", "math-en")
OF_RUNS = re.compile(r"`kingyo (resume|evolve)|--run\b")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, a task with its own grader, and a choice that was made from within."""
    project = tmp_path_factory.mktemp("first") / "project"
    for name in ("base", *FEW):
        shutil.copytree(ZOO / name, project / "models" / name)
    (project / "data").mkdir()
    shutil.copy(ZOO / "tasks" / "ja-math.jsonl", project / "data")
    (project / "mine.py").write_text("def grade(answer, item):\n    return float(len(answer) % 2)\n")
    splits = {"fit": 4, "validation": 4, "test": 4, "seed": 0}
    write_task(project, data="data/ja-math.jsonl", splits=splits, max_new_tokens=2, grader=["mine.py:grade"])
    before = Path.cwd()
    os.chdir(project)
    try:
        chosen(Path())
    finally:
        os.chdir(before)
    return project


def group_from(here: Path, names: Sequence[str] = FEW) -> Group:
    """Return the models below ``here``, as references from the working directory."""
    group = zoo_group(names)
    members = (
        replace(each, reference=str(here / "models" / Path(each.reference).name)) for each in group.members
    )
    return replace(group, base=str(here / "models" / "base"), members=tuple(members))


def chosen(
    here: Path,
    *,
    names: Sequence[str] = FEW,
    seed: int = 0,
    task: str = "ja-math.yaml",
    limits: ChoiceLimits | None = None,
    evidence: WeightEvidence | None = None,
    counter: Counter | None = None,
) -> ChosenSources:
    """Choose, or go on, as the command in the working directory does."""
    config = config_for(group_from(here, names), {"task": {"file": str(here / task)}}, Path(), seed)
    run, out = Run.open(config, Path()), trials_in(here / "out")
    return choose(run, out, limits or ChoiceLimits(), evidence or WeightEvidence(), counter or Counter())


@pytest.fixture
def copied(project: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """The project as the working directory; its choice is put back afterwards."""
    monkeypatch.chdir(project)
    shutil.copytree(project / "out", project.parent / "kept")
    yield project
    shutil.rmtree(project / "out", ignore_errors=True)
    (project.parent / "kept").rename(project / "out")


@pytest.fixture
def trials(copied: Path) -> Path:
    return trials_in(copied / "out")


def why(action: Callable[[], object]) -> KingyoError:
    with pytest.raises(KingyoError) as raised:
        action()
    return raised.value


@pytest.mark.parametrize("has_search", [True, False])
def test_only_a_scout_opens_its_trial_merges(trials: Path, has_search: bool) -> None:
    """``resume``, ``control`` and runs of several seeds do not. A killed scout may lack its search."""
    if not has_search:
        with RunStore.open(trials, by_scout=True) as store:
            store.begin_again(trials / "old.db", {})
            assert SCOUT not in store.searches()
    before = (trials / DATABASE).read_bytes()
    for action in (RunStore.open, kingyo.resume, read_and_choose):
        error = why(lambda action=action: action(trials))
        assert "kingyo scout" in error.received and "same command" in error.remedy
    assert (trials / DATABASE).read_bytes() == before


def read_and_choose(trials: Path) -> StoredTrial:
    """Choose a model to export."""
    with RunStore.read(trials) as store:
        return choose_trial(store)


@pytest.mark.parametrize("arguments", [["resume"], ["resume", "--rescore"], ["control"]])
def test_commands_of_runs_refuse_it(trials: Path, arguments: list[str]) -> None:
    name, *options = arguments
    control = ["random"] if name == "control" else []
    done = run_forked([name, str(trials), *control, *options], trials.parent, os.environ)
    assert done.returncode == 1 and "received the trial merges of `kingyo scout`" in done.stderr
    with RunStore.read(trials) as store:
        assert store.searches().keys() == {SCOUT} and not store.summaries("test")


def test_wrong_limits_leave_nothing(copied: Path) -> None:
    shutil.rmtree(copied / "out")
    why(lambda: chosen(Path(), limits=ChoiceLimits(min_gain=-1)))
    assert not trials_in(copied / "out").exists()


def test_only_fit_answers_count(trials: Path) -> None:
    before = chosen(Path()).item_evaluations
    with RunStore.open(trials, by_scout=True) as store:
        first = store.trials(SCOUT)[0]
        scores = tuple(ItemScore(item=item.id, score=1.0, answer="") for item in store.items()["test"])
        store.record(first.id, "test", Evaluation(scores=scores))
        assert store.item_evaluations() == before + 4
    assert chosen(Path()).item_evaluations == before


# ---- remedies


def test_another_process_in_the_folder(trials: Path) -> None:
    with RunStore.open(trials, by_scout=True):
        error = why(lambda: chosen(Path()))
    assert "another process" in error.received and "--out" in error.remedy
    assert not OF_RUNS.search(str(error)), error


def test_a_process_that_begins_meanwhile(copied: Path, trials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is done when this one has checked everything: it goes on with what is stored."""
    trials.rename(copied / "aside")

    def slow(run: Run, path: Path) -> Run:
        (copied / "aside").rename(path)
        return begin(run, path)

    monkeypatch.setattr("kingyo.scout.continuing.begin", slow)
    counter = Counter()
    chosen(Path(), counter=counter)
    assert counter.answers == 0


@pytest.mark.parametrize("damage", ["a file", "other files", "no database", "an empty one", "versions"])
def test_remedies_are_those_of_a_scout(trials: Path, damage: str) -> None:
    if damage == "versions":
        with RunStore.open(trials, by_scout=True) as store:
            store.set_fact(VERSIONS, {"kingyo": "0.0.1"})
    elif damage == "no database":
        (trials / DATABASE).write_bytes(b"no database" * 100)
    elif damage == "an empty one":
        (trials / DATABASE).write_bytes(b"")
    else:
        shutil.rmtree(trials)
        if damage == "a file":
            trials.write_text("mine")
        else:
            trials.mkdir()
            (trials / "mine.txt").write_text("mine")
    error = why(lambda: chosen(Path()))
    assert "--out" in error.remedy or "the same command" in error.remedy
    assert not OF_RUNS.search(str(error)), error


def test_a_full_disk() -> None:
    with pytest.raises(KingyoError, match="the same command") as raised, scout_remedies():
        raise KingyoError("run.db", expected="a file", received="disk is full", remedy=RUN.retry)
    assert not OF_RUNS.search(str(raised.value))


# ---- what must be the same


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"seed": 3}, "seed"),
        ({"task": "other.yaml"}, "task"),
        ({"limits": ChoiceLimits(min_gain=0.2)}, "--min-gain"),
        ({"limits": ChoiceLimits(most=1)}, "--most"),
        ({"limits": ChoiceLimits(costs={"ja": 2.0, "math-en": 3.0}, capacity=9.0)}, "--max-size"),
        (
            {"evidence": WeightEvidence(features={"ja": [1.0], "math-en": [2.0]})},
            "measurements of the weights",
        ),
    ],
)
def test_the_error_names_what_differs(copied: Path, other: dict[str, object], names: str) -> None:
    text = (copied / "ja-math.yaml").read_text(encoding="utf-8")
    (copied / "other.yaml").write_text(text.replace("max_new_tokens: 2", "max_new_tokens: 3"))
    error = why(lambda: chosen(Path(), **other))  # pyright: ignore[reportArgumentType]
    assert names in error.expected and error.remedy == "Choose another folder with --out."
    others = {"seed", "task", "candidates", "--min-gain", "--most", "--max-size", "measurements"}
    assert not {each for each in others if each in error.expected and each not in names}, error


def test_no_limit_is_not_none(copied: Path) -> None:
    error = why(lambda: chosen(Path(), limits=ChoiceLimits(most=1)))
    assert error.received == "1 instead of no limit"


def test_other_candidates(copied: Path) -> None:
    shutil.copytree(ZOO / "poem", copied / "models" / "poem")
    error = why(lambda: chosen(Path(), names=("ja", "poem")))
    assert error.expected == "the candidates that the choice began with: ja, math-en"
    assert error.received == "ja, poem"


def test_other_paths(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied / "data")
    error = why(lambda: chosen(Path("..")))
    assert "paths of candidates" in error.expected and "../models/base instead of" in error.received

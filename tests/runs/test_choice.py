"""The first stage of a run chooses its sources."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.core.types import ItemScore
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Layout
from kingyo.runs.begin import choose_again, make_choice
from kingyo.runs.choice import (
    CHOICE,
    CHOSEN,
    ChoiceRequest,
    ChoiceStage,
    ChosenSources,
    is_choosing,
    with_sources,
)
from kingyo.runs.provenance import VERSIONS
from kingyo.runs.resume import journey_of, renew
from kingyo.runs.run import Run
from kingyo.search.evolution import BASELINES, MAIN, Event, ignore_events
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.search.strategies.source_changes import Gain
from kingyo.store import RunStore
from kingyo.views.choice import choice_statements, next_gain
from kingyo.views.page import page_view, render_page
from kingyo.views.results.summary import summarize
from kingyo.views.run_data import read_run_data
from tests.scout.chosen import FIT, NAMES, USEFUL, candidates_of, models, run_yaml, write_task

CONTROLS = {"random": True, "random_sources": True, "trained": False}
TINY = {"splits": {"fit": 8, "validation": 8, "test": 8}, "max_new_tokens": 1}
Rows = Mapping[tuple[str, int], Mapping[str, ItemScore]]


def finish(folder: Path, notify: Callable[[Event], None] = ignore_events) -> None:
    """Run a stored run to its end, from wherever it is."""
    with RunStore.open(folder) as store:
        run = Run.stored(store)
        if is_choosing(store):
            run = make_choice(run, notify)
        journey_of(run, notify).run()


def begun(data: Mapping[str, object], home: Path, folder: Path) -> Path:
    candidates_of(data, home, folder).begin(folder).begun.close()
    return folder


@pytest.fixture(scope="module")
def seen() -> list[Event]:
    """The events of the run in ``home``."""
    return []


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, seen: list[Event]) -> Path:
    """A folder with a run that has chosen among models of the zoo, and is finished."""
    home = tmp_path_factory.mktemp("chosen")
    begun(run_yaml(home, controls=CONTROLS), home, home / "run")
    finish(home / "run", seen.append)
    return home


@pytest.fixture(scope="module")
def choice(home: Path) -> ChosenSources:
    with RunStore.read(home / "run") as store:
        found = store.fact(CHOSEN)
    assert found is not None
    return found


def rows(folder: Path) -> Rows:
    """Return the fit scores of all trials after the choice."""
    with RunStore.read(folder) as store:
        found = {
            (search, trial.asked.number): store.evaluation(trial.id, "fit")
            for search in store.searches()
            if search != CHOICE
            for trial in store.trials(search)
        }
    return {key: {score.item: score for score in each.scores} for key, each in found.items() if each}


def test_it_chooses_the_useful_models(choice: ChosenSources) -> None:
    assert choice.sources == NAMES and set(choice.chosen) == USEFUL == set(choice.contributions)
    assert [step.added is None for step in choice.steps] == [False, False, False, True]
    assert all(gain.interval.low > 0 for gain in choice.contributions.values())
    assert choice.score is not None and choice.score.score > 0.9
    assert choice.verdict == "enough" and choice.failed == {} and set(choice.alone) == set(NAMES)
    assert 0 < choice.item_evaluations < 0.6 * 2**5 * FIT


def test_the_run_goes_on_with_the_chosen_sources(home: Path, choice: ChosenSources) -> None:
    with RunStore.read(home / "run") as store:
        assert not is_choosing(store) and store.status() == "finished"
        run, first = Run.stored(store), store.trials(MAIN)[0]
        assert {str(trial.name) for trial in store.trials(BASELINES)} == {"base", "uniform", *USEFUL}
        drawn = {
            source.model for trial in store.trials("random_sources") for source in read_recipe(trial).sources
        }
        assert store.item_evaluations(CHOICE) == choice.item_evaluations
        assert summarize(store).chosen == choice
    assert list(run.config.sources) == list(choice.chosen)
    assert [search.name for search in run.searches] == [MAIN, "random", "random_sources"]
    start = [weight for name in choice.chosen for weight in choice.weights[name]]
    assert list(first.asked.genome) == start, "the search begins at the plain merge"
    assert len({Path(model).name for model in drawn}) == 3 and {Path(model).name for model in drawn} != USEFUL


def test_a_rescored_run_chooses_again(home: Path, tmp_path: Path, choice: ChosenSources) -> None:
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    with RunStore.open(tmp_path / "run") as store:
        renew(store, {}, print, rescore=True, accept_changes=False)
        with pytest.raises(KingyoError, match="Let it choose first"):
            renew(store, {"candidates": 60}, print, rescore=False, accept_changes=False)
        run = Run.stored(store)
        assert is_choosing(store) and tuple(run.config.sources) == NAMES and store.trials() == []
        again = make_choice(run, ignore_events)
        assert list(again.config.sources) == list(choice.chosen)
        store.set_fact(VERSIONS, {**store.fact(VERSIONS), "torch": "0.0.old"})
        with pytest.raises(KingyoError, match=r"torch: expected .*torch 0\.0\.old"):
            choose_again(run, store, ChoiceRequest())


@pytest.mark.slow
def test_however_often_it_is_interrupted_it_ends_the_same(
    home: Path, seen: list[Event], tmp_path: Path
) -> None:
    class Stopped(Exception):  # noqa: N818  (not an error)
        """The user stops a run."""

    write_task(tmp_path)
    begun(run_yaml(tmp_path, controls=CONTROLS), tmp_path, tmp_path / "run")
    stops, moments = 0, 10
    for moment in range(moments):
        left = 1 + len(seen) * moment // moments

        def stop(_: Event) -> None:
            nonlocal left, stops
            left -= 1
            if not left:
                stops += 1
                raise Stopped

        with suppress(Stopped):  # what a run has done before reports less
            finish(tmp_path / "run", stop)
    assert stops >= 3
    finish(tmp_path / "run")
    assert rows(tmp_path / "run") == rows(home / "run")


@pytest.mark.parametrize(
    ("grader", "argument", "received"),
    [
        pytest.param("raise ValueError('no grade')", "base", "no grade", id="the base fails"),
        pytest.param("return 0.0", "sources.scout", "none", id="no source is useful"),
    ],
)
def test_a_choice_without_a_base_or_a_useful_source_is_an_error(
    tmp_path: Path, grader: str, argument: str, received: str
) -> None:
    (tmp_path / "mine.py").write_text(f"def grade(answer, item):\n    {grader}\n")
    task = write_task(tmp_path, grader=[f"{tmp_path / 'mine.py'}:grade"], **TINY)
    run = begun(run_yaml(tmp_path, models(NAMES[:2]), task=task.name), tmp_path, tmp_path / "run")
    with pytest.raises(KingyoError) as raised:
        finish(run)
    assert raised.value.argument == argument and received in raised.value.received


# ---- the run.yaml with the chosen sources


@pytest.fixture
def run(home: Path) -> Run:
    return candidates_of(run_yaml(home), home, home / "evidence").run


@pytest.fixture
def layout(run: Run) -> Layout:
    return ChoiceStage(run=run, request=ChoiceRequest()).layout


@pytest.mark.parametrize(("trimmed", "groups"), [(False, "layers:2"), (True, "layers:4")])
def test_many_sources_have_fewer_spans(
    run: Run,
    layout: Layout,
    choice: ChosenSources,
    monkeypatch: pytest.MonkeyPatch,
    groups: str,
    *,
    trimmed: bool,
) -> None:
    monkeypatch.setattr("kingyo.runs.choice.MOST_GENES", 2 * len(USEFUL))
    weights = dict.fromkeys(choice.chosen, (0.0 if trimmed else 0.7, 0.7, 0.7, 0.7))
    merge = with_sources({}, run, replace(choice, weights=weights), layout)["merge"]
    assert isinstance(merge, dict) and merge["groups"] == groups
    starts = [each["parameters"]["weight"]["start"] for each in (merge, *merge.get("sources", {}).values())]
    assert ([0.0, 0.7, 0.7, 0.7] if trimmed else 0.7) in starts


def test_keys_of_the_user_stay(run: Run, layout: Layout, choice: ChosenSources) -> None:
    merge = {"method": "ties", "parameters": {"density": 0.5}}
    given = {"merge": merge, "controls": {"random_sources": {"sort": "sort"}}}
    assert with_sources(given, run, choice, layout) == {
        **given,
        "base": run.config.base,
        "sources": {name: run.config.sources[name] for name in choice.chosen},
    }
    framed = with_sources(given, run, replace(choice, frame="poem"), layout)
    assert framed["merge"] == {**merge, "frame": "poem"} and "poem" in str(framed["sources"])
    own = with_sources({"merge": {"frame": "poem"}}, run, replace(choice, frame="poem"), layout)["merge"]
    assert isinstance(own, dict) and own["sources"]["poem"] == {"parameters": {"weight": 0}}


def test_random_sources_are_others(run: Run, layout: Layout, choice: ChosenSources) -> None:
    """With all sources chosen there are none."""
    asked = {"controls": {"random_sources": True}}
    for seed in range(20):
        seeded = replace(run, config=run.config.model_copy(update={"seed": seed}))
        for chosen in (("ja",), NAMES[:4], NAMES):
            own = replace(choice, chosen=chosen, weights=dict.fromkeys(chosen, (1.0,)))
            controls = with_sources(asked, seeded, own, layout)["controls"]
            assert isinstance(controls, dict)
            names = controls["random_sources"]
            assert len(names) == len(chosen) % len(NAMES) and set(names) != set(chosen)


# ---- what is said


def test_the_page_shows_the_choice(home: Path, choice: ChosenSources) -> None:
    with RunStore.read(home / "run") as store:
        view = page_view(read_run_data(store))
    rows = view.tables["candidates"].rows
    assert [row[0].text for row in rows][: len(USEFUL)] == list(choice.chosen)
    assert [row[-1].text for row in rows] == ["chosen"] * len(USEFUL) + ["no gain is shown"] * 2
    assert [each.text for each in view.said("choice")] == [*choice_statements(choice)]
    assert 'id="choice"' in render_page(view).decode()


def test_the_best_of_the_others_was_measured_well(choice: ChosenSources) -> None:
    gains = {1: Gain.normal(0.5, 0.2, 24), 2: Gain.normal(0.01, 0.01, 96)}
    last = replace(choice.steps[-1], gains=gains)
    assert next_gain(replace(choice, steps=(*choice.steps[:-1], last))) == (NAMES[2], gains[2])

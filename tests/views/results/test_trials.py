"""How users name trials, and what they are called."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kingyo.core.types import Trial
from kingyo.errors import KingyoError
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.store import RunStore
from kingyo.views.results.trials import describe_search, describe_trial, find_trial, reference_to, row_title
from tests.fake_runs import begun, weights


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    """A run with trials and without scores."""
    names = ("base", "ja", "main", "12", "007", "uniform")
    with begun(tmp_path / "run", {}) as opened:
        opened.add_search(BASELINES, {})
        named = [new_trial(Trial(number=i, genome=()), weights(i, 1), name) for i, name in enumerate(names)]
        opened.add_trials(BASELINES, 0, named)
        for search, n in {"parameters": 5, MAIN: 12, "random": 3, "grid": 0}.items():
            opened.add_search(search, {})
            trials = [new_trial(Trial(number=i, genome=(float(i),)), weights(i, 2)) for i in range(n)]
            opened.add_trials(search, 0, trials)
        yield opened


@pytest.mark.parametrize(
    ("reference", "search", "number", "words"),
    [
        ("0", MAIN, 0, "trial 0 of the main search"),
        (" main:11 ", MAIN, 11, "trial 11 of the main search"),
        ("random:2", "random", 2, "trial 2 of random search"),
        ("parameters:4", "parameters", 4, "trial 4 of weights alone"),
        ("uniform", BASELINES, 5, "the uniform merge"),
        ("base", BASELINES, 0, "the base"),
        ("baselines:ja", BASELINES, 1, "the parent ja"),
        ("baselines:main", BASELINES, 2, "the parent main"),
        ("baselines:12", BASELINES, 3, "the parent 12"),
        ("baselines:007", BASELINES, 4, "the parent 007"),
    ],
)
def test_every_trial_has_a_name(
    store: RunStore, reference: str, search: str, number: int, words: str
) -> None:
    trial = find_trial(store, reference)
    assert (trial.search, trial.asked.number) == (search, number)
    assert describe_trial(trial) == words
    assert find_trial(store, reference_to(trial)) == trial


def test_a_control_has_one_name_in_tables_and_sentences() -> None:
    controls = ("random", "parameters", "trained")
    assert [row_title(each) for each in controls] == ["random, same cost", "weights alone", "trained LoRA"]
    assert [describe_search(each) for each in controls] == [
        "random search",
        "weights alone",
        "the trained LoRA",
    ]


@pytest.mark.parametrize(
    ("reference", "remedy"),
    [("12", "kingyo show"), ("grid:0", "kingyo show"), ("Uniform", "Did you mean 'uniform'?")],
)
def test_an_unknown_trial_lists_the_choices(store: RunStore, reference: str, remedy: str) -> None:
    with pytest.raises(KingyoError) as error:
        find_trial(store, reference)
    assert error.value.expected == (
        "parameters:0 to parameters:4 or a number from 0 to 11 or random:0 to random:2 "
        "or one of base, ja, main, 12, 007, uniform"
    )
    assert remedy in error.value.remedy


@pytest.mark.parametrize("name", ["bred", "Bred", "winner"])
def test_the_bred_model_has_a_name_once_it_is_picked(store: RunStore, name: str) -> None:
    with pytest.raises(KingyoError) as caught:
        find_trial(store, name)
    assert "kingyo resume" in caught.value.remedy
    store.set_winner(MAIN, store.trials(MAIN)[7].id)
    assert find_trial(store, name).asked.number == 7

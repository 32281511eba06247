"""Advice about runs, computed from stores that the test writes as a run would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from kingyo.cli.console import Console
from kingyo.cli.live_display import LiveDisplay
from kingyo.cli.tables import print_answers, print_trial
from kingyo.core.types import (
    SPLITS,
    Evaluation,
    Genome,
    Item,
    ItemScore,
    Lesson,
    Media,
    Outcome,
    Split,
    Trial,
)
from kingyo.errors import KingyoError
from kingyo.runs.config import TRAINED
from kingyo.runs.extensions import TUNABLE
from kingyo.search.evolution import BASELINES, MAIN, RACED, Event
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.store import RunStore
from kingyo.views.advice import Advice, advise
from kingyo.views.results.summary import summarize
from kingyo.views.results.trial_details import ItemAnswer, answer_record, read_trial, worst_answers
from tests.fake_runs import made_splits
from tests.screened_runs import weights

N_FIT = 8
ITEMS = made_splits(dict.fromkeys(SPLITS, N_FIT))
KNOWN = {"base": 0, "a": 1, "uniform": 4}
"""Baseline -> how many items of fit it solves."""


def scores(solved: int, split: Split = "fit") -> Evaluation:
    item_scores = [ItemScore(item.id, float(n < solved), "?") for n, item in enumerate(ITEMS[split])]
    return Evaluation(scores=tuple(item_scores), score_seconds=N_FIT)


class Written:
    """A run with baselines and one search, whose first batch has four trials, and each other one.

    Args:
        folder: of the run.
        known: baseline -> items of fit that it solves.
        description: of the search, where it is not of two weights.
    """

    def __init__(self, folder: Path, known: dict[str, int] | None = None, **description: object) -> None:
        self.store = RunStore.create(folder)
        config = {"budget": {"candidates": 20}}
        facts = {"name": "r", "status": "finished", "config": config, "run_yaml": "my.yaml"}
        self.store.begin(facts, ITEMS)
        self.store.add_search(BASELINES, {})
        for number, (name, solved) in enumerate((known or KNOWN).items()):
            new = new_trial(Trial(number=number, genome=()), weights(float(number)), name)
            trial = self.store.add_trials(BASELINES, 0, [new])[-1]
            self.store.record(trial.id, "fit", scores(solved))
        self.description = {"method": "task_arithmetic", "axes": AXES, **description}

    def search(self, solved: Sequence[int], genomes: Sequence[Genome] | None = None) -> Written:
        """Add the main search; each trial solves the given number of items."""
        self.store.add_search(MAIN, self.description)
        for number, n in enumerate(solved):
            self.add(number, n, (0.5, 0.5) if genomes is None else genomes[number])
        return self

    def add(self, number: int, n: int, genome: Genome = (0.5, 0.5), lesson: Lesson | None = None) -> None:
        """Add a trial of the main search that solves n items."""
        new = new_trial(Trial(number=number, genome=genome, lesson=lesson), weights(*genome, float(number)))
        trial = self.store.add_trials(MAIN, 0 if number < 4 else number, [new])[-1]
        self.store.record(trial.id, "fit", scores(n))
        self.store.add_outcomes({trial.id: Outcome(trial=trial.asked, value=n / N_FIT)})

    def pick(self, number: int) -> Written:
        """Let validation pick a trial, of all."""
        for trial in self.store.trials(MAIN):
            self.store.record(trial.id, "validation", scores(3 + trial.asked.number % 3, "validation"))
            if trial.asked.number == number:
                self.store.set_winner(MAIN, trial.id)
        return self

    def advice(self) -> dict[str, Advice]:
        with self.store:
            return {each.kind: each for each in advise(self.store, summarize(self.store))}


AXES = [{"name": f"weight/{who}/all", "low": 0.0, "high": 1.5} for who in ("a", "b")]


def test_all_zero_scores_are_reported_after_baselines_and_search(tmp_path: Path) -> None:
    advice = Written(tmp_path / "first", {"base": 0, "uniform": 0}).advice()
    assert list(advice) == ["zero"]
    assert advice["zero"].what == "All 2 baselines score 0% on fit."
    assert "--trial uniform --answers 5" in advice["zero"].remedy
    advice = Written(tmp_path / "then", {"base": 0, "uniform": 0}).search([0] * 5).advice()
    assert list(advice) == ["zero"] and "All 2 baselines and 5 candidates" in advice["zero"].what
    assert "--trial 0 --answers 5" in advice["zero"].remedy
    assert "zero" not in Written(tmp_path / "works", {"base": 0, "uniform": 0}).search([0, 0, 1, 0]).advice()


def test_broken_candidates_are_reported_during_a_run_if_baselines_work(tmp_path: Path) -> None:
    written, out = Written(tmp_path / "run").search([]), StringIO()
    with written.store as store, LiveDisplay(console=Console(file=out)) as display:
        display.begin(store)
        display.notify(Event(kind="phase", search=MAIN, split="fit"))
        for number in range(6):
            assert "score 0%" not in out.getvalue()
            written.add(number, 0)
            display.notify(Event(kind="told", search=MAIN, split="fit", done=number + 1, total=20))
    said = " ".join(out.getvalue().split())
    assert said.count("All candidates so far (6) score 0%") == 1
    assert "the best baseline 50.0%" in said and "narrower" in said


@pytest.mark.parametrize(("solved", "says"), [(8, "Take harder items"), (5, "partial credit")])
def test_scores_that_are_all_the_same(tmp_path: Path, solved: int, says: str) -> None:
    baselines = {"base": solved, "uniform": solved}
    advice = Written(tmp_path / "run", baselines).search([solved] * 4).advice()
    assert list(advice) == ["equal"] and says in advice["equal"].remedy
    assert f"{100 * solved / N_FIT:.1f}%" in advice["equal"].what
    assert "equal" not in Written(tmp_path / "other", baselines).search([solved, solved - 1]).advice()


def test_a_winner_at_a_bound(tmp_path: Path) -> None:
    genomes: list[Genome] = [(0.5, 0.5)] * 4 + [(1.49, 0.0)]
    advice = Written(tmp_path / "run").search([1, 2, 3, 4, 5], genomes).pick(4).advice()["bound"]
    assert advice.level == "warning"
    assert "trial 4" in advice.what and "weight/a at 1.5" in advice.what and "weight/b" not in advice.what


@pytest.mark.parametrize(
    ("at_bound", "is_learned", "says"),
    [(3, False, False), (45, False, True), (90, False, True), (45, True, False), (90, True, True)],
)
def test_a_few_of_many_genes_at_a_bound_are_normal(
    tmp_path: Path, at_bound: int, is_learned: bool, says: bool
) -> None:
    axes = [
        {"name": f"weight/{who}/block.{k}", "low": 0.0, "high": 1.5} for who in ("a", "b") for k in range(90)
    ]
    genome = (*(1.5 if k < at_bound else 0.8 for k in range(90)), *(0.8 for _ in range(90)))
    run = Written(tmp_path / "run", axes=axes).search([1, 2], [genome, genome])
    if is_learned:
        run.add(2, 2, genome, Lesson(steps=10, targets=8, items=240, seconds=1.0, loss=(2.0, 1.0)))
    advice = run.pick(1).advice()
    assert ("bound" in advice) is says
    assert not says or f"lies at a bound: {at_bound} of 90 genes of weight/a at 1.5." in advice["bound"].what


@pytest.mark.parametrize(
    ("method", "axis", "gene", "says"),
    [
        ("task_arithmetic", ("weight/a/all", -1.0, 1.0), -1.0, "weight/a at -1"),
        ("ties", ("density/a/all", 0.2, 0.9), 0.9, "density/a at 0.9"),
        ("ties", ("density/a/all", 0.2, 1.0), 1.0, None),  # no density is larger
        ("ties, task_arithmetic", ("weight(ties)/a", 0.0, 1.0), 1.0, "weight(ties) at 1"),
        ("task_arithmetic", ("weight/a/all", 0.0, 1.5), 1.48, None),
        ("passthrough", ("pass 1/a.3", 0.0, 1.0), 1.0, None),
    ],
)
def test_only_movable_bounds_are_reported(
    tmp_path: Path, method: str, axis: tuple[str, float, float], gene: float, says: str | None
) -> None:
    name, low, high = axis
    axes = [{"name": name, "low": low, "high": high}, {"name": "use/b", "low": 0, "high": 1}]
    run = Written(tmp_path / "run", method=method, axes=axes)
    advice = run.search([1, 2], [(0.4, 1.0), (gene, 1.0)]).pick(1).advice()
    assert says is None or f"lies at a bound: {says}." in advice["bound"].what
    assert (says is None) == ("bound" not in advice)


@pytest.mark.parametrize(
    ("solved", "says"),
    [
        ([1, 2, 3, 2, *[4] * 10], True),  # not ahead of the best baseline
        ([5, 2, 3, 2, *[4] * 10], True),  # the best is in the first batch
        ([1, 2, 3, 2, *[5] * 8, 6, 5], False),
        ([8, 2, 3, 2, *[5] * 10], False),  # nothing is left to gain
        ([1, 2, 3], False),  # it is early
    ],
)
def test_a_search_that_has_not_improved_on_its_start(tmp_path: Path, solved: list[int], says: bool) -> None:
    run = Written(tmp_path / "run").search(solved)
    advice = run.advice()
    assert ("start" in advice) is says
    if says:
        assert f"kingyo resume {tmp_path / 'run'} --candidates +20" in advice["start"].remedy
        with RunStore.open(tmp_path / "run") as store:
            store.set_fact("status", "running")
            assert "start" not in {each.kind for each in advise(store, summarize(store))}


def test_as_much_again_is_of_the_budget_that_the_run_has(tmp_path: Path) -> None:
    run = Written(tmp_path / "run").search([1] * 20)
    run.store.set_fact("config", {"budget": {"candidates": 100, "minutes": 0.5, "item_evaluations": None}})
    flags = "--candidates +100 --minutes +1"
    assert f"`kingyo resume {tmp_path / 'run'} {flags}`" in run.advice()["start"].remedy


def test_answers_of_a_trial_without_any_are_an_error(tmp_path: Path) -> None:
    run = Written(tmp_path / "run").search([1])
    new = [new_trial(Trial(number=number, genome=(0.0, 0.0)), weights(number)) for number in (1, 2)]
    failed, asked = run.store.add_trials(MAIN, 1, new)
    run.store.record(failed.id, "fit", Evaluation(failure="it crashed"))
    with run.store as store:
        for trial, received in ((failed, "a failed trial"), (asked, "a trial without answers so far")):
            with pytest.raises(KingyoError) as error:
                worst_answers(store, trial, 5)
            assert (error.value.argument, error.value.received) == ("--answers", received)


def test_an_answer_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    item = Item(id="i", prompt="one\ntwo [bold]", answer="", choices=("x", "y"))
    answer = ItemScore("i", 0.25, "\x1b[2J\rgone\u202e金魚\u3000می\u200cخواهم 👩\u200d🚀")
    print_answers(Console(highlight=False), [ItemAnswer(item=item, answer=answer, limit=64)])
    output = capsys.readouterr().out
    assert output.splitlines() == [
        "",
        "i: 25%",
        "prompt    one",
        "          two [bold]",
        "choices   x | y",
        r"answered  \x1b[2J\rgone\u202e" + "金魚\u3000می\u200cخواهم 👩\u200d🚀",
    ]


def test_images_in_prompts_and_answers_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    asked, drawn = (
        Media(sha256=name, type="image/png", path=Path(f"{name}.png")) for name in ("ask", "drew")
    )
    item = Item(id="i", prompt="", answer="7", media=(asked,))
    shown = [ItemAnswer(item=item, answer=ItemScore("i", 0.0, "3", media=drawn), limit=64)]
    print_answers(Console(highlight=False), shown)
    assert capsys.readouterr().out.splitlines()[2:] == [
        "image     ask.png",
        "expected  7",
        "drawn     drew.png",
        "answered  3",
    ]
    record = answer_record(*shown[0][:2])
    assert (record["images"], record["picture"]) == (["ask.png"], "drew.png")
    assert item.in_a_line() == "ask.png" and replace(item, prompt="How?").in_a_line() == "'How?' ask.png"


def test_a_trial_that_failed_on_validation_is_shown_as_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Written(tmp_path / "run").search([1]).store as store:
        (trial,) = store.trials(MAIN)
        store.record(trial.id, "validation", Evaluation(failure="it ran out of memory"))
        assert read_trial(store, "0").to_json()["failure"] == "it ran out of memory"
        print_trial(read_trial(store, "0"))
    assert "failed: it ran out of memory" in capsys.readouterr().out


def on_validation(
    folder: Path, *, bred: int, on_fit: int = 6, trained: int | None = None, **facts: object
) -> Written:
    """A finished run whose winners solve so many of the validation items."""
    written = Written(folder).search([*[5] * 13, on_fit])
    store, winner = written.store, written.store.trials(MAIN)[-1]
    for name, fact in {RACED: True, TUNABLE: True, **facts}.items():
        store.set_fact(name, fact)
    store.record(winner.id, "validation", scores(bred, "validation"))
    store.set_winner(MAIN, winner.id)
    for trial in store.trials(BASELINES):
        store.record(trial.id, "validation", scores(4, "validation"))
    if trained is not None:
        store.add_search(TRAINED, {"method": "linear", "axes": []})
        new = new_trial(Trial(number=0, genome=()), weights(7.0))
        trial = store.add_trials(TRAINED, 0, [new])[-1]
        store.record(trial.id, "fit", scores(8))
        store.record(trial.id, "validation", scores(trained, "validation"))
        store.set_winner(TRAINED, trial.id)
    return written


def test_training_is_advised_where_it_is_the_bar(tmp_path: Path) -> None:
    found = on_validation(tmp_path / "behind", bred=2, trained=8).advice()
    assert "kingyo tune" in found["train"].remedy
    assert "start" not in found, "one next command"
    assert "train" not in on_validation(tmp_path / "ahead", bred=7, trained=2).advice()
    assert "train" not in on_validation(tmp_path / "images", bred=2, trained=8, tunable=False).advice()

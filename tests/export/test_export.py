"""Export: an ordinary Hugging Face folder, bit for bit the candidate that was measured."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from kingyo.core.types import Evaluation, Item, ItemScore, Split, Trial
from kingyo.errors import KingyoError
from kingyo.export import choose, export, recipe_of
from kingyo.export.task_files import write_tasks
from kingyo.merging.engine import into, open_sources, plan
from kingyo.merging.recipe import Recipe, load_recipe
from kingyo.models.language_model import LiveModel
from kingyo.runs.config import parse_config
from kingyo.runs.provenance import user_code
from kingyo.runs.run import Run, open_task
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.store import RunStore, StoredTrial
from kingyo.tasks import TaskSpec, load_items, load_task_spec, make_splits
from kingyo.views.results.summary import summarize
from kingyo.views.statements import better_than_bred
from tests.exported import CARD, config_of, make_world


def make_run(folder: Path, *, finished: bool = True, **changes: object) -> Path:
    """Write a run of three trials by hand; its scores are made up, its models and recipes are real."""
    data = config_of(folder, **changes)
    config = parse_config(data, "run.yaml")
    run = Run.open(config, folder)
    search = run.searches[0]
    splits = make_splits(load_items(config.task, folder).items, config.task.splits)
    store = RunStore.create(folder / "run")
    facts = {
        "name": "tiny",
        "version": "0.1.0",
        "versions": {"kingyo": "0.0.1"},
        "code": user_code(config, folder),
        "status": "running",
        "folder": str(folder),
        "config": data,
    }
    store.begin(facts, splits)
    store.add_search(BASELINES, {})
    named = run.baselines
    store.add_trials(BASELINES, 0, [_new(i, (), named[name], name) for i, name in enumerate(named)])
    store.add_search(MAIN, search.description)
    axes = search.description["axes"]
    assert isinstance(axes, list)
    genomes = [tuple(0.3 + 0.1 * n + 0.05 * i for i in range(len(axes))) for n in range(3)]
    trials = store.add_trials(
        MAIN, 0, [_new(n, genome, search.space.decode(genome)) for n, genome in enumerate(genomes)]
    )
    for trial in [*store.trials(BASELINES), *trials]:
        for split in ("fit", "validation", "test") if finished else ("fit",):
            scores = tuple(
                ItemScore(item=item.id, score=float((i + trial.id) % 3 == 0), answer="7")
                for i, item in enumerate(splits[split])
            )
            store.record(trial.id, split, Evaluation(scores=scores))
    if finished:
        store.set_winner(MAIN, trials[1].id)
        store.set_fact("status", "finished")
    store.close()
    return folder / "run"


def opened(folder: Path) -> RunStore:
    """Make a world and a finished run in it, and open the run."""
    make_world(folder)
    return RunStore.open(make_run(folder))


def _new(number: int, genome: tuple[float, ...], recipe: Recipe, name: str | None = None) -> StoredTrial:
    text = json.dumps(recipe.to_dict())
    return StoredTrial(
        asked=Trial(number=number, genome=genome), recipe=text, recipe_hash=recipe.hash, name=name
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    make_run(folder)
    return folder


@pytest.fixture(scope="module")
def exported(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with RunStore.read(world / "run") as store:
        return export(store, tmp_path_factory.mktemp("out") / "my-model")


def card_of(out: Path) -> str:
    return (out / "README.md").read_text(encoding="utf-8")


def assert_is_live(world: Path, number: int, out: Path) -> None:
    """Check that exported weights are those that a trial was measured with."""
    with RunStore.read(world / "run") as store:
        recipe = Recipe.from_dict(json.loads(store.trials(MAIN)[number].recipe))
    live = LiveModel.load(world / "base")
    into(plan(recipe, open_sources(recipe, world)), live.weights)
    saved = load_file(out / "model.safetensors")
    assert saved
    for name, tensor in saved.items():
        assert torch.equal(tensor, live.weights[name]), name


def test_weights_are_those_of_the_live_candidate_and_other_files_are_there(
    world: Path, exported: Path
) -> None:
    assert_is_live(world, 1, exported)
    names = {file.name for file in exported.iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", "recipe.yaml", "mine.py"} <= names
    assert any("chat_template" in name for name in names)
    assert not any(name.startswith(".") for name in names) and list(exported.parent.iterdir()) == [exported]


@pytest.mark.slow
def test_the_cards_own_code_runs_in_another_process(exported: Path) -> None:
    card = card_of(exported)
    code = re.search(r"```python\n(.*?)\n```", card, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code[1]],
        cwd=exported,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_card_is_one_that_the_hub_reads(exported: Path) -> None:
    data = ModelCard.load(exported / "README.md").data.to_dict()
    assert data["license"] == "apache-2.0"
    assert "base_model" not in data, "folders of this machine are no models that the Hub could show"
    assert data["tags"] == ["merge", "kingyo"]
    assert data["library_name"] == "transformers"
    assert data["language"] == ["ja", "en"]


def test_the_card_has_scores_with_interval_and_n(world: Path, exported: Path) -> None:
    card = card_of(exported)
    for name in ("this model", "base", "ja", "math", "uniform"):
        assert re.search(rf"\| \**{name}\** \| \d+\.\d% \[\d+\.\d, \d+\.\d\], n = 8 \|", card), name
    assert str(world) not in card
    assert "scored with kingyo 0.0.1." in card
    lines = [line for line in card.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5, 6}


def test_absolute_paths_in_a_run_yaml_are_not_published(tmp_path: Path) -> None:
    """The recipe and the card contain none, and the exported recipe can be merged again."""
    world = tmp_path / "home" / "somebody"
    world.mkdir(parents=True)
    make_world(world)
    absolute_paths = {name: str(world / name) for name in ("ja", "math")}
    grader = f"{world}/graders/mine.py:near"
    task = {**config_of(world)["task"], "grader": grader}  # type: ignore[dict-item]
    with RunStore.read(make_run(world, base=str(world / "base"), sources=absolute_paths, task=task)) as store:
        out = export(store, world / "out")
    texts = [file.read_bytes() for file in out.rglob("*") if file.is_file()]
    assert not any(str(world).encode() in text or str(Path.home()).encode() in text for text in texts)
    recipe = load_recipe(out / "recipe.yaml")
    assert set(recipe.references) == {"../base", "../ja", "../math"}
    assert plan(recipe, open_sources(recipe, out)).jobs


def test_task_gives_the_very_same_splits(world: Path, exported: Path) -> None:
    task = open_task(exported / "task.yaml")
    with RunStore.read(world / "run") as store:
        for split, items in store.items().items():
            assert [(each.id, each.prompt) for each in task.items(split)] == [
                (each.id, each.prompt) for each in items
            ]


def test_choices_come_back_as_lists(tmp_path: Path) -> None:
    rows = [{"q": f"{n}?", "options": ["a|b", "c"], "a": n % 2} for n in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = TaskSpec.model_validate(
        {"data": "rows.jsonl", "prompt": "{q}", "answer": "a", "choices": "options", "grader": "choice"}
    )
    splits = make_splits(load_items(spec, tmp_path).items, spec.splits)
    (tmp_path / "out").mkdir()
    for name, text in write_tasks({"task": spec}, tmp_path, tmp_path, splits).items():
        (tmp_path / "out" / name).write_text(text, encoding="utf-8")
    again = load_task_spec(tmp_path / "out" / "task.yaml")
    splits_ = make_splits(load_items(again, tmp_path).items, again.splits)
    for split, items in splits.items():
        assert [(i.id, i.prompt, i.answer, i.choices) for i in splits_[split]] == [
            (i.id, i.prompt, i.answer, i.choices) for i in items
        ]


def test_near_duplicates_come_back_in_the_very_same_splits(tmp_path: Path) -> None:
    """Those of an older run that stood in several splits, and those that were grouped with items left out."""
    rows = [{"prompt": f"{n}{sign}", "answer": "1"} for n in range(12) for sign in ("", " ?")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = TaskSpec.model_validate(
        {"data": "rows.jsonl", "grader": "exact", "splits": {"fit": 7, "validation": 5, "test": 6}}
    )
    items = load_items(spec, tmp_path).items
    old: Mapping[Split, Sequence[Item]] = {"fit": items[1::3], "validation": items[::3], "test": items[2::3]}
    for stored in (old, make_splits(items, spec.splits)):
        (tmp_path / "out").mkdir(exist_ok=True)
        for name, text in write_tasks({"task": spec}, tmp_path, tmp_path, stored).items():
            (tmp_path / "out" / name).write_text(text, encoding="utf-8")
        task = open_task(tmp_path / "out" / "task.yaml")
        for split, split_items in stored.items():
            assert [item.id for item in task.items(split)] == [item.id for item in split_items]


def test_two_grader_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "g.py").write_text(f"# {place}\n")
    spec = TaskSpec.model_validate({"data": "x.jsonl", "grader": ["one/g.py:f", "two/g.py:f"]})
    with pytest.raises(KingyoError, match=r"two different files called g\.py"):
        write_tasks({"task": spec}, tmp_path, tmp_path, {})


def test_any_trial_can_be_exported(world: Path, tmp_path: Path) -> None:
    with RunStore.read(world / "run") as store:
        out = export(store, tmp_path / "second", choose(store, trial="2"))
    card = card_of(out)
    assert "trial 2" in card and "not the winner of its search" in card
    assert "n = 6" in card
    assert_is_live(world, 2, out)


def test_a_trial_that_failed_is_not_exported(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        first = store.trials(MAIN)[0]
        recipe = Recipe.from_dict(json.loads(first.recipe))
        (failed,) = store.add_trials(MAIN, 1, [_new(3, first.asked.genome, recipe)])
        store.record(failed.id, "fit", Evaluation(failure="the worker\ndied <3>"), n_items=6)
        with pytest.raises(KingyoError, match="could be scored") as error:
            export(store, tmp_path / "failed", choose(store, trial="3"))
        assert recipe_of(store, failed).merge_method == "task_arithmetic"
    assert "trial 3 of the main search, which failed: the worker" in error.value.received
    assert "kingyo recipe" in error.value.remedy and "--trial 3" in error.value.remedy
    assert not (tmp_path / "failed").exists()


def test_the_winner_wins_only_ties(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        summary = summarize(store)
        winner, math = summary.winner, summary.baselines["math"]
        assert winner is not None and winner.validation == math.validation
        assert summary.best == winner
        assert better_than_bred(summary) is None
        store.set_winner(MAIN, store.trials(MAIN)[0].id)
        summary = summarize(store)
        assert summary.best == summary.baselines["math"]
        assert choose(store) == math.trial
        assert choose(store, search="main") == store.trials(MAIN)[0]
        message = better_than_bred(summary)
    assert message is not None
    assert message.startswith("The best model of this run is the parent math: on the items of fit and ")
    assert "the bred model is behind the parent math (−" in message


def test_nothing_is_overwritten(world: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with (
        RunStore.read(world / "run") as store,
        pytest.raises(KingyoError, match="new or empty folder") as error,
    ):
        export(store, tmp_path / "out")
    assert "--force" not in str(error.value), "there is no such option"
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_run_without_winner_names_the_remedy(tmp_path: Path) -> None:
    make_world(tmp_path)
    run = make_run(tmp_path, finished=False)
    with RunStore.read(run) as store, pytest.raises(KingyoError, match=r"kingyo resume .*name a trial"):
        export(store, tmp_path / "out")
    with RunStore.read(run) as store:
        out = export(store, tmp_path / "out", choose(store, trial="0"))
    card = card_of(out)
    assert "was not scored on the test split" in card
    assert "no winner is picked yet" in card
    assert "not the winner of its search" not in card


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (("mit", "mit", "mit"), {"license": "mit"}),
        (("mit", "apache-2.0", "mit"), {"license": "other", "license_name": "those-of-the-merged-models"}),
    ],
)
def test_licence_is_claimed_only_when_all_sources_agree(
    tmp_path: Path, licences: tuple[str | None, ...], expected: dict[str, str]
) -> None:
    make_world(tmp_path)
    for name, licence in zip(("base", "ja", "math"), licences, strict=True):
        (tmp_path / name / "README.md").unlink()
        if licence is not None:
            (tmp_path / name / "README.md").write_text(CARD.format(licence=licence), encoding="utf-8")
    with RunStore.read(make_run(tmp_path)) as store:
        out = export(store, tmp_path / "out")
    data = ModelCard.load(out / "README.md").data.to_dict()
    assert {key: value for key, value in data.items() if key.startswith("license")} == expected

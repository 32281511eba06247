"""Genome files of mergekit-evolve through the real command, on the zoo and on tiny models."""

import json
from pathlib import Path

import pytest
import yaml

from kingyo.errors import KingyoError
from kingyo.runs.config import RunConfig, parse_config
from kingyo.runs.config_file import convert_genome_file
from kingyo.store import RunStore
from tests.cli.conftest import World

GENOME: dict[str, object] = {
    "models": ["./a", {"model": {"path": "b"}}],
    "merge_method": "dare_ties",
    "base_model": "./base",
    "layer_granularity": 1,
    "allow_negative_weights": True,
}


def write(
    folder: Path, *, tasks: object = "even", extra: dict[str, object] | None = None, **genome: object
) -> Path:
    """A genome file, with changes; a change to None removes the key."""
    changed = {key: value for key, value in {**GENOME, **genome}.items() if value is not None}
    named = [tasks] if isinstance(tasks, str) else tasks
    path = folder / "genome.yaml"
    path.write_text(yaml.safe_dump({"genome": changed, "tasks": named, **(extra or {})}))
    return path


def converted(path: Path) -> RunConfig:
    return parse_config(convert_genome_file(path)[0], "genome")


@pytest.fixture
def tasked(world: World) -> World:
    """The small world, with its task under the name that genome files use."""
    (world.folder / "task.yaml").rename(world.folder / "even.yaml")
    return world


def test_a_hundred_candidates_and_the_same_distribution_by_default(tasked: World) -> None:
    config = converted(write(tasked.folder))
    assert config.budget.candidates == 100
    assert config.search.preset == "mergekit-evolve"
    assert config.search.settings == {"sigma": pytest.approx(1 / 18)}
    assert dict(config.sources) == {"a": "./a", "b": "b"}
    positive = converted(write(tasked.folder, allow_negative_weights=None))
    assert positive.search.settings == {"sigma": pytest.approx(1 / 12)}


@pytest.mark.parametrize(
    ("changes", "merge"),
    [
        (
            {},
            {
                "method": "dare_ties",
                "groups": "layers:3",
                "parameters": {
                    "weight": {"from": -1, "to": 2, "start": 0.5},
                    "density": {"from": 0, "to": 1, "start": 1},
                    "normalize": True,
                },
            },
        ),
        (
            {
                "merge_method": "task_arithmetic",
                "layer_granularity": -1,
                "allow_negative_weights": False,
                "tokenizer_source": "base",
            },
            {
                "method": "task_arithmetic",
                "groups": "one",
                "tokenizer_source": "base",
                "parameters": {"weight": {"from": 0, "to": 2, "start": 0.5}, "normalize": False},
            },
        ),
        (
            {"merge_method": "slerp", "base_model": None, "layer_granularity": 3},
            {"method": "slerp", "groups": "layers:1", "parameters": {"t": {"from": 0, "to": 1}}},
        ),
    ],
)
def test_a_genome_is_a_merge_of_run_yaml(
    tasked: World, changes: dict[str, object], merge: dict[str, object]
) -> None:
    data, _ = convert_genome_file(write(tasked.folder, **changes))
    assert data["merge"] == {"dtype": "bfloat16", **merge}


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"merge_method": "tiees"}, "genome.merge_method"),
        ({"filters": ["mlp"]}, "genome.filters"),
        ({"smooth": True}, "genome.smooth"),
        ({"merge_method": "slerp", "models": ["a", "b", "base"]}, "genome.models"),
        ({"layer_granularity": 2}, "genome.layer_granularity"),
    ],
    ids=str,
)
def test_what_a_run_yaml_cannot_express_is_refused(
    tasked: World, changes: dict[str, object], argument: str
) -> None:
    with pytest.raises(KingyoError) as error:
        convert_genome_file(write(tasked.folder, **changes))
    assert error.value.argument == argument


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tasks": "gsm8k"}, "tasks: gsm8k: expected a kingyo task, as gsm8k.yaml in"),
        ({"tasks": "lm"}, "a task of lm-eval. Write a task file"),
        ({"tasks": []}, "tasks"),
        ({"weight": {"from": 0, "to": 5}}, "genome: expected a known key; received 'weight'"),
    ],
    ids=str,
)
def test_mistakes_are_reported_before_writing(tasked: World, changes: dict[str, object], says: str) -> None:
    (tasked.folder / "lm.yaml").write_text("task: lm\ndataset_path: x\n")
    done = tasked.run("evolve", write(tasked.folder, **changes))  # pyright: ignore[reportArgumentType]
    assert done.returncode == 1, done.stdout
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tasked.folder / "runs").exists()


def add_short(tasked: World) -> dict[str, object]:
    """Write a second task of weight 4; return the entry of the first in a genome file, with weight 3."""
    other = yaml.safe_load((tasked.folder / "even.yaml").read_text())
    other |= {"name": "short", "max_new_tokens": 3, "weight": 4}
    (tasked.folder / "short.yaml").write_text(yaml.safe_dump(other))
    return {"name": "even", "weight": 3, "metric": "acc,none"}


def test_several_tasks_count_by_their_weights(tasked: World) -> None:
    """mergekit-evolve maximises the weighted sum of the metrics: the weighted mean has the same best."""
    heavy = add_short(tasked)
    file = write(tasked.folder, tasks=[heavy, "short"])
    config = converted(file)
    assert config.task is None
    assert {name: spec.weight for name, spec in config.tasks.items()} == {"even": 3, "short": 4}
    settings: dict[str, object] = {"name": "short", "weight": 1}
    assert converted(write(tasked.folder, tasks=["even", settings])).tasks["short"].weight == 1
    assert converted(write(tasked.folder, tasks=[heavy])).specs["even"].weight == 3


def test_flags_of_genome_files_are_for_genome_files(world: World) -> None:
    world.fails(
        "evolve",
        "run.yaml",
        "--max-fevals",
        "3",
        says="--max-fevals: expected a genome file of mergekit-evolve",
    )


@pytest.mark.slow
def test_a_genome_file_is_searched(tasked: World) -> None:
    file = write(tasked.folder, extra={"limit": 100, "num_fewshot": 0})
    done = tasked.ok("evolve", file, "--run", "stored", "--seed", "5", "--max-fevals", "2")
    assert "Note: limit, num_fewshot: settings of mergekit-evolve" in done.stderr
    with RunStore.read(tasked.folder / "stored") as store:
        tried = [json.loads(trial.recipe) for trial in store.trials("main")]
        config = store.fact("config")
    assert [(each["merge_method"], each["dtype"]) for each in tried] == [("dare_ties", "bfloat16")] * 2
    assert isinstance(config, dict) and config["seed"] == 5

"""What hands bring along from mergekit: flags, folders, keys; each is told what takes its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kingyo.cli.foreign import FLAGS
from tests.cli.conftest import World
from tests.cli.merging import Command, refused


@pytest.fixture
def command(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(world.folder, capsys, monkeypatch)


def test_flags(command: Command) -> None:
    done = command("merge", command.recipe(), "out", "--cuda", "--random-seed=3")
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("Error: --cuda, --random-seed: expected flags of kingyo merge; received some")
    assert "--random-seed: Say --seed." in done.err
    done = command("merge", command.recipe(), "out", "--lazy-unpickle")
    assert done.code == 2 and done.err.endswith(f"{FLAGS['--lazy-unpickle']}\n")


def test_none_of_them_is_one_of_ours(command: Command) -> None:
    ours = command("merge", "--help").out
    assert not [flag for flag in FLAGS if f"{flag} " in ours]


def test_a_folder_that_is_near(command: Command) -> None:
    for name, file in (("maths-en", "config.json"), ("math_em", "notes.txt")):
        (command.folder / "zoo" / name).mkdir(parents=True)
        (command.folder / "zoo" / name / file).write_text("{}")  # the nearer one is no model
    models = [{"model": "zoo/math_en", "parameters": {"weight": 1.0}}]
    recipe = command.recipe(merge_method="linear", base_model=None, models=models)
    refused(command, recipe, "out", says="Did you mean 'zoo/maths-en'?")


def test_a_path_that_begins_where_the_command_does(command: Command) -> None:
    (command.folder / "recipes").mkdir()
    command.recipe("recipes/one.yaml")
    error = refused(command, Path("recipes") / "one.yaml", "out", says="received 3 mistakes")
    for name in ("a", "b", "base"):
        assert f"Relative paths begin where the recipe is: write {command.folder / name}." in error


def test_all_unknown_keys_at_once(command: Command) -> None:
    recipe = command.recipe(random_seed=3, slerp=1, weight=0.5)
    error = refused(command, recipe, "out", says="received 'random_seed', 'slerp', 'weight'")
    assert "'random_seed': Did you mean 'seed'?" in error
    assert "as `parameters: {weight: …}`" in error


def test_a_parameter_beside_the_model(command: Command) -> None:
    recipe = command.recipe(models=[{"model": "a", "weight": 0.5}])
    refused(command, recipe, "out", says="models[0]: expected known keys; received 'weight'. A parameter of")


@pytest.mark.parametrize("arguments", [("missing.yaml", "out"), ("bad.yaml", "out"), ("recipe.yaml", "full")])
def test_errors_are_json_where_json_is_asked_for(command: Command, arguments: tuple[str, str]) -> None:
    command.recipe()
    command.recipe("bad.yaml", merge_method="tise")
    (command.folder / "full").mkdir()
    (command.folder / "full" / "notes.txt").write_text("mine")
    done = command("merge", *arguments, "--json")
    assert done.code == 1 and done.err == ""
    found = json.loads(done.out)
    assert found["targets"] == [] and found["error"]["argument"]
    done = command("merge", *arguments, "--json", "--max-shard-size", "big")
    assert done.code == 1 and json.loads(done.out)["error"]["argument"] == "--max-shard-size"
    done = command("diff", "a", "nowhere", "--json")
    assert done.code == 1 and done.err == ""
    assert json.loads(done.out)["error"]["argument"] == "nowhere"

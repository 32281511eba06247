"""What hands bring along from mergekit: flags that are taken; folders and keys that are answered."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kingyo.cli.mergekit_flags import EVOLVE, MERGE, MergekitFlags, translated
from tests.cli.conftest import World
from tests.cli.merging import Command, refused


@pytest.fixture
def command(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(world.folder, capsys, monkeypatch)


TEN = (
    *("--cuda", "--low-cpu-memory", "--read-to-gpu", "--lazy-unpickle", "--no-clone-tensors", "-vv", "-j1"),
    *("--lora-merge-cache", "cache", "--out-shard-size=5B", "--copy-tokenizer", "--random-seed", "3"),
)


def test_a_script_of_mergekit_with_ten_flags_writes_the_same_weights(command: Command) -> None:
    recipe = command.recipe(merge_method="dare_linear")
    assert command("merge", recipe, "ours", "--seed", "3").code == 0
    done = command("merge", recipe, "theirs", *TEN)
    assert done.code == 0, done.err
    weights = [(command.folder / out / "model.safetensors").read_bytes() for out in ("ours", "theirs")]
    assert weights[0] == weights[1]
    assert not (command.folder / "cache").exists()
    assert "Warning: mergekit's --cuda, --read-to-gpu have no effect: " in done.err
    lines = [line for line in done.err.splitlines() if "no effect" in line]
    warned = " ".join(lines)
    assert len(lines) == len(set(lines)) == done.err.count("Warning:")
    for flag in ("--low-cpu-memory", "--lazy-unpickle", "--no-clone-tensors", "--lora-merge-cache"):
        assert warned.count(flag) == 1
    assert not any(flag in warned for flag in ("--random-seed", "-j", "--out-shard-size"))  # they are ours


def test_a_script_of_mergekit_multi(command: Command) -> None:
    done = command("merge", command.recipe(), "--out-path", "out", "-I", "between", "--no-lazy")
    assert done.code == 0, done.err
    assert (command.folder / "out" / "model.safetensors").is_file()
    assert not (command.folder / "between").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["--out-path", "out", "recipe.yaml"],
        ["recipe.yaml", "--out-path", "out"],
        ["--out-path=out", "recipe.yaml"],
        ["--out-path", "out", "--", "recipe.yaml"],
        ["--out-path", "other", "recipe.yaml", "--out-path", "out"],
    ],
)
def test_out_path_is_never_the_recipe(args: list[str]) -> None:
    help_text, without_effect = translated(args, MERGE)
    assert [each for each in help_text if each != "--"] == ["recipe.yaml", "out"] and not without_effect


def test_out_path_before_the_recipe(command: Command) -> None:
    done = command("merge", "--out-path", "-out", command.recipe(), "--dry-run", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["targets"][0]["out"] == "-out"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--cudaa"], "No such option: --cudaa (Possible options: --cuda)"),
        (["--lazy-unpikle"], "Possible options: --lazy-unpickle"),
        (["--seeed", "3"], "Possible options: --seed"),
        (["--frobnicate"], "No such option: --frobnicate"),
        (["--device"], "Option '--device' requires an argument."),
        (["--out-path"], "Option '--out-path' requires an argument."),
        (["--cuda=yes"], "Option '--cuda' does not take a value."),
        (["--random-seed", "x"], "Invalid value for '--seed'"),
    ],
)
def test_a_flag_that_neither_has_ends_the_command(command: Command, flags: list[str], says: str) -> None:
    done = command("merge", command.recipe(), "out", *flags)
    assert done.code == 2 and says in done.err
    assert not (command.folder / "out").exists()


@pytest.mark.parametrize(("name", "flags"), [("merge", MERGE), ("evolve", EVOLVE)])
def test_no_flag_of_theirs_is_one_of_ours_or_in_the_help(
    command: Command, name: str, flags: MergekitFlags
) -> None:
    help_text = command(name, "--help").out
    assert not [flag for flag in flags.names if re.search(rf"{flag}\b(?!-)", help_text)]


def test_a_folder_that_is_near(command: Command) -> None:
    for name, file in (("maths-en", "config.json"), ("math_em", "notes.txt")):
        (command.folder / "zoo" / name).mkdir(parents=True)
        (command.folder / "zoo" / name / file).write_text("{}")  # the nearer one is no model
    models = [{"model": "zoo/math_en", "parameters": {"weight": 1.0}}]
    recipe = command.recipe(merge_method="linear", base_model=None, models=models)
    refused(command, recipe, "out", says="Did you mean 'zoo/maths-en'?")


def test_a_path_relative_to_the_working_directory(command: Command) -> None:
    (command.folder / "recipes").mkdir()
    command.recipe("recipes/one.yaml")
    error = refused(command, Path("recipes") / "one.yaml", "out", says="received 3 mistakes")
    for name in ("a", "b", "base"):
        assert f"Write {command.folder / name}: paths are relative to the recipe." in error


def test_all_unknown_keys_at_once(command: Command) -> None:
    recipe = command.recipe(random_seed=3, slerp=1, weight=0.5)
    error = refused(command, recipe, "out", says="received 'random_seed', 'slerp', 'weight'")
    assert "'random_seed': Did you mean 'seed'?" in error
    assert "as `parameters: {weight: …}`" in error


def test_a_parameter_beside_the_model(command: Command) -> None:
    recipe = command.recipe(models=[{"model": "a", "weight": 0.5}])
    refused(command, recipe, "out", says="models[0]: expected a known key; received 'weight'. Move a")


@pytest.mark.parametrize("arguments", [("missing.yaml", "out"), ("bad.yaml", "out"), ("recipe.yaml", "full")])
def test_errors_are_json_with_json_output(command: Command, arguments: tuple[str, str]) -> None:
    command.recipe()
    command.recipe("bad.yaml", merge_method="tise")
    (command.folder / "full").mkdir()
    (command.folder / "full" / "notes.txt").write_text("mine")
    done = command("merge", *arguments, "--json")
    assert done.code == 1 and done.err == ""
    summary = json.loads(done.out)
    assert summary["targets"] == [] and summary["error"]["argument"]
    done = command("merge", *arguments, "--json", "--max-shard-size", "big")
    assert done.code == 1 and json.loads(done.out)["error"]["argument"] == "--max-shard-size"
    done = command("diff", "a", "nowhere", "--json")
    assert done.code == 1 and done.err == ""
    assert json.loads(done.out)["error"]["argument"] == "nowhere"

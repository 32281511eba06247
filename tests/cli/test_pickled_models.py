"""Models with pickled weights only: read if a flag allows it, otherwise refused."""

from hashlib import sha256
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.cli.conftest import World
from tests.cli.merging import write_recipe
from tests.merging.checkpoints.fitting import Evil, pickled

SAID = {"allow_pickle": True, "budget": {"candidates": 6}, "controls": {"random": False, "grid": False}}
OFTEN = (["evaluate", "a", "task.yaml", "--json"], ["diff", "a", "b"])


def no_safetensors(world: World) -> dict[str, str]:
    """Write the models of a world as pickles, one of them in shards; return the hashes of their files."""
    for name, shards in (("base", 1), ("a", 3), ("b", 1)):
        pickled(world.folder / name, shards)
    files = [file for name in ("base", "a", "b") for file in (world.folder / name).iterdir()]
    return {str(file): sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_control_is_trained_on_pickled_models(world: World) -> None:
    pytest.importorskip("peft")
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "grader": "exact"}
    before = no_safetensors(world)
    config = world.config(**{**SAID, "controls": {"trained": True}, "task": task})
    for words in (["evolve", config, "--run", "run"], ["resume", "run"], ["export", "run", "out"]):
        world.ok(*words)
    out = world.folder / "out"
    assert load_file(out / "model.safetensors") and not list(out.glob("*.bin"))
    assert {file: sha256(Path(file).read_bytes()).hexdigest() for file in before} == before
    shown = world.show("run")
    assert shown["failures"] == 0, shown


def test_commands_read_pickles_with_a_flag(world: World) -> None:
    expected = [world.run(*words) for words in OFTEN]
    no_safetensors(world)
    for words, target in zip(OFTEN, expected, strict=True):
        assert (target.returncode, world.run(*words).returncode) == (0, 1)
        done = world.run(*words, "--allow-pickle")
        assert (done.returncode, done.stdout) == (0, target.stdout), done.stderr
    world.ok("layers", world.config(allow_pickle=True), "--items", "4")
    world.ok("chat", "a", "--allow-pickle")


def test_a_pickle_that_holds_code_is_refused_and_nothing_is_run_or_written(world: World) -> None:
    (world.folder / "a" / "model.safetensors").unlink()
    torch.save({"x": Evil()}, world.folder / "a" / "pytorch_model.bin")
    merge = ["merge", write_recipe(world.folder / "recipe.yaml"), "out"]
    world.fails(*merge, says="received only pytorch_model.bin")
    config = world.config(**SAID)
    for words in (
        ["evolve", config],
        ["evolve", config, "--dry-run"],
        ["layers", config],
        *([*words, "--allow-pickle"] for words in (*OFTEN, ["chat", "a"], merge, [*merge, "--dry-run"])),
    ):
        done = world.fails(*words)
        assert "code that it would run" in " ".join((done.stdout + done.stderr).split()), (words, done.stderr)
    assert not [name for name in ("runs", "out", "evil") if (world.folder / name).exists()]

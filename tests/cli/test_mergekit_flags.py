"""What hands bring along from mergekit: flags that are taken; folders and keys that are answered."""

import pytest

from kingyo.cli.mergekit_flags import translated
from tests.cli.merging import Command, refused

WITHOUT_EFFECT = "--cuda --low-cpu-memory --lazy-unpickle --no-clone-tensors --lora-merge-cache"


def test_a_script_of_mergekit_writes_the_same_weights(command: Command) -> None:
    recipe = command.recipe(merge_method="dare_linear")
    assert command("merge", recipe, "ours", "--seed", "3").code == 0
    flags = f"{WITHOUT_EFFECT} cache -j 1 --out-shard-size=5B --random-seed 3"
    done = command("merge", recipe, "theirs", *flags.split())
    assert done.code == 0, done.err
    weights = [(command.folder / out / "model.safetensors").read_bytes() for out in ("ours", "theirs")]
    assert weights[0] == weights[1]
    named = ", ".join(WITHOUT_EFFECT.split())
    assert done.err == f"Warning: without effect in kingyo: {named}; see docs/merge.md.\n"


@pytest.mark.parametrize(
    "args",
    [
        ["--out-path", "out", "recipe.yaml"],
        ["recipe.yaml", "--out-path=out"],
        ["--out-path", "out", "--", "recipe.yaml"],
    ],
)
def test_out_path_is_the_last_argument(args: list[str]) -> None:
    ours, ignored = translated(args)
    assert [each for each in ours if each != "--"] == ["recipe.yaml", "out"] and not ignored


@pytest.mark.parametrize(
    "flags", [["--frobnicate"], ["--device"], ["--out-path"], ["--random-seed", "x"], ["--seeed", "3"]]
)
def test_wrong_flags_end_the_command(command: Command, flags: list[str]) -> None:
    done = command("merge", command.recipe(), "out", *flags)
    assert done.code == 2 and not (command.folder / "out").exists()


def test_all_unknown_keys_at_once(command: Command) -> None:
    recipe = command.recipe(random_seed=3, slerp=1, weight=0.5)
    error = refused(command, recipe, "out", says="received 'random_seed', 'slerp', 'weight'")
    assert "'random_seed': Did you mean 'seed'?" in error
    assert "Parameters of the method belong below parameters:." in error

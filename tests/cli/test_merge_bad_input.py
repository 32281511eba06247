"""Recipes that cannot be merged: one clear error, exit code 1, no traceback, nothing half-written."""

import json
from pathlib import Path

import pytest

from tests.cli.merging import Command, foreseen, refused

MODELS = [{"model": "a", "parameters": {"weight": 0.5}}, {"model": "b", "parameters": {"weight": 0.3}}]


PAIRS = zip("abcdefgh", "bcdefghi", strict=True)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n" for p, c in PAIRS)


def test_two_models_without_a_base(command: Command) -> None:
    changes: dict[str, object] = {"merge_method": "slerp", "base_model": None, "parameters": {"t": 0.5}}
    recipe = command.recipe(**changes, models=[{"model": "a"}, {"model": "b"}])
    foreseen(command, recipe, "merged", says="Name one of the two models as base_model")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class HALF:\n    name = 'half'", "received the class HALF without doc, params"),
        ("HALF = 7", "received an object of the class int without name"),
    ],
    ids=("class", "number"),
)
def test_invalid_custom_methods(command: Command, code: str, says: str) -> None:
    (command.folder / "own.py").write_text(code)
    foreseen(command, command.recipe(merge_method="own.py:HALF"), "merged", says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases that expand to more than 1,000,000 values"),
        ("merge_method: !!python/object/apply:os.system ['touch evil']", "valid YAML"),
    ],
    ids=("bomb", "code"),
)
def test_files_that_are_no_recipe(command: Command, text: str, says: str) -> None:
    (command.folder / "recipe.yaml").write_text(text)
    foreseen(command, "recipe.yaml", "merged", says=says)


def test_all_mistakes_are_reported_at_once(command: Command) -> None:
    weights = command.folder / "a" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (command.folder / "merged").mkdir()
    (command.folder / "merged" / "thesis.txt").write_text("precious")
    models = [*MODELS, {"model": "nowhere", "parameters": {"weight": 1, "wieght": 2}}]
    recipe = command.recipe(models=models, parameters={"lamda": 1}, merge_method="ties")
    error = refused(command, recipe, "merged", says="expected a merge that can be done")
    for each in (
        "a/model.safetensors: expected",
        "nowhere: expected a folder",
        "'lamda'. Did you mean 'lambda'?",
        "'wieght'. Did you mean 'weight'?",
        "merged: expected a new or empty folder",
    ):
        assert error.count(each) == 1, each
    dry = command("merge", recipe, "merged", "--dry-run", "--json")
    assert dry.code == 1 and len(json.loads(dry.out)["error"]["mistakes"]) == 5


def test_what_never_ends_is_no_recipe(command: Command) -> None:
    refused(command, Path("/dev/zero"), "merged", says="at most 10 MB; received a larger one. Check")

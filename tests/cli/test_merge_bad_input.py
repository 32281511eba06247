"""Recipes that cannot be merged: one clear error, exit code 1, no traceback, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.merging import Command, foreseen, refused

MODELS = [{"model": "a", "parameters": {"weight": 0.5}}, {"model": "b", "parameters": {"weight": 0.3}}]


PAIRS = zip("abcdefgh", "bcdefghi", strict=True)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n" for p, c in PAIRS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {
                "merge_method": "slerp",
                "base_model": None,
                "models": [{"model": "a"}, {"model": "b"}],
                "parameters": {"t": 0.5},
            },
            "Name one of the two models as base_model",
        ),
        ({"models": [MODELS[0], {"model": "b"}]}, "weight of b: expected a value"),
        (
            {
                "merge_method": "slerp",
                "models": [{"model": each} for each in ("a", "b", "base")],
                "parameters": {"t": 0.5},
            },
            "models: expected 1 for slerp beside the base; received 2",
        ),
        ({"int8_mask": True}, "below parameters:, as `parameters: {int8_mask"),
        ({"base_model": "nowhere"}, "nowhere: expected a folder or a .safetensors with a model"),
        ({"slices": [{"sources": [{"model": "a", "layer_range": [0, 2]}]}]}, "exactly one of"),
    ],
    ids=str,
)
def test_recipes(command: Command, changes: dict[str, Any], says: str) -> None:
    foreseen(command, command.recipe(**changes), "merged", says=says)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class HALF:\n    name = 'half'", "received the class HALF without doc, params"),
        ("HALF = 7", "received an object of the class int without name"),
    ],
    ids=(
        "class",
        "number",
    ),
)
def test_invalid_custom_methods(command: Command, code: str, says: str) -> None:
    (command.folder / "own.py").write_text(code)
    foreseen(command, command.recipe(merge_method="own.py:HALF"), "merged", says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases that expand to more than 1,000,000 values"),
        ("merge_method: linear\nmerge_method: ties", "given twice"),
        ("base: a\nsources: {b: b}\ntask: {data: x}", "kingyo evolve"),
        ("gate_mode: hidden\nexperts: []\nbase_model: a", "'gate_mode', a key of mergekit-moe"),
        ("model_type: llama\nvocab_size: 9", "'model_type', a key of a model's config"),
        ("", "received an empty file"),
        ("merge_method: !!python/object/apply:os.system ['touch evil']", "valid YAML"),
    ],
    ids=("bomb", "twice", "run", "moe", "config", "empty", "code"),
)
def test_files_that_are_no_recipe(command: Command, text: str, says: str) -> None:
    (command.folder / "recipe.yaml").write_text(text)
    foreseen(command, "recipe.yaml", "merged", says=says)


def test_no_such_file(command: Command) -> None:
    foreseen(command, "gone.yaml", "merged", says="gone.yaml: expected a YAML file; received no such file")
    foreseen(command, "base", "merged", says="base: expected a YAML file; received a folder")


def test_licences_that_forbid_merges(command: Command) -> None:
    (command.folder / "b" / "README.md").write_text("---\nlicense: cc-by-nd-4.0\n---\n")
    foreseen(command, command.recipe(), "merged", says="the licence of b: ")
    done = command("merge", command.recipe(), "merged", "--ignore-licences")
    assert done.code == 0 and "Warning: the licence of b" in done.err


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

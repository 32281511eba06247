"""Helpers for tests of ``kingyo merge``: recipes, the command in this process, contents of folders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from tests.cli.typed import called


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Command:
    """Runs the command in this process: starting another takes longer than most merges of tiny models."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str | Path) -> Done:
        done = called(self.folder, *arguments)
        return Done(code=done.returncode, out=done.stdout, err=done.stderr)

    def recipe(self, name: str = "recipe.yaml", **changes: object) -> Path:
        """Write a recipe of ``a`` and ``b`` on ``base``; a change to None removes a key."""
        return write_recipe(self.folder / name, **changes)


def write_recipe(file: Path, **changes: object) -> Path:
    values: dict[str, object] = {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "models": [
            {"model": "a", "parameters": {"weight": 0.5}},
            {"model": "b", "parameters": {"weight": 0.3}},
        ],
    }
    values = {key: value for key, value in {**values, **changes}.items() if value is not None}
    file.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False))
    return file.relative_to(file.parent)


def contents(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def everything(folder: Path) -> tuple[dict[str, bytes], set[str]]:
    """Return files with their contents, and folders."""
    folders = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()}
    return dict(contents(folder)), {each for each in folders if "__pycache__" not in each}


def refused(command: Command, *arguments: str | Path, says: str) -> str:
    """Check that the command and its dry run fail with this message and change no file."""
    before = everything(command.folder)
    done = command("merge", *arguments)
    assert done.code == 1, done.out + done.err
    assert "Traceback" not in done.err and done.out == ""
    assert sum(line.startswith("Error:") for line in done.err.splitlines()) == 1
    assert says in done.err
    assert everything(command.folder) == before
    return done.err


def foreseen(command: Command, *arguments: str | Path, says: str) -> None:
    """It fails, and a dry run knows that before."""
    refused(command, *arguments, says=says)
    dry = command("merge", *arguments, "--dry-run", "--json")
    assert dry.code == 1
    summary = json.loads(dry.out)
    assert "mistakes" not in summary["error"]
    assert says in summary["error"]["message"]


def write_lora(folder: Path, trained_on: str) -> None:
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 1, "base_model_name_or_path": trained_on}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"base_model.model.model.norm.weight": torch.ones(16)}, folder / "adapter_model.safetensors")

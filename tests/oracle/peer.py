"""The two tools behind one signature: recipe in, tensors out. mergekit runs in its own virtual environment.

``KINGYO_MERGEKIT`` names its python, its bin folder or its virtual environment; ``make mergekit-venv`` makes
one at ``.mergekit-venv``. Nothing here imports mergekit, and no line of it is known here. The same holds for
sd-mecha, with ``KINGYO_SD_MECHA`` and ``make sd-mecha-venv``.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("mergekit_driver.py")
RecipeDict = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool in a virtual environment of its own."""

    name: str
    variable: str
    venv: str

    @property
    def absent(self) -> str:
        return f"{self.name} is not here: run `make {self.venv.removeprefix('.')}`, or set {self.variable}"


MERGEKIT = Tool(name="mergekit", variable="KINGYO_MERGEKIT", venv=".mergekit-venv")
SD_MECHA = Tool(name="sd-mecha", variable="KINGYO_SD_MECHA", venv=".sd-mecha-venv")


class PeerError(Exception):
    """mergekit refused a recipe, or failed."""


def find_python(tool: Tool = MERGEKIT) -> Path | None:
    """The python that can import a tool, or None."""
    place = Path(os.environ.get(tool.variable, ROOT / tool.venv))
    candidates = (place, place / "python", place / "bin" / "python")
    return next((each for each in candidates if each.is_file() and each.name.startswith("python")), None)


class Peer:
    """One mergekit process for many merges; a context manager."""

    def __init__(self, python: Path, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0
        self._log = (scratch / "mergekit.log").open("w")
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [str(python), str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        self._log.close()

    def merge(self, recipe: RecipeDict, *, seed: int = 0) -> dict[str, Tensor]:
        return read_tensors(self.folder(recipe, seed=seed))

    def folder(self, *recipes: RecipeDict, seed: int = 0, tool: str = "yaml", **options: object) -> Path:
        """The folder that it writes; with tool ``multi`` the recipes are steps of one file."""
        self._count += 1
        out = self._scratch / f"peer-{self._count}"
        text = yaml.safe_dump_all(recipes, sort_keys=False)
        job = {"tool": tool, "recipe": text, "out": str(out), "seed": seed, "options": options}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        error = self._answer()["error"]
        if error is not None:
            raise PeerError(error)
        return out

    def _answer(self) -> dict[str, str | None]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"mergekit's process ended: {self._log.name}")
        return json.loads(line)


class Ours:
    """The same signature for kingyo, by its command line in this process."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0

    def merge(self, recipe: RecipeDict, *, seed: int = 0) -> dict[str, Tensor]:
        return read_tensors(self.folder(recipe, seed=seed))

    def folder(self, *recipes: RecipeDict, seed: int = 0) -> Path:
        from kingyo.cli import app

        self._count += 1
        file, out = (self._scratch / f"ours-{self._count}{suffix}" for suffix in (".yaml", ""))
        file.write_text(yaml.safe_dump_all(recipes, sort_keys=False))
        app(["merge", str(file), str(out), "--seed", str(seed)], standalone_mode=False)
        return out


def read_tensors(folder: Path) -> dict[str, Tensor]:
    return {
        name: tensor
        for file in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def difference(ours: Tensor, theirs: Tensor) -> float:
    """max |a - b| / max |b|; infinite where one is NaN or the shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    if ours.numel() == 0:
        return 0.0
    a, b = ours.double(), theirs.double()
    least = torch.finfo(torch.float32).tiny
    relative = float((a - b).abs().max() / b.abs().max().clamp(min=least))
    return relative if relative == relative else float("inf")

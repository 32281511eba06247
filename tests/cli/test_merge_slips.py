"""Typical mistakes of new users: each gives one sentence with a remedy."""

import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from tests.cli.conftest import World
from tests.cli.merging import Command, refused

OWN = """
import torch
from kingyo.merging.kernels import Elementwise

class Method:
    name, doc, params = "own", "of the user's", ()
    needs_base = takes_base = stochastic = False
    min_sources, max_sources = 1, None

class Raises(Method):
    def __call__(self, sources, base, values, context):
        return totl

class Turns(Method):
    def __call__(self, sources, base, values, context):
        return sources[0].float().reshape(-1)[:, None]

class Averages(Method):
    def __call__(self, sources, base, values, context):
        return sources[0].float().mean()

class Breaks(Method):
    def __call__(self, sources, base, values, context):
        return Elementwise(shape=tuple(sources[0].shape), compute=lambda span: torch.zeros(1) / None)

class Cuts(Method):
    def __call__(self, sources, base, values, context):
        return Elementwise(shape=tuple(sources[0].shape), compute=lambda span: torch.zeros(3))

raises, turns, averages, breaks, cuts = Raises(), Turns(), Averages(), Breaks(), Cuts()
"""


@pytest.fixture
def command(world: World) -> Command:
    (world.folder / "own.py").write_text(OWN)
    return Command(world.folder)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("raises", "NameError: name 'totl' is not defined in "),
        ("turns", "expected a result of the shape ["),
        ("cuts", "a block of 3 numbers for the span (0, "),
    ],
)
def test_a_failing_custom_method(command: Command, method: str, says: str) -> None:
    """It is named with a tensor, and nothing is left behind."""
    recipe = command.recipe(merge_method=f"own.py:{method}", base_model=None, models=[{"model": "a"}])
    message = refused(command, recipe, "out", says=says)
    assert message.startswith("Error: own: ") and "weight" in message


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_progress_callbacks_are_optional(command: Command, closed: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -m kingyo merge {command.recipe()} out {closed}",
        shell=True,
        cwd=command.folder,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0
    assert load_file(command.folder / "out" / "model.safetensors")

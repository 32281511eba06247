"""Commands with lines on their standard input, as a user types them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from typer.testing import CliRunner, Result

from kingyo.cli import app
from tests.cli.conftest import World


def typed(world: World, *arguments: str | Path, lines: Sequence[str]) -> Result:
    """Run a command in this process, with lines on its standard input."""
    with contextlib.chdir(world.folder):
        return CliRunner().invoke(
            app, list(map(str, arguments)), input="".join(f"{line}\n" for line in lines)
        )

"""Commands in this process: with lines on their standard input, or as a shell starts them."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from kingyo.cli import app, main

if TYPE_CHECKING:
    from tests.cli.conftest import World


def typed(world: World, *arguments: str | Path, lines: Sequence[str]) -> Result:
    """Run a command in this process, with lines on its standard input."""
    with contextlib.chdir(world.folder):
        return CliRunner().invoke(
            app, list(map(str, arguments)), input="".join(f"{line}\n" for line in lines)
        )


class _Stream(io.TextIOWrapper):
    """A stream of a command, kept in memory; it is no terminal."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


def called(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process: starting another takes longer than most commands on tiny models."""
    words, out, err = [*map(str, arguments)], _Stream(), _Stream()
    with (
        contextlib.chdir(folder),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["kingyo", *words])
        patch.setattr(sys, "stdin", io.StringIO())
        patch.setenv("COLUMNS", "110")
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.text(), err.text())

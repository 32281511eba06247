"""`kingyo init`: it writes runs of each kind of model, and is quick."""

from __future__ import annotations

import subprocess
import sys

from tests.cli.conftest import World

MODELS = ("--base", "base", "--source", "a", "--source", "b", "--task", "items.jsonl")


def test_it_imports_neither_torch_nor_transformers(world: World) -> None:
    code = (
        "import sys; from kingyo.cli import app\n"
        f"try: app({['init', 'new.yaml', *MODELS, '--grader', 'exact']!r})\n"
        "finally: print(sorted({'torch', 'transformers', 'scipy.stats'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=world.folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")

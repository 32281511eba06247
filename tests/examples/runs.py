"""Runs of the examples: their scripts, the commands of their READMEs, and dry runs on a hub."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cli.conftest import command
from tests.hub import Hub

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run(words: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "110", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def dry_run(hub: Hub, folder: Path, *words: str | Path) -> dict[str, Any]:
    """Return the plan of a command for models of a hub, or its error."""
    words = (*words, "--dry-run", "--json")
    done = run(command(*words), folder, hub.environment(folder / "home"))
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def run_readme(example: str, hub: Hub, folder: Path, **steps: Callable[[], object]) -> None:
    """Run the commands of a README in order; ``steps`` stand for those of other programs than kingyo."""
    text = (ROOT / "examples" / example / "README.md").read_text(encoding="utf-8")
    lines = "".join(BLOCK.findall(text)).splitlines()
    expected = [shlex.split(line, comments=True) for line in lines if line.strip()]
    assert {words[0] for words in expected} >= {"kingyo", *steps}
    for words in expected:
        if words[0] in steps:
            steps[words[0]]()
        elif words[0] == "kingyo":
            done = run(command(*words[1:]), folder, hub.environment(folder / "home"))
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"


def make_small(config: Path, prompt: str) -> None:
    """Let a run fit on a processor: a short prompt, short answers and few candidates."""
    data = yaml.safe_load(config.read_text(encoding="utf-8"))
    short = {"max_new_tokens": 4, "prompt": prompt}
    if "task" in data:
        data["task"] |= short
        data |= {"budget": {"candidates": 20}, "device": "cpu", "finalists": 2}
    else:
        data |= short
    config.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")

"""What a candidate costs: building its weights, scoring it, and everything else (store, strategy, display).

Breeds from the shipped zoo in a process of its own, then reads the times that the run stored of itself.
Peak memory is the kernel's own figure for that process; the bare libraries are measured in another.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from kingyo.merging.checkpoints import open_checkpoint
from kingyo.store import RunStore

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "examples" / "demo" / "run.yaml"
LIBRARIES = "import torch, transformers; from transformers import LlamaForCausalLM, PreTrainedTokenizerFast"


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=60)
    parser.add_argument("--method", default="task_arithmetic", help="a method on task vectors")
    arguments = parser.parse_args()
    libraries = peak_of([sys.executable, "-c", LIBRARIES])
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "run.yaml"
        config.write_text(yaml.safe_dump(shortened(arguments.candidates, arguments.method)))
        run = Path(folder) / "run"
        code = "from kingyo.cli import main; main()"
        peak = peak_of([sys.executable, "-c", code, "evolve", str(config), "--run", str(run), "--json"])
        print_times(run)
    weights = weights_of(yaml.safe_load(DEMO.read_text(encoding="utf-8")))
    print(
        f"peak memory {peak:.0f} MB: bare libraries {libraries:.0f}, all models and a live one "
        f"{weights:.0f}, the rest {peak - libraries - weights:.0f}"
    )


def weights_of(values: dict[str, Any]) -> float:
    """MB of the base and the sources as stored, and of one live model in float32."""
    paths = [values["base"], *values["sources"].values()]
    models = [open_checkpoint(str((DEMO.parent / path).resolve())) for path in paths]
    stored = sum(info.n_bytes for model in models for info in model.tensors.values())
    return (stored + 4 * models[0].n_parameters) / 2**20


def shortened(candidates: int, method: str) -> dict[str, object]:
    """The demo's run.yaml with absolute paths, another method, a smaller budget and no controls."""
    values = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    folder = DEMO.parent
    values["base"] = str((folder / values["base"]).resolve())
    values["sources"] = {name: str((folder / path).resolve()) for name, path in values["sources"].items()}
    values["task"]["data"] = str((folder / values["task"]["data"]).resolve())
    values["merge"]["method"] = method
    if method != "task_arithmetic":
        values["merge"]["parameters"]["density"] = {"from": 0.1, "to": 1.0}
    return {**values, "budget": {"candidates": candidates}, "controls": {"random": False, "grid": False}}


def peak_of(command: list[str]) -> float:
    """Peak resident memory of a command in MB, as the kernel counts it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed")
    return usage.ru_maxrss / 1024


def print_times(run: Path) -> None:
    """Shares of the time between the first and the last evaluation."""
    with RunStore.read(run) as store:
        rows = [each for each in store.summaries("fit") if each.search == "main" and each.copied_from is None]
        window = rows[-1].ended_at - rows[0].ended_at
        build = sum(each.build_seconds for each in rows[1:])
        score = sum(each.score_seconds for each in rows[1:])
        n_items = len(store.items()["fit"])
    n = len(rows) - 1
    other = window - build - score
    print(f"{n} candidates, {n_items} items each")
    print(f"{'part':<28}{'ms a candidate':>16}{'of scoring':>12}")
    for name, seconds in (("building the weights", build), ("scoring", score), ("everything else", other)):
        print(f"{name:<28}{1000 * seconds / n:>16.1f}{seconds / score:>12.1%}")


if __name__ == "__main__":
    main()

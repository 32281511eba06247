"""Runs merges with mergekit, in mergekit's own virtual environment: the black box of the oracle tests.

It must not know kingyo. It reads JSON lines from stdin, each a job ``{"tool": "yaml" | "multi",
"recipe": text, "out": folder, "seed": int, "options": {...}}``, and answers each with one JSON line:
``{"error": null}`` or the error's text. A start costs seconds, so one
process serves many merges.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge

OPTIONS = {"copy_tokenizer": True, "write_model_card": False, "quiet": True}


def main() -> None:
    """Answer jobs until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what mergekit prints must not mix with the answers
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps({"error": run(json.loads(line))}), file=answers, flush=True)


def run(job: dict[str, object]) -> str | None:
    """Do one merge; return the error's text, or None."""
    try:
        if job.get("tool") == "multi":
            run_steps(str(job["recipe"]), Path(str(job["out"])))
            return None
        recipe = MergeConfiguration.model_validate(yaml.safe_load(str(job["recipe"])))
        options = OPTIONS | {"random_seed": job.get("seed")} | dict(job.get("options") or {})
        run_merge(recipe, str(job["out"]), MergeOptions(**options))
    except Exception as error:  # noqa: BLE001  (whatever it is, the test shall see it)
        return f"{type(error).__name__}: {error}"
    return None


def run_steps(text: str, out: Path) -> None:
    """A file of several documents goes through the command line of mergekit-multi."""
    from mergekit.scripts.multimerge import main as mergekit_multi

    file = out.with_suffix(".yaml")
    file.write_text(text)
    steps = out.with_name(out.name + "-steps")
    arguments = [str(file), "--out-path", str(out), "--intermediate-dir", str(steps), "--quiet"]
    mergekit_multi(arguments, standalone_mode=False)


if __name__ == "__main__":
    main()

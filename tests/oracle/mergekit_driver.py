"""Runs merges with mergekit, in mergekit's own virtual environment: the black box of the oracle tests.

It must not know kingyo. It reads JSON lines from stdin, each a job ``{"recipe": YAML text, "out": folder,
"seed": int, "options": {...}}``, and answers each with one JSON line: ``{"error": null}`` or the error's text.
The start of a process costs seconds, so one process serves many merges.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge


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
    options = {"copy_tokenizer": False, "write_model_card": False, "quiet": True}
    try:
        recipe = MergeConfiguration.model_validate(yaml.safe_load(str(job["recipe"])))
        chosen = MergeOptions(**(options | {"random_seed": job.get("seed")} | dict(job.get("options") or {})))
        run_merge(recipe, str(job["out"]), chosen)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    main()

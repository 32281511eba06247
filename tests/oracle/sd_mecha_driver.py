"""Converts merge block weights with sd-mecha, in a virtual environment of its own. It must not know kingyo.

It reads a JSON list of jobs ``{"model": "sd1-ldm" or "sdxl-sgm", "blocks": {name: number}}`` from stdin, and
prints a JSON list of ``{tensor in the original layout: number}``.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

import sd_mecha
import torch


def main() -> None:
    """Answer all jobs."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what sd-mecha prints must not mix with the answers
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    json.dump([converted(job["model"], job["blocks"]) for job in json.load(sys.stdin)], answers)
    answers.flush()


def converted(model: str, blocks: dict[str, float]) -> dict[str, float]:
    """The number of each tensor."""
    config = f"{model.partition('-')[0]}-supermerger_blocks"
    recipe = sd_mecha.convert(sd_mecha.literal(blocks, config, "param"), model)
    numbers = sd_mecha.merge(
        recipe, strict_merge_space="param", merge_dtype=torch.float64, output_dtype=torch.float64, threads=1
    )
    return {key: float(number) for key, number in numbers.items() if isinstance(number, torch.Tensor)}


if __name__ == "__main__":
    main()

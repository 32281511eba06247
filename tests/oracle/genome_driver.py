"""Decodes genotypes with mergekit, in mergekit's own virtual environment. It must not know kingyo.

It reads one JSON list of jobs ``{"genome": mapping, "genotype": numbers}`` from stdin, and prints one JSON
list of ``{"recipe": mapping, "first": numbers}``.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import yaml
from mergekit.evo.genome import ModelGenome, ModelGenomeDefinition


def main() -> None:
    """Answer all jobs."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    results: list[object] = []
    for job in json.load(sys.stdin):
        genome = ModelGenome(ModelGenomeDefinition.model_validate(job["genome"]))
        recipe = genome.genotype_merge_config(np.array(job["genotype"], dtype=np.float64))
        first = genome.initial_genotype().flatten().tolist()
        results.append({"recipe": yaml.safe_load(recipe.to_yaml()), "first": first})
    json.dump(results, answers)
    answers.flush()


if __name__ == "__main__":
    main()

"""What mergekit's own functions take for the same tensors; runs in mergekit's virtual environment.

``python peer.py MODELS REPEAT RECIPES``: RECIPES is JSON, name -> recipe. Prints JSON: nanoseconds a
number, as wall and as processor time.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import torch
from mergekit.merge_methods import merge_tensors  # pyright: ignore
from safetensors.torch import load_file


def main() -> None:
    """Measure all recipes, on one thread."""
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    folder, repeat, recipes = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    loaded = {each.name: load_file(each / "model.safetensors") for each in folder.iterdir() if each.is_dir()}
    n = sum(tensor.numel() for tensor in loaded["base"].values())
    found: dict[str, dict[str, float]] = {}
    for name, recipe in recipes.items():
        runs = [seconds(loaded, recipe) for _ in range(repeat)]
        best = [1e9 * min(times) / n for times in zip(*runs, strict=True)]
        found[name] = {"1": best[0], "processor": best[1]}
    print(json.dumps(found))


def seconds(loaded: dict[str, dict[str, torch.Tensor]], recipe: dict[str, object]) -> tuple[float, float]:
    """One merge of all tensors: wall and processor time."""
    models = [Path(each["model"]).name for each in recipe["models"]]  # type: ignore[index]
    base = [Path(str(recipe["base_model"])).name] if "base_model" in recipe else []
    start = time.perf_counter(), time.process_time()
    with torch.no_grad():
        for name in loaded["base"]:
            merge_tensors(
                [loaded[model][name] for model in (*base, *models)],
                recipe["merge_method"],
                parameters=recipe.get("parameters"),
                base_index=0 if base else None,
                dtype=torch.bfloat16,
            )
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    main()

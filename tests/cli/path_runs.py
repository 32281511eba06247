"""A run.yaml of layer paths, and models that no path can join."""

import json
from pathlib import Path

from tests.models_on_disk import llama

DATAFLOW = {
    "space": "dataflow",
    "dataflow": {"frame": "a", "repetitions": 2, "scales": "matrix", "max_hops": 4},
    "merge": {"dtype": "float32"},
    "search": {"strategy": "ga"},
    "base": None,
    "budget": {"candidates": 6},
}


def of_other_tokens(folder: Path) -> None:
    llama(folder)
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text())
    words = data["model"]["vocab"]
    words["cat"], words["is"] = words["is"], words["cat"]
    file.write_text(json.dumps(data))

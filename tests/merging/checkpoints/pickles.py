"""Checkpoints stored as pickles, harmless and not."""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file


def pickled(folder: Path, shards: int = 1, stem: str = "pytorch_model") -> Path:
    """Write the weights of a folder as pickles in their place."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    file.unlink()
    if shards == 1:
        torch.save(tensors, folder / f"{stem}.bin")
        return folder
    weight_map: dict[str, str] = {}
    for i in range(shards):
        name = f"{stem}-{i + 1:05}-of-{shards:05}.bin"
        part = {each: tensors[each] for each in list(tensors)[i::shards]}
        torch.save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}  # without either transformers fails
    (folder / f"{stem}.bin.index.json").write_text(json.dumps(index))
    return folder


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch evil",)

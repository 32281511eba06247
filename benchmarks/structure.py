"""Seconds and peak memory of `kingyo scout --weights` on a made-up group, beside a loop over its pairs.

The group has a base and members in bfloat16 with the tensors of a small Llama. The loop reads the same
tensors in chunks and computes the same inner products and signs for one pair of members after another. Each
way runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import combinations
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from kingyo.cli import main as kingyo
from kingyo.merging.checkpoints import Checkpoint, open_checkpoint

CHUNK = 1 << 15
"""Numbers of each model at a time in the loop, as in `kingyo diff`."""


def main() -> None:
    """Measure and print, or run one of the ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--way", choices=["write", "scout", "pairs"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way == "write":
        n = write(arguments.folder, arguments.members, arguments.width, arguments.layers)
        print(f"{arguments.members} members of {n / 1e6:.1f} M parameters")
    elif arguments.way is not None:
        run(arguments.way, arguments.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for way in ("write", "scout", "scout", "pairs"):
                command = [sys.executable, *sys.argv, "--way", way, "--folder", folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                print(done.stdout.splitlines()[-1])


def run(way: str, folder: Path) -> None:
    """Measure the group in one way; the second run of scout finds everything in its store."""
    begun, cpu = time.perf_counter(), time.process_time()
    if way == "scout":
        sys.argv = ["kingyo", "scout", str(folder), "--weights", "--out", str(folder / "out")]
        with suppress(SystemExit):
            kingyo()
    else:
        by_pairs(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(f"{way}: {seconds:.1f} s ({cpu:.1f} s of CPU), peak {peak / 1e6:.0f} MB")


def by_pairs(folder: Path) -> None:
    """Sum over all tensors, one pair of members after another."""
    base = open_checkpoint(str(folder / "base"))
    members = [open_checkpoint(str(path)) for path in sorted(folder.glob("m-*"))]
    for name in base.tensors:
        add_pairs([each.read(name).flatten() for each in (*members, base)], len(members))


def add_pairs(flat: list[torch.Tensor], n: int) -> np.ndarray:
    """Return inner products, opposite signs and shared changes of all pairs for one tensor."""
    sums = np.zeros((3, n, n))
    for start in range(0, len(flat[0]), CHUNK):
        rows = torch.stack([values[start : start + CHUNK].double() for values in flat])
        deltas = rows[:-1] - rows[-1]
        for i, j in combinations(range(n), 2):
            product = (deltas[i] * deltas[j]).numpy()
            sums[:, i, j] += product.sum(), np.count_nonzero(product < 0), np.count_nonzero(product)
    return sums


def write(folder: Path, n: int, width: int, layers: int) -> int:
    """Write the group, and return the number of parameters of a model."""
    shapes = {"model.embed_tokens.weight": (32 * width, width), "lm_head.weight": (32 * width, width)}
    for i in range(layers):
        at, inner = f"model.layers.{i}", 11 * width // 4
        shapes |= {f"{at}.self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        shapes |= {f"{at}.mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (width, inner)}
    generator = torch.Generator().manual_seed(0)
    base = {name: 0.02 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save(folder / "base", base, width, layers)
    for i in range(n):
        changed = {
            name: tensor + 0.003 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in base.items()
        }
        save(folder / f"m-{i:02}", changed, width, layers)
    return sum(map(prod, shapes.values()))


def save(folder: Path, tensors: dict[str, torch.Tensor], width: int, layers: int) -> Checkpoint:
    """Write a model that names the base."""
    folder.mkdir()
    save_file({name: each.bfloat16() for name, each in tensors.items()}, folder / "model.safetensors")
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 32 * width,
        "hidden_size": width,
        "intermediate_size": 11 * width // 4,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {f"token-{i}": i for i in range(32 * width)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "token-0"}
    tokenizer = {"version": "1.0", "added_tokens": [], "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    if folder.name != "base":
        (folder / "README.md").write_text("---\nbase_model: ../base\n---\n")
    return open_checkpoint(str(folder))


if __name__ == "__main__":
    main()

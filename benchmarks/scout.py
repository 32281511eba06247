"""Seconds and peak memory of `kingyo scout` on many models: real headers of a Llama, with holes for weights.

A third of the models has one token more in the tokenizer, and one in ten is wider, so that vocabularies and
tensors are compared. The command runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kingyo.merging.checkpoints.writer import OutTensor, lay_out

ROWS, WIDTH, INNER = 32_000, 2048, 5632
"""Sizes of TinyLlama."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--no-base", action="store_true", help="no card names a base")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.models):
            write(Path(folder), i, arguments.layers, has_card=not arguments.no_base)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "kingyo", "scout", folder, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    counts = json.loads(done.stdout)["counts"]
    print(f"{arguments.models} models: {seconds:.1f} s, peak {peak / 1e6:.0f} MB; {json.dumps(counts)}")


def write(folder: Path, i: int, layers: int, *, has_card: bool) -> None:
    """Write a model whose weights are holes."""
    width = WIDTH + 128 if i % 10 == 9 else WIDTH
    model = folder / f"model-{i:04}"
    model.mkdir()
    (shard,) = lay_out(tensors(layers, width), 1 << 50)
    with (model / shard.file).open("wb") as out:
        out.write(shard.header)
        out.truncate(shard.n_bytes)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": ROWS,
        "hidden_size": width,
        "intermediate_size": INNER,
        "num_hidden_layers": layers,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    }
    (model / "config.json").write_text(json.dumps(config))
    tokens = {f"token-{n}": n for n in range(ROWS - (i % 3 != 2))}
    tokenizer = {"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": tokens}}
    tokenizer["model"]["unk_token"] = "token-0"
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    if has_card and i:
        (model / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: org/model-0000\n---\n")


def tensors(layers: int, width: int) -> list[OutTensor]:
    """Return the tensors of a Llama."""
    shapes = {"model.embed_tokens": (ROWS, width), "lm_head": (ROWS, width), "model.norm": (width,)}
    for i in range(layers):
        attention = {"q": (width, width), "k": (256, width), "v": (256, width), "o": (width, width)}
        mlp = {"gate": (INNER, width), "up": (INNER, width), "down": (width, INNER)}
        at = f"model.layers.{i}"
        shapes |= {f"{at}.self_attn.{name}_proj": shape for name, shape in attention.items()}
        shapes |= {f"{at}.mlp.{name}_proj": shape for name, shape in mlp.items()}
        shapes |= {f"{at}.input_layernorm": (width,), f"{at}.post_attention_layernorm": (width,)}
    return [OutTensor(name=f"{name}.weight", shape=shape, dtype="bfloat16") for name, shape in shapes.items()]


if __name__ == "__main__":
    main()

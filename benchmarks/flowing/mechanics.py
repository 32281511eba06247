"""What does not depend on luck: parity, caches, changes of the path, memory, speed, export."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedModel

from flowing.models import DEMO, KINDS, ZOO, demo, load, logits, random_model, zoo_models, zoo_path
from kingyo.merging.engine import open_sources, plan, to_folder
from kingyo.merging.recipe import Hop, Recipe, path_as_slices
from kingyo.models.layers import Layers
from kingyo.tasks import load_splits

Row = dict[str, object]
SCALED = (
    *(("ja", 0, 1.0), ("math-sym", 1, 0.9), ("ja", 1, 1.0), ("math-en", 2, 1.2), ("ja", 2, 1.0)),
    *(("math-sym", 3, 0.8), ("ja", 1, 1.1), ("ja", 3, 1.0)),
)
"""Eight hops through seven layers: layer 1 of the Japanese model is passed twice."""
STACKED = (*(("ja", k, 1.0) for k in range(3)), *(("math-en", k, 1.0) for k in range(1, 4)))
DEEP = {"num_hidden_layers": 24, "hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 8}
PIECES = 15


def own_layers() -> Iterator[Row]:
    """The largest difference of logits between a path of a model's own layers and the model."""
    worst = 0.0
    for kind in KINDS:
        models = {name: random_model(kind, seed) for seed, name in enumerate("ab")}
        for name, model in models.items():
            before = logits(model)
            path = [Hop(model=name, layer=k) for k in range(4)]
            worst = max(worst, float((logits(Layers(models).follow(path, name)) - before).abs().max()))
            models = {each: random_model(kind, seed) for seed, each in enumerate("ab")}
    yield {"what": "own layers", "value": worst, "n": 2 * len(KINDS)}


def frankenmerge() -> Iterator[Row]:
    """A path beside the checkpoint that mergekit's passthrough writes of the same layers."""
    peer = os.environ.get("KINGYO_MERGEKIT")
    if peer is None:
        return
    recipe = zoo_path(*STACKED)
    slices = Recipe(merge_method="passthrough", slices=path_as_slices(recipe.path), dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "slices.yaml", Path(folder) / "out"
        file.write_text(slices.to_yaml())
        command = [f"{peer}/bin/mergekit-yaml", str(file), str(out)]
        subprocess.run(command, check=True, capture_output=True)
        theirs = logits(load(out))
    models = {folder: load(Path(folder)) for folder in ZOO.values()}
    # mergekit takes the norm behind the layers from the last layer's model; the head is tied.
    live = Layers(models).follow(recipe.path, ZOO["ja"])
    live.model.norm = models[ZOO["math-en"]].model.norm
    yield {"what": "frankenmerge", "value": float((logits(live) - theirs).abs().max()), "n": theirs.numel()}


def caches() -> Iterator[Row]:
    """Greedy answers to all test items with a cache of keys and values, and without."""
    prompts = _prompts()
    models = zoo_models(64)
    recipe = zoo_path(*SCALED)
    assert recipe.base_model is not None
    live = models.follow(recipe.path, recipe.base_model)
    cached = live.generate(prompts, max_new_tokens=24)
    bare = _without_cache(live.module, prompts)
    yield {"what": "cache", "value": sum(a == b for a, b in zip(cached, bare, strict=True)), "n": len(bare)}


def changes() -> Iterator[Row]:
    """Time to change the path of a pair of 24 layers each, and memory beside the weights."""
    pair = {name: random_model("Llama", seed, **DEEP) for seed, name in enumerate("ab")}
    weights = sum(t.untyped_storage().nbytes() for model in pair.values() for t in _tensors(model))
    before = _resident()
    layers, rng, times = Layers(pair), Random(0), list[float]()
    for _ in range(200):
        path = [Hop(model=rng.choice("ab"), layer=rng.randrange(24)) for _ in range(rng.randint(24, 65))]
        started = time.perf_counter()
        layers.follow(path, "a")
        times.append(1e3 * (time.perf_counter() - started))
    after = sum({t.data_ptr(): t.untyped_storage().nbytes() for t in _tensors(pair["a"])}.values())
    grown = _resident() - before
    assert after <= weights, "a path copies no weights"
    yield {"what": "change of path, ms", "value": statistics.median(times), "n": len(times)}
    yield {"what": "change of path, slowest, ms", "value": max(times), "n": len(times)}
    yield {"what": "memory beside the weights", "value": grown / weights, "n": weights}


def speed() -> Iterator[Row]:
    """Time per token of a path, beside transformers' own model of as many layers, in turns."""
    torch.set_num_threads(1)
    pair = {
        name: random_model("Llama", seed, **{**DEEP, "vocab_size": 1024}) for seed, name in enumerate("ab")
    }
    own = random_model("Llama", 2, **{**DEEP, "vocab_size": 1024})
    path = [Hop(model="ab"[k % 2], layer=k, scale=1.0 if k % 3 else 0.9) for k in range(24)]
    live = Layers(pair).follow(path, "a")
    tokens = torch.randint(3, 1024, (8, 16), generator=torch.Generator().manual_seed(0))
    ratios: list[float] = []
    for _ in range(PIECES):
        ours, theirs = _seconds(live, tokens), _seconds(own, tokens)
        ratios.append(ours / theirs)
    yield {"what": "time per token", "value": statistics.median(ratios), "n": len(ratios)}


def depth() -> Iterator[Row]:
    """Whether each layer more takes an answer the same time, which `few_hops` takes for granted."""
    torch.set_num_threads(1)
    layers = Layers({"a": random_model("Llama", 0, **{**DEEP, "vocab_size": 1024})})
    tokens = torch.randint(3, 1024, (8, 16), generator=torch.Generator().manual_seed(0))
    hops, times = list[int](), list[float]()
    for n in (3, 6, 9, 12, 24, 32, 40, 48) * 5:
        live = layers.follow([Hop(model="a", layer=k % 24) for k in range(n)], "a")
        hops.append(n)
        times.append(_seconds(live, tokens))
    n, seconds = np.array(hops), np.array(times)
    (deep, _), (flat, _) = (np.polyfit(n[part], seconds[part], 1) for part in (n >= 24, n <= 12))
    yield {"what": "time of a deep layer", "value": float(deep / flat), "n": len(times)}


def export() -> Iterator[Row]:
    """Greedy answers of the live path, beside those of its checkpoint with scales folded into the weights."""
    prompts = _prompts()
    recipe = zoo_path(*SCALED)
    assert recipe.base_model is not None
    live = zoo_models().follow(recipe.path, recipe.base_model).generate(prompts, max_new_tokens=24)
    with tempfile.TemporaryDirectory() as folder:
        out = to_folder(plan(recipe, open_sources(recipe)), Path(folder) / "out")
        loaded = load(out)
        tokenizer = AutoTokenizer.from_pretrained(out)
    tokenizer.padding_side = "left"
    texts: list[str] = []
    for first in range(0, len(prompts), 64):
        batch = tokenizer(prompts[first : first + 64], return_tensors="pt", padding=True)
        batch.pop("token_type_ids", None)
        n = batch["input_ids"].shape[1]
        found = cast("Any", loaded).generate(**batch, do_sample=False, max_new_tokens=24)
        texts += tokenizer.batch_decode(found[:, n:], skip_special_tokens=True)
    same = sum(a.strip() == b.strip() for a, b in zip(live, texts, strict=True))
    yield {"what": "export", "value": same, "n": len(prompts)}


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "own layers": own_layers,
    "frankenmerge": frankenmerge,
    "cache": caches,
    "changes": changes,
    "speed": speed,
    "depth": depth,
    "export": export,
}


def _prompts() -> list[str]:
    config = demo()
    return [item.prompt for item in load_splits(config.specs, DEMO).splits["test"]]


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _tensors(model: PreTrainedModel) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def _seconds(model: PreTrainedModel, tokens: torch.Tensor) -> float:
    """Of the processor: one thread, whatever else the machine does."""
    started = time.process_time()
    with torch.inference_mode():
        cast("Any", model).generate(
            tokens, do_sample=False, min_new_tokens=16, max_new_tokens=16, pad_token_id=0
        )
    return time.process_time() - started


def _without_cache(model: PreTrainedModel, prompts: list[str]) -> list[str]:
    """Greedy answers, every token by a pass over all before it; rows are as long as their own prompt."""
    tokenizer = AutoTokenizer.from_pretrained(ZOO["ja"])
    texts = [""] * len(prompts)
    rows = [tokenizer(prompt).input_ids for prompt in prompts]
    for length in sorted({len(row) for row in rows}):
        places = [place for place, row in enumerate(rows) if len(row) == length]
        tokens = torch.tensor([rows[place] for place in places])
        for _ in range(24):
            with torch.inference_mode():
                new = model(input_ids=tokens, use_cache=False).logits[:, -1].argmax(dim=-1)
            tokens = torch.cat([tokens, new[:, None]], dim=1)
            if bool((tokens[:, length:] == tokenizer.eos_token_id).any(dim=1).all()):
                break
        for place, row in zip(places, tokens[:, length:].tolist(), strict=True):
            ended = row.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in row else len(row)
            texts[place] = tokenizer.decode(row[:ended], skip_special_tokens=True)
    return texts

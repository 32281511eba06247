"""Builds the zoo: tokenizer, task files, the base, five sources, their model cards; then measures them all.

    python zoo/build.py --out DIR [--only NAME] [--jobs 2]

Everything is generated and seeded. Each folder is written beside its place and then renamed, so a folder
that exists is whole.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cards
import measure
import recipes
import taskfiles
import tokens
import torch
import train
from safetensors.torch import save_file
from transformers import GenerationConfig, LlamaForCausalLM

SAVED_AS = torch.float16  # finer than bfloat16 for weights of this size


def build_model(out: Path, name: str) -> None:
    """Trains one model (a source starts from the base in `out`) and writes its folder."""
    torch.set_num_threads(1)  # again, for processes of their own
    tokenizer = tokens.build()
    if name == "base":
        model = train.new_model(len(tokenizer), recipes.BASE_SEED, recipes.HIDDEN, recipes.LAYERS)
    else:
        model = measure.load(out / "base")
    train.train(model, recipes.MIXTURES[name], recipes.SCHEDULES[name], tokenizer, name)
    write(model, out / name, name)


def write(model: LlamaForCausalLM, folder: Path, name: str) -> None:
    """Weights, configs, tokenizer and card in one step: a temporary folder, then a rename."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model.config.dtype = SAVED_AS
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(partial)
    limit = measure.MAX_NEW_TOKENS
    GenerationConfig(eos_token_id=1, pad_token_id=0, do_sample=False, max_new_tokens=limit).save_pretrained(
        partial
    )
    tensors = {name: tensor.to(SAVED_AS).contiguous() for name, tensor in model.state_dict().items()}
    del tensors["lm_head.weight"]  # tied to the embedding
    save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
    (partial / "model.safetensors").chmod(0o644)
    tokens.save(partial)
    (partial / "README.md").write_text(cards.card(name), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def build_all(out: Path, jobs: int) -> None:
    taskfiles.write_all(out / "tasks")
    build_model(out, "base")
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for future in [pool.submit(build_model, out, name) for name in recipes.SOURCES]:
            future.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder to fill, for example zoo")
    parts = ("base", *recipes.SOURCES, "tasks", "table")
    parser.add_argument("--only", choices=parts, help="build one part (a source needs the base)")
    parser.add_argument("--jobs", type=int, default=2, help="sources trained at the same time")
    arguments = parser.parse_args()
    started = time.time()
    torch.set_num_threads(1)  # small matrices gain nothing from a second, and one is reproducible
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.only is None:
        build_all(out, arguments.jobs)
    elif arguments.only == "tasks":
        taskfiles.write_all(out / "tasks")
    elif arguments.only != "table":
        build_model(out, arguments.only)
    if arguments.only in (None, "table"):
        measure.print_table(out, ("base", *recipes.SOURCES))
    print(f"done in {(time.time() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()

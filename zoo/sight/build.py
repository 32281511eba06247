"""Builds the zoo that sees: tower, base, four sources, task files. Each stage is kept in a work folder.

    python zoo/sight/build.py --work DIR --out zoo/sight

A stage whose file is there is not done again, so a build that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import align
import cards
import recipes
import shipping
import stages
import task_files
import tokens
import torch
import train
import vlm
from torch import nn
from transformers import LlamaForCausalLM

VOCABULARY = len(tokens.build())
M = TypeVar("M", bound=nn.Module)


def base(work: Path) -> LlamaForCausalLM:
    """The base learns to read one scene in signs, then several."""
    model = train.new_model(VOCABULARY, recipes.BASE_SEED, tokens.alike())

    def learn() -> None:
        for name, mixture in (("base-one", recipes.BASE_ONE), ("base", recipes.BASE)):
            train.train(model, mixture, recipes.SCHEDULES[name], name)

    return _kept(work / "base.pt", model, learn)


def text_source(work: Path, name: str) -> LlamaForCausalLM:
    model = base(work)
    mixture = recipes.TEXT_SOURCES[name]
    return _kept(
        work / f"{name}.pt", model, lambda: train.train(model, mixture, recipes.SCHEDULES[name], name)
    )


def projector(work: Path) -> nn.Module:
    """The projector, aligned with the base's embeddings and moved away from them; two models share it."""
    made, seen = vlm.projector(VOCABULARY, recipes.PROJECTOR_SEED), stages.pools(work)[0]
    return _kept(
        work / "projector.pt",
        made,
        lambda: align.align(made, base(work), seen.scenes, seen.features, recipes.ALIGNED, recipes.GAP),
    )


def seeing_source(work: Path, name: str) -> LlamaForCausalLM:
    """The language part of a model that sees, learned behind the frozen tower and projector."""
    seen = stages.pools(work)[0]
    model, sight = base(work), train.Sight(projector(work), seen.features)
    mixture = recipes.seeing(seen.scenes) if name == "see-en" else recipes.COMPARING
    return _kept(
        work / f"{name}.pt", model, lambda: train.train(model, mixture, recipes.SCHEDULES[name], name, sight)
    )


def _kept(file: Path, model: M, learn: Callable[[], None]) -> M:
    """The model from its file, or trained by `learn` and then kept there."""
    if not file.exists():
        learn()
        torch.save(model.state_dict(), file)
    model.load_state_dict(torch.load(file))
    return model.eval()


def ship(work: Path, out: Path) -> None:
    for name in recipes.SEEING_SOURCES:
        model = vlm.assemble(stages.tower(work), projector(work), seeing_source(work, name))
        shipping.write_vlm(model, out / name, cards.card(name))
    shipping.write_text(base(work), out / "base", cards.card("base"))
    for name in recipes.TEXT_SOURCES:
        shipping.write_text(text_source(work, name), out / name, cards.card(name))
    task_files.write(out / "tasks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="folder for the stages")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models and tasks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # small matrices gain nothing from a second, and one is reproducible
    arguments.work.mkdir(parents=True, exist_ok=True)
    ship(arguments.work, arguments.out)


if __name__ == "__main__":
    main()

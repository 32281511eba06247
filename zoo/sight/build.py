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
import tokens
import torch
import train
import vlm
from torch import nn
from transformers import LlamaForCausalLM

VOCABULARY = len(tokens.build())
M = TypeVar("M", bound=nn.Module)


def base(work: Path) -> LlamaForCausalLM:
    model = train.new_model(VOCABULARY, recipes.BASE_SEED, tokens.alike())
    return _kept(
        work / "base.pt", model, lambda: train.train(model, recipes.BASE, recipes.SCHEDULES["base"], "base")
    )


def text_source(work: Path, name: str) -> LlamaForCausalLM:
    model = base(work)
    mixture = recipes.TEXT_SOURCES[name]
    return _kept(
        work / f"{name}.pt", model, lambda: train.train(model, mixture, recipes.SCHEDULES[name], name)
    )


def see_en(work: Path) -> tuple[LlamaForCausalLM, nn.Module]:
    """Tower, then projector, then the language part, each alone."""
    seen, _ = stages.pools(work)
    model, projector = base(work), vlm.projector(VOCABULARY, recipes.PROJECTOR_SEED)
    both = nn.ModuleDict({"language": model, "projector": projector})

    def learn() -> None:
        align.align(projector, model, seen.scenes, seen.features, recipes.ALIGNED, recipes.GAP)
        sight = train.Sight(projector, seen.features)
        train.train(model, recipes.seeing(seen.scenes), recipes.SCHEDULES["see-en"], "see-en", sight)

    _kept(work / "see-en.pt", both, learn)
    return model, projector


def _kept(file: Path, model: M, learn: Callable[[], None]) -> M:
    """The model from its file, or trained by `learn` and then kept there."""
    if not file.exists():
        learn()
        torch.save(model.state_dict(), file)
    model.load_state_dict(torch.load(file))
    return model.eval()


def ship(work: Path, out: Path) -> None:
    model, projector = see_en(work)
    tower = stages.tower(work)
    shipping.write_vlm(vlm.assemble(tower, projector, model), out / "see-en", cards.card("see-en"))
    shipping.write_text(base(work), out / "base", cards.card("base"))
    for name in recipes.TEXT_SOURCES:
        shipping.write_text(text_source(work, name), out / name, cards.card(name))
    shipping.write_tasks(out / "tasks")


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

"""Build the zoo that draws: models, judge, task files and references. Stages are kept in a work folder.

    python zoo/pictures/build.py --work DIR --out zoo/pictures

A stage whose file is there is not done again, so a build that was stopped continues.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import recipes
import shipping
import task_files
import torch
from cards import card
from stages import Stages


def ship(stages: Stages, out: Path) -> None:
    """Train what is missing and write every folder."""
    for name in ("base", *recipes.SOURCES):
        denoiser = stages.denoiser(name)
        pipeline = shipping.pipeline(stages.autoencoder(), stages.base()[1], denoiser)
        shipping.write_pipeline(pipeline, out / name, card(name))
    shipping.write_lora(stages.lora(), out / "ukiyoe", card("ukiyoe"))
    shipping.write_judge(stages.judge().finish(), out / "judge", card("judge"))
    task_files.write(out / "tasks")
    task_files.write_references(out / "references")


def main() -> None:
    """Run the build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="folder for the stages")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models and tasks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one thread is reproducible
    arguments.work.mkdir(parents=True, exist_ok=True)
    ship(Stages(arguments.work), arguments.out)


if __name__ == "__main__":
    main()

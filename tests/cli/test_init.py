"""`kingyo init`: it writes a run for each kind of model, finds bases and chat templates, and is quick."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.cli.conftest import World

MODELS = ("--base", "base", "--source", "a", "--source", "b")
TASK = ("--task", "items.jsonl", "--grader", "exact", "--max-new-tokens", "6")


def init(world: World, *words: str) -> dict[str, Any]:
    """Write new.yaml, pass a dry run without warnings, and return the file."""
    world.ok("init", "new.yaml", *words)
    dry_run = world.ok("evolve", "new.yaml", "--dry-run", "--json")
    assert json.loads(dry_run.stdout)["warnings"] == []
    return yaml.safe_load((world.folder / "new.yaml").read_text())


def test_it_imports_neither_torch_nor_transformers(world: World) -> None:
    code = (
        "import sys; from kingyo.cli import app\n"
        f"try: app({['init', 'new.yaml', *MODELS, *TASK]!r})\n"
        "finally: print(sorted({'torch', 'transformers', 'scipy.stats'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=world.folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_a_new_run_learns_a_weight_for_each_tensor(world: World) -> None:
    done = world.run("init", "new.yaml", *MODELS, *TASK)
    assert "genes: 60 named weight/…" in done.stdout
    plan = world.data("evolve", "new.yaml", "--dry-run")
    assert (plan["search"]["strategy"], plan["search"]["groups"]) == ("memetic", "tensor")
    assert plan["learning"]["weights"] == 60
    (world.folder / "new.yaml").unlink()
    done = world.run("init", "new.yaml", *MODELS, *TASK, "--groups", "block")
    assert "genes: 10 named weight/…" in done.stdout


@pytest.mark.parametrize(
    ("words", "chat"),
    [
        ((), True),
        (("--no-chat",), False),
        (("--prompt", "<|im_start|>user {prompt}<|im_end|>"), False),
        (("--prompt", "Q: {prompt} A:"), False),
        (("--prompt", "Q: {prompt}!"), True),
    ],
)
def test_the_chat_template_is_used_unless_the_prompt_has_it(
    world: World, words: tuple[str, ...], chat: bool
) -> None:
    own = "{% for m in messages %}<|im_start|>user {{ m['content'] }}<|im_end|>{% endfor %}"
    (world.folder / "b" / "chat_template.jinja").write_text(own)
    task = init(world, *MODELS, *TASK, *words)["task"]
    assert task["chat"] is chat and ("stop" in task) is not chat


def test_models_without_a_template_get_no_chat(world: World) -> None:
    for name in ("base", "a", "b"):
        (world.folder / name / "chat_template.jinja").unlink()
    assert "chat" not in init(world, *MODELS, *TASK)["task"]


@pytest.mark.parametrize("words", [(), ("--chat",)])
def test_a_template_that_cannot_be_parsed_is_refused(world: World, words: tuple[str, ...]) -> None:
    file = world.folder / "base" / "chat_template.jinja"
    file.write_text("{% for m in messages %}\n{{ m['content' }}{% endfor %}")
    done = world.fails("init", "new.yaml", *MODELS, *TASK, *words)
    assert done.stderr.count("Error:") == 1
    assert "chat template of base: expected a Jinja template" in done.stderr and "(line 2)" in done.stderr
    assert not (world.folder / "new.yaml").exists()
    assert init(world, *MODELS, *TASK, "--no-chat")["task"]["chat"] is False
    (world.folder / "new.yaml").unlink()
    file.write_text(
        "{% for m in messages %}{%- generation -%}{{ m['content'] }}{% endgeneration %}{% endfor %}"
    )
    assert init(world, *MODELS, *TASK)["task"]["chat"] is True


def test_a_prompt_is_not_its_own_answer(world: World) -> None:
    rows = [{"prompt": f"question {n}"} for n in range(12)]
    (world.folder / "only.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    world.fails("init", "new.yaml", *MODELS, "--task", "only.jsonl", "--grader", "exact", says="--answer")
    assert not (world.folder / "new.yaml").exists()


def test_images_and_labels_are_classified(world: World) -> None:
    classifiers = pytest.importorskip("tests.models.classifiers", reason="needs the extra `vision`")
    names = classifiers.LABELS
    for seed, name in enumerate(("base", "a", "b")):
        classifiers.vit(world.folder / f"vit-{name}", seed)
    colours = dict(zip(names, ((200, 0, 0), (0, 200, 0), (0, 0, 200)), strict=True))
    rows = [{"photo": f"{n}-{name}.png", "id": n, "class": name} for n in range(4) for name in names]
    for row in rows:
        level = 10 * int(row["id"])
        colour = tuple(min(255, each + level) for each in colours[str(row["class"])])
        (world.folder / str(row["photo"])).write_bytes(classifiers.picture(colour).read())
    (world.folder / "shelf.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("--base", "vit-base", "--source", "vit-a", "--source", "vit-b", "--task", "shelf.jsonl")
    task = init(world, *words)["task"]
    assert task.items() >= {"kind": "classify", "image": "photo", "label": "class"}.items()
    assert not {"prompt", "grader", "chat", "stop"} & task.keys()
    world.fails("init", "no.yaml", *words, "--images", "", says="--images: expected a field with an image")


def lora(world: World, name: str, base: str | None = None, card: str | None = None) -> None:
    """Write an adapter of the head, and what its config and its card name as its base."""
    folder = world.folder / "loras" / name
    folder.mkdir(parents=True)
    head = "base_model.model.lm_head"
    tensors = {f"{head}.lora_A.weight": torch.ones(1, 16), f"{head}.lora_B.weight": torch.ones(64, 1)}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    if card is not None:
        (folder / "README.md").write_text(f"---\nbase_model: {card}\n---\n")


def test_a_lora_finds_its_base(world: World) -> None:
    lora(world, "by-config", "../../base")
    lora(world, "by-card", card="../../base")
    words = ("--source", "loras/by-config", "--source", "card=loras/by-card", "--source", "a", *TASK)
    run = init(world, *words)
    assert run["base"] == "base"
    assert run["sources"] == {"by-config": "base+loras/by-config", "card": "base+loras/by-card", "a": "a"}


def test_loras_of_different_bases(world: World) -> None:
    lora(world, "one", "../../base")
    lora(world, "other", "../../a")
    words = ("--source", "loras/one", "--source", "loras/other", *TASK)
    done = world.fails("init", "new.yaml", *words)
    assert "--base: expected the base of the run" in done.stderr and "base of one, a of other" in done.stderr
    assert init(world, "--base", "base", *words)["sources"]["other"] == "base+loras/other"


def test_a_lora_without_a_known_base(world: World, tmp_path: Path) -> None:
    lora(world, "alone")
    words = ("--source", "loras/alone", "--source", "a", *TASK)
    world.fails("init", "new.yaml", *words, says="--base: expected the model of the LoRA loras/alone")
    (world.folder / "runs").mkdir()
    world.ok("init", "runs/new.yaml", "--base", "base", *words)
    run = yaml.safe_load((world.folder / "runs" / "new.yaml").read_text())
    assert (run["base"], run["sources"]["alone"]) == ("../base", "../base+../loras/alone")

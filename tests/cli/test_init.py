"""`kingyo init`: it writes a run for each kind of model, finds bases and chat templates, and is quick."""

import json
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


def test_a_new_run_learns_a_weight_for_each_tensor(world: World) -> None:
    done = world.run("init", "new.yaml", *MODELS, *TASK)
    assert "60 genes: weight/a (30), weight/b (30)\n" in done.stdout
    plan = world.data("evolve", "new.yaml", "--dry-run")
    assert (plan["search"]["strategy"], plan["search"]["groups"]) == ("memetic", "tensor")
    assert plan["learning"]["weights"] == 60
    (world.folder / "new.yaml").unlink()
    done = world.run("init", "new.yaml", *MODELS, *TASK, "--groups", "block")
    assert "10 genes: weight/a (5), weight/b (5)\n" in done.stdout


@pytest.mark.parametrize(
    ("words", "chat"),
    [
        ((), True),
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


def test_a_prompt_is_not_its_own_answer(world: World) -> None:
    rows = [{"prompt": f"question {n}"} for n in range(12)]
    (world.folder / "only.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    world.fails("init", "new.yaml", *MODELS, "--task", "only.jsonl", "--grader", "exact", says="right answer")
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
    (world.folder / "shelf.jsonl").write_text('{"id": 1, "class": "red"}\n' * 4)
    world.fails("init", "no.yaml", *words, says="--task: expected a field with the path of an image")


def test_a_lora_is_written_after_the_base(world: World) -> None:
    folder = world.folder / "loras" / "head"
    folder.mkdir(parents=True)
    head = "base_model.model.lm_head"
    tensors = {f"{head}.lora_A.weight": torch.ones(1, 16), f"{head}.lora_B.weight": torch.ones(64, 1)}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1, "lora_alpha": 1}')
    words = ("--source", "loras/head", "--source", "a", *TASK)
    world.fails(
        "init",
        "new.yaml",
        *words,
        says="--base: expected the model of head, which their configs or cards name; received none",
    )
    (world.folder / "runs").mkdir()
    world.ok("init", "runs/new.yaml", "--base", "base", *words)
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": "../../base"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    world.ok("init", "runs/named.yaml", *words)
    for name in ("new", "named"):
        run = yaml.safe_load((world.folder / "runs" / f"{name}.yaml").read_text())
        assert (run["base"], run["sources"]) == ("../base", {"head": "../base+../loras/head", "a": "../a"})

"""Commands on a model take model+lora, and answer with the adapter merged in."""

import json

import torch
from safetensors.torch import save_file

from tests.cli.conftest import World


def write_head(world: World) -> None:
    """Write an adapter that replaces the head by zeros."""
    lora = world.folder / "lora"
    lora.mkdir()
    head = torch.zeros(64, 16)
    save_file({"base_model.model.lm_head.weight": head}, lora / "adapter_model.safetensors")
    (lora / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1}))


def test_evaluate_hears_the_adapter(world: World) -> None:
    write_head(world)
    done = world.ok("evaluate", "base+lora", "task.yaml", "--answers", "answers.jsonl")
    answers = [
        json.loads(line)["answer"] for line in (world.folder / "answers.jsonl").read_text().splitlines()
    ]
    assert set(answers) == {""}  # a head of zeros says the first token, padding, for ever
    assert "base+lora on even" in done.stdout
    world.ok("evaluate", "base+lora", "task.yaml", "--answers", "answers.jsonl")

"""Files and messages of `kingyo merge`."""

import json
import re
from pathlib import Path

import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tests.cli.merging import Command

CARD = "---\nlicense: {licence}\nlanguage: [{language}]\n---\n\n# a card\n"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: each for file in folder.glob("*.safetensors") for name, each in load_file(file).items()}


def same(one: Path, other: Path) -> bool:
    mine, other_weights = weights(one), weights(other)
    return mine.keys() == other_weights.keys() and all(
        torch.equal(mine[name], other_weights[name]) for name in mine
    )


class TestOutput:
    def test_loads_in_transformers_at_once(self, command: Command) -> None:
        base = command.folder / "base"
        (base / "LICENSE").write_text("Apache-2.0")
        GenerationConfig(max_new_tokens=7, eos_token_id=2).save_pretrained(base)
        assert command("merge", command.recipe(), "merged", "--max-shard-size", "4kB").code == 0
        merged = command.folder / "merged"
        assert {file.name for file in merged.iterdir() if file.suffix != ".safetensors"} == {
            "LICENSE",
            "README.md",
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "model.safetensors.index.json",
            "recipe.yaml",
            "tokenizer.json",
            "tokenizer_config.json",
        }
        model = AutoModelForCausalLM.from_pretrained(merged, dtype="auto")
        assert model.generation_config.max_new_tokens == 7
        stored = weights(merged)
        assert all(torch.equal(each, stored[name]) for name, each in model.state_dict().items())
        tokenizer = AutoTokenizer.from_pretrained(merged)
        assert tokenizer.apply_chat_template([{"role": "user", "content": "2 + 3"}], tokenize=False) == (
            "Q: 2 + 3 A:"
        )

    def test_json(self, command: Command) -> None:
        done = command("merge", command.recipe(), "merged", "--json")
        assert done.code == 0 and done.err == ""
        (target,) = json.loads(done.out)["targets"]
        assert target["out"] == "merged" and target["tensors"] == 30 and target["nonfinite"] == []
        assert target["files"] == {
            "model.safetensors": (command.folder / "merged" / "model.safetensors").stat().st_size
        }


class TestCard:
    def test_is_one_that_the_hub_reads(self, command: Command) -> None:
        for name, licence, language in (("a", "mit", "ja"), ("b", "cc-by-nc-4.0", "en")):
            (command.folder / name / "README.md").write_text(CARD.format(licence=licence, language=language))
        done = command("merge", command.recipe(), "merged")
        assert done.code == 0, done.err
        assert done.err.startswith("Warning: licences: ") and "received cc-by-nc" in done.err
        card = ModelCard.load(command.folder / "merged" / "README.md")
        data = card.data.to_dict()
        assert data["license_name"] == "those-of-the-merged-models"
        assert "base_model" not in data, "folders of this machine are no models that the Hub could show"
        assert data["tags"] == ["merge", "kingyo"]
        assert data["library_name"] == "transformers"
        assert data["pipeline_tag"] == "text-generation"
        assert data["language"] == ["ja", "en"]
        assert re.search(r"\| merged \| b \|.* cc-by-nc-4.0 \|", card.text)
        assert re.search(r"\| base \| base \|.* not stated in its card \|", card.text)

    def test_the_dry_run_shows_the_recipe_without_paths(self, command: Command) -> None:
        absolute = str(command.folder / "b")
        models = [
            {"model": "a", "parameters": {"weight": 0.5}},
            {"model": absolute, "parameters": {"weight": 1.0}},
        ]
        assert command("merge", command.recipe(models=models), "merged").code == 0
        card = (command.folder / "merged" / "README.md").read_text()
        assert str(command.folder) not in card
        shown = re.search(r"```yaml\n(.*?)```", card, re.DOTALL)
        assert shown is not None
        summary = yaml.safe_load(shown[1])
        assert [each["model"] for each in summary["models"]] == ["a", "b"]
        assert summary["merge_method"] == "task_arithmetic"


def test_code_is_never_run_and_copied_only_when_asked_for(command: Command) -> None:
    for name in ("base", "a", "b"):
        config = json.loads((command.folder / name / "config.json").read_text())
        config["auto_map"] = {"AutoModelForCausalLM": "modeling_mine.Mine"}
        (command.folder / name / "config.json").write_text(json.dumps(config))
    code = "raise SystemExit('it ran')\n"
    (command.folder / "base" / "modeling_mine.py").write_text(code)
    done = command("merge", command.recipe(), "merged")
    assert done.code == 0, done.err
    assert "names code (auto_map)" in done.err and "--copy-code" in done.err
    assert not list((command.folder / "merged").glob("*.py"))
    assert "auto_map" in json.loads((command.folder / "merged" / "config.json").read_text())
    done = command("merge", command.recipe(), "coded", "--copy-code")
    assert done.code == 0 and done.err == ""
    assert (command.folder / "coded" / "modeling_mine.py").read_text() == code


FIRST = """
name: first
merge_method: linear
models: [{model: a, parameters: {weight: 0.3}}, {model: b, parameters: {weight: 0.7}}]
---
"""
LAST = """
merge_method: slerp
base_model: first
models: [{model: first}, {model: base}]
parameters: {t: 0.4}
"""


class TestBook:
    def test_of_steps_gives_the_last(self, command: Command, tmp_path: Path) -> None:
        (command.folder / "book.yaml").write_text(FIRST + LAST)
        done = command("merge", "book.yaml", "merged")
        assert done.code == 0, done.err
        card = ModelCard.load(command.folder / "merged" / "README.md")
        assert [row for row in ("a", "b", "base") if f"| {row} |" not in card.text] == []
        assert "in 2 steps" in card.text
        done = command("merge", "merged/recipe.yaml", tmp_path / "again")
        assert done.code == 0, done.err
        assert same(command.folder / "merged", tmp_path / "again")

    def test_of_several_results_gives_a_folder_for_each(self, command: Command) -> None:
        other = "name: second\nmerge_method: linear\nmodels: [{model: a, parameters: {weight: 1.0}}]\n"
        (command.folder / "book.yaml").write_text(FIRST + other)
        done = command("merge", "book.yaml", "both")
        assert done.code == 0, done.err
        assert done.out.count("Wrote both/") == 2
        assert {file.name for file in (command.folder / "both").iterdir()} == {"first", "second"}
        assert same(command.folder / "both" / "second", command.folder / "a")
        card = (command.folder / "both" / "second" / "README.md").read_text()
        assert "| merged | a |" in card and "| merged | b |" not in card

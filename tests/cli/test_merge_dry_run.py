"""`kingyo merge --dry-run`: the plan for people and for programs; nothing is written."""

import json
import re

from tests.cli.merging import Command, contents


def test_the_dry_run_describes_the_merge(command: Command) -> None:
    (command.folder / "a" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    recipe, before = command.recipe(), contents(command.folder)
    before = {**before, "recipe.yaml": (command.folder / "recipe.yaml").read_bytes()}
    done = command("merge", recipe, "merged", "--dry-run", "--max-shard-size", "20kB")
    assert done.code == 0, done.err
    assert done.err == ""
    assert done.out.startswith("merged\ntask_arithmetic of 2: a, b\nbase: base\n")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "merged a 9.07 k float32 36.3 kB apache-2.0" in lines, done.out
    assert "base base 9.07 k float32 36.3 kB not stated in its card" in lines
    assert any(re.match("with lambda 1, .*weight 0.5 0.3", line) for line in lines)
    assert "3 × model.layers.{0–2}.mlp.up_proj.weight [32, 16] float32" in lines
    assert any(line.startswith("writes 30 tensors, 9.07 k parameters, 39.") for line in lines)
    assert lines[-1] == "Nothing was written. Leave --dry-run out to merge."
    assert contents(command.folder) == before
    assert not (command.folder / "merged").exists()


def test_findings_set_the_exit_code(command: Command) -> None:
    (command.folder / "a" / "README.md").write_text("---\nlicense: cc-by-nd-4.0\n---\n")
    (command.folder / "b" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    done = command("merge", command.recipe(), "merged", "--dry-run")
    assert done.code == 1 and done.err == ""
    assert "error: the licence of a: " in done.out
    assert "warning: licences: " in done.out and "received cc-by-nc-4.0 of b" in done.out
    assert "note: the licence of base" in done.out
    assert "Nothing was written" not in done.out
    done = command("merge", command.recipe(), "merged", "--dry-run", "--ignore-licences")
    assert done.code == 0


def test_the_dry_run_predicts_the_merge(command: Command) -> None:
    flags = ("--max-shard-size", "5kB")
    summary = json.loads(command("merge", command.recipe(), "merged", "--dry-run", "--json", *flags).out)
    assert command("merge", command.recipe(), "merged", *flags).code == 0
    (target,) = summary["targets"]
    sizes = {file.name: file.stat().st_size for file in (command.folder / "merged").glob("*.safetensors")}
    assert target["files"] == sizes


def test_a_file_that_cannot_be_read_at_all(command: Command) -> None:
    (command.folder / "recipe.yaml").write_text("merge_methd: linear")
    done = command("merge", "recipe.yaml", "merged", "--dry-run", "--json")
    assert done.code == 1
    mistakes = {each["argument"]: each for each in json.loads(done.out)["error"]["mistakes"]}
    assert mistakes.keys() == {"recipe.yaml", "recipe.yaml: models"}
    assert mistakes["recipe.yaml"]["received"] == "'merge_methd'"
    assert mistakes["recipe.yaml"]["remedy"] == "Did you mean 'merge_method'?"
    done = command("merge", "recipe.yaml", "merged", "--dry-run")
    assert done.code == 1 and "recipe.yaml: expected" in done.err and "received 2 mistakes" in done.err

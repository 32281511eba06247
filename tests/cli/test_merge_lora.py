"""Messages of `kingyo merge` about adapters: dry run, merge and JSON."""

import json

from tests.cli.merging import Command, write_lora

SAYS = (
    "a+lora: expected an adapter that has the same effect as in training; received lora was trained "
    "on org/elsewhere, and is merged into a. Check that this is what you want."
)


def test_an_adapter_of_another_model_is_a_warning(command: Command) -> None:
    write_lora(command.folder / "lora", "org/elsewhere")
    recipe = command.recipe(models=[{"model": "a+lora", "parameters": {"weight": 1}}])
    file = command.folder / recipe
    file.write_text(
        f"name: one\n{file.read_text()}---\nmerge_method: passthrough\nmodels: [{{model: one}}]\n"
    )
    dry = command("merge", recipe, "out", "--dry-run")
    assert dry.code == 0 and dry.out.replace("\n", " ").count(f"warning: {SAYS}") == 1
    done = command("merge", recipe, "out")
    assert done.code == 0 and done.err == f"Warning: {SAYS}\n"
    (warning,) = json.loads(command("merge", recipe, "again", "--json").out)["warnings"]
    assert warning["argument"] == "a+lora" and "org/elsewhere" in warning["received"]

"""Checks of a merge without reading weights: findings, targets, origins, and its record in few lines."""

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from kingyo.api.merging import loader_of
from kingyo.errors import KingyoError, MistakesError
from kingyo.merging.engine import MergeOptions
from kingyo.merging.engine.preflight import Preflight, check_merge, render_card, write
from kingyo.merging.engine.record import JobGroup, common_text, group, preflight_record
from tests.merging.checkpoints.architectures import DIFFUSERS, HAS_DIFFUSERS, build
from tests.merging.checkpoints.fitting import restate
from tests.merging.engine.preflight.conftest import Ask
from tests.models_on_disk import fine_tuned, llama

CHAIN = (
    "name: one\nmerge_method: linear\nmodels: [{model: source-0}, {model: base}]\nparameters: {weight: 1}\n"
    "---\n"
    "name: two\nmerge_method: linear\nmodels: [{model: source-1}, {model: one}]\nparameters: {weight: 1}\n"
)


def messages_of(checked: Preflight, level: str) -> list[str]:
    return [str(each.error) for each in checked.of(level)]


@pytest.fixture
def editable_model(tmp_path: Path, models: Path) -> Path:
    """A copy of ``source-1`` that a test may break; call it before ``ask`` writes the recipe."""
    (tmp_path / "source-1").unlink(missing_ok=True)
    return Path(shutil.copytree(models / "source-1", tmp_path / "own"))


def test_a_valid_recipe(write_request: Ask) -> None:
    checked = check_merge(*write_request())
    assert checked.error is None and checked.of("error") == () and checked.of("warning") == ()
    (note,) = messages_of(checked, "note")
    assert "the licence of source-0, source-1, base" in note and "not stated in its card" in note
    (target,) = checked.outputs
    assert [origin.name for origin in target.origins] == ["merged", "merged", "base"]
    assert target.out == checked.out


def test_an_unused_base_is_reported(write_request: Ask) -> None:
    """mergekit merges it as one more model."""
    checked = check_merge(*write_request(merge_method="linear", parameters={"weight": 1}))
    (warning,) = messages_of(checked, "warning")
    assert "base_model: expected a model that linear merges" in warning and "list it below models:" in warning
    models = [{"model": "source-0"}, {"model": "base"}]
    listed = write_request(merge_method="linear", parameters={"weight": 1}, models=models)
    assert check_merge(*listed).of("warning") == ()


def test_risky_differences_are_warnings(write_request: Ask, editable_model: Path) -> None:
    restate(editable_model, rope_parameters={"rope_theta": 500000.0, "rope_type": "default"})
    data = json.loads((editable_model / "tokenizer.json").read_text())
    data["model"]["vocab"]["dog"] = len(data["model"]["vocab"])
    (editable_model / "tokenizer.json").write_text(json.dumps(data))
    models = [{"model": "source-0"}, {"model": "own"}]
    checked = check_merge(*write_request(models=models))
    assert checked.error is None
    config, token = sorted(messages_of(checked, "warning"), key=lambda each: "'dog' only in own" in each)
    assert "rope_theta" in config and "10000.0 in base and 500000.0 in own" in config
    assert "'dog' only in own" in token
    checked = check_merge(*write_request(models=models, tokenizer_source="union"))
    assert checked.error is None and messages_of(checked, "warning") == [config]


def test_value_mistakes_are_reported_at_every_level(write_request: Ask) -> None:
    models = [
        {"model": "source-0", "parameters": {"density": [0.5, 1.5], "weight": True}},
        {"model": "source-1", "parameters": {"density": [{"filter": "mlp", "value": -1}, {"value": 0.5}]}},
    ]
    checked = check_merge(
        *write_request(models=models, parameters={"normalize": 3, "wieght": 1, "density": 0.5})
    )
    assert len(checked.of("error")) == 5
    for each in (
        "density of source-0: expected a number from 0 to 1; received 1.5",
        "weight of source-0: expected a number; received True",
        "density of source-1: expected a number from 0 to 1; received -1",
        "normalize of parameters: expected true or false; received 3",
        "parameters: expected parameters of ties; received 'wieght'. Did you mean 'weight'?",
    ):
        assert str(checked.error).count(each) == 1, checked.error
    assert str(checked.error).count("`kingyo list methods ties`") == 4


def test_the_targets_are_the_models_that_no_recipe_uses(write_request: Ask) -> None:
    checked = check_merge(*write_request(CHAIN))
    (target,) = checked.outputs
    assert target.out == checked.out and [step.name for step in target.book.steps] == ["one", "two"]
    assert {origin.reference for origin in target.origins} == {"source-0", "source-1", "base"}
    other = "---\nname: three\nmerge_method: linear\nmodels: [{model: base}]\nparameters: {weight: 1}\n"
    both = check_merge(*write_request(CHAIN + other))
    outputs = {output.out.name: output for output in both.outputs}
    assert [origin.reference for origin in outputs["three"].origins] == ["base"]
    assert {name: len(output.book.steps) for name, output in outputs.items()} == {"two": 2, "three": 1}


def test_the_seed_goes_to_every_recipe(write_request: Ask) -> None:
    checked = check_merge(*write_request(CHAIN), MergeOptions(seed=9))
    assert {plan.recipe.seed for plan in checked.plans.values()} == {9}


def test_roles_of_models(write_request: Ask, tmp_path: Path) -> None:
    fine_tuned(tmp_path / "base", tmp_path / "words", seed=8)
    checked = check_merge(*write_request(tokenizer={"source": "words"}, base_model="base"))
    (target,) = checked.outputs
    roles = {origin.reference: origin.name for origin in target.origins}
    assert roles == {"source-0": "merged", "source-1": "merged", "base": "base", "words": "vocabulary"}


def test_the_record_is_plain_data(write_request: Ask) -> None:
    checked = check_merge(*write_request())
    record = json.loads(json.dumps(preflight_record(checked)))
    (target,) = record["targets"]
    assert target["method"] == "ties" and target["tensors"] == 30 and len(target["groups"]) == 12
    assert [each["role"] for each in target["models"]] == ["merged", "merged", "base"]
    assert target["bytes"] == sum(target["files"].values())
    assert record["warnings"] == [] and len(record["notes"]) == 1


UP = "model.layers.{0–2}.mlp.up_proj.weight"


def groups_of(write_request: Ask, **changes: object) -> dict[str, JobGroup]:
    plan = check_merge(*write_request(**changes)).outputs[0].plan
    return {each.label: each for each in group(plan)}


def test_layers_are_one_line_for_each_form(write_request: Ask) -> None:
    plan = check_merge(*write_request()).outputs[0].plan
    groups = {each.label: each for each in group(plan)}
    assert len(plan.jobs) == sum(each.count for each in groups.values()) == 30
    assert len(groups) == 12, "nine in the layers of a Llama, and three outside"
    assert (groups[UP].count, groups[UP].shape, groups[UP].dtype) == (3, (32, 16), "float32")
    assert groups["lm_head.weight"].count == 1
    shared = set(common_text(list(groups.values())))
    assert {"lambda 1", "normalize true", "weight 0.5", "density 0.5"} <= shared


def test_values_that_differ_become_a_range(write_request: Ask) -> None:
    values = [{"filter": "layers.1.mlp", "value": 2.0}, {"value": 0.5}]
    groups = groups_of(write_request, parameters={"weight": values, "density": [0.1, 0.2, 0.9]})
    assert {"weight 0.5…2", "density 0.1…0.9"} <= set(groups[UP].how)
    assert {"weight 0.5", "density 0.9"} <= set(groups["lm_head.weight"].how)
    assert "weight 0.5" not in common_text(list(groups.values()))


def test_each_source_has_a_value(write_request: Ask) -> None:
    models = [
        {"model": f"source-{i}", "parameters": {"weight": weight}} for i, weight in ((0, [0, 1]), (1, 2))
    ]
    changes: dict[str, object] = {"merge_method": "linear", "base_model": None, "parameters": None}
    assert "weight 0…1 2" in groups_of(write_request, models=models, **changes)[UP].how


@pytest.mark.parametrize("use", ["base", "source-1"])
def test_copied_tensors_name_their_source(write_request: Ask, use: str) -> None:
    groups = groups_of(write_request, parts={"language": use})
    assert {each.how for each in groups.values()} == {(f"copied from {use}",)}


LINEAR = "merge_method: linear\nmodels: [{model: one}, {model: two}]\nparameters: {weight: 1.0}\n"


@pytest.mark.parametrize(
    ("kind", "library", "pipeline"),
    [
        ("gpt2", "transformers", "text-generation"),
        ("vit", "transformers", "image-classification"),
        ("t5", "transformers", None),
        ("unet", "diffusers", "text-to-image"),
    ],
)
def test_the_card_names_the_loading_class(
    write_request: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    library: str,
    pipeline: str | None,
) -> None:
    if kind in DIFFUSERS and not HAS_DIFFUSERS:
        pytest.skip("diffusers is not installed")
    build(kind, tmp_path / "one")
    fine_tuned(tmp_path / "one", tmp_path / "two", seed=1)
    checked = check_merge(*write_request(LINEAR))
    assert checked.error is None, checked.error
    (target,) = checked.outputs
    head = ModelCard(render_card(target, loader_of(target))).data.to_dict()
    assert head["library_name"] == library and head.get("pipeline_tag") == pipeline
    out = write(checked, target, loader=loader_of(target))
    code = re.search(r"```python\n(.*?)\n```", (out / "README.md").read_text(), re.DOTALL)
    if library == "diffusers" or pipeline is None:
        assert code is None
        return
    assert code is not None
    monkeypatch.chdir(out)
    exec(code[1], {})


def test_text_from_models_cannot_break_out(write_request: Ask, models: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a|b`<b>"
    fine_tuned(models / "base", odd, seed=4)
    (odd / "README.md").write_text('---\nlicense: "mit|x\\n# evil"\nlanguage: ["en: [", 7]\n---\n')
    checked = check_merge(*write_request(models=[{"model": str(odd)}, {"model": "source-0"}]))
    card = render_card(checked.outputs[0])
    assert ModelCard(card).data.to_dict()["tags"] == ["merge", "kingyo"]
    assert str(tmp_path) not in card
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert "\n# evil" not in card


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "recipe.yaml"
    file.write_text(text)
    try:
        error = check_merge(file, folder / "out").error
    except KingyoError as raised:
        error = raised
    assert error is not None
    return [str(each) for each in error.mistakes] if isinstance(error, MistakesError) else [str(error)]


def require(messages: list[str], *parts: str) -> None:
    """Check that each of these parts is reported exactly once, and no other mistake."""
    for part in parts:
        assert sum(part in each for each in messages) == 1, (part, messages)
    assert len(messages) == len(parts), messages


def test_all_mistakes_in_the_form_are_reported_at_once(tmp_path: Path) -> None:
    messages = mistakes(
        tmp_path,
        """
merge_metod: linear
models:
  - {modle: a, wieght: 1, parameters: {weight: [a, 1]}}
  - {model: }
dtype: float23
""",
    )
    require(
        messages,
        "received 'merge_metod'",
        "models[0]: expected a known key; received 'modle', 'wieght'",
        "models[0].parameters.weight: expected a gradient",
        "models[1].model: expected a folder or a Hub name; received nothing",
        "dtype: expected a known name; received 'float23'. Did you mean 'float32'?",
    )


def test_all_wrong_values_and_models_are_reported_at_once(tmp_path: Path, models: Path) -> None:
    messages = mistakes(
        tmp_path,
        f"""
merge_method: task_arithmetic
models:
  - {{model: {models}/source-0, parameters: {{weight: x}}}}
  - {{model: {models}/nowhere, parameters: {{weight: 1}}}}
parameters: {{lamda: 1}}
""",
    )
    require(
        messages,
        "nowhere: expected a folder",
        "parameters: expected parameters of task_arithmetic; received 'lamda'",
        "base_model: expected a base for task_arithmetic",
        "weight of ",
    )


def test_a_missing_model_hides_neither_missing_values_nor_models_that_do_not_fit(
    tmp_path: Path, models: Path
) -> None:
    llama(tmp_path / "wide", hidden=32)
    names = (f"{models}/source-0", f"{models}/source-1", tmp_path / "wide", tmp_path / "nowhere")
    listed = "\n".join(f"- {{model: {name}}}" for name in names)
    messages = mistakes(tmp_path, f"merge_method: liner\nmodels:\n{listed}\n")
    fit = "one shape in all models"
    require(
        messages,
        "'liner'. Did you mean",
        fit,
        *(f"weight of {name}:" for name in names),
        "nowhere: expected a folder",
    )

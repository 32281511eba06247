"""Merges of merges: the bits of one after the other, and clear errors about names."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import Plan, compute, open_sources, plan, to_folder
from kingyo.merging.engine.book import rooted_book
from kingyo.merging.engine.execute import MergeOptions
from kingyo.merging.engine.preflight import check_merge
from kingyo.merging.recipe import load_recipe, load_recipes
from tests.models_on_disk import fine_tuned, llama

FIRST = """
merge_method: linear
models: [{model: ja, parameters: {weight: 0.3}}, {model: en, parameters: {weight: [0.7, 0.1]}}]
dtype: bfloat16
"""
SECOND = """
merge_method: passthrough
slices:
- sources: [{model: NAME, layer_range: [0, 3]}]
- sources: [{model: NAME, layer_range: [1, 4]}]
"""
LAST = """
merge_method: ties
base_model: NAME
models: [{model: NAME}, {model: deep}]
parameters: {weight: 0.5, density: 0.4}
dtype: float32
"""


def planned(folder: Path, *documents: str) -> Plan:
    """The plan of the last of these recipes."""
    file = folder / "book.yaml"
    file.write_text("\n---\n".join(documents))
    checked = check_merge(file, folder / "unused")
    if checked.error is not None:
        raise checked.error
    return checked.outputs[-1].plan


@pytest.fixture
def deep(models: Path, tmp_path: Path) -> Path:
    """The models, with one as deep as the second merge."""
    for name in ("ja", "en"):
        (tmp_path / name).symlink_to(models / name)
    fine_tuned(llama(tmp_path / "other", layers=6, hidden=8), tmp_path / "deep", seed=5)
    return tmp_path


def test_the_bits_are_those_of_one_merge_after_the_other(deep: Path, tmp_path: Path) -> None:
    chained = planned(
        deep,
        "name: first" + FIRST,
        LAST.replace("NAME", "second"),
        "name: second" + SECOND.replace("NAME", "first"),
    )
    for name, text in (("first", FIRST), ("second", SECOND), ("last", LAST)):
        before = {"second": "step-first", "last": "step-second"}.get(name, "")
        file = tmp_path / f"{name}.yaml"
        file.write_text(text.replace("NAME", before))
        spec = load_recipe(file)
        to_folder(plan(spec, open_sources(spec, deep)), deep / f"step-{name}")
    expected = open_checkpoint("step-last", deep)
    assert {job.name for job in chained.jobs} == expected.tensors.keys()
    for job in chained.jobs:
        result = compute(job, chained.sources.read)
        assert torch.equal(result, expected.read(job.name)) and job.dtype == "float32", job.name
    out = to_folder(chained, deep / "out", options=MergeOptions(threads=3))
    for file_name in ("config.json", "model.safetensors"):
        assert (out / file_name).read_bytes() == (deep / "step-last" / file_name).read_bytes()


def test_an_intermediate_merge_knows_its_tensors(deep: Path) -> None:
    first = planned(deep, "name: first" + FIRST, SECOND.replace("NAME", "first")).sources["first"]
    assert {info.dtype for info in first.tensors.values()} == {"bfloat16"}
    assert first.layout.n_blocks == 4 and first.config["num_hidden_layers"] == 4
    assert first.read("lm_head.weight").dtype == torch.bfloat16
    with pytest.raises(KingyoError, match=r"first: expected one of its tensors; received lm_hed"):
        first.read("lm_hed.weight")


def test_errors_name_the_recipe(deep: Path) -> None:
    with pytest.raises(KingyoError, match="one: parameters: expected parameters of linear; received 't'"):
        planned(deep, "name: one" + FIRST + "parameters: {t: 1}", SECOND.replace("NAME", "one"))
    for wrong, hint in (("frist", "Did you mean 'first'"), ("absent", "a name on the Hub")):
        with pytest.raises(KingyoError, match=f"{wrong}: expected a folder .*{hint}"):
            planned(deep, "name: first" + FIRST, SECOND.replace("NAME", wrong))


def test_no_model_is_overwritten_from_afar(deep: Path) -> None:
    chained = planned(deep, "name: first" + FIRST, SECOND.replace("NAME", "first"))
    with pytest.raises(KingyoError, match=r"expected a folder that is no source.* en\."):
        to_folder(chained, deep / "en", options=MergeOptions(force=True))


def test_a_rooted_book_keeps_its_names(deep: Path, tmp_path: Path) -> None:
    (deep / "first").mkdir()  # a folder that happens to have the name of a recipe
    planned(deep, "name: first" + FIRST, SECOND.replace("NAME", "first"))
    result = rooted_book(load_recipes(deep / "book.yaml"), deep)
    named = {reference for step in result.steps for reference in step.recipe.references}
    assert named == {str((deep / "ja").resolve()), str((deep / "en").resolve()), "first"}
    file = tmp_path / "elsewhere.yaml"
    file.write_text(result.to_yaml())
    assert load_recipes(file) == result


def test_the_work_does_not_double_with_each_recipe(deep: Path) -> None:
    names = ["ja", *(f"m{i}" for i in range(24))]
    documents = [
        f"name: {name}\nmerge_method: linear\nmodels: [{{model: {before}}}, {{model: {before}}}]\n"
        "parameters: {weight: 0.5}"
        for before, name in pairwise(names)
    ]
    assert planned(deep, *documents).jobs

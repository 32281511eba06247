"""Merges of merges: the bits of one after the other, and clear errors about names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from kingyo.checkpoints import open_checkpoint
from kingyo.engine import compute, open_sources, plan, plan_book, rooted_book, to_folder
from kingyo.engine.folder import identity
from kingyo.engine.options import MergeOptions
from kingyo.errors import KingyoError
from kingyo.recipe import RecipeBook, load_recipe, load_recipes
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


def book(folder: Path, *documents: str) -> RecipeBook:
    file = folder / "book.yaml"
    file.write_text("\n---\n".join(documents))
    return load_recipes(file)


@pytest.fixture
def deep(models: Path, tmp_path: Path) -> Path:
    """The models, with one as deep as the second merge."""
    for name in ("ja", "en"):
        (tmp_path / name).symlink_to(models / name)
    fine_tuned(llama(tmp_path / "other", layers=6, hidden=8), tmp_path / "deep", seed=5)
    return tmp_path


def test_the_bits_are_those_of_one_merge_after_the_other(deep: Path, tmp_path: Path) -> None:
    chained = book(
        deep,
        "name: first" + FIRST,
        LAST.replace("NAME", "second"),
        "name: second" + SECOND.replace("NAME", "first"),
    )
    plans = plan_book(chained, deep)
    assert list(plans) == [None]
    for name, text in (("first", FIRST), ("second", SECOND), ("last", LAST)):
        before = {"second": "step-first", "last": "step-second"}.get(name, "")
        file = tmp_path / f"{name}.yaml"
        file.write_text(text.replace("NAME", before))
        spec = load_recipe(file)
        to_folder(plan(spec, open_sources(spec, deep)), deep / f"step-{name}")
    expected = open_checkpoint("step-last", deep)
    assert {job.name for job in plans[None].jobs} == expected.tensors.keys()
    for job in plans[None].jobs:
        result = compute(job, plans[None].sources.read)
        assert torch.equal(result, expected.read(job.name)) and job.dtype == "float32", job.name
    out = to_folder(plans[None], deep / "out")
    assert (out / "config.json").read_bytes() == (deep / "step-last" / "config.json").read_bytes()


def test_threads_change_no_bit_of_a_chain(deep: Path, tmp_path: Path) -> None:
    chained = book(deep, "name: first" + FIRST, SECOND.replace("NAME", "first"))
    for threads in (1, 3):
        to_folder(
            plan_book(chained, deep)[None], tmp_path / f"out-{threads}", options=MergeOptions(threads=threads)
        )
    one, other = (tmp_path / f"out-{threads}" / "model.safetensors" for threads in (1, 3))
    assert one.read_bytes() == other.read_bytes()


def test_an_intermediate_merge_knows_its_tensors(deep: Path) -> None:
    plans = plan_book(book(deep, "name: first" + FIRST, SECOND.replace("NAME", "first")), deep)
    first = plans[None].sources["first"]
    assert {info.dtype for info in first.tensors.values()} == {"bfloat16"}
    assert first.layout.n_blocks == 4 and first.config["num_hidden_layers"] == 4
    assert first.read("lm_head.weight").dtype == torch.bfloat16
    with pytest.raises(
        KingyoError, match=r"first: expected one of its tensors; received lm_hed.*Did you mean"
    ):
        first.read("lm_hed.weight")


def test_models_that_no_other_recipe_uses_are_outputs(deep: Path) -> None:
    plans = plan_book(book(deep, "name: one" + FIRST, "name: two" + FIRST), deep)
    assert list(plans) == ["one", "two"]


def test_errors_name_the_recipe(deep: Path) -> None:
    with pytest.raises(KingyoError, match="one: parameters: expected parameters of linear; received 't'"):
        plan_book(book(deep, "name: one" + FIRST + "parameters: {t: 1}", SECOND.replace("NAME", "one")), deep)
    with pytest.raises(KingyoError, match=r"or the name of another recipe.*Did you mean 'first'"):
        plan_book(book(deep, "name: first" + FIRST, SECOND.replace("NAME", "frist")), deep)
    with pytest.raises(
        KingyoError, match="absent: expected a folder with a checkpoint, or a name on the Hub"
    ):
        plan_book(book(deep, "name: first" + FIRST, SECOND.replace("NAME", "absent")), deep)


def test_a_rerun_of_a_different_chain_keeps_nothing(deep: Path) -> None:
    def first_identity(first: str) -> str:
        return identity(
            plan_book(book(deep, "name: first" + first, SECOND.replace("NAME", "first")), deep)[None]
        )

    assert first_identity(FIRST) == first_identity(FIRST) != first_identity(FIRST.replace("0.3", "0.4"))
    os.utime(deep / "ja" / "model.safetensors", (0, 0))
    before = first_identity(FIRST)
    os.utime(deep / "ja" / "model.safetensors", (1, 1))
    assert first_identity(FIRST) != before


def test_no_model_is_overwritten_from_afar(deep: Path) -> None:
    planned = plan_book(book(deep, "name: first" + FIRST, SECOND.replace("NAME", "first")), deep)[None]
    with pytest.raises(KingyoError, match=r"expected a folder that is no source.* en\."):
        to_folder(planned, deep / "en", options=MergeOptions(force=True))


def test_a_rooted_book_keeps_its_names(deep: Path, tmp_path: Path) -> None:
    (deep / "first").mkdir()  # a folder that happens to have the name of a recipe
    result = rooted_book(book(deep, "name: first" + FIRST, SECOND.replace("NAME", "first")), deep)
    named = {reference for step in result.steps for reference in step.recipe.references}
    assert named == {str((deep / "ja").resolve()), str((deep / "en").resolve()), "first"}
    file = tmp_path / "elsewhere.yaml"
    file.write_text(result.to_yaml())
    assert load_recipes(file) == result
    assert [step.name for step in result.steps] == ["first", None]


def test_many_recipes_are_planned_at_once(models: Path) -> None:
    """Cost does not double with each recipe."""
    documents = [
        f"name: n{i}\nmerge_method: linear\nmodels: [{{model: ja}}, {{model: en}}]\n" for i in range(40)
    ]
    documents += [
        f"name: m{i}\nmerge_method: linear\nmodels: [{{model: {'ja' if not i else f'm{i - 1}'}}}, "
        f"{{model: {'en' if not i else f'm{i - 1}'}}}]\n"
        for i in range(24)
    ]
    text = "\n---\n".join(f"{each}parameters: {{weight: 0.5}}" for each in documents)
    file = models / "many.yaml"
    file.write_text(text)
    result = plan_book(load_recipes(file), models)
    assert len(result) == 41
    assert (
        len({identity(each) for each in result.values()}) == 2
    )  # forty times the same, and the last of the others


def test_too_deep_chains_of_recipes_are_refused(models: Path) -> None:
    documents = [
        f"name: n{i}\nmerge_method: linear\nmodels: [{{model: {'ja' if not i else f'n{i - 1}'}}}]\n"
        "parameters: {weight: 1}\n"
        for i in range(1500)
    ]
    file = models / "deep.yaml"
    file.write_text("\n---\n".join(documents))
    with pytest.raises(KingyoError, match="n64: expected at most 64 merges for one tensor"):
        plan_book(load_recipes(file), models)

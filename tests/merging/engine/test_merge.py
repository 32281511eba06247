"""Merging to a folder and into a live model: identical bits, and a clear error for incompatible models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import MergeOptions, Sources, compute, into, open_sources, plan, to_folder
from kingyo.merging.engine.record import heading
from kingyo.merging.methods import METHODS, takes_base
from kingyo.merging.recipe import Conditional, Recipe, Source, Value
from tests.models_on_disk import FAMILIES, family, fine_tuned, gpt2, llama, qwen2

MODELS = ("source-0", "source-1", "source-2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and three sources of each family, in float32 and bfloat16."""
    root = tmp_path_factory.mktemp("models")
    for kind in FAMILIES:
        for dtype in ("float32", "bfloat16"):
            family(root / kind / dtype, kind, sources=3, dtype=dtype)
    return root


def recipe(method: str, **changes: object) -> Recipe:
    """A recipe with typical values for any method, per layer where that is possible."""
    by_layer = (Conditional(filter="1.", value=0.7), Conditional(filter=None, value=(0.2, 0.9)))
    typical: dict[str, Value] = {"weight": by_layer, "t": by_layer, "density": 0.4}
    merge_method = METHODS.get(method)
    needed = {each.name: typical[each.name] for each in merge_method.params if each.name in typical}
    fields: dict[str, object] = {
        "merge_method": method,
        "sources": tuple(Source(model=model) for model in MODELS[: merge_method.max_sources or 3]),
        "base_model": "base" if takes_base(merge_method) or method == "linear" else None,
        "parameters": needed,
        "seed": 7,
    }
    return Recipe(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        pytest.param("llama", "float32", marks=pytest.mark.slow),
        pytest.param("llama", "bfloat16", marks=pytest.mark.slow),
        pytest.param("gpt2", "float32", marks=pytest.mark.slow),
        ("qwen2", "bfloat16"),
    ],
)
@pytest.mark.parametrize("method", METHODS.names())
def test_files_and_live_weights_are_bit_identical(
    folder: Path, tmp_path: Path, kind: str, dtype: str, method: str
) -> None:
    spec = recipe(method)
    models = folder / kind / dtype
    live = AutoModelForCausalLM.from_pretrained(models / "base", dtype=getattr(torch, dtype))
    before = {name: tensor.clone() for name, tensor in live.state_dict().items()}
    into(plan(spec, open_sources(spec, models)), live.state_dict())
    out = to_folder(plan(spec, open_sources(spec, models)), tmp_path / "out", {"recipe.yaml": spec.to_yaml()})
    saved = AutoModelForCausalLM.from_pretrained(out, dtype="auto").state_dict()
    assert saved.keys() == before.keys()
    for name, tensor in live.state_dict().items():
        assert torch.equal(tensor, saved[name]) and tensor.dtype == saved[name].dtype, name
    assert any(not torch.equal(before[name], tensor) for name, tensor in saved.items())
    assert {file.name for file in out.iterdir()} >= {"recipe.yaml", "tokenizer.json", "chat_template.jinja"}


MERGE_ALL = """
import sys
from pathlib import Path
from kingyo.merging.engine import open_sources, plan, to_folder
from kingyo.merging.recipe import load_recipe
for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    recipe = load_recipe(file)
    to_folder(plan(recipe, open_sources(recipe, Path(sys.argv[2]))), file.with_suffix(""))
"""


def test_result_does_not_depend_on_process_or_thread_count(folder: Path, tmp_path: Path) -> None:
    models = folder / "llama" / "float32"
    for method in METHODS.names():
        (tmp_path / f"{method}.yaml").write_text(recipe(method).to_yaml())
    command = [sys.executable, "-c", MERGE_ALL, str(tmp_path), str(models)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "3"})
    for method in METHODS.names():
        theirs = load_file(tmp_path / method / "model.safetensors")
        planned = plan(recipe(method), open_sources(recipe(method), models))
        for job in planned.jobs:
            assert torch.equal(compute(job, planned.sources.read), theirs[job.name]), f"{method}: {job.name}"


def test_a_base_listed_among_the_models_is_not_a_source(folder: Path) -> None:
    models = folder / "llama" / "float32"
    for method in METHODS.names():
        if METHODS.get(method).needs_base:
            unlisted = recipe(method)
            sources = (Source(model="base"), *unlisted.sources)
            listed = recipe(method, sources=sources)
            one, other = (plan(each, open_sources(each, models)) for each in (unlisted, listed))
            for a, b in zip(one.jobs, other.jobs, strict=True):
                assert torch.equal(compute(a, one.sources.read), compute(b, other.sources.read)), method


def test_the_dtype_of_the_output(folder: Path, tmp_path: Path) -> None:
    models = folder / "llama" / "float32"
    spec = recipe("linear", dtype="bfloat16")
    planned = plan(spec, open_sources(spec, models))
    out = to_folder(planned, tmp_path / "out")
    assert {info.dtype for info in open_checkpoint(str(out)).tensors.values()} == {"bfloat16"}
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    live = {job.name: torch.zeros(job.shape) for job in planned.jobs}
    into(planned, live)
    for name, tensor in load_file(out / "model.safetensors").items():
        assert torch.equal(live[name], tensor.float()), "a wider live model holds the rounded values"
    narrow = {name: tensor.half() for name, tensor in live.items()}
    with pytest.raises(KingyoError, match=r"that holds bfloat16; received .* of torch\.float16"):
        into(planned, narrow)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_live_model_on_a_gpu(folder: Path) -> None:
    """Every candidate is bit-identical to the CPU result."""
    models = folder / "llama" / "bfloat16"
    for method in METHODS.names():
        spec = recipe(method)
        gpu_sources, cpu_sources = open_sources(spec, models), open_sources(spec, models)
        for dtype in (torch.bfloat16, torch.float32):
            live = {
                job.name: torch.zeros(job.shape, dtype=dtype, device="cuda")
                for job in plan(spec, gpu_sources).jobs
            }
            for _ in range(3):
                into(plan(spec, gpu_sources), live)
            for job in plan(spec, cpu_sources).jobs:
                assert torch.equal(live[job.name].cpu(), compute(job, cpu_sources.read).to(dtype)), method


def test_a_plan_can_be_read(folder: Path) -> None:
    spec = recipe("dare_ties")
    lines = heading(plan(spec, open_sources(spec, folder / "llama" / "float32")))
    assert lines == ["dare_ties of 3: source-0, source-1, source-2", "base: base", "seed: 7"]


densities = st.tuples(st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=15)
@given(weight=st.floats(-2, 2), density=densities, seed=st.integers(0, 3))
def test_a_shared_cache_changes_nothing(
    folder: Path, weight: float, density: tuple[float, float], seed: int
) -> None:
    """Candidates that share sources and random numbers do not affect each other."""
    spec = recipe("dare_ties", parameters={"weight": weight, "density": density}, seed=seed)
    warm = open_sources(spec, folder / "qwen2" / "float32")
    other = recipe("dare_ties", parameters={"weight": 1.0, "density": 0.5}, seed=seed)
    live = {name: torch.zeros(info.shape) for name, info in warm["base"].tensors.items()}
    for each in (other, other, spec):
        into(plan(each, warm), live)
    cold = plan(spec, open_sources(spec, folder / "qwen2" / "float32"))
    for job in cold.jobs:
        assert torch.equal(live[job.name], compute(job, cold.sources.read))


def changed(method: str, **values: Value) -> Recipe:
    spec = recipe(method)
    return recipe(method, parameters={**spec.parameters, **values})


def on_source(**values: Value) -> Recipe:
    return recipe("ties", sources=(Source(model="source-0", parameters=values), Source(model="source-1")))


MISTAKES: dict[str, tuple[Recipe, str]] = {
    "method": (recipe("ties", merge_method="tise"), "Did you mean 'ties'"),
    "no base": (recipe("ties", base_model=None), "base_model: expected a base for ties"),
    "too many": (
        recipe("slerp", sources=recipe("ties").sources),
        "models: expected 1 for slerp beside the base; received 3",
    ),
    "parameter": (changed("ties", densty=0.5), "Did you mean 'density'"),
    "shared given to one": (on_source(weight=1.0, normalize=True), "source-0.*the parameters: of the recipe"),
    "given to the base": (
        recipe("ties", sources=(Source(model="base", parameters={"weight": 1.0}), Source(model="source-0"))),
        "no parameters for the base",
    ),
    "missing": (recipe("ties", parameters={}), "weight of source-0: expected a value"),
    "no filter matches": (
        recipe("ties", parameters={"weight": (Conditional(filter="mlp", value=1.0),)}),
        "weight of source-0: expected a value",
    ),
    "out of bounds": (
        changed("ties", density=1.5),
        "density of source-0: expected a number from 0 to 1; .*1.5",
    ),
    "a number for a switch": (changed("ties", normalize=0.5), "normalize of .*: expected true or false"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_found_before_any_weight_is_read(folder: Path, case: str) -> None:
    spec, message = MISTAKES[case]
    opened = open_sources(spec, folder / "llama" / "float32")
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        plan(spec, opened)


def test_a_method_from_a_user_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from kingyo.merging.methods.ties import Ties\n\nMINE = Ties()\n")
    opened = open_sources(recipe("ties"), folder / "llama" / "float32")
    with pytest.raises(KingyoError, match="no file"):
        plan(recipe("ties", merge_method="mine.py:MINE"), opened)
    mine = plan(recipe("ties", merge_method="mine.py:MINE"), Sources(opened, tmp_path))
    theirs = plan(recipe("ties"), opened)
    tensors = [compute(job, opened.read) for job in mine.jobs]
    assert all(torch.equal(a, compute(job, opened.read)) for a, job in zip(tensors, theirs.jobs, strict=True))


def test_models_with_different_shapes(folder: Path, tmp_path: Path) -> None:
    spec = recipe("ties")
    opened = open_sources(spec, folder / "llama" / "float32")

    def against(other: Path) -> str:
        with pytest.raises(KingyoError) as caught:
            plan(spec, Sources({**opened, "source-1": open_checkpoint(str(other))}))
        return str(caught.value)

    wide = against(llama(tmp_path / "wide", hidden=32))
    assert "expected one shape in all models: [64, 16] as in base; received [64, 32] in " in wide
    assert str(tmp_path / "wide") in wide and wide.startswith("lm_head.weight: ")
    deep = against(llama(tmp_path / "deep", layers=4))
    assert "'model.layers.3.input_layernorm.weight' in " in deep and "but not in base" in deep
    assert "models with the same tensors" in against(gpt2(tmp_path / "gpt2"))
    assert "model_type in config.json" in against(disguised(tmp_path / "disguised", "model_type", "mistral"))
    assert "num_attention_heads" in against(disguised(tmp_path / "heads", "num_attention_heads", 2))


def disguised(folder: Path, key: str, value: object) -> Path:
    config = json.loads((llama(folder) / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    return folder


def test_a_live_model_with_a_different_shape(folder: Path) -> None:
    spec = recipe("linear")
    planned = plan(spec, open_sources(spec, folder / "llama" / "float32"))
    live = {job.name: torch.zeros(job.shape) for job in planned.jobs}
    with pytest.raises(KingyoError, match=r"'lm_head\.weight', which is not in the live model"):
        into(planned, {name: tensor for name, tensor in live.items() if name != "lm_head.weight"})
    with pytest.raises(KingyoError, match="'more', which is not in the plan"):
        into(planned, live | {"more": torch.zeros(1)})
    with pytest.raises(KingyoError, match=r"lm_head\.weight: expected a live .*; received \[1\]"):
        into(planned, live | {"lm_head.weight": torch.zeros(1)})
    into(planned, live | {"alias": live["lm_head.weight"]})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folder: Path, tmp_path: Path, bad: float) -> None:
    broken = fine_tuned(folder / "llama" / "float32" / "base", tmp_path / "broken", seed=0)
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"][0] = bad
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    spec = recipe("linear", sources=(Source(model=str(broken)),), parameters={"weight": 1.0})
    planned = plan(spec, open_sources(spec, folder / "llama" / "float32"))
    live = {job.name: torch.zeros(job.shape) for job in planned.jobs}
    with pytest.raises(KingyoError, match=r"broken: model\.norm\.weight: expected finite weights"):
        into(planned, live)
    with pytest.raises(KingyoError, match=r"model\.norm\.weight"):
        to_folder(planned, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("name", ["base", "source-0"])
def test_no_method_hides_nonfinite_weights(folder: Path, tmp_path: Path, method: str, name: str) -> None:
    if name == "base" and not takes_base(METHODS.get(method)):
        pytest.skip("the method takes no base")
    for each in ("base", *MODELS):
        shutil.copytree(folder / "qwen2" / "bfloat16" / each, tmp_path / each)
    tensors = load_file(tmp_path / name / "model.safetensors")
    tensors["model.norm.weight"][:2] = torch.tensor([torch.nan, torch.inf])
    save_file(tensors, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
    accepted = {each.name for each in METHODS.get(method).params}
    for rescale in (True, False):
        parameters = {"density": 0.05, "rescale": rescale, "weight": 1.0, "t": 0.5}
        spec = recipe(method, parameters={key: value for key, value in parameters.items() if key in accepted})
        planned = plan(spec, open_sources(spec, tmp_path))
        live = {job.name: torch.zeros(job.shape) for job in planned.jobs}
        with pytest.raises(KingyoError, match=rf"{name}: model\.norm\.weight: expected finite weights"):
            into(planned, live)
        with pytest.raises(KingyoError, match=rf"{name}: model\.norm\.weight: expected finite weights"):
            to_folder(planned, tmp_path / "out")


def test_a_tied_live_model_of_an_untied_merge(folder: Path) -> None:
    spec = recipe("linear")
    planned = plan(spec, open_sources(spec, folder / "llama" / "float32"))
    live = {job.name: torch.zeros(job.shape) for job in planned.jobs}
    live["lm_head.weight"] = live["model.embed_tokens.weight"]
    with pytest.raises(KingyoError, match=r"separate memory for \S+, which the merge does not tie"):
        into(planned, live)


@pytest.mark.parametrize("kind", ["meta", "turned"])
def test_a_live_tensor_that_cannot_be_filled(folder: Path, kind: str) -> None:
    planned = plan(recipe("linear"), open_sources(recipe("linear"), folder / "llama" / "float32"))
    weights = {job.name: torch.zeros(job.shape) for job in planned.jobs}
    name = "model.layers.0.self_attn.q_proj.weight"
    weights[name] = {
        "meta": weights[name].to("meta"),
        "turned": weights[name].T,
    }[kind]
    with pytest.raises(KingyoError, match=f"{name}: expected a live tensor .* in one piece of memory"):
        into(planned, weights)


@pytest.mark.parametrize("method", METHODS.names())
def test_streaming_writes_give_identical_bits(
    folder: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large models are written with streaming stores; unaligned spans are written normally."""
    planned = plan(recipe(method), open_sources(recipe(method), folder / "llama" / "bfloat16"))
    results: list[dict[str, torch.Tensor]] = []
    for threshold in (1 << 24, 0):
        monkeypatch.setattr("kingyo.merging.engine.execute._BYPASS_FROM", threshold)
        results.append({job.name: torch.zeros(job.shape, dtype=torch.bfloat16) for job in planned.jobs})
        into(planned, results[-1], MergeOptions(threads=2))
    assert all(torch.equal(tensor, results[1][name]) for name, tensor in results[0].items())


def test_an_overflow_of_the_output_dtype_is_named(folder: Path) -> None:
    spec = recipe("task_arithmetic", parameters={"weight": 1e6}, dtype="float16")
    planned = plan(spec, open_sources(spec, folder / "llama" / "float32"))
    with pytest.raises(KingyoError, match=r"lm_head\.weight: expected merged weights that float16 can hold"):
        compute(planned.jobs[0], planned.sources.read)


def test_integers_are_copied_when_equal(folder: Path, tmp_path: Path) -> None:
    models = [qwen2(tmp_path / name, seed=i) for i, name in enumerate(("base", *MODELS))]
    for i, (model, last) in enumerate(zip(models, (0, 0, 0, 1), strict=True)):
        tensors = load_file(model / "model.safetensors")
        tensors["model.position_ids"] = torch.tensor([0, 1, 2])
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
        if last:
            tensors["model.position_ids"][i - 1] = 9
            save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    equal = recipe("ties", sources=recipe("ties").sources[:2], dtype="bfloat16")
    planned = plan(equal, open_sources(equal, tmp_path))
    jobs = {job.name: job for job in planned.jobs}
    copied = compute(jobs["model.position_ids"], planned.sources.read)
    assert copied.tolist() == [0, 1, 2] and copied.dtype == torch.int64
    unequal = recipe("ties")
    planned = plan(unequal, open_sources(unequal, tmp_path))
    with pytest.raises(KingyoError, match=r"model\.position_ids: expected equal values"):
        compute(next(job for job in planned.jobs if job.name == "model.position_ids"), planned.sources.read)


def test_sources_are_never_written(folder: Path) -> None:
    models = folder / "llama" / "float32"
    before = {file: file.read_bytes() for file in sorted(models.rglob("*.safetensors"))}
    for method in METHODS.names():
        spec = recipe(method)
        planned = plan(spec, open_sources(spec, models))
        into(planned, {job.name: torch.zeros(job.shape) for job in planned.jobs})
        for reference, checkpoint in planned.sources.items():
            stored = load_file(models / reference / "model.safetensors")
            assert all(torch.equal(stored[name], checkpoint.read(name)) for name in stored)
    assert before == {file: file.read_bytes() for file in before}

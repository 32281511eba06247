"""Merging to a folder and into a live model: identical bits; sources with a LoRA."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import Sources, compute, into, open_sources, plan, to_folder
from kingyo.merging.methods import METHODS, takes_base
from kingyo.merging.recipe import Conditional, Recipe, Source, Value
from tests.models_on_disk import FAMILIES, family, fine_tuned, llama, qwen2

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
    files = {file: file.read_bytes() for file in models.rglob("*.safetensors")}
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
    assert files == {file: file.read_bytes() for file in files}, "sources are never written"


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


MISTAKES: dict[str, tuple[Recipe, str]] = {
    "too many": (
        recipe("slerp", sources=recipe("ties").sources),
        "models: expected 1 for slerp beside the base; received 3",
    ),
    "shared given to one": (
        recipe("ties", sources=(Source(model="source-0", parameters={"weight": 1.0, "normalize": True}),)),
        "source-0.*the parameters: of the recipe",
    ),
    "given to the base": (
        recipe("ties", sources=(Source(model="base", parameters={"weight": 1.0}), Source(model="source-0"))),
        "no parameters for the base",
    ),
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


HEAD, Q_PROJ = "lm_head.weight", "model.layers.0.self_attn.q_proj.weight"
Weights = dict[str, torch.Tensor]
UNFIT: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "one less": (
        lambda live: {name: each for name, each in live.items() if name != HEAD},
        r"'lm_head\.weight', which is not in the live model",
    ),
    "one more": (lambda live: live | {"more": torch.zeros(1)}, "'more', which is not in the plan"),
    "other shape": (
        lambda live: live | {HEAD: torch.zeros(1)},
        r"lm_head\.weight: expected a live .*; received \[1\]",
    ),
    "tied": (
        lambda live: live | {HEAD: live["model.embed_tokens.weight"]},
        r"separate memory for \S+, which the merge does not tie",
    ),
    "meta": (lambda live: live | {Q_PROJ: live[Q_PROJ].to("meta")}, f"{Q_PROJ}: .* in one piece of memory"),
    "turned": (lambda live: live | {Q_PROJ: live[Q_PROJ].T}, f"{Q_PROJ}: .* in one piece of memory"),
}


def test_live_models_that_do_not_fit(folder: Path) -> None:
    planned = plan(recipe("linear"), open_sources(recipe("linear"), folder / "llama" / "float32"))
    live = {job.name: torch.zeros(job.shape) for job in planned.jobs}
    for change, message in UNFIT.values():
        with pytest.raises(KingyoError, match=message):
            into(planned, change(live))
    into(planned, live | {"alias": live[HEAD]})


@pytest.fixture(scope="module", params=["base", "source-0"])
def nonfinite(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models where one has two weights that are not finite; ``bad`` has its name."""
    root = tmp_path_factory.mktemp("nonfinite")
    shutil.copytree(folder / "qwen2" / "bfloat16", root, dirs_exist_ok=True)
    file = root / request.param / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"][:2] = torch.tensor([torch.nan, torch.inf])
    save_file(tensors, file, metadata={"format": "pt"})
    (root / "bad").write_text(request.param)
    return root


@pytest.mark.parametrize("method", METHODS.names())
def test_no_method_hides_nonfinite_weights(nonfinite: Path, tmp_path: Path, method: str) -> None:
    name = (nonfinite / "bad").read_text()
    if name == "base" and not takes_base(METHODS.get(method)):
        pytest.skip("the method takes no base")
    accepted = {each.name for each in METHODS.get(method).params}
    for rescale in (True, False) if "rescale" in accepted else (True,):
        parameters = {"density": 0.05, "rescale": rescale, "weight": 1.0, "t": 0.5}
        spec = recipe(method, parameters={key: value for key, value in parameters.items() if key in accepted})
        planned = plan(spec, open_sources(spec, nonfinite))
        live = {job.name: torch.zeros(job.shape) for job in planned.jobs}
        with pytest.raises(KingyoError, match=rf"{name}: model\.norm\.weight: expected finite weights"):
            into(planned, live)
        with pytest.raises(KingyoError, match=rf"{name}: model\.norm\.weight: expected finite weights"):
            to_folder(planned, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_an_overflow_of_the_output_dtype_is_named(folder: Path) -> None:
    spec = recipe("task_arithmetic", parameters={"weight": 1e6}, dtype="float16")
    planned = plan(spec, open_sources(spec, folder / "llama" / "float32"))
    with pytest.raises(KingyoError, match=r"lm_head\.weight: expected merged weights that float16 can hold"):
        compute(planned.jobs[0], planned.sources.read)


def test_integers_are_copied_when_equal(tmp_path: Path) -> None:
    for i, name in enumerate(("base", *MODELS)):
        file = qwen2(tmp_path / name, seed=i) / "model.safetensors"
        positions = torch.tensor([0, 1, 9 if name == "source-2" else 2])
        save_file({**load_file(file), "model.position_ids": positions}, file, metadata={"format": "pt"})

    def merged(spec: Recipe) -> torch.Tensor:
        planned = plan(spec, open_sources(spec, tmp_path))
        return compute(
            next(job for job in planned.jobs if job.name == "model.position_ids"), planned.sources.read
        )

    copied = merged(recipe("ties", sources=recipe("ties").sources[:2], dtype="bfloat16"))
    assert copied.tolist() == [0, 1, 2] and copied.dtype == torch.int64
    with pytest.raises(KingyoError, match=r"model\.position_ids: expected equal values"):
        merged(recipe("ties"))


MODULE = "model.layers.{}.self_attn.{}_proj"


def family_with_lora(folder: Path, dtype: str = "bfloat16") -> None:
    """``m``, ``other`` and ``lora``, all of one Llama."""
    llama(folder / "m", dtype=dtype)
    fine_tuned(folder / "m", folder / "other", seed=1)
    generator = torch.Generator().manual_seed(3)
    pairs: dict[str, torch.Tensor] = {}
    for layer in range(3):
        name = f"base_model.model.{MODULE.format(layer, 'q')}"
        pairs[f"{name}.lora_A.weight"] = torch.randn(2, 16, generator=generator)
        pairs[f"{name}.lora_B.weight"] = torch.randn(16, 2, generator=generator)
    (folder / "lora").mkdir()
    save_file(pairs, folder / "lora" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 1, "base_model_name_or_path": "m"}
    (folder / "lora" / "adapter_config.json").write_text(json.dumps(config))


def mean(*models: str) -> Recipe:
    return Recipe(
        merge_method="linear",
        sources=tuple(Source(model=model) for model in models),
        parameters={"weight": 1.0},
    )


def test_the_sum_is_rounded_once_to_the_models_dtype_live_and_on_disk(tmp_path: Path) -> None:
    family_with_lora(tmp_path)
    spec = mean("m+lora", "other")
    out = to_folder(plan(spec, open_sources(spec, tmp_path)), tmp_path / "out")
    pairs = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    base, other = (load_file(tmp_path / name / "model.safetensors") for name in ("m", "other"))
    saved = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    for name, tensor in saved.items():
        exact = base[name].double() + other[name].double()
        if "q_proj" in name:
            module = f"base_model.model.{name.removesuffix('.weight')}"
            a, b = (pairs[f"{module}.lora_{side}.weight"].double() for side in "AB")
            exact += b @ a / 2
        assert torch.equal(tensor, (exact / 2).bfloat16())
    live = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.bfloat16).state_dict()
    into(plan(spec, open_sources(spec, tmp_path)), live)
    assert all(torch.equal(live[name], tensor) for name, tensor in saved.items())


def test_candidates_share_the_tensors_that_a_lora_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family_with_lora(tmp_path)
    tensors, name = open_sources(mean("m+lora", "other"), tmp_path).mapped, f"{MODULE.format(0, 'q')}.weight"
    kept = tensors.read("m+lora", name)
    assert tensors.read("m+lora", name) is kept
    monkeypatch.setattr("kingyo.merging.engine.sources._KEPT", kept.nbytes)  # enough for that one
    others = [tensors.read("m+lora", f"{MODULE.format(1, 'q')}.weight") for _ in range(2)]
    assert others[0] is not others[1]
    assert torch.equal(*others)

"""Paths whose layers are written once: what transformers loads says what the live path says."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from kingyo.engine import plan, to_folder
from kingyo.engine.folder import identity
from kingyo.engine.sources import open_sources
from kingyo.engine.unrolled import SHAREABLE
from kingyo.errors import KingyoError
from kingyo.models.path import Layers
from kingyo.recipe import Hop, Recipe
from tests.decoders import ARCHITECTURES, MASK, TOKENS, cached_logits, far, logits, loud
from tests.engine.test_path import FOLDED, SCALED, path, saved
from tests.models_on_disk import tokenizer

N_LAYERS = len({(model, layer) for model, layer, _ in SCALED})
KINDS = [name for name in ARCHITECTURES if name != "smollm3"]  # whose config cannot say another order


@pytest.fixture(autouse=True, scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where transformers copies code before it runs it: not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("modules"))
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", folder)
        patch.setattr(sys, "path", [*sys.path])  # transformers adds the folder to it
        yield


def written(recipe: Recipe, out: Path, *, share_layers: bool = True) -> Path:
    return to_folder(plan(recipe, open_sources(recipe), share_layers=share_layers), out)


def loaded(folder: Path) -> PreTrainedModel:
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, output_loading_info=True
    )
    assert not any(report.values()), report
    return model.eval()


def winding(folders: dict[str, Path], base: str = "a") -> Recipe:
    return Recipe(merge_method="passthrough", path=path(folders, SCALED), base_model=str(folders[base]))


def quiet(kind: str, folder: Path) -> dict[str, Path]:
    """Models of the weights that models begin with, beside which what norms add is not small."""
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        ARCHITECTURES[kind]().save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)
    return {name: folder / name for name in "ab"}


def small(folders: dict[str, Path], first: float, last: float = 0.9) -> Recipe:
    steps = (("a", 0, first), ("b", 1, 1.1), ("b", 1, 1.0), ("a", 0, last))
    return Recipe(merge_method="passthrough", path=path(folders, steps), base_model=str(folders["a"]))


def live(recipe: Recipe, folders: dict[str, Path], dtype: str = "float32") -> PreTrainedModel:
    models = {
        str(each): AutoModelForCausalLM.from_pretrained(each, dtype=dtype).eval() for each in folders.values()
    }
    return Layers(models).follow(recipe.path, str(recipe.base_model))


@torch.inference_mode()
def answers(model: PreTrainedModel, *, use_cache: bool) -> torch.Tensor:
    found = model.generate(
        TOKENS[1:, :6],
        attention_mask=torch.ones_like(TOKENS[1:, :6]),
        do_sample=False,
        max_new_tokens=16,
        eos_token_id=None,
        use_cache=use_cache,
    )
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_live_path_says_with_a_cache_and_without(kind: str, tmp_path: Path) -> None:
    folders = saved(kind, tmp_path)
    recipe = winding(folders, "b")
    out = written(recipe, tmp_path / "out")
    model, reference = loaded(out), live(recipe, folders)
    assert far(logits(reference), logits(model)) < 1e-6
    assert far(logits(reference), cached_logits(model)) < 1e-5
    assert torch.equal(answers(model, use_cache=True), answers(model, use_cache=False))
    assert model.config.num_hidden_layers == len(SCALED)
    assert len({each.data_ptr() for each in model.parameters()}) == len(list(model.parameters()))
    model.save_pretrained(tmp_path / "again")
    again = loaded(tmp_path / "again")
    assert torch.equal(logits(model), logits(again))
    names = [load_file(each / "model.safetensors").keys() for each in (out, tmp_path / "again")]
    assert names[0] == names[1]


@pytest.mark.parametrize("scale", [0.001, 0.5, 1.7])
@pytest.mark.parametrize("kind", KINDS)
def test_small_streams_are_read_as_the_live_path_reads_them(kind: str, scale: float, tmp_path: Path) -> None:
    folders = quiet(kind, tmp_path)
    recipe = small(folders, scale)
    out = written(recipe, tmp_path / "out")
    model, reference = loaded(out), logits(live(recipe, folders))
    assert far(reference, logits(model)) < 1e-6
    assert far(reference, cached_logits(model)) < 1e-5
    assert torch.equal(answers(model, use_cache=True), answers(model, use_cache=False))
    model.save_pretrained(tmp_path / "again")
    assert torch.equal(logits(model), logits(loaded(tmp_path / "again")))
    if kind in FOLDED:
        unrolled = AutoModelForCausalLM.from_pretrained(
            written(recipe, tmp_path / "plain", share_layers=False)
        )
        assert far(logits(unrolled.eval()), logits(model)) < 1e-5


@pytest.mark.parametrize("kind", FOLDED)
def test_it_says_what_the_unrolled_checkpoint_says(kind: str, tmp_path: Path) -> None:
    folders = saved(kind, tmp_path)
    recipe = winding(folders)
    unrolled = AutoModelForCausalLM.from_pretrained(written(recipe, tmp_path / "plain", share_layers=False))
    assert far(logits(unrolled.eval()), logits(loaded(written(recipe, tmp_path / "out")))) < 1e-5


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
def test_its_weights_are_those_of_the_layers_once(kind: str, tmp_path: Path) -> None:
    folders = saved(kind, tmp_path)
    out = written(winding(folders), tmp_path / "out")
    of_layer = re.compile(r"\.(?:layers|h)\.(\d+)\.")
    stored = {name: load_file(each / "model.safetensors") for name, each in folders.items()}
    mine = load_file(out / "model.safetensors")
    order = list(dict.fromkeys((model, layer) for model, layer, _ in SCALED))
    for name, tensor in mine.items():
        found = of_layer.search(name)
        model, layer = order[int(found[1])] if found else ("a", 0)
        theirs = name if found is None else name.replace(found[0], found[0].replace(found[1], str(layer)), 1)
        assert torch.equal(tensor, stored[model][theirs]), name
    assert {int(found[1]) for found in map(of_layer.search, mine) if found} == set(range(N_LAYERS))
    sizes = {name: sum(each.nbytes for each in tensors.values()) for name, tensors in stored.items()}
    first = re.compile(r"\.(?:layers|h)\.0\.")
    per_layer = sum(tensor.nbytes for name, tensor in stored["a"].items() if first.search(name))
    expected = sizes["a"] + (N_LAYERS - 4) * per_layer
    assert sum(each.nbytes for each in mine.values()) == expected
    plain = written(winding(folders), tmp_path / "plain", share_layers=False) / "model.safetensors"
    assert plain.stat().st_size - (out / "model.safetensors").stat().st_size >= per_layer


def test_kinds_of_layers_that_the_config_leaves_to_defaults_are_kept(tmp_path: Path) -> None:
    """A config of earlier days says sliding attention by a number; each layer keeps its kind all the same."""
    folders = saved("qwen2, sliding", tmp_path)
    for folder in folders.values():
        config = json.loads((folder / "config.json").read_text())
        del config["layer_types"]
        (folder / "config.json").write_text(json.dumps(config))
    recipe = winding(folders)
    model = loaded(written(recipe, tmp_path / "out"))
    assert model.config.layer_types.count("sliding_attention") == 2
    assert far(logits(live(recipe, folders)), logits(model)) < 1e-6
    assert far(logits(model), cached_logits(model)) < 1e-5


def test_without_trust_transformers_says_what_is_missing(tmp_path: Path) -> None:
    out = written(winding(saved("llama", tmp_path)), tmp_path / "out")
    for auto in (AutoModelForCausalLM, AutoConfig):
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            auto.from_pretrained(out, trust_remote_code=False)
    assert AutoTokenizer.from_pretrained(out)("1 2")["input_ids"] == tokenizer()("1 2")["input_ids"]


def test_the_code_is_small_and_needs_nothing_of_ours(tmp_path: Path) -> None:
    code = (written(winding(saved("gpt2", tmp_path)), tmp_path / "out") / "modeling_path.py").read_text()
    assert "kingyo" not in code
    assert "Llama" not in code
    assert "GPT2LMHeadModel" in code
    assert len(code.splitlines()) < 120


@pytest.mark.parametrize("kind", ["llama", "mistral, sliding", "gpt2"])
@pytest.mark.parametrize("how", [{"cache_implementation": "static"}, {"num_beams": 3}], ids=str)
def test_other_caches_and_beams_are_those_of_the_unrolled_model(
    kind: str, how: dict[str, object], tmp_path: Path
) -> None:
    recipe = winding(saved(kind, tmp_path))
    unrolled = AutoModelForCausalLM.from_pretrained(written(recipe, tmp_path / "plain", share_layers=False))
    shared = loaded(written(recipe, tmp_path / "out"))
    asked = {"attention_mask": MASK, "do_sample": False, "max_new_tokens": 10, "eos_token_id": None, **how}
    one, other = (model.eval().generate(TOKENS, **asked) for model in (unrolled, shared))
    assert torch.equal(one, other)


def test_a_copy_is_another_model(tmp_path: Path) -> None:
    model = loaded(written(winding(saved("llama", tmp_path)), tmp_path / "out"))
    before, twin = logits(model), copy.deepcopy(model)
    with torch.no_grad():
        for each in twin.parameters():
            each.zero_()
    assert torch.equal(logits(model), before)
    assert not logits(twin).any()


def test_layers_can_be_trained_and_moved_as_those_of_any_model(tmp_path: Path) -> None:
    model = loaded(written(winding(saved("llama", tmp_path)), tmp_path / "out"))
    before = logits(model)
    assert torch.equal(before, logits(model.to(torch.float64).to(torch.float32)))
    out = model(input_ids=TOKENS, labels=TOKENS, output_hidden_states=True)
    assert len(out.hidden_states) == len(SCALED) + 1
    out.loss.backward()
    assert all(each.grad is not None for each in model.parameters())
    model.activation_checkpointing_enable()
    kept = [each.grad.clone() for each in model.parameters()]
    model.zero_grad()
    model.train()(input_ids=TOKENS, labels=TOKENS).loss.backward()
    torch.testing.assert_close([each.grad for each in model.parameters()], kept)


@pytest.mark.parametrize("reentrant", [True, False])
def test_layers_that_are_passed_again_for_their_gradients_stand_where_they_stood(
    reentrant: bool, tmp_path: Path
) -> None:
    model = loaded(written(small(quiet("llama", tmp_path), 0.1, 10.0), tmp_path / "out")).train()
    model.enable_input_require_grads()
    model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss.backward()
    kept = [each.grad.clone() for each in model.parameters()]
    model.zero_grad()
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss.backward()
    torch.testing.assert_close([each.grad for each in model.parameters()], kept)


def test_where_nothing_is_shared_it_is_an_ordinary_checkpoint(tmp_path: Path) -> None:
    folders = saved("llama", tmp_path)
    steps = (("b", 0, 1.0), ("a", 1, 1.0), ("a", 0, 1.0))
    recipe = Recipe(merge_method="passthrough", path=path(folders, steps))
    out = written(recipe, tmp_path / "out")
    assert not (out / "modeling_path.py").exists()
    assert "path_layers" not in json.loads((out / "config.json").read_text())
    AutoModelForCausalLM.from_pretrained(out)


def test_a_plan_tells_of_it_and_is_no_other_merges(tmp_path: Path) -> None:
    recipe = winding(saved("llama", tmp_path))
    shared, plain = (plan(recipe, open_sources(recipe), share_layers=each) for each in (True, False))
    assert "a path of 6 layers, of which 5 are written, each once" in shared.describe()
    assert "each once" not in plain.describe()
    assert identity(shared) != identity(plain)
    assert len(shared.jobs) < len(plain.jobs)


def test_shards_and_other_dtypes_are_written_as_always(tmp_path: Path) -> None:
    from kingyo.engine import Output

    folders = saved("qwen3", tmp_path)
    hops = path(folders, SCALED)
    recipe = Recipe(merge_method="passthrough", path=hops, base_model=str(folders["a"]), dtype="bfloat16")
    planned = plan(recipe, open_sources(recipe), share_layers=True)
    out = to_folder(planned, tmp_path / "out", output=Output(max_shard_bytes=20_000))
    files = sorted(out.glob("*.safetensors"))
    assert len(files) > 1
    with safe_open(files[0], framework="pt") as opened:
        assert {opened.get_tensor(name).dtype for name in opened.keys()} == {torch.bfloat16}  # noqa: SIM118
    model = loaded(out)
    assert model.dtype == torch.bfloat16
    assert torch.equal(logits(model), logits(live(recipe, folders, "bfloat16")))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sources": ["a", "b"]}, "--share-layers: expected a recipe with a path.*received whole models"),
        ({"slices": True}, "received slices"),
    ],
)
def test_what_has_no_path_is_refused(given: dict[str, object], says: str, tmp_path: Path) -> None:
    folder = str(saved("llama", tmp_path)["a"])
    content: dict[str, object] = {"models": [{"model": folder}]}
    if "slices" in given:
        content = {"slices": [{"sources": [{"model": folder, "layer_range": [0, 2]}]}]}
    recipe = Recipe.from_dict({"merge_method": "passthrough", **content})
    with pytest.raises(KingyoError, match=says):
        plan(recipe, open_sources(recipe), share_layers=True)


def test_models_that_one_config_cannot_speak_of_are_refused_as_without(tmp_path: Path) -> None:
    folders = saved("llama", tmp_path)
    file = folders["b"] / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "rms_norm_eps": 0.25}))
    for share_layers in (True, False):
        with pytest.raises(KingyoError, match=r"rms_norm_eps in config\.json") as caught:
            plan(winding(folders), open_sources(winding(folders)), share_layers=share_layers)
        assert "a path has one config" in str(caught.value)


def test_an_architecture_that_was_never_tested_is_refused(tmp_path: Path) -> None:
    from transformers import Olmo3Config, Olmo3ForCausalLM

    from tests.decoders import SHAPE

    assert "olmo3" not in SHAREABLE
    model = loud(lambda: Olmo3ForCausalLM(Olmo3Config(**SHAPE)).eval().requires_grad_(False), 0)
    model.save_pretrained(tmp_path / "a")
    hops = (Hop(model=str(tmp_path / "a"), layer=0), Hop(model=str(tmp_path / "a"), layer=0))
    recipe = Recipe(merge_method="passthrough", path=hops)
    with pytest.raises(KingyoError, match="received a model of type olmo3"):
        plan(recipe, open_sources(recipe), share_layers=True)

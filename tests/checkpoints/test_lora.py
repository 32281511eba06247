"""A LoRA is merged as it is read: what peft's own merge gives, one tensor at a time; the rest is an error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from kingyo.checkpoints import check_finite, check_fit, fingerprint, open_checkpoint
from kingyo.checkpoints.lora import AdaptedCheckpoint
from kingyo.checkpoints.mapping import map_tensor
from kingyo.errors import KingyoError
from tests.models_on_disk import FAMILIES, gpt2, llama, qwen2

peft = pytest.importorskip("peft")

ALL_LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALL_GPT2 = ["c_attn", "c_proj", "c_fc"]


def load(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def train(base: Path, folder: Path, **config: object) -> Path:
    """Write an adapter whose tensors are all random."""
    model = load(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **config))
        generator = torch.Generator().manual_seed(7)
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        wrapped.save_pretrained(folder)
    return folder


def merged_by_peft(base: Path, adapter: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(load(base), adapter).merge_and_unload().state_dict()


def opened(folder: Path, reference: str = "m+lora") -> AdaptedCheckpoint:
    checkpoint = open_checkpoint(reference, folder)
    assert isinstance(checkpoint, AdaptedCheckpoint)
    return checkpoint


def assert_as_peft(folder: Path, *, changed: int | None = None) -> None:
    checkpoint, expected = opened(folder), merged_by_peft(folder / "m", folder / "lora")
    base = open_checkpoint("m", folder)
    assert checkpoint.tensors.keys() == base.tensors.keys()
    moved = 0
    for name, info in checkpoint.tensors.items():
        tensor = checkpoint.read(name)
        assert (str(tensor.dtype), tuple(tensor.shape)) == (f"torch.{info.dtype}", info.shape)
        torch.testing.assert_close(tensor.float(), expected[name].float(), rtol=1e-6, atol=1e-6)
        moved += not torch.equal(tensor.float(), base.read(name).float())
    assert moved == len(checkpoint.changes)
    assert changed is None or moved == changed


CASES: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("llama", {"target_modules": ALL_LLAMA, "r": 4, "lora_alpha": 6}),
    "rslora": ("llama", {"target_modules": ALL_LLAMA, "r": 4, "lora_alpha": 6, "use_rslora": True}),
    "dora": ("llama", {"target_modules": ALL_LLAMA, "r": 4, "use_dora": True}),
    "patterns": (
        "llama",
        {
            "target_modules": ALL_LLAMA,
            "r": 2,
            "rank_pattern": {"q_proj": 3, "layers.1.mlp.up_proj": 5, "^model.layers.2.mlp.down_proj": 1},
            "alpha_pattern": {"layers.(0|2).self_attn.v_proj": 9, "up_proj": 2},
        },
    ),
    "some layers": ("llama", {"target_modules": ["v_proj"], "layers_to_transform": [1]}),
    "one regex": ("llama", {"target_modules": r".*\.2\..*(q|v)_proj"}),
    "all-linear": ("llama", {"target_modules": "all-linear", "exclude_modules": ["k_proj"]}),
    "head": ("llama", {"target_modules": ["lm_head", "q_proj"]}),
    "embedding": ("llama", {"target_modules": ["embed_tokens", "q_proj"], "r": 3}),
    "embedding, dora": ("llama", {"target_modules": ["embed_tokens"], "r": 3, "use_dora": True}),
    "modules to save": (
        "llama",
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head", "norm"]},
    ),
    "gaussian": ("llama", {"target_modules": ["q_proj"], "init_lora_weights": "gaussian"}),
    "biases of the lora": ("qwen2", {"target_modules": ALL_LLAMA, "bias": "lora_only"}),
    "all biases": ("gpt2", {"target_modules": ["c_fc"], "bias": "all"}),
    "bias of B": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "lora_bias": True, "lora_alpha": 5}),
    "gpt2": ("gpt2", {"target_modules": ALL_GPT2, "r": 4, "lora_alpha": 6}),
    "gpt2, square ones only": ("gpt2", {"target_modules": ["attn.c_proj"], "r": 4, "fan_in_fan_out": True}),
    "gpt2, dora": ("gpt2", {"target_modules": ALL_GPT2, "r": 4, "use_dora": True}),
    "gpt2, embeddings": ("gpt2", {"target_modules": ["wte", "wpe", "c_attn"], "r": 4}),
    "tied embedding": ("qwen2", {"target_modules": ["embed_tokens"], "r": 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_peft_merges(tmp_path: Path, case: str) -> None:
    family, config = CASES[case]
    FAMILIES[family](tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", **config)
    assert_as_peft(tmp_path)


def test_every_target_is_changed_and_nothing_else(tmp_path: Path) -> None:
    llama(tmp_path / "m", layers=2)
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj", "o_proj"])
    assert_as_peft(tmp_path, changed=4)


def test_a_flag_that_is_wrong_for_some_modules_misleads_nobody(tmp_path: Path) -> None:
    """peft keeps one fan_in_fan_out; a GPT-2 with its head adapted has modules of both ways."""
    gpt2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["attn.c_proj"])
    edit_config(tmp_path / "lora", fan_in_fan_out=False)
    assert_as_peft(tmp_path)


def test_the_sum_is_not_rounded_to_the_models_dtype(tmp_path: Path) -> None:
    llama(tmp_path / "m", dtype="bfloat16")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"])
    assert_as_peft(tmp_path)  # whose merge is done on the model in float32
    info = opened(tmp_path).tensors["model.layers.0.self_attn.q_proj.weight"]
    assert (info.dtype, info.stored_dtype) == ("float32", "bfloat16")
    same = opened(tmp_path).tensors["model.layers.0.self_attn.k_proj.weight"]
    assert (same.dtype, same.stored_dtype) == ("bfloat16", "bfloat16")


def test_adapters_in_half_precision(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    file = (
        train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"], r=3) / "adapter_model.safetensors"
    )
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
    save_file(halves, file)
    a, b = (
        halves[f"base_model.model.model.layers.1.self_attn.q_proj.lora_{x}.weight"].double() for x in "AB"
    )
    name = "model.layers.1.self_attn.q_proj.weight"
    expected = open_checkpoint("m", tmp_path).read(name).double() + 8 / 3 * b @ a
    torch.testing.assert_close(opened(tmp_path).read(name).double(), expected, rtol=1e-6, atol=1e-6)


class Picture(torch.nn.Module):
    """A convolution of each kind that peft adapts."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = torch.nn.Conv2d(6, 8, 3)
        self.point = torch.nn.Conv2d(8, 8, 1)
        self.line = torch.nn.Conv1d(8, 5, 2)


@pytest.mark.parametrize("use_dora", [False, True])
def test_convolutions(tmp_path: Path, use_dora: bool) -> None:
    torch.manual_seed(0)
    model = Picture()
    (tmp_path / "m").mkdir()
    save_file(
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        tmp_path / "m/model.safetensors",
    )
    (tmp_path / "m/config.json").write_text("{}")
    config = peft.LoraConfig(r=2, target_modules=["wide", "point", "line"], use_dora=use_dora)
    wrapped = peft.get_peft_model(model, config)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.3 * torch.randn(parameter.shape))
    wrapped.save_pretrained(tmp_path / "lora")
    expected = wrapped.merge_and_unload().state_dict()
    checkpoint = opened(tmp_path)
    assert len(checkpoint.changes) == 3
    for name, tensor in expected.items():
        torch.testing.assert_close(checkpoint.read(name), tensor, rtol=1e-6, atol=1e-6)


def test_a_model_without_the_prefix(tmp_path: Path) -> None:
    """GPT-2 on the Hub says h.0 where its adapters say transformer.h.0."""
    gpt2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=ALL_GPT2)
    expected = merged_by_peft(tmp_path / "m", tmp_path / "lora")
    file = tmp_path / "m" / "model.safetensors"
    save_file({name.removeprefix("transformer."): each for name, each in load_file(file).items()}, file)
    checkpoint = opened(tmp_path)
    assert len(checkpoint.changes) == 12
    for name in checkpoint.tensors:
        torch.testing.assert_close(
            checkpoint.read(name), expected[f"transformer.{name}"], rtol=1e-6, atol=1e-6
        )


def test_an_adapter_without_the_prefix(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    file = train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"]) / "adapter_model.safetensors"
    expected = opened(tmp_path)
    cut = "base_model.model.model."
    save_file({name.removeprefix(cut): each for name, each in load_file(file).items()}, file)
    assert opened(tmp_path).changes.keys() == expected.changes.keys()


def test_it_is_one_checkpoint_among_others(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"])
    base, checkpoint = open_checkpoint("m", tmp_path), opened(tmp_path)
    assert (checkpoint.reference, checkpoint.path) == ("m+lora", tmp_path / "m")
    assert checkpoint.n_parameters == base.n_parameters
    check_fit(base, checkpoint)
    check_finite(checkpoint)
    with pytest.raises(KingyoError, match=r"Did you mean 'lm_head\.weight'"):
        checkpoint.read("lm_hed.weight")


def test_reading_changes_neither_files_nor_later_reads(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=ALL_LLAMA, modules_to_save=["lm_head"])
    files = [tmp_path / "m/model.safetensors", tmp_path / "lora/adapter_model.safetensors"]
    before = [file.read_bytes() for file in files]
    checkpoint = opened(tmp_path)
    first = {name: checkpoint.read(name).clone() for name in checkpoint.tensors}
    assert all(torch.equal(first[name], checkpoint.read(name)) for name in checkpoint.tensors)
    assert [file.read_bytes() for file in files] == before


def test_a_computed_tensor_cannot_be_mapped_by_hand(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"])
    with pytest.raises(KingyoError, match="the file as it was"):
        map_tensor(opened(tmp_path).tensors["model.layers.0.self_attn.q_proj.weight"])


def test_the_fingerprint_knows_model_and_adapter(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"])
    alone, both = fingerprint(open_checkpoint("m", tmp_path)), fingerprint(opened(tmp_path))
    assert alone != both
    assert fingerprint(opened(tmp_path)) == both
    (tmp_path / "lora/README.md").write_text("Another card.")
    assert fingerprint(opened(tmp_path)) == both
    edit_config(tmp_path / "lora", lora_alpha=9)
    scaled = fingerprint(opened(tmp_path))
    change(tmp_path / "lora", lambda tensors: {name: tensor + 1 for name, tensor in tensors.items()})
    assert len({alone, both, scaled, fingerprint(opened(tmp_path))}) == 4
    change(tmp_path / "m", lambda tensors: {name: tensor + 1 for name, tensor in tensors.items()})
    assert len({alone, both, scaled, fingerprint(opened(tmp_path))}) == 4


def test_another_model_than_the_config_names_is_a_note(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"])
    assert opened(tmp_path).notes == ()
    edit_config(tmp_path / "lora", base_model_name_or_path="org/other")
    assert opened(tmp_path).notes == ("lora was trained on org/other, and is merged into m.",)


def test_a_head_that_follows_its_embedding_is_a_note(tmp_path: Path) -> None:
    qwen2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["embed_tokens"])
    assert "the head, tied to it, follows" in opened(tmp_path).notes[0]


def test_the_bits_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    """1000 × 33 is a shape for which MKL's product does."""
    generator = torch.Generator().manual_seed(0)
    parts = {"lora_A": (5, 33), "lora_B": (1000, 5)}
    pair = {f"up.{name}.weight": torch.randn(shape, generator=generator) for name, shape in parts.items()}
    write_pair(tmp_path, {"up.weight": torch.randn(1000, 33, generator=generator)}, pair, rank=5)
    threads = torch.get_num_threads()
    try:
        results: list[Tensor] = []
        for count in (1, 3, 4):
            torch.set_num_threads(count)
            results.append(opened(tmp_path).read("up.weight"))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


def write_pair(folder: Path, model: dict[str, Tensor], adapter: dict[str, Tensor], rank: int) -> None:
    for name in ("m", "lora"):
        (folder / name).mkdir()
    (folder / "m/config.json").write_text("{}")
    save_file(model, folder / "m/model.safetensors")
    save_file(adapter, folder / "lora/adapter_model.safetensors")
    (folder / "lora/adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}))


def test_a_head_that_is_tied_reads_as_the_changed_embedding(tmp_path: Path) -> None:
    qwen2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["embed_tokens"])
    checkpoint = opened(tmp_path)
    assert torch.equal(checkpoint.read("lm_head.weight"), checkpoint.read("model.embed_tokens.weight"))
    change(tmp_path / "m", lambda all_: {**all_, "lm_head.weight": all_["model.embed_tokens.weight"].clone()})
    assert torch.equal(opened(tmp_path).read("lm_head.weight"), checkpoint.read("model.embed_tokens.weight"))


PROBE = """
import resource, sys
from kingyo.checkpoints import open_checkpoint
checkpoint = open_checkpoint(sys.argv[1])
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in checkpoint.tensors:
    checkpoint.read(name)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


def test_one_tensor_is_in_memory(tmp_path: Path) -> None:
    """12 matrices of 16 MiB in float32: all together would be 192 MiB."""
    names = [f"layers.{i}.q_proj" for i in range(12)]
    model = {f"{name}.weight": torch.zeros(2048, 2048, dtype=torch.bfloat16) for name in names}
    pairs = {f"{name}.lora_A.weight": torch.zeros(8, 2048) for name in names}
    pairs |= {f"{name}.lora_B.weight": torch.zeros(2048, 8) for name in names}
    write_pair(tmp_path, model, pairs, rank=8)
    command = [sys.executable, "-c", PROBE, f"{tmp_path}/m+{tmp_path}/lora"]
    grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(grown) < 80


def edit_config(lora: Path, **changes: object) -> None:
    file = lora / "adapter_config.json"
    kept = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in kept.items() if value is not ...}))


def change(folder: Path, how: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = next(folder.glob("*.safetensors"))
    save_file(how(load_file(file)), file, metadata={"format": "pt"})


Q0 = "base_model.model.model.layers.0.self_attn.q_proj."


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda lora: change(
        lora, lambda all_: {name.replace(old, new): each for name, each in all_.items()}
    )


def with_tensor(name: str, *shape: int) -> Callable[[Path], None]:
    return lambda lora: change(lora, lambda all_: {**all_, name: torch.ones(shape)})


def without(name: str) -> Callable[[Path], None]:
    return lambda lora: change(lora, lambda all_: {each: all_[each] for each in all_ if each != name})


def config(**changes: object) -> Callable[[Path], None]:
    return lambda lora: edit_config(lora, **changes)


def to_pickle(lora: Path) -> None:
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (
        lambda lora: (lora / "adapter_config.json").unlink(),
        r"adapter_config\.json: .*No such file",
    ),
    "config not JSON": (lambda lora: (lora / "adapter_config.json").write_text("{"), "invalid JSON"),
    "pickle": (to_pickle, r"only a pickle \(adapter_model\.bin\)"),
    "no weights": (lambda lora: (lora / "adapter_model.safetensors").unlink(), "no such file"),
    "truncated": (lambda lora: (lora / "adapter_model.safetensors").write_bytes(b"x"), "damaged"),
    "empty": (lambda lora: change(lora, lambda _: {}), "an adapter's tensors; received none"),
    "LoHa": (config(peft_type="LOHA"), "peft_type.*expected LORA; received LOHA"),
    "no type": (config(peft_type=...), "expected LORA; received nothing"),
    "PiSSA": (config(init_lora_weights="pissa_niter_4"), "'pissa_niter_4', which adds to a model"),
    "activated": (config(alora_invocation_tokens=[1]), "alora_invocation_tokens.*plain LoRA"),
    "parameters": (config(target_parameters=["experts.up"]), "target_parameters"),
    "replicated layers": (config(layer_replication=[[0, 2]]), "layer_replication"),
    "trained tokens": (config(trainable_token_indices=[1]), "trainable_token_indices"),
    "from the future": (config(use_newlora=True), "use_newlora"),
    "no rank": (config(r=...), "r: expected a value"),
    "rank 0": (config(r=0), "a number greater than 0"),
    "rank a text": (config(r="four"), "r: expected a whole number"),
    "alpha infinite": (config(lora_alpha=float("inf")), "lora_alpha"),
    "pattern": (config(rank_pattern={"(": 2}), r"regular expressions; received '\('"),
    "other rank": (config(r=5), r"expected A and B of rank 5.*received A \[4, 16\] and B \[16, 4\]"),
    "unknown tensor": (with_tensor("base_model.model.ghost.weight", 2), "'ghost.weight', which it has not"),
    "unknown module": (renamed("layers.2", "layers.7"), r"'model\.layers\.7\.self_attn"),
    "unknown part": (with_tensor(f"{Q0}hada_w1_a", 2, 2), r"q_proj\.hada_w1_a', which it has not"),
    "no B": (without(f"{Q0}lora_B.weight"), r"lora_A\.weight and lora_B\.weight; received lora_A\.weight"),
    "magnitudes of no DoRA": (with_tensor(f"{Q0}lora_magnitude_vector", 16), "lora_magnitude_vector"),
    "no magnitudes": (config(use_dora=True), "and lora_magnitude_vector; received lora_"),
    "too wide": (
        lambda lora: change(lora, lambda all_: {**all_, f"{Q0}lora_A.weight": torch.ones(4, 17)}),
        r"fits model\.layers\.0\.self_attn\.q_proj\.weight \[16, 16\]; received A \[4, 17\] and B \[16, 4\]",
    ),
    "flat": (
        lambda lora: change(lora, lambda all_: {**all_, f"{Q0}lora_A.weight": torch.ones(4)}),
        "A and B of rank 4",
    ),
    "other vocabulary": (with_tensor("base_model.model.lm_head.weight", 66, 16), r"\[64, 16\].*\[66, 16\]"),
    "integers": (
        lambda lora: change(
            lora,
            lambda all_: {**all_, "base_model.model.lm_head.weight": torch.ones(64, 16, dtype=torch.int8)},
        ),
        "int8",
    ),
    "no such bias": (with_tensor(f"{Q0}lora_B.bias", 16), r"q_proj\.bias', which it has not"),
    "replaced twice": (
        lambda lora: change(
            lora,
            lambda all_: {
                **all_,
                "lm_head.weight": torch.ones(64, 16),
                Q0[:17] + "lm_head.weight": torch.ones(64, 16),
            },
        ),
        "a second one for lm_head.weight",
    ),
    "twice": (
        with_tensor("model.layers.0.self_attn.q_proj.lora_A.weight", 4, 16),
        "a second one for model.layers.0.self_attn.q_proj.lora_A.weight",
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    llama(folder / "m")
    train(folder / "m", folder / "lora", target_modules=["q_proj"], r=4)
    return folder


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_adapter_is_one_clear_error(sound: Path, tmp_path: Path, how: str) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    damage, message = BROKEN[how]
    damage(tmp_path / "lora")
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        open_checkpoint("m+lora", tmp_path)


def test_a_quantised_model_takes_no_adapter(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    name = "model.layers.0.self_attn.q_proj.weight"
    change(tmp_path / "m", lambda all_: {**all_, name: torch.ones(16, 16, dtype=torch.int8)})
    with pytest.raises(KingyoError, match="before it was quantised"):
        open_checkpoint("m+lora", tmp_path)


def test_a_head_that_is_tied(tmp_path: Path) -> None:
    """Stored once more it may be, if it is the embedding; weights of its own it may not have."""
    qwen2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    stored = "base_model.model.model.embed_tokens.weight"
    head = "base_model.model.lm_head.weight"
    change(tmp_path / "lora", lambda all_: {**all_, head: all_[stored].clone()})
    assert_as_peft(tmp_path)
    change(tmp_path / "lora", lambda all_: {**all_, head: all_[stored] + 1})
    with pytest.raises(KingyoError, match=r"ties its head to it; received other weights for lm_head\.weight"):
        open_checkpoint("m+lora", tmp_path)
    train(tmp_path / "m", tmp_path / "other", target_modules=["lm_head"])
    with pytest.raises(KingyoError, match="a LoRA of the head alone"):
        open_checkpoint("m+other", tmp_path)

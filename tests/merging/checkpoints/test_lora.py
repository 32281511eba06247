"""A LoRA that is merged while reading gives the same weights as peft's own merge, or one clear error."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from tests.merging.checkpoints.adapters import (
    assert_as_peft,
    merged_by_peft,
    opened,
    train,
)
from tests.merging.checkpoints.fitting import HEAD, fingerprint, restate, rewrite, with_tensor, without
from tests.models_on_disk import FAMILIES, gpt2, llama, qwen2
from tests.scout.weights import write, write_lora

peft = pytest.importorskip("peft")

ALL_LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALL_GPT2 = ["c_attn", "c_proj", "c_fc"]

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
    "head": ("llama", {"target_modules": ["lm_head", "q_proj"]}),
    "embedding": ("llama", {"target_modules": ["embed_tokens", "q_proj"], "r": 3}),
    "embedding, dora": ("llama", {"target_modules": ["embed_tokens"], "r": 3, "use_dora": True}),
    "modules to save": (
        "llama",
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head", "norm"]},
    ),
    "biases of the lora": ("qwen2", {"target_modules": ALL_LLAMA, "bias": "lora_only"}),
    "all biases": ("gpt2", {"target_modules": ["c_fc"], "bias": "all"}),
    "gpt2": ("gpt2", {"target_modules": ALL_GPT2, "r": 4, "lora_alpha": 6}),
    "gpt2, embeddings": ("gpt2", {"target_modules": ["wte", "wpe", "c_attn"], "r": 4}),
    "tied embedding": ("qwen2", {"target_modules": ["embed_tokens"], "r": 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_equals_the_merge_of_peft(tmp_path: Path, case: str) -> None:
    family, config = CASES[case]
    FAMILIES[family](tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", **config)
    assert_as_peft(tmp_path)


def test_a_wrong_fan_in_fan_out_of_some_modules_is_corrected(tmp_path: Path) -> None:
    """peft stores one fan_in_fan_out; GPT-2 with an adapted head has modules of both orders."""
    gpt2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["attn.c_proj"])
    restate(tmp_path / "lora", "adapter_config.json", fan_in_fan_out=False)
    assert_as_peft(tmp_path)


class Picture(torch.nn.Module):
    """Convolutions of all kinds that peft adapts."""

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
    """GPT-2 on the Hub has h.0, its adapters have transformer.h.0."""
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


def test_the_fingerprint_knows_model_and_adapter(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"])
    found = [fingerprint(open_checkpoint("m", tmp_path)), fingerprint(opened(tmp_path))]
    (tmp_path / "lora/README.md").write_text("Another card.")
    assert fingerprint(opened(tmp_path)) == found[-1]
    restate(tmp_path / "lora", "adapter_config.json", lora_alpha=9)
    found.append(fingerprint(opened(tmp_path)))
    for name in ("lora", "m"):
        rewrite(tmp_path / name, lambda tensors: {name: tensor + 1 for name, tensor in tensors.items()})
        found.append(fingerprint(opened(tmp_path)))
    assert len(set(found)) == 5


def test_a_model_other_than_the_configs_is_a_note(tmp_path: Path) -> None:
    llama(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"])
    assert opened(tmp_path).notes == ()
    restate(tmp_path / "lora", "adapter_config.json", base_model_name_or_path="org/other")
    assert opened(tmp_path).notes == ("lora was trained on org/other, and is merged into m.",)


def test_the_bits_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    """MKL's product depends on it for the shape 1000 × 33."""
    generator = torch.Generator().manual_seed(0)
    a, b, up = (torch.randn(shape, generator=generator) for shape in ((5, 33), (1000, 5), (1000, 33)))
    write(tmp_path / "m", {"up.weight": up})
    write_lora(tmp_path / "lora", "up", a, b)
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


def test_a_tied_head_reads_the_changed_embedding(tmp_path: Path) -> None:
    qwen2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["embed_tokens"])
    checkpoint = opened(tmp_path)
    assert torch.equal(checkpoint.read("lm_head.weight"), checkpoint.read("model.embed_tokens.weight"))
    rewrite(tmp_path / "m", lambda all_: {**all_, HEAD: all_["model.embed_tokens.weight"].clone()})
    assert torch.equal(opened(tmp_path).read("lm_head.weight"), checkpoint.read("model.embed_tokens.weight"))


Q0 = "base_model.model.model.layers.0.self_attn.q_proj."


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda lora: rewrite(
        lora, lambda all_: {name.replace(old, new): each for name, each in all_.items()}
    )


def config(**changes: object) -> Callable[[Path], None]:
    return lambda lora: restate(lora, "adapter_config.json", **changes)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda lora: (lora / "adapter_config.json").unlink(), "received neither"),
    "no weights": (lambda lora: (lora / "adapter_model.safetensors").unlink(), "received none"),
    "empty": (lambda lora: rewrite(lora, lambda _: {}), r"adapter_model\.safetensors: .*received none"),
    "LoHa": (config(peft_type="LOHA"), "peft_type.*expected LORA; received 'LOHA'"),
    "PiSSA": (config(init_lora_weights="pissa_niter_4"), "'pissa_niter_4'"),
    "from the future": (config(use_newlora=True), "use_newlora"),
    "rank 0": (config(r=0), "a number greater than 0"),
    "alpha as text": (config(lora_alpha="8"), "lora_alpha: expected a number; received '8'"),
    "integers": (
        lambda lora: rewrite(lora, lambda all_: {name: each.long() for name, each in all_.items()}),
        "lora_[AB].weight: expected floating-point numbers; received int64",
    ),
    "alpha infinite": (config(lora_alpha=float("inf")), "lora_alpha"),
    "pattern": (config(rank_pattern={"(": 2}), r"received '\('"),
    "other rank": (config(r=5), r"received A \[4, 16\] and B \[16, 4\]"),
    "unknown module": (renamed("layers.2", "layers.7"), r"'model\.layers\.7\.self_attn"),
    "unknown part": (with_tensor(f"{Q0}hada_w1_a", torch.ones(2, 2)), r"q_proj\.hada_w1_a'"),
    "no B": (without(f"{Q0}lora_B.weight"), r"lora_A\.weight and lora_B\.weight; received lora_A\.weight"),
    "magnitudes of no DoRA": (with_tensor(f"{Q0}lora_magnitude_vector", torch.ones(16)), "lora_magnitude"),
    "no magnitudes": (config(use_dora=True), "and lora_magnitude_vector; received lora_"),
    "too wide": (
        with_tensor(f"{Q0}lora_A.weight", torch.ones(4, 17)),
        r"a weight \[16, 16\]; received A \[4, 17\]",
    ),
    "flat": (with_tensor(f"{Q0}lora_A.weight", torch.ones(4)), r"received A \[4\] and B"),
    "other vocabulary": (
        with_tensor("base_model.model.lm_head.weight", torch.ones(66, 16)),
        r"\[64, 16\].*\[66, 16\]",
    ),
    "twice": (
        with_tensor("model.layers.0.self_attn.q_proj.lora_A.weight", torch.ones(4, 16)),
        "a second one for model.layers.0.self_attn.q_proj",
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


def test_a_head_that_is_tied(tmp_path: Path) -> None:
    """An adapter may hold a copy of a tied head, but not other weights for it."""
    qwen2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    stored = "base_model.model.model.embed_tokens.weight"
    head = "base_model.model.lm_head.weight"
    rewrite(tmp_path / "lora", lambda all_: {**all_, head: all_[stored].clone()})
    assert_as_peft(tmp_path)
    rewrite(tmp_path / "lora", lambda all_: {**all_, head: all_[stored] + 1})
    with pytest.raises(KingyoError, match=r"ties its head to it; received other weights for lm_head\.weight"):
        open_checkpoint("m+lora", tmp_path)
    train(tmp_path / "m", tmp_path / "other", target_modules=["lm_head"])
    with pytest.raises(KingyoError, match="a LoRA of the head alone"):
        open_checkpoint("m+other", tmp_path)

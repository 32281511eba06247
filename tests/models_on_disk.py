"""Tiny random checkpoints on disk, for any test that needs real files: Llama, Qwen2, GPT-2.

Each builder writes a folder that ``transformers`` loads (safetensors, config, a word-level tokenizer with
a chat template) and returns it. The same seed gives the same weights; another seed another model of the
same shapes. ``fine_tuned`` is a copy with small random changes: a source with a real task vector.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 64
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
NUMBERS = tuple(str(number) for number in range(40))
WORDS = (*SPECIAL, *NUMBERS, *"+-=?。", "Q:", "A:", "the", "cat", "is", "猫", "は")
CHAT_TEMPLATE = "{% for message in messages %}Q: {{ message['content'] }} A:{% endfor %}"
SPECIAL_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def llama(
    folder: Path,
    *,
    seed: int = 0,
    layers: int = 3,
    hidden: int = 16,
    tied: bool = False,
    dtype: str = "float32",
    kind: str = "Llama",
) -> Path:
    """Write a Llama with grouped-query attention, or a model of a similar kind."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        **SPECIAL_IDS,
    )
    return _write(folder, lambda: getattr(transformers, f"{kind}ForCausalLM")(config), seed, dtype)


def qwen2(folder: Path, *, tied: bool = True, **options: Any) -> Path:
    return llama(folder, tied=tied, kind="Qwen2", **options)


def gpt2(folder: Path, *, seed: int = 0, layers: int = 3, hidden: int = 16, dtype: str = "float32") -> Path:
    """Write a GPT-2: fused attention, learned positions, tied embeddings."""
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=hidden, n_layer=layers, n_head=4, n_positions=64, **SPECIAL_IDS
    )
    return _write(folder, lambda: GPT2LMHeadModel(config), seed, dtype)


FAMILIES: dict[str, Callable[..., Path]] = {"llama": llama, "qwen2": qwen2, "gpt2": gpt2}


def fine_tuned(base: Path, folder: Path, *, seed: int, scale: float = 0.02) -> Path:
    """Copy a checkpoint and add normal noise of this scale to every floating tensor."""
    shutil.copytree(base, folder)
    generator = torch.Generator().manual_seed(seed)
    for file in sorted(folder.glob("*.safetensors")):
        tensors = load_file(file)
        changed = {
            name: (tensor.float() + scale * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in tensors.items()
        }
        save_file(changed, file, metadata={"format": "pt"})
    return folder


def family(
    folder: Path, kind: str = "llama", *, sources: int = 2, dtype: str = "float32"
) -> tuple[Path, list[Path]]:
    """Write ``base`` and ``source-0`` … of one architecture; return the base's folder and the sources'."""
    base = FAMILIES[kind](folder / "base", dtype=dtype)
    return base, [fine_tuned(base, folder / f"source-{i}", seed=i + 1) for i in range(sources)]


def _write(folder: Path, build: Callable[[], PreTrainedModel], seed: int, dtype: str) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().to(getattr(torch, dtype))
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():  # norms and biases start as constants
            noise = 0.05 * torch.randn(parameter.shape, generator=generator)
            parameter.data.add_(noise.to(parameter.dtype))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words and numbers below 40, split at spaces.

    (For Qwen2, ``AutoTokenizer`` insists on its own way of splitting: words beside the numbers get lost.)
    """
    words = {word: index for index, word in enumerate(WORDS)}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()  # type: ignore[assignment]
    outer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    outer.chat_template = CHAT_TEMPLATE
    return outer

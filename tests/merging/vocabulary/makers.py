"""Tiny real tokenizers of every kind, and tiny Llamas that speak them, made on the spot.

``small`` and ``large`` of a kind are a tokenizer and its extension: the same pieces and more, other ids.
``fish`` and ``deutsch`` were trained on other texts each.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from kingyo.merging.vocabulary import TokenModels, Vocabulary

SPECIAL = ("<unk>", "<s>", "</s>")
FISH = (
    "goldfish swim in the old pond",
    "the old fish and the small fish swim",
    "a pond in the garden",
    "fishing",
)
DEUTSCH = (
    "der alte karpfen schwimmt im teich",
    "die karpfen im alten gartenteich",
    "karpfenteich und garten",
)
TEXTS = (*FISH, *DEUTSCH)
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


LETTERS = sorted(set("".join(TEXTS)) - {" "})


def trained(tokenizer: Tokenizer, trainer: Any, texts: Iterable[str], **options: Any) -> Tokenizer:
    tokenizer.train_from_iterator(texts, trainer(special_tokens=[*SPECIAL], show_progress=False, **options))
    return tokenizer


def byte_bpe(texts: Iterable[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(tokenizer, trainers.BpeTrainer, texts, vocab_size=size, initial_alphabet=alphabet)


def metaspace_bpe(texts: Iterable[str], size: int) -> Tokenizer:
    """Train a BPE tokenizer like those of Llama 2 and Mistral: from SentencePiece, with byte fallback."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    alphabet = [*LETTERS, "▁"]
    trained(tokenizer, trainers.BpeTrainer, texts, vocab_size=size + 256, initial_alphabet=alphabet)
    data = json.loads(tokenizer.to_str())
    vocab = data["model"]["vocab"]
    vocab.update({f"<0x{i:02X}>": len(vocab) + i for i in range(256)})
    return Tokenizer.from_str(json.dumps(data))


def unigram(texts: Iterable[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    options = {"vocab_size": size, "unk_token": "<unk>", "initial_alphabet": [*LETTERS, "▁"]}
    return trained(tokenizer, trainers.UnigramTrainer, [*texts] * 4, **options)


def word_piece(texts: Iterable[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return trained(tokenizer, trainers.WordPieceTrainer, texts, vocab_size=size, initial_alphabet=LETTERS)


def word_level(texts: Iterable[str], size: int) -> Tokenizer:
    words = dict.fromkeys([*SPECIAL, *" ".join(texts).split()])
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([*words][:size])}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


KINDS: dict[str, Callable[[Iterable[str], int], Tokenizer]] = {
    "byte_bpe": byte_bpe,
    "metaspace_bpe": metaspace_bpe,
    "unigram": unigram,
    "word_piece": word_piece,
    "word_level": word_level,
}
SIZES = {"byte_bpe": 330, "metaspace_bpe": 110, "unigram": 70, "word_piece": 110, "word_level": 40}


@cache
def train(kind: str, texts: tuple[str, ...], size: int) -> str:
    """Train a tokenizer once, since some trainers break ties at random."""
    return KINDS[kind](texts * 3, size).to_str()


def large(kind: str) -> Tokenizer:
    return Tokenizer.from_str(train(kind, TEXTS, SIZES[kind]))


def fish(kind: str) -> Tokenizer:
    return Tokenizer.from_str(train(kind, FISH, SIZES[kind] - 20))


def deutsch(kind: str) -> Tokenizer:
    return Tokenizer.from_str(train(kind, DEUTSCH, SIZES[kind] - 10))


def small(kind: str, leave: int = 12) -> Tokenizer:
    """Return the tokenizer that ``large`` extends: without its last pieces, and with other ids."""
    data = json.loads(large(kind).to_str())
    model = data["model"]
    if kind == "unigram":
        longest = sorted((piece for piece, _ in model["vocab"]), key=len)[-leave:]
        model["vocab"] = [each for each in model["vocab"] if each[0] not in longest]
        return Tokenizer.from_str(json.dumps(data))
    if model.get("merges"):
        gone = {"".join(pair) for pair in model["merges"][-leave:]}
        model["merges"] = model["merges"][:-leave]
    else:
        pieces = [token for token in model["vocab"] if len(token) > 1 and token not in SPECIAL]
        gone = set(sorted(pieces, key=len)[-leave:])
    kept = [token for token in model["vocab"] if token not in gone]
    ordered = [*SPECIAL, *reversed([token for token in kept if token not in SPECIAL])]
    model["vocab"] = {token: i for i, token in enumerate(ordered)}
    return Tokenizer.from_str(json.dumps(data))


def llama(
    folder: Path,
    tokenizer: Tokenizer,
    *,
    seed: int = 0,
    added: Iterable[str | AddedToken] = (),
    rows: int | None = None,
    template: str | None = None,
    named: Mapping[str, str] | None = None,
) -> Path:
    """Write a Llama of one layer with a tokenizer; by default it has one row per token."""
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **(named or {})}
    outer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)
    outer.add_tokens(list(added))
    outer.chat_template = template
    config = LlamaConfig(
        vocab_size=rows or len(outer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=outer.bos_token_id,
        eos_token_id=outer.eos_token_id,
        pad_token_id=None,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    model.save_pretrained(folder)
    outer.save_pretrained(folder)
    return folder


def words(*more: str) -> Tokenizer:
    """Return a tokenizer of words: special tokens and the given ones."""
    return word_level([" ".join(more)], 1000)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def models_of(*folders: Path, base: int | None = None, others: Iterable[Path] = ()) -> TokenModels:
    """Return the models in these folders, by the names of the folders."""
    named = {folder.name: folder for folder in folders}
    extra = {folder.name: folder for folder in others}
    rows = {name: weights(folder)[EMBEDDING].shape[0] for name, folder in {**named, **extra}.items()}
    return TokenModels(
        folders=named, rows=rows, base=None if base is None else folders[base].name, others=extra
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(folder)


def cut(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])


class Folders:
    """A reader of checkpoints."""

    def __init__(self, *folders: Path) -> None:
        self._weights = {folder.name: weights(folder) for folder in folders}

    def read(self, model: str, tensor: str) -> Tensor:
        return self._weights[model][tensor]


def write_files(vocabulary: Vocabulary, folder: Path) -> Path:
    """Write only the tokenizer of the output."""
    folder.mkdir(exist_ok=True)
    for name, content in vocabulary.files.items():
        (folder / name).write_bytes(content)
    return folder


def tokens_and_logits(folder: Path, text: str) -> tuple[list[str], Tensor, dict[str, int]]:
    """Return the tokens of a text, the logits after each, and the column of each token."""
    tokenizer = load_tokenizer(folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return tokenizer.convert_ids_to_tokens(ids[0].tolist()), model(ids).logits[0], tokenizer.get_vocab()

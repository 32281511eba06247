"""A folder of tiny real models, and the ways in which one of them cannot be merged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.models_on_disk import fine_tuned, llama, qwen2

CARD = "---\nlicense: {licence}\nlanguage: [ja, en]\nbase_model: {base}\n---\n\n# A model\n"


def write_card(folder: Path, base: str = "org/base", licence: str = "apache-2.0") -> Path:
    (folder / "README.md").write_text(CARD.format(base=base, licence=licence))
    return folder


def shelf(folder: Path, n: int = 2) -> Path:
    """Write ``base`` and ``tuned-0`` …, whose cards name ``org/base``."""
    base = llama(folder / "base")
    for i in range(n):
        write_card(fine_tuned(base, folder / f"tuned-{i}", seed=i + 1))
    return folder


def edit_json(file: Path, **changes: object) -> None:
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, **changes}))


def wider(folder: Path) -> None:
    shutil.rmtree(folder)
    write_card(llama(folder, hidden=32))


def deeper(folder: Path) -> None:
    shutil.rmtree(folder)
    write_card(llama(folder, layers=4))


def other_family(folder: Path) -> None:
    shutil.rmtree(folder)
    write_card(qwen2(folder))


def moved_tokens(folder: Path) -> None:
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text())
    vocab = data["model"]["vocab"]
    vocab["cat"], vocab["the"] = vocab["the"], vocab["cat"]
    file.write_text(json.dumps(data))


def more_tokens(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = torch.cat([tensors[name], tensors[name][:8]])
    save_file(tensors, weights, metadata={"format": "pt"})
    edit_json(folder / "config.json", vocab_size=72)


def pickled(folder: Path) -> None:
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()


def with_code(folder: Path) -> None:
    edit_json(folder / "config.json", auto_map={"AutoModel": "mine.py--Mine"})


def without_tokenizer(folder: Path) -> None:
    for file in (*folder.glob("tokenizer*"), *folder.glob("chat_template*")):
        file.unlink()


def cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")


def odd_config(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": 3, "architectures": [None, 4]}))


def odd_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[]")


def gguf(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    (folder / "model-q4.gguf").write_bytes(b"GGUF")


def quantised(folder: Path) -> None:
    edit_json(folder / "config.json", quantization_config={"bits": 4})


MISFITS: dict[str, list[Callable[[Path], object]]] = {
    "another architecture or size": [wider, deeper, other_family],
    "another vocabulary": [moved_tokens, more_tokens],
    "only pickles": [pickled],
    "remote code": [with_code],
    "no tokenizer": [without_tokenizer],
    "a licence that forbids derivatives": [lambda folder: write_card(folder, licence="cc-by-nc-nd-4.0")],
    "unreadable": [cut_off, without_weights, no_json, a_list, odd_tokenizer, gguf, quantised],
}
"""Reason -> changes of a model that cause it."""

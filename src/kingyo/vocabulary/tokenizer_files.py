"""Build the tokenizer files of the output, as bytes by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from kingyo.vocabulary.templates import TEMPLATE_FILE
from kingyo.vocabulary.tokenizer_json import TOKENIZER_FILES, StoredTokenizer

_CONFIG = "tokenizer_config.json"
_LEGACY = "special_tokens_map.json"


def stored_files(folder: Path) -> dict[str, bytes]:
    """Read the tokenizer files of a folder."""
    files = sorted({file for pattern in TOKENIZER_FILES for file in folder.glob(pattern) if file.is_file()})
    return {file.name: file.read_bytes() for file in files}


def changed_files(start: StoredTokenizer, data: Mapping[str, object]) -> dict[str, bytes]:
    """Return the files of a tokenizer with another ``tokenizer.json``.

    Files in older formats (tokenizer.model, vocab.json, merges.txt) are left out, since they would contradict
    it.
    """
    kept = stored_files(start.folder)
    files = {name: kept[name] for name in (_LEGACY, TEMPLATE_FILE, "chat_template.json") if name in kept}
    config = dict(start.config)
    if "added_tokens_decoder" in config:
        added = cast("list[dict[str, object]]", data["added_tokens"])
        config["added_tokens_decoder"] = {
            str(entry["id"]): {key: value for key, value in entry.items() if key != "id"} for entry in added
        }
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    return {**files, "tokenizer.json": _dump(data), _CONFIG: _dump(config)}


def with_template(files: Mapping[str, bytes], template: str | None) -> dict[str, bytes]:
    """Return tokenizer files with another chat template, in a separate file as in transformers 5.

    Args:
        files: tokenizer files by name.
        template: Jinja template; None for no template.
    """
    kept = {name: content for name, content in files.items() if not name.startswith("chat_template.")}
    if _CONFIG in kept:
        config = cast("dict[str, object]", json.loads(kept[_CONFIG]))
        if config.pop("chat_template", None) is not None:
            kept[_CONFIG] = _dump(config)
    return kept if template is None else {**kept, TEMPLATE_FILE: template.encode()}


def _dump(data: Mapping[str, object]) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()

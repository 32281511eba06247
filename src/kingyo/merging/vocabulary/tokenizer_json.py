"""Read the tokenizer in a model's folder from its ``tokenizer.json``, without running code from there."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final, cast

from tokenizers import Tokenizer

from kingyo.core.io.yaml import read_json
from kingyo.errors import KingyoError, suggest

AUTO: Final = "auto"
TEMPLATE_FILE: Final = "chat_template.jinja"

KNOWN: Mapping[str, Path] = {
    file.stem: file for file in sorted((Path(__file__).parent / "templates").glob("*.jinja"))
}
"""Chat templates that a recipe can name, and their files."""

_MARKER = re.compile(r"<\|[^|<>]+\|>|\[\|[^|\[\]]+\|\]|<(?:start|end)_of_turn>|\[/?INST\]")


def read_template(folder: Path) -> str | None:
    """Return the chat template of a folder: its own file, else in tokenizer_config.json; None without one."""
    file = folder / TEMPLATE_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    for name in ("tokenizer_config.json", "chat_template.json"):
        template = _chat_template(folder / name)
        if template is not None:
            return template
    return None


def resolve_template(chosen: str, templates: Sequence[str | None]) -> str | None:
    """Return the template for a recipe's ``chat_template``: ``auto``, a known name, or a Jinja template.

    ``auto`` is the most common of the models' templates; ties go to the first. It is None if they have none.
    """
    if chosen == AUTO:
        counts = Counter(each.strip() for each in templates if each and each.strip())
        return counts.most_common(1)[0][0] if counts else None
    if chosen in KNOWN:
        return KNOWN[chosen].read_text(encoding="utf-8")
    if "{{" in chosen or "{%" in chosen:
        return chosen
    remedy = suggest(chosen, (AUTO, *KNOWN))
    raise KingyoError("chat_template", "auto, a known name, or a Jinja template", f"'{chosen}'", remedy)


def find_markers(template: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_MARKER.findall(template)))


def _chat_template(file: Path) -> str | None:
    try:
        template = read_json(file).get("chat_template")
    except KingyoError:
        return None
    if isinstance(template, list):  # several named templates
        named = [cast("dict[str, object]", e) for e in cast("list[object]", template) if isinstance(e, dict)]
        template = next((entry.get("template") for entry in named if entry.get("name") == "default"), None)
    return template if isinstance(template, str) else None


TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "*.tiktoken",
    "tekken.json",
    "chat_template.*",
)
"""Patterns of a tokenizer's files. Never mix files of two tokenizers in one folder."""

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Roles of tokens: keys in ``tokenizer_config.json``."""

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_MORE_NAMED = ("additional_special_tokens", "extra_special_tokens")
_FETCH = "Correct the file, or fetch the model again."


@dataclass(frozen=True, kw_only=True)
class StoredTokenizer:
    """A tokenizer on disk: tokenizer.json (``data``, shared: never change it) and its ``config``.

    ``tokens`` are in the order of ids and include ``added`` ones, which are matched before text is split.
    ``named`` are tokens by role, such as ``bos_token``.
    """

    reference: str
    folder: Path
    data: Mapping[str, object]
    config: Mapping[str, object]
    tokens: Mapping[str, int]
    added: Mapping[str, Mapping[str, bool]]
    named: Mapping[str, str]
    template: str | None

    @property
    def model(self) -> Mapping[str, object]:
        return cast("Mapping[str, object]", self.data["model"])

    @property
    def kind(self) -> str:
        stated, model = self.model.get("type"), self.model
        if stated is not None:
            return str(stated)
        if "merges" in model:  # older files do not state it
            return "BPE"
        if isinstance(model.get("vocab"), list):
            return "Unigram"
        return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"

    @property
    def pieces(self) -> Collection[str]:
        vocab = self.model["vocab"]
        if isinstance(vocab, list):
            return {piece for piece, _ in cast("list[tuple[str, float]]", vocab)}
        return cast("dict[str, int]", vocab)

    @cached_property
    def spelling(self) -> tuple[str, ...]:
        """Spelling of its pieces: the kind, the character for a space, and marks of a word's parts.

        Pieces can be compared only between tokenizers of equal spelling.
        """
        parts = [self.data.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")]
        rules = json.dumps(parts, ensure_ascii=False)
        space = "Ġ" if '"ByteLevel"' in rules else "▁" if "▁" in rules else " "
        marks = [self.model.get(key) or "" for key in ("continuing_subword_prefix", "end_of_word_suffix")]
        return (self.kind, space, *map(str, marks))

    @cached_property
    def by_id(self) -> Mapping[int, str]:
        return {row: token for token, row in self.tokens.items()}

    def can_write(self, token: str) -> bool:
        """Return whether a token's text is tokenized as exactly this token."""
        file = self.folder / "tokenizer.json"
        backend = _backend(file, _state(file))
        return list(backend.encode(token, add_special_tokens=False).tokens) == [token]


def read_tokenizer(reference: str, folder: Path) -> StoredTokenizer:
    """Read a folder's tokenizer."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        remedy = "Load and save the tokenizer with transformers, which writes tokenizer.json."
        raise KingyoError(reference, "a tokenizer.json", f"none in {folder}", remedy)
    tokens: dict[str, int] = dict(_backend(file, _state(file)).get_vocab(with_added_tokens=True))
    data = _read_json(file, _state(file))
    config = _read_optional(folder / "tokenizer_config.json")
    legacy = _read_optional(folder / "special_tokens_map.json")
    added: dict[str, Mapping[str, bool]] = {
        _content(entry): _flags(entry) for entry in cast("list[object]", data.get("added_tokens") or [])
    }
    try:
        declared = list(_declared_elsewhere(folder, config, legacy))
    except KingyoError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        expected, received = "valid lists of added tokens", f"{type(error).__name__}: {error}"
        raise KingyoError(str(folder), expected, received, _FETCH) from error
    for token, row, flags in declared:
        if token not in tokens:
            free = max(tokens.values(), default=-1) + 1
            tokens[token] = free if row is None or row < free else row
            added[token] = flags
    return StoredTokenizer(
        reference=reference,
        folder=folder,
        data=data,
        config=config,
        tokens=dict(sorted(tokens.items(), key=lambda pair: pair[1])),
        added=added,
        named=_named(config) or _named(legacy),
        template=read_template(folder),
    )


def _declared_elsewhere(
    folder: Path, config: Mapping[str, object], legacy: Mapping[str, object]
) -> Iterator[tuple[str, int | None, Mapping[str, bool]]]:
    decoder = config.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        numbered = cast("dict[str, object]", decoder)
        for row in sorted(numbered, key=int):
            yield _content(numbered[row]), int(row), _flags(numbered[row])
    older = _read_optional(folder / "added_tokens.json")
    for token in sorted(older, key=lambda each: cast("int", older[each])):
        yield token, cast("int", older[token]), _flags({})
    for source in (config, legacy):
        listed = [source[key] for key in NAMED if source.get(key) is not None]
        for key in _MORE_NAMED:
            more = source.get(key)
            listed += list(cast("dict[str, object]", more).values()) if isinstance(more, dict) else []
            listed += cast("list[object]", more) if isinstance(more, list) else []
        for entry in listed:
            yield _content(entry), None, {**_flags(entry), "special": True}


def _named(config: Mapping[str, object]) -> dict[str, str]:
    return {key: _content(config[key]) for key in NAMED if config.get(key) is not None}


def _content(entry: object) -> str:
    return str(cast("Mapping[str, object]", entry)["content"]) if isinstance(entry, Mapping) else str(entry)


def _flags(entry: object) -> dict[str, bool]:
    pairs: Mapping[str, object] = cast("Mapping[str, object]", entry) if isinstance(entry, Mapping) else {}
    return {flag: bool(pairs.get(flag, False)) for flag in _FLAGS}


def _read_optional(file: Path) -> Mapping[str, object]:
    return _read_json(file, _state(file)) if file.is_file() else {}


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=32)
def _read_json(file: Path, _changed: tuple[int, int]) -> Mapping[str, object]:
    return read_json(file)


def forget_tokenizers() -> None:
    """Free the files that were read last; they are kept because merges read them several times."""
    _read_json.cache_clear()
    _backend.cache_clear()


@lru_cache(maxsize=8)
def _backend(file: Path, _changed: tuple[int, int]) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:
        raise KingyoError(
            str(file), "a tokenizer that the tokenizers library can read", str(error), _FETCH
        ) from error

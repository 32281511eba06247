"""Compare the tokenizers of models before a merge.

Vocabularies of equal size but with different ids would merge without an error into a useless model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from kingyo.core.io.units import counted
from kingyo.errors import KingyoError
from kingyo.merging.vocabulary.token_union import stored_files
from kingyo.merging.vocabulary.tokenizer_json import NAMED, StoredTokenizer, read_tokenizer

_TEMPLATE = "chat_template"
_WITHOUT_IDS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template")
"""Files that do not affect the ids of a text."""
_UNITE = "Set `tokenizer_source: union` (or base, or a model)."


@dataclass(frozen=True)
class Diagnostic:
    """A difference between tokenizers; ``error`` ends the merge, ``warning`` is likely to harm it.

    ``short`` says it in a few words about the second model, if it is not empty.
    """

    level: Literal["error", "warning", "note"]
    argument: str
    expected: str
    received: str
    remedy: str
    short: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.error}"

    @classmethod
    def of(cls, error: KingyoError) -> Self:
        fields = {key: getattr(error, key) for key in ("argument", "expected", "received", "remedy")}
        return cls(level="error", **fields)

    @property
    def error(self) -> KingyoError:
        return KingyoError(self.argument, self.expected, self.received, self.remedy)


def compare(
    folders: Mapping[str, Path], *, is_aligned: bool = False, has_template: bool = False
) -> tuple[Diagnostic, ...]:
    """Compare the tokenizers of all models with that of the first (the base): errors come first, notes last.

    ``is_aligned``: the recipe unites vocabularies, so that they may differ. ``has_template``: it sets one.
    """
    first, *others = folders
    findings = [each for other in others for each in _compare_folders(first, other, folders, is_aligned)]
    if has_template:
        findings = [each for each in findings if each.argument != _TEMPLATE]
    order = ("error", "warning", "note")
    return tuple(sorted(findings, key=lambda each: order.index(each.level)))


def check_tokens(folders: Mapping[str, Path]) -> None:
    """Check that all models have the same ids for tokens, for merges that do not align vocabularies."""
    for finding in compare(folders):
        if finding.level == "error":
            raise finding.error


def _compare_folders(
    first: str, other: str, folders: Mapping[str, Path], is_aligned: bool
) -> Iterator[Diagnostic]:
    files = stored_files(folders[first]), stored_files(folders[other])
    pair = f"the tokenizers of {first} and {other}"
    essential = [
        {name: content for name, content in held.items() if not name.startswith(_WITHOUT_IDS)}
        for held in files
    ]
    if not any(essential):
        yield Diagnostic("note", pair, "one vocabulary", "none", "Add a tokenizer to the output yourself.")
    if files[0] == files[1] or (essential[0] == essential[1] and "tokenizer.json" not in files[0]):
        return
    lacking = [name for name, held in zip((first, other), files, strict=True) if "tokenizer.json" not in held]
    if lacking:
        expected, level = "a tokenizer.json in both, to compare tokens", "error" if is_aligned else "warning"
        remedy = "Load and save its tokenizer with transformers, which writes tokenizer.json."
        yield Diagnostic(level, pair, expected, f"none in {lacking[0]}", remedy)
        return
    one, two = read_tokenizer(first, folders[first]), read_tokenizer(other, folders[other])
    if not is_aligned:
        yield from _moved(one, two)
        yield from _missing(one, two)
        yield from _missing(two, one)
    yield from _roles(one, two)
    yield from _templates(one, two)


def _moved(first: StoredTokenizer, other: StoredTokenizer) -> Iterator[Diagnostic]:
    moved = [(row, token) for token, row in first.tokens.items() if other.tokens.get(token, row) != row]
    if moved:
        row, token = min(moved)
        n = len(moved)
        yield Diagnostic(
            "error",
            f"the vocabularies of {first.reference} and {other.reference}",
            f"one id for each token: {row} for '{token}' as in {first.reference}",
            f"{other.tokens[token]} in {other.reference}, and {counted(n, 'such token')} in all",
            _UNITE,
            short=f"the token '{token}' has id {other.tokens[token]}, not {row} as in {first.reference}; "
            f"{counted(n, 'token')} {'differs' if n == 1 else 'differ'}",
        )


def _missing(here: StoredTokenizer, there: StoredTokenizer) -> Iterator[Diagnostic]:
    only = sorted(here.tokens.keys() - there.tokens.keys(), key=lambda token: here.tokens[token])
    if only:
        yield Diagnostic(
            "warning",
            f"the vocabularies of {here.reference} and {there.reference}",
            "the same tokens",
            f"'{only[0]}' only in {here.reference}, and {counted(len(only), 'such token')} in all",
            _UNITE,
        )


def _roles(first: StoredTokenizer, other: StoredTokenizer) -> Iterator[Diagnostic]:
    for role in NAMED:
        own, theirs = first.named.get(role), other.named.get(role)
        if own != theirs:
            level = "warning" if role in ("bos_token", "eos_token") else "note"
            expected, received = f"{own!r} as in {first.reference}", f"{theirs!r} in {other.reference}"
            remedy = "Choose the tokenizer of the output with tokenizer_source."
            yield Diagnostic(level, role, expected, received, remedy)


def _templates(first: StoredTokenizer, other: StoredTokenizer) -> Iterator[Diagnostic]:
    if first.template != other.template:
        level = "note" if other.template is None else "warning"  # the merge may lose its template
        expected = f"one template, as in {first.reference}{' (none)' if first.template is None else ''}"
        received = f"{'none' if other.template is None else 'another'} in {other.reference}"
        remedy = "Set chat_template to auto, a known name, or a Jinja template."
        yield Diagnostic(level, _TEMPLATE, expected, received, remedy)

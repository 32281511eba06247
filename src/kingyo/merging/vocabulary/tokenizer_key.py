"""Parse a recipe's ``tokenizer`` key, with mergekit's keys; read and replace all references of its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Final

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator

from kingyo.core.io.schema import short
from kingyo.errors import KingyoError, suggest
from kingyo.merging.recipe import Recipe
from kingyo.merging.recipe.shape import Shape, Text, Whole, dump, mapping, parse, validate, wanted

UNION: Final = "union"
BASE: Final = "base"

_Name = Annotated[
    str,
    Field(strict=True, min_length=1),
    wanted("a text", "Write a text, in quotes if it looks like a number."),
]


@dataclass(frozen=True, kw_only=True)
class Zero(Shape):
    """A row of zeros."""


@dataclass(frozen=True, kw_only=True)
class ModelToken(Shape):
    """A model's row of another token or id; of the same token if neither is given. It need not be merged."""

    model: _Name
    token: _Name | None = None
    token_id: Annotated[Whole, Field(ge=0)] | None = None


_KINDS: Mapping[str, type[Zero | ModelToken]] = {"zero": Zero, "model_token": ModelToken}


def _parse_source(value: object) -> Zero | ModelToken | None:
    if value is None or isinstance(value, str):
        return None if value is None else validate(ModelToken, {"model": value})
    pairs = dict(mapping(value, "Write a model, or {kind: zero}."))
    kind = pairs.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        remedy = (
            suggest(kind, _KINDS) if isinstance(kind, str) else "Write `kind: zero` or `kind: model_token`."
        )
        raise KingyoError("kind", " or ".join(_KINDS), short(kind), remedy)
    source = validate(_KINDS[kind], pairs)
    if isinstance(source, ModelToken) and (source.token is None) == (source.token_id is None):
        expected = "a model, and either token or token_id"
        remedy = "Write it as {kind: model_token, model: path/to/model, token: <token>}."
        raise KingyoError("", expected, ", ".join(f"{key} {value!r}" for key, value in pairs.items()), remedy)
    return source


def _dump_source(source: Zero | ModelToken) -> object:
    if isinstance(source, Zero):
        return {"kind": "zero"}
    is_same_token = source.token is None and source.token_id is None
    return source.model if is_same_token else {"kind": "model_token", **dump(source)}


@dataclass(frozen=True, kw_only=True)
class TokenEntry(Shape):
    """The exception for one token: its row in models that lack it, with ``force`` in all models."""

    FORM: ClassVar[str] = "Write `source:` below it, with a model or {kind: zero}."

    source: Annotated[
        Zero | ModelToken | None, PlainValidator(_parse_source), PlainSerializer(_dump_source)
    ] = None
    force: Annotated[bool, Field(strict=True)] = False

    def __post_init__(self) -> None:
        if self.force and self.source is None:
            remedy = "Add `source:` with a model or {kind: zero}, or delete force."
            raise KingyoError("force", "a source to force", "force without source", remedy)


def _parse_tokens(data: object) -> Mapping[str, object]:
    tokens: Mapping[str, object] = (
        {} if data is None else mapping(data, "Write one line for each token, such as `<|a|>: {...}`.")
    )
    return {token: {} if entry is None else entry for token, entry in tokens.items()}


@dataclass(frozen=True, kw_only=True)
class TokenizerChoice(Shape):
    """The vocabulary of the output, and the source of rows that a model lacks."""

    FORM: ClassVar[str] = "Write union, base or a model, or lines such as `source: union`."

    # ``union``, ``base``, or the reference of the model that gives the tokenizer
    source: Annotated[_Name, BeforeValidator(lambda source: UNION if source is None else source)] = UNION
    # exceptions by token; a token that the vocabulary lacks is added
    tokens: Annotated[Mapping[Text, TokenEntry], BeforeValidator(_parse_tokens)] = field(
        default_factory=dict[str, TokenEntry]
    )
    # round the number of rows up to a multiple of this. None: one row per token, but at least as many as the
    # model has whose tokenizer is extended.
    pad_to_multiple_of: Annotated[Whole, Field(ge=1)] | None = None

    @property
    def references(self) -> tuple[str, ...]:
        """References in ``source`` and ``tokens``, without duplicates; some may not be merged."""
        references = [] if self.source in (UNION, BASE) else [self.source]
        references += [e.source.model for e in self.tokens.values() if isinstance(e.source, ModelToken)]
        return tuple(dict.fromkeys(references))

    def renamed(self, place: Callable[[str], str]) -> TokenizerChoice:
        tokens = {
            token: replace(entry, source=replace(entry.source, model=place(entry.source.model)))
            if isinstance(entry.source, ModelToken)
            else entry
            for token, entry in self.tokens.items()
        }
        source = self.source if self.source in (UNION, BASE) else place(self.source)
        return replace(self, source=source, tokens=tokens)

    def to_dict(self) -> dict[str, object]:
        return {"source": self.source} | dump(self)


def parse_tokenizer(data: object, where: str = "tokenizer") -> TokenizerChoice:
    """Parse the value of ``tokenizer`` (a mapping) or ``tokenizer_source`` (a text)."""
    pairs = {"source": data} if isinstance(data, str) else data
    return parse(TokenizerChoice, pairs, where, "a valid tokenizer")


def tokenizer_choice(recipe: Recipe) -> TokenizerChoice | None:
    """Return the tokenizer that a recipe asks for; None if the output keeps that of its template."""
    if recipe.tokenizer is not None:
        return parse_tokenizer(recipe.tokenizer)
    if recipe.tokenizer_source is not None:
        return parse_tokenizer(recipe.tokenizer_source, "tokenizer_source")
    return None


def all_references(recipe: Recipe) -> tuple[str, ...]:
    """Return the references of all models, including models used only for the tokenizer."""
    choice = tokenizer_choice(recipe)
    inner = (reference for each in recipe.merges.values() for reference in all_references(each))
    tokenizers = (each for each in (choice.references if choice else ()) if each not in recipe.merges)
    return tuple(dict.fromkeys((*recipe.references, *tokenizers, *inner)))


def replaced(recipe: Recipe, place: Callable[[str], str]) -> Recipe:
    choice = tokenizer_choice(recipe)
    placed = None if choice is None else choice.renamed(place)
    has_key = recipe.tokenizer is not None
    return replace(
        recipe.renamed(place),
        merges={name: replaced(inner, place) for name, inner in recipe.merges.items()},
        tokenizer_source=placed.source if placed is not None and not has_key else None,
        tokenizer=placed.to_dict() if placed is not None and has_key else None,
    )

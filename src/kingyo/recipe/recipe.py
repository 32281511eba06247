"""A recipe: the inert description of one merge. Its hash is its identity."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Literal, TypeVar, cast, get_args

import yaml

from kingyo.errors import KingyoError, Refuse, attempt, together
from kingyo.recipe.checks import check_keys, check_word, mapping, short, text, with_meant
from kingyo.recipe.contents import (
    Module,
    Slice,
    Source,
    check_empty,
    check_one_of,
    dump_contents,
    references,
)
from kingyo.recipe.file_kind import check_kind
from kingyo.recipe.layer_path import Hop, check_length, dump_path, parse_path
from kingyo.recipe.parsing import parse_modules, parse_reference, parse_slices, parse_sources
from kingyo.recipe.values import Value, canonical, dump_values, parse_values

T = TypeVar("T")
Dtype = Literal["float32", "float16", "bfloat16"]
DTYPES: tuple[str, ...] = get_args(Dtype)
Resize = Literal["pad-vocab", "truncate", "base"]
RESIZE: tuple[str, ...] = get_args(Resize)
"""Ways to resolve sizes that differ.

- ``pad-vocab``: use the largest vocabulary. Rows that a model lacks come from the base, else from the first
  model that has them.
- ``truncate``: use the smallest vocabulary, and cut off further rows.
- ``base``: copy tensors whose sizes differ from the base.
"""
MERGE, BASE = "merge", "base"
"""Values of ``parts`` besides references of models."""

_WORDS = {"dtype": DTYPES, "out_dtype": DTYPES, "resize": RESIZE}
_TEXTS = ("tokenizer_source", "chat_template")
CONTENTS = ("models", "slices", "modules", "path")
KEYS = (
    "merge_method",
    "base_model",
    *CONTENTS,
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
    "resize",
    "parts",
    "merges",
    "seed",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A merge: models, layers, method and parameters.

    Exactly one of ``sources``, ``slices``, ``modules`` and ``path`` is not empty.

    Attributes:
        merge_method: name of a registered method.
        sources: complete models in order; random methods draw by position.
        slices: the layers of the output, slice by slice.
        modules: by name, the parts of models with several stacks of layers.
        path: the sequence of layers that the tokens pass through. The base gives everything else:
            embeddings, norm, head, tokenizer. Without a base, the first model gives the tensors before the
            layers, and the last those after them.
        base_model: reference of the common ancestor, if the method needs one or the output should have its
            config, tokenizer and dtype.
        parameters: parameters for all models; those of a source take precedence, then of a slice, then of a
            module.
        dtype: dtype of the merged weights; None keeps that of the base, else of the first source.
        out_dtype: the same, with precedence over ``dtype``. (All is computed in float32 and rounded once.)
        tokenizer_source: tokenizer of the output: ``base`` (the default), ``union`` or a model.
        tokenizer: alternative to ``tokenizer_source`` with more details, parsed by ``parse_tokenizer``.
        chat_template: chat template of the output: ``auto``, the name of a template, or a template.
        resize: way to resolve sizes that differ, see ``RESIZE``; with None they are an error.
        parts: part of the model -> ``merge``, ``base`` or a model's reference to copy it from. If any part is
            ``merge``, all unnamed parts are copied from the base.
        merges: with ``path``: recipes by name of models in the path that are merges themselves.
        seed: seed of random methods.
    """

    merge_method: str
    sources: tuple[Source, ...] = ()
    slices: tuple[Slice, ...] = ()
    modules: Mapping[str, Module] = field(default_factory=dict[str, Module])
    path: tuple[Hop, ...] = ()
    base_model: str | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer_source: str | None = None
    tokenizer: Mapping[str, object] | None = None
    chat_template: str | None = None
    resize: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    merges: Mapping[str, Recipe] = field(default_factory=dict[str, "Recipe"])
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (
            ("sources", tuple(self.sources)),
            ("slices", tuple(self.slices)),
            ("modules", dict(self.modules)),
            ("path", tuple(self.path)),
            ("parameters", canonical(self.parameters, "parameters")),
            ("tokenizer", copy.deepcopy(self.tokenizer)),
            ("parts", dict(self.parts)),
            ("merges", dict(self.merges)),
        ):
            object.__setattr__(self, name, value)
        contents = (self.sources, self.slices, tuple(self.modules), self.path)
        check_one_of(dict(zip(CONTENTS, contents, strict=True)))
        check_empty(self.slices)
        check_length(self.path)
        for key, words in _WORDS.items():
            check_word(getattr(self, key), words, key)
        self._check_tokenizer()
        self._check_merges()

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of its canonical JSON, in hexadecimal."""
        canonical_json = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical_json.encode()).hexdigest()

    @property
    def result_dtype(self) -> str | None:
        """Dtype of the output's floating-point weights; None keeps that of the models."""
        return self.out_dtype or self.dtype

    @property
    def references(self) -> tuple[str, ...]:
        """All models without duplicates; a base that is not merged comes last.

        A merge from ``merges`` is replaced by its own models.
        """
        named = dict.fromkeys(references(self.sources, self.slices, self.modules))
        named |= dict.fromkeys(hop.model for hop in self.path)
        named |= dict.fromkeys(use for use in self.parts.values() if use not in (MERGE, BASE))
        if self.base_model is not None:
            named.setdefault(self.base_model)
        own = (self.merges[name].references if name in self.merges else (name,) for name in named)
        return tuple(dict.fromkeys(chain.from_iterable(own)))

    def to_dict(self) -> dict[str, object]:
        """Return the mapping for YAML; the inverse of ``from_dict``."""
        data: dict[str, object] = {"merge_method": self.merge_method}
        if self.base_model is not None:
            data["base_model"] = self.base_model
        data |= dump_contents(self.sources, self.slices)
        if self.modules:
            data["modules"] = {name: module.to_dict() for name, module in self.modules.items()}
        if self.path:
            data["path"] = dump_path(self.path)
        if self.parameters:
            data["parameters"] = dump_values(self.parameters)
        for key in ("dtype", "out_dtype", "tokenizer_source", "tokenizer", "chat_template", "resize"):
            if getattr(self, key) is not None:
                data[key] = copy.deepcopy(getattr(self, key))
        if self.parts:
            data["parts"] = dict(self.parts)
        if self.merges:
            data["merges"] = {name: recipe.to_dict() for name, recipe in self.merges.items()}
        if self.seed:
            data["seed"] = self.seed
        return data

    def to_yaml(self) -> str:
        """Return the recipe as YAML, which mergekit reads if it has the method; it ignores other keys."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @staticmethod
    def from_dict(data: Mapping[str, object], where: str = "recipe") -> Recipe:
        """Parse a recipe.

        Args:
            data: the mapping from the YAML.
            where: the file, for messages.

        Raises:
            KingyoError: keys are unknown or values invalid; the message names all of them.
        """
        mistakes: list[KingyoError] = []
        recipe = Recipe.read(data, where, mistakes.append)
        if recipe is None or mistakes:
            raise together(where, mistakes, "a valid recipe")
        return recipe

    @staticmethod
    def read(data: Mapping[str, object], where: str, refuse: Refuse) -> Recipe | None:
        """Parse the valid parts of a recipe.

        Args:
            data: the mapping from the YAML.
            where: the file, for messages.
            refuse: called with every mistake that ``from_dict`` would raise.

        Returns:
            The recipe without its invalid entries, complete only if ``refuse`` was not called; None if too
            little is valid.
        """
        mistakes: list[KingyoError] = []
        recipe = attempt(lambda: _read(data, where, mistakes.append), mistakes.append, None)
        for mistake in mistakes:
            refuse(mistake)
        return recipe

    def _check_tokenizer(self) -> None:
        if self.tokenizer_source is not None and self.tokenizer is not None:
            raise KingyoError(
                "tokenizer",
                expected="either tokenizer_source or tokenizer",
                received="both",
                remedy="Keep tokenizer, with source: in it.",
            )

    def _check_merges(self) -> None:
        if self.merges and not self.path:
            raise KingyoError(
                "merges",
                expected="a path that uses these models",
                received="no path",
                remedy="Write each recipe as a separate document with a name, separated by `---`.",
            )
        named = {*(hop.model for hop in self.path), self.base_model}
        for name, recipe in self.merges.items():
            if name not in named or recipe.merges:
                raise KingyoError(
                    f"merges.{name}",
                    expected="a merge of existing models that the path or base_model uses",
                    received="merges within it" if recipe.merges else "an unused name",
                    remedy="Write one of them to a folder first." if recipe.merges else "Remove the entry.",
                )


def _read(data: Mapping[str, object], where: str, refuse: Refuse) -> Recipe | None:
    """Parse the valid parts of a recipe.

    Raises:
        KingyoError: the data are not a recipe, or values contradict one another.
    """
    check_kind(data, where)
    attempt(lambda: check_keys(data, KEYS, where), refuse, None)
    data = with_meant(data, ("merge_method", *CONTENTS), KEYS)
    method = attempt(lambda: _method(data, where), refuse, None)
    attempt(lambda: _check_contents(data, where), refuse, None)
    kind = next((key for key in CONTENTS if key in data), "models")
    listed = data.get(kind)
    sources = parse_sources(listed, where, refuse) if kind == "models" else ()
    slices = parse_slices(listed, where, refuse) if kind == "slices" else ()
    modules = parse_modules(listed, where, refuse) if kind == "modules" else {}
    path = parse_path(listed, where, refuse) if kind == "path" else ()
    parameters = parse_values(data.get("parameters"), where, refuse)

    def read(key: str, parse: Callable[[str], T], instead: T) -> T:
        return attempt(lambda: parse(key), refuse, instead)

    values = {key: read(key, lambda key: text(data, key, where), None) for key in _TEXTS}
    words = {key: read(key, lambda key: _word(data, key, where), None) for key in _WORDS}
    tokenizer = read("tokenizer", lambda key: _parse_tokenizer(data.get(key), where), None)
    seed = read("seed", lambda key: _parse_seed(data.get(key, 0), where), 0)
    parts = read("parts", lambda key: _parse_parts(data.get(key), where), None)
    merges = read("merges", lambda key: _parse_merges(data.get(key), where), None)
    base: tuple[str | None] | None = read(
        "base_model", lambda key: (parse_reference(data.get(key), f"{where}: {key}"),), None
    )
    if method is None or parts is None or merges is None or base is None:
        return None
    if not (sources or slices or modules or path):
        return None
    return Recipe(
        merge_method=method,
        sources=sources,
        slices=slices,
        modules=modules,
        path=path,
        base_model=base[0],
        parameters=parameters,
        tokenizer=tokenizer,
        parts=parts,
        merges=merges,
        seed=seed,
        **values,
        **words,
    )


def _method(data: Mapping[str, object], where: str) -> str:
    method = text(data, "merge_method", where)
    if not method:
        remedy = "Choose one from `kingyo list methods`."
        raise KingyoError(
            f"{where}: merge_method", expected="a method's name", received="nothing", remedy=remedy
        )
    return method


def _check_contents(data: Mapping[str, object], where: str) -> None:
    present = [key for key in CONTENTS if key in data]
    if len(present) > 1:
        raise KingyoError(
            where,
            expected="exactly one of models, slices, modules and path",
            received=" and ".join(present),
            remedy="Keep one of them.",
        )


def _parse_tokenizer(data: object, where: str) -> Mapping[str, object] | None:
    if data is None:
        return None
    remedy = "Write it as lines below tokenizer:, such as source: union; or write tokenizer_source: union."
    pairs = mapping(data, f"{where}: tokenizer", remedy)
    try:
        json.dumps(pairs, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise KingyoError(
            f"{where}: tokenizer",
            expected="a mapping of texts and numbers",
            received=str(error),
            remedy="Put names and tokens that look like dates or numbers in quotes.",
        ) from error
    return pairs


def _parse_parts(data: object, where: str) -> dict[str, str]:
    if data is None:
        return {}
    remedy = "Write it as parts: {language: merge, vision: base}."
    parts = mapping(data, f"{where}: parts", remedy)
    for part, use in parts.items():
        if not isinstance(use, str) or not use:
            raise KingyoError(
                f"{where}: parts.{part}",
                expected="merge, base or a model",
                received=short(use),
                remedy=remedy,
            )
    return {str(part): cast("str", use) for part, use in parts.items()}


def _parse_merges(data: object, where: str) -> dict[str, Recipe]:
    if data is None:
        return {}
    remedy = "Write a recipe below each name, as `merges: {bred: {merge_method: linear, models: …}}`."
    pairs = mapping(data, f"{where}: merges", remedy)
    return {
        str(name): Recipe.from_dict(
            mapping(each, f"{where}: merges.{name}", remedy), f"{where}: merges.{name}"
        )
        for name, each in pairs.items()
    }


def _word(data: Mapping[str, object], key: str, where: str) -> str | None:
    """Parse one of a few words; a dtype may begin with ``torch.``."""
    word = text(data, key, where)
    if word is not None and key != "resize":
        word = word.removeprefix("torch.")
    if word == "float64" and key != "resize":
        raise KingyoError(
            f"{where}: {key}",
            expected=f"one of {', '.join(DTYPES)}",
            received="float64",
            remedy="Write float32, the widest dtype for a merge.",
        )
    check_word(word, _WORDS[key], key)
    return word


def _parse_seed(value: object, where: str) -> int:
    if type(value) is not int:
        raise KingyoError(
            f"{where}: seed",
            expected="a whole number",
            received=short(value),
            remedy="Write it without quotes, such as seed: 1, or remove the key.",
        )
    return value

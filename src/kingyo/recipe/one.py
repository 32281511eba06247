"""A recipe: the inert description of one merge. Its hash is its identity.

It knows no merge method, no tensor and no file.
"""

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
from kingyo.recipe.mistaken import check_kind
from kingyo.recipe.path import Hop, check_length, dump_path, parse_path
from kingyo.recipe.pieces import (
    Module,
    Slice,
    Source,
    check_empty,
    check_one_of,
    dump_contents,
    references,
)
from kingyo.recipe.reading import parse_modules, parse_reference, parse_slices, parse_sources
from kingyo.recipe.values import Value, canonical, dump_values, parse_values

T = TypeVar("T")
Dtype = Literal["float32", "float16", "bfloat16"]
DTYPES: tuple[str, ...] = get_args(Dtype)
Resize = Literal["pad-vocab", "truncate", "base"]
RESIZE: tuple[str, ...] = get_args(Resize)
"""What may be done about sizes that differ.

- ``pad-vocab``: the largest vocabulary. Rows that a model lacks are the base's, else those of the first model
  that has them, so that only models that know a token have a say in it.
- ``truncate``: the smallest vocabulary. Rows behind it are cut off.
- ``base``: tensors whose sizes differ are the base's, unmerged.
"""
MERGE, BASE = "merge", "base"
"""What may happen to a part of the model, beside being taken from a model that is named."""

_WORDS = {
    "dtype": (DTYPES, "dtype", "a floating dtype"),
    "out_dtype": (DTYPES, "out_dtype", "a floating dtype"),
    "resize": (RESIZE, "resize", "a way to resize"),
}
"""Keys that take one of a few words: these, the key, and what they are."""
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
    """Which models, which layers of them, which method, which parameters.

    Attributes:
        merge_method: name of a registered method.
        sources: whole models, in order; random methods draw by position.
        slices: in place of ``sources``: the layers of the output, slice by slice.
        modules: in place of both: the parts of models that have several stacks of layers, by name.
        path: in place of all: the layers that the tokens pass through, one after the other. The base gives
            all that is no layer: embeddings, norm, head, tokenizer. Without one it is as with slices: the
            first model gives what comes before the layers, the last what comes behind them.
        base_model: reference of the common ancestor, when the method needs one or the output should take
            its configuration, tokenizer and dtype.
        parameters: for all; those of a module, a slice, a source come first, the last before the others.
        dtype: of the merged weights; None keeps the dtype of the base, else of the first source.
        out_dtype: the same, and comes first. (All is computed in float32 and rounded once.)
        tokenizer_source: whose tokenizer goes into the output: ``base``, ``union`` or a model; None is base.
        tokenizer: in place of it: source, tokens and padding in detail. The vocabulary room reads it.
        chat_template: for the output: ``auto``, the name of a template, or a template.
        resize: what to do about sizes that differ, see ``RESIZE``; None is an error.
        parts: part of the model -> ``merge``, ``base`` (it is taken from there) or the reference of the model
            from which it is taken. If some part is named to be merged, those not named are the base's.
        merges: beside ``path``: models that it names and that are merges themselves, name -> recipe.
        seed: of random methods.
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
        for key, word in _WORDS.items():
            check_word(getattr(self, key), *word)
        self._check_tokenizer()
        self._check_merges()

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    @cached_property
    def hash(self) -> str:
        """The recipe's identity: SHA-256 of its canonical JSON, in hexadecimal."""
        canonical_json = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical_json.encode()).hexdigest()

    @property
    def result_dtype(self) -> str | None:
        """The dtype of the output's floating weights; None keeps that of the models."""
        return self.out_dtype or self.dtype

    @property
    def references(self) -> tuple[str, ...]:
        """All models that it names, each once; the base, if it has one of its own, comes last.

        In place of a model that is a merge of ``merges`` stand those that it is made of.
        """
        named = dict.fromkeys(references(self.sources, self.slices, self.modules))
        named |= dict.fromkeys(hop.model for hop in self.path)
        named |= dict.fromkeys(use for use in self.parts.values() if use not in (MERGE, BASE))
        if self.base_model is not None:
            named.setdefault(self.base_model)
        own = (self.merges[name].references if name in self.merges else (name,) for name in named)
        return tuple(dict.fromkeys(chain.from_iterable(own)))

    def to_dict(self) -> dict[str, object]:
        """The recipe as the mapping that its YAML holds; ``from_dict`` reads it back equal."""
        found: dict[str, object] = {"merge_method": self.merge_method}
        if self.base_model is not None:
            found["base_model"] = self.base_model
        found |= dump_contents(self.sources, self.slices)
        if self.modules:
            found["modules"] = {name: module.to_dict() for name, module in self.modules.items()}
        if self.path:
            found["path"] = dump_path(self.path)
        if self.parameters:
            found["parameters"] = dump_values(self.parameters)
        for key in ("dtype", "out_dtype", "tokenizer_source", "tokenizer", "chat_template", "resize"):
            if getattr(self, key) is not None:
                found[key] = copy.deepcopy(getattr(self, key))
        if self.parts:
            found["parts"] = dict(self.parts)
        if self.merges:
            found["merges"] = {name: recipe.to_dict() for name, recipe in self.merges.items()}
        if self.seed:
            found["seed"] = self.seed
        return found

    def to_yaml(self) -> str:
        """The recipe as YAML; mergekit reads it where it has the method, and ignores the keys of ours."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @staticmethod
    def from_dict(data: Mapping[str, object], where: str = "recipe") -> Recipe:
        """Read the mapping of a YAML recipe strictly.

        Args:
            data: what the YAML holds.
            where: the file, for messages.

        Raises:
            KingyoError: unknown keys (the nearest are suggested), and values that are not sound, all of them.
        """
        mistakes: list[KingyoError] = []
        found = Recipe.read(data, where, mistakes.append)
        if found is None or mistakes:
            raise together(where, mistakes, "a sound recipe")
        return found

    @staticmethod
    def read(data: Mapping[str, object], where: str, refuse: Refuse) -> Recipe | None:
        """Read what is sound of a YAML recipe.

        Args:
            data: what the YAML holds.
            where: the file, for messages.
            refuse: is told of everything that ``from_dict`` raises.

        Returns:
            A recipe of the method, the base and the models that are written, without the entries in which
            something is wrong; None where too little is left. It is whole only if ``refuse`` was not called.
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
                expected="tokenizer_source or tokenizer",
                received="both",
                remedy="Keep tokenizer, with source: in it.",
            )

    def _check_merges(self) -> None:
        if self.merges and not self.path:
            raise KingyoError(
                "merges",
                expected="a path beside it, whose models these are",
                received="none",
                remedy="Write each recipe as a document of its own with a name, parted by `---`.",
            )
        named = {*(hop.model for hop in self.path), self.base_model}
        for name, recipe in self.merges.items():
            if name not in named or recipe.merges:
                raise KingyoError(
                    f"merges.{name}",
                    expected="a model that the path or base_model names, merged of models that are there",
                    received="merges within it" if recipe.merges else "a name that occurs in neither",
                    remedy="Write one of them to a folder first." if recipe.merges else "Leave it out.",
                )


def _read(data: Mapping[str, object], where: str, refuse: Refuse) -> Recipe | None:
    """Read what is sound.

    Raises:
        KingyoError: it is no recipe, or one whose values do not agree.
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
        remedy = "`kingyo list methods` names them."
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
    found = mapping(data, f"{where}: tokenizer", remedy)
    try:
        json.dumps(found, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise KingyoError(
            f"{where}: tokenizer",
            expected="texts, numbers and mappings of them",
            received=str(error),
            remedy="Put names and tokens that look like dates or numbers in quotes.",
        ) from error
    return found


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
    found = mapping(data, f"{where}: merges", remedy)
    return {
        str(name): Recipe.from_dict(
            mapping(each, f"{where}: merges.{name}", remedy), f"{where}: merges.{name}"
        )
        for name, each in found.items()
    }


def _word(data: Mapping[str, object], key: str, where: str) -> str | None:
    """One of a few words; a dtype may be written as torch writes it."""
    found = text(data, key, where)
    if found is not None and key != "resize":
        found = found.removeprefix("torch.")
    if found == "float64" and key != "resize":
        raise KingyoError(
            f"{where}: {key}",
            expected=f"one of {', '.join(DTYPES)}",
            received="float64",
            remedy="Say float32, which is the widest that a merge is rounded to.",
        )
    check_word(found, *_WORDS[key])
    return found


def _parse_seed(value: object, where: str) -> int:
    if type(value) is not int:
        raise KingyoError(
            f"{where}: seed",
            expected="a whole number",
            received=short(value),
            remedy="Write it without quotes, such as seed: 1, or leave it out.",
        )
    return value

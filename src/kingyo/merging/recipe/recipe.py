"""A recipe: the inert description of one merge. Its hash is its identity."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Annotated, Literal, get_args

import yaml
from pydantic import AfterValidator, BeforeValidator, Field

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.merging.recipe.contents import (
    NAME_MODULES,
    Base,
    Hops,
    Module,
    Place,
    Slices,
    Sources,
    check_empty,
    check_one_of,
    references,
)
from kingyo.merging.recipe.shape import (
    Shape,
    Text,
    Whole,
    dump,
    filled,
    mapping,
    named,
    parse,
    wanted,
)
from kingyo.merging.recipe.values import Parameters, Value, canonical

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

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
CONTENTS = ("models", "slices", "modules", "path")
_WRITE_PARTS = "Write it as parts: {language: merge, vision: base}."
_WRITE_MERGES = "Write a recipe below each name, as `merges: {bred: {merge_method: linear, models: …}}`."
_WRITE_TOKENIZER = (
    "Write it as lines below tokenizer:, such as source: union; or write tokenizer_source: union."
)
_CHOOSE_METHOD = "Choose one from `kingyo list methods`."


def _known(word: str, known: Collection[str], key: str = "") -> str:
    if word not in known:
        raise unknown_name_error(key, word, known)
    return word


def _parse_dtype(word: str) -> str:
    plain = word.removeprefix("torch.")
    if plain == "float64":
        expected, remedy = f"one of {', '.join(DTYPES)}", "Write float32, the widest dtype for a merge."
        raise KingyoError("", expected, plain, remedy)
    return _known(plain, DTYPES)


def _parse_tokenizer(data: object) -> Mapping[str, object] | None:
    if data is None:
        return None
    pairs = mapping(data, _WRITE_TOKENIZER)
    try:
        json.dumps(pairs, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        expected = "a mapping of texts and numbers"
        remedy = "Put names and tokens that look like dates or numbers in quotes."
        raise KingyoError("", expected, str(error), remedy) from error
    return pairs


_Method = Annotated[str, Field(strict=True, min_length=1), wanted("a method's name", _CHOOSE_METHOD)]
_OutputDtype = Annotated[Text, AfterValidator(_parse_dtype)] | None
_Use = Annotated[str, Field(strict=True, min_length=1), wanted("merge, base or a model", _WRITE_PARTS)]


@dataclass(frozen=True, kw_only=True)
class Recipe(Shape):
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
        frame: reference of the model that gives the output its tensor names, config and tokenizer, and every
            tensor that is not merged; None stands for the base, else for the first source. With it, only the
            language part is merged, without embeddings and head, unless ``parts`` says otherwise.
        parameters: parameters for all models; those of a source take precedence, then of a slice, then of a
            module.
        dtype: dtype of the merged weights; None keeps that of the base, else of the first source.
        out_dtype: the same, with precedence over ``dtype``. (All is computed in float32 and rounded once.)
        tokenizer_source: tokenizer of the output: ``base`` (the default), ``union`` or a model.
        tokenizer: alternative to ``tokenizer_source`` with more details, parsed by ``parse_tokenizer``.
        chat_template: chat template of the output: ``auto``, the name of a template, or a template.
        resize: way to resolve sizes that differ, see ``RESIZE``; with None they are an error.
        parts: part of the model -> ``merge``, ``base`` or a model's reference to copy it from. Without a
            frame, unnamed parts are copied from the base if any part is ``merge``; else they are merged.
            ``vocabulary`` stands for embeddings and head.
        merges: with ``path``: recipes by name of models in the path that are merges themselves.
        seed: seed of random methods.
    """

    merge_method: _Method
    base_model: Base = None
    frame: Base = None
    sources: Annotated[Sources, Field(alias="models")] = ()
    slices: Slices = ()
    modules: Annotated[Mapping[Text, Module], filled(Mapping, "at least one part", NAME_MODULES)] = field(
        default_factory=dict[str, Module]
    )
    path: Hops = ()
    parameters: Parameters = field(default_factory=dict[str, Value])
    dtype: _OutputDtype = None
    out_dtype: _OutputDtype = None
    tokenizer_source: Text | None = None
    tokenizer: Annotated[Mapping[str, object] | None, BeforeValidator(_parse_tokenizer)] = None
    chat_template: Text | None = None
    resize: Annotated[Text, AfterValidator(lambda word: _known(word, RESIZE))] | None = None
    parts: Annotated[Mapping[str, _Use], named(_WRITE_PARTS)] = field(default_factory=dict[str, str])
    merges: Annotated[Mapping[str, Recipe], named(_WRITE_MERGES)] = field(default_factory=dict[str, "Recipe"])
    seed: Whole = 0

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
        for key, words in (("dtype", DTYPES), ("out_dtype", DTYPES), ("resize", RESIZE)):
            if (word := getattr(self, key)) is not None:
                _known(word, words, key)
        self._check_tokenizer()
        self._check_merges()

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of its canonical JSON, in hexadecimal."""
        return hashlib.sha256(_CANONICAL.encode(self.to_dict()).encode()).hexdigest()

    @property
    def template(self) -> str:
        """The model whose names, config and tokenizer the output has: the frame, the base or a source."""
        return self.frame or self.base_model or self.references[0]

    @property
    def references(self) -> tuple[str, ...]:
        """All models without duplicates; a base or frame that is not merged comes last.

        A merge from ``merges`` is replaced by its own models.
        """
        named = dict.fromkeys(references(self.sources, self.slices, self.modules))
        named |= dict.fromkeys(hop.model for hop in self.path)
        named |= dict.fromkeys(use for use in self.parts.values() if use not in (MERGE, BASE))
        named |= dict.fromkeys(each for each in (self.base_model, self.frame) if each is not None)
        own = (self.merges[name].references if name in self.merges else (name,) for name in named)
        return tuple(dict.fromkeys(chain.from_iterable(own)))

    def renamed(self, place: Place) -> Recipe:
        """Return a copy with every model that is merged or gives parts replaced by ``place(model)``.

        References in ``tokenizer`` and names of the recipe's own ``merges`` are unchanged.
        """

        def put(reference: str) -> str:
            return reference if reference in self.merges else place(reference)

        return replace(
            self,
            base_model=None if self.base_model is None else put(self.base_model),
            frame=None if self.frame is None else put(self.frame),
            sources=tuple(replace(source, model=put(source.model)) for source in self.sources),
            slices=tuple(each.renamed(put) for each in self.slices),
            modules={name: module.renamed(put) for name, module in self.modules.items()},
            path=tuple(replace(hop, model=put(hop.model)) for hop in self.path),
            parts={part: use if use in (MERGE, BASE) else put(use) for part, use in self.parts.items()},
            merges={name: each.renamed(place) for name, each in self.merges.items()},
        )

    def to_dict(self) -> dict[str, object]:
        """Return the mapping for YAML; the inverse of ``from_dict``."""
        return dump(self)

    def to_yaml(self) -> str:
        """Return the recipe as YAML, which mergekit reads if it has the method; it ignores other keys."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @staticmethod
    def from_dict(data: Mapping[str, object], where: str = "recipe") -> Recipe:
        """Parse a recipe from the mapping of its YAML; an error names all mistakes in ``where``, the file."""
        return parse(Recipe, data, where, "a valid recipe")

    def _check_tokenizer(self) -> None:
        if self.tokenizer_source is not None and self.tokenizer is not None:
            expected = "either tokenizer_source or tokenizer"
            remedy = "Keep tokenizer, with source: in it."
            raise KingyoError("tokenizer", expected, "both", remedy)

    def _check_merges(self) -> None:
        if self.merges and not self.path:
            expected = "a path that uses these models"
            remedy = "Write each recipe as a separate document with a name, separated by `---`."
            raise KingyoError("merges", expected, "no path", remedy)
        named = {*(hop.model for hop in self.path), self.base_model}
        for name, recipe in self.merges.items():
            if name not in named or recipe.merges:
                expected = "a merge of existing models that the path or base_model uses"
                received = "merges within it" if recipe.merges else "an unused name"
                remedy = "Write one of them to a folder first." if recipe.merges else "Remove the entry."
                raise KingyoError(f"merges.{name}", expected, received, remedy)

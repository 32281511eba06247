"""Read several recipes from one file, where later steps merge results of earlier ones (mergekit-multi)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import cast

import yaml

from kingyo.core.io.schema import short
from kingyo.core.io.yaml import read_yaml, read_yaml_documents
from kingyo.errors import KingyoError, combined_error, report_errors
from kingyo.merging.recipe.contents import Slice, SliceSource, path_as_slices
from kingyo.merging.recipe.recipe import Recipe

_NAME_IT = "Give each recipe a unique `name:`; only the last step may omit it."


@dataclass(frozen=True, kw_only=True)
class NamedRecipe:
    """A recipe, and the name under which other recipes use its result; None for the final step."""

    name: str | None
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class RecipeBook:
    """Recipes, each after those whose results it merges; no two have one name."""

    steps: tuple[NamedRecipe, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise KingyoError("recipes", "at least one recipe", "none", "Add one to the file.")
        names = [step.name for step in self.steps]
        for name in names:
            if names.count(name) > 1:
                received = "several without a name" if name is None else f"two called '{name}'"
                raise KingyoError("name", "a unique name for each recipe", received, _NAME_IT)
        object.__setattr__(self, "steps", _in_order(self.steps))

    @property
    def outputs(self) -> tuple[NamedRecipe, ...]:
        """The results to write: the recipe without a name, else all that no other recipe needs."""
        nameless = tuple(step for step in self.steps if step.name is None)
        needed = {reference for step in self.steps for reference in _mentions(step.recipe)}
        return nameless or tuple(step for step in self.steps if step.name not in needed)

    def with_recipes(self, change: Callable[[Recipe], Recipe]) -> RecipeBook:
        return RecipeBook(steps=tuple(replace(step, recipe=change(step.recipe)) for step in self.steps))

    def to_yaml(self) -> str:
        """Return the recipes as YAML of several documents, in mergekit-multi's format."""
        names = [{} if step.name is None else {"name": step.name} for step in self.steps]
        documents = [name | step.recipe.to_dict() for name, step in zip(names, self.steps, strict=True)]
        return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a YAML file. Relative paths in the recipe begin at its folder."""
    return Recipe.from_dict(read_yaml(Path(path)), str(path))


def load_recipes(path: Path) -> RecipeBook:
    """Read a YAML file of one or several recipes.

    Several recipes are documents separated by ``---``, or a list below ``models:``. Other recipes use the
    result of one under its ``name:``, which only the final step may omit.
    """
    documents = read_yaml_documents(path)
    if len(documents) == 1 and "merge_method" not in documents[0] and "models" in documents[0]:
        documents = _nested(documents[0], str(path)) or documents
    mistakes: list[KingyoError] = []
    steps: list[NamedRecipe] = []
    for i, document in enumerate(documents):
        where = f"{path}: recipe {i + 1}" if len(documents) > 1 else str(path)
        name = report_errors(lambda data=document, at=where: _name(data, at), mistakes.append, None)
        data = {key: value for key, value in document.items() if key != "name"}
        recipe = report_errors(lambda data=data, at=where: Recipe.from_dict(data, at), mistakes.append, None)
        steps += [] if recipe is None else [NamedRecipe(name=name, recipe=recipe)]
    if mistakes:
        raise combined_error(str(path), mistakes, "valid recipes")
    try:
        return RecipeBook(steps=tuple(steps))
    except KingyoError as error:
        raise error.placed(str(path)) from None


def _nested(document: Mapping[str, object], where: str) -> Sequence[Mapping[str, object]]:
    """Return the recipes of ``models: [{name: …, merge_method: …}]``."""
    listed = document["models"]
    items = cast("list[object]", listed) if isinstance(listed, list) else []
    entries = [cast("Mapping[str, object]", each) for each in items if isinstance(each, Mapping)]
    if len(entries) < len(items) or not any("merge_method" in entry for entry in entries):
        return []
    for key in document.keys() - {"models"}:
        expected = "only the key models: with a list of recipes"
        remedy = "Move it into each recipe that should have it."
        raise KingyoError(where, expected, f"'{key}'", remedy)
    return entries


def _name(document: Mapping[str, object], where: str) -> str | None:
    name = document.get("name")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        remedy = "Write one word, in quotes if it looks like a number."
        raise KingyoError(f"{where}: name", "text", short(name), remedy)
    return name


def _mentions(recipe: Recipe) -> Iterator[str]:
    """Yield the models that a recipe names, and all texts of its tokenizer, which may be models."""
    yield from recipe.references
    yield from _texts((recipe.tokenizer_source, recipe.tokenizer))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(tuple(cast("Mapping[object, object]", value).values()))
    elif isinstance(value, list | tuple):
        for each in cast("Sequence[object]", value):
            yield from _texts(each)


def _in_order(steps: Sequence[NamedRecipe]) -> tuple[NamedRecipe, ...]:
    by_name = {step.name: step for step in steps}
    needs = {step.name: [each for each in _mentions(step.recipe) if each in by_name] for step in steps}
    try:
        return tuple(by_name[name] for name in TopologicalSorter(needs).static_order())
    except CycleError as error:
        expected = "recipes that merge results of earlier ones"
        received = f"a cycle: {' → '.join(reversed(error.args[1]))}"
        remedy = "Rename one of the recipes, or correct the model that it names."
        raise KingyoError("models", expected, received, remedy) from None


def without_paths(book: RecipeBook) -> RecipeBook:
    """Convert every path to slices, as mergekit reads them; merges within a path become named recipes."""
    if not any(step.recipe.path for step in book.steps):
        remedy = "Remove --as to print the recipe unchanged."
        raise KingyoError("--as slices", "a recipe with a path", "none", remedy)
    steps: list[NamedRecipe] = []
    for step in book.steps:
        steps += [NamedRecipe(name=name, recipe=inner) for name, inner in step.recipe.merges.items()]
        recipe = replace(step.recipe, merges={})
        steps.append(replace(step, recipe=as_slices(recipe) if recipe.path else recipe))
    return RecipeBook(steps=tuple(steps))


def as_slices(recipe: Recipe) -> Recipe:
    slices = list(path_as_slices(recipe.path))
    base = recipe.base_model
    if base is not None and recipe.path[0].model != base:
        slices.insert(0, _empty(base))
    if base is not None and recipe.path[-1].model != base:
        slices.append(_empty(base))
    return replace(recipe, path=(), slices=tuple(slices))


def _empty(model: str) -> Slice:
    return Slice(sources=(SliceSource(model=model, layers=(0, 0)),))

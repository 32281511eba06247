"""Several recipes in one file, of which later steps merge what earlier ones make (mergekit-multi's format).

It knows no file but the recipe's own, and nothing of how merges are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from kingyo.documents import read_yaml, read_yaml_documents
from kingyo.errors import KingyoError, Refuse, together
from kingyo.recipe.checks import mapping, short
from kingyo.recipe.mistaken import check_kind
from kingyo.recipe.one import Recipe

_NAME_IT = "Give it a name: of its own; one recipe, the last step, may go without."


@dataclass(frozen=True, kw_only=True)
class NamedRecipe:
    """A recipe, and the name by which others of its book use what it makes; the final one may lack it."""

    name: str | None
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class RecipeBook:
    """Recipes of which some merge what others make.

    Attributes:
        steps: in an order in which each follows those that it needs; otherwise as they were given.

    Raises:
        KingyoError: none, two of one name, several without a name, or a circle.
    """

    steps: tuple[NamedRecipe, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise KingyoError(
                "recipes", expected="at least one recipe", received="none", remedy="Write one into the file."
            )
        names = [step.name for step in self.steps]
        for name in names:
            if names.count(name) > 1:
                received = "several without one" if name is None else f"two called '{name}'"
                raise KingyoError(
                    "name", expected="one name for each recipe", received=received, remedy=_NAME_IT
                )
        object.__setattr__(self, "steps", tuple(_in_order(self.steps)))

    @property
    def outputs(self) -> tuple[NamedRecipe, ...]:
        """What the book is for: the recipe without a name; without one, all that no other needs."""
        nameless = tuple(step for step in self.steps if step.name is None)
        needed = {reference for step in self.steps for reference in _mentions(step.recipe)}
        return nameless or tuple(step for step in self.steps if step.name not in needed)

    def to_yaml(self) -> str:
        """The book as YAML of several documents, as mergekit-multi reads it."""
        return yaml.safe_dump_all([_dump(step) for step in self.steps], sort_keys=False, allow_unicode=True)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a YAML file.

    Args:
        path: the file. Relative paths in the recipe begin at its folder.

    Raises:
        KingyoError: the file cannot be read, or see ``Recipe.from_dict``.
    """
    return Recipe.from_dict(read_yaml(Path(path)), str(path))


def load_recipes(path: Path) -> RecipeBook:
    """Read a YAML file of one or several recipes.

    Several are documents parted by ``---``, or one list below ``models:``; each has a ``name:``, by which
    others use what it makes as a model; one, the final step, may go without.

    Raises:
        KingyoError: the file cannot be read, or see ``Recipe.from_dict`` and ``RecipeBook``.
    """
    mistakes: list[KingyoError] = []
    found = read_recipes(path, mistakes.append)
    if found is None or mistakes:
        raise together(str(path), mistakes, "sound recipes")
    return found


def read_recipes(path: Path, refuse: Refuse) -> RecipeBook | None:
    """Read what is sound of such a file; see ``Recipe.read``. None where too little of some recipe is left.

    Raises:
        KingyoError: the file cannot be read, or is none of recipes.
    """
    documents = read_yaml_documents(path)
    if len(documents) == 1:
        check_kind(documents[0], str(path))
    if len(documents) == 1 and "merge_method" not in documents[0] and "models" in documents[0]:
        documents = _nested(documents[0], str(path)) or documents
    several = len(documents) > 1
    steps = [
        _read_step(document, f"{path}: recipe {i + 1}" if several else str(path), refuse)
        for i, document in enumerate(documents)
    ]
    whole = tuple(step for step in steps if step is not None)
    if len(whole) < len(steps):
        return None
    try:
        return RecipeBook(steps=whole)
    except KingyoError as error:
        refuse(error.placed(str(path)))
        return None


def _nested(document: Mapping[str, object], where: str) -> list[Mapping[str, object]]:
    """The recipes of ``models: [{name: …, merge_method: …}, …]`` or ``models: {name: {merge_method: …}}``."""
    listed = document["models"]
    if isinstance(listed, Mapping):
        named = cast("Mapping[str, object]", listed)
        remedy = "Write a recipe below each name, or list models as `- model: path/to/model`."
        entries: Sequence[Mapping[str, object]] = [
            {"name": str(name), **mapping(entry, f"{where}: models.{name}", remedy)}
            for name, entry in named.items()
        ]
    elif isinstance(listed, list):
        items = cast("list[object]", listed)
        entries = [cast("Mapping[str, object]", each) for each in items if isinstance(each, Mapping)]
        if len(entries) != len(items):
            return []
    else:
        return []
    if not any("merge_method" in entry for entry in entries):
        return []
    for key in document:
        if key != "models":
            raise KingyoError(
                where,
                expected="nothing but models: beside a list of recipes",
                received=f"'{key}'",
                remedy="Move it into each recipe that it is meant for.",
            )
    return list(entries)


def _read_step(document: Mapping[str, object], where: str, refuse: Refuse) -> NamedRecipe | None:
    name = document.get("name")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        refuse(
            KingyoError(
                f"{where}: name",
                expected="a text",
                received=short(name),
                remedy="Write one word, in quotes if it looks like a number.",
            )
        )
        name = None
    rest = {key: value for key, value in document.items() if key != "name"}
    recipe = Recipe.read(rest, where, refuse)
    return None if recipe is None else NamedRecipe(name=name, recipe=recipe)


def _dump(step: NamedRecipe) -> dict[str, object]:
    named: dict[str, object] = {} if step.name is None else {"name": step.name}
    return named | step.recipe.to_dict()


def _mentions(recipe: Recipe) -> Iterator[str]:
    """The models that it names, and every text of its tokenizer, some of which are models."""
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


def _in_order(steps: Sequence[NamedRecipe]) -> Iterator[NamedRecipe]:
    """Each behind those that it needs; otherwise as they stand."""
    by_name = {step.name: step for step in steps if step.name is not None}
    done: set[int] = set()

    def visit(step: NamedRecipe, above: tuple[str, ...]) -> Iterator[NamedRecipe]:
        if id(step) in done:
            return
        name = step.name
        if name is not None and name in above:
            circle = " → ".join((*above[above.index(name) :], name))
            raise KingyoError(
                "models",
                expected="recipes that merge what earlier ones make",
                received=f"a circle: {circle}",
                remedy="Rename one of them, or correct the model that it names.",
            )
        for reference in _mentions(step.recipe):
            if reference in by_name:
                yield from visit(by_name[reference], above if name is None else (*above, name))
        if id(step) not in done:
            done.add(id(step))
            yield step

    for step in steps:
        yield from visit(step, ())
